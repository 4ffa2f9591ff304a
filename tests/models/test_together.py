"""Models that forecast several members in one call: the laws that hold for all of them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.config.builtin_models import Lorenz96Settings
from daflow.config.chaotic_models import KuramotoSivashinskySettings, Lorenz63Settings, TwoScaleSettings
from daflow.config.quasigeostrophic import QuasigeostrophicSettings
from daflow.errors import DaflowError, DataError, ModelFailed
from daflow.models import KuramotoSivashinsky, Lorenz63, Lorenz96, LorenzTwoScale, Quasigeostrophic
from daflow.ports import MemberInput

N_MEMBERS = 6
BROKEN = -1
"""A member whose state is not finite."""


TIMES = {"every_steps": 3, "n_times": 2, "together": 25}
NUMBERS = {"time_ratio": "c", "space_ratio": "b"}


def lorenz96(**more):
    return Lorenz96(Lorenz96Settings(n=7, observe_every=2, **TIMES, **more))


def two_scale(**more):
    return LorenzTwoScale(TwoScaleSettings(n=5, n_fast=9, observe="both", **TIMES, **more))


def ring(random):
    return {"x": 8.0 + random.standard_normal(7), "F": random.uniform(6.0, 10.0)}


def convection(random):
    return {"x": 10.0 * random.standard_normal(3), "s": random.uniform(8.0, 12.0)}


def scales(random):
    slow, fast = 8.0 * random.standard_normal(5), random.standard_normal(45)
    return {"x": slow, "y": fast, "F": random.uniform(8.0, 10.0), "c": random.uniform(8.0, 10.0), "b": 10.0}


def gyres(random):
    return {"psi": random.standard_normal((7, 5))}


def flame(random):
    return {"u": random.standard_normal(30)}


MODELS = {
    "lorenz96": (lorenz96(), ring),
    "lorenz96 with its forcing": (lorenz96(forcing="F"), ring),
    "lorenz63": (Lorenz63(Lorenz63Settings(**TIMES)), convection),
    "lorenz63 with its sigma": (Lorenz63(Lorenz63Settings(sigma="s", **TIMES)), convection),
    "two scales": (two_scale(), scales),
    "two scales with their numbers": (two_scale(forcing="F", **NUMBERS), scales),
    "kuramoto_sivashinsky": (KuramotoSivashinsky(KuramotoSivashinskySettings(n=30, **TIMES)), flame),
    "quasigeostrophic": (
        Quasigeostrophic(QuasigeostrophicSettings(shape=(7, 5), every_steps=3, n_times=2)),
        gyres,
    ),
}
ONE_BY_ONE = {"quasigeostrophic"}


def inputs(name):
    """Return what the members of a model get, by number."""
    model, draw = MODELS[name]
    table = model.observables()
    members = {}
    for member in range(N_MEMBERS):
        drawn = draw(np.random.default_rng(member))
        members[member] = {name: np.asarray(values) for name, values in drawn.items()}
    members[BROKEN] = {name: np.full_like(values, np.nan) for name, values in members[0].items()}
    return {
        member: MemberInput(member, 0, parameters, table, 0, Path(), Path())
        for member, parameters in members.items()
    }


INPUTS = {name: inputs(name) for name in MODELS}
ALONE = {
    name: [MODELS[name][0].forecast(one) for member, one in INPUTS[name].items() if member != BROKEN]
    for name in MODELS
}
GROUPS = st.lists(st.sampled_from([*range(N_MEMBERS), BROKEN]), max_size=10)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=15)
@given(group=GROUPS)
def test_that_members_together_are_members_one_by_one_whatever_the_company(name, group):
    results = MODELS[name][0].forecast_many([INPUTS[name][member] for member in group])
    assert len(results) == len(group)
    for member, result in zip(group, results, strict=True):
        if member == BROKEN:
            assert isinstance(result, ModelFailed)
        else:
            assert result.tobytes() == ALONE[name][member].tobytes()


@pytest.mark.parametrize("name", MODELS)
def test_that_members_who_ask_for_other_rows_or_lack_a_variable_keep_their_own_ends(name):
    model, whole = MODELS[name][0], INPUTS[name]
    rows = {key: column[:1] for key, column in whole[1].observations.items()}
    first = MemberInput(1, 0, whole[1].parameters, rows, 0, Path(), Path())
    poor = MemberInput(2, 0, {}, rows, 0, Path(), Path())
    results = model.forecast_many([whole[0], poor, first, whole[1]])
    assert isinstance(results[1], DataError)
    np.testing.assert_array_equal(results[0], ALONE[name][0])
    np.testing.assert_array_equal(results[2], ALONE[name][1][:1])
    np.testing.assert_array_equal(results[3], ALONE[name][1])


@pytest.mark.parametrize("name", MODELS)
def test_that_the_error_of_a_member_alone_is_that_of_a_member_in_company(name):
    model, members = MODELS[name][0], INPUTS[name]
    with pytest.raises(DaflowError) as caught:
        model.forecast(members[BROKEN])
    (_, in_company) = model.forecast_many([members[0], members[BROKEN]])
    assert str(in_company) == str(caught.value)


@pytest.mark.parametrize("name", MODELS)
def test_that_a_model_takes_one_member_a_call_unless_its_settings_say_more(name):
    model = MODELS[name][0]
    usual = type(model)(type(model.settings)())
    assert usual.together == 1
    assert model.together == (1 if name in ONE_BY_ONE else 25)
