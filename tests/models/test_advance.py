"""Models that carry a state from one time to another: the laws that hold for all of them."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.config.builtin_models import Lorenz96Settings
from daflow.config.chaotic_models import KuramotoSivashinskySettings, Lorenz63Settings, TwoScaleSettings
from daflow.config.cycling import ADVANCING
from daflow.config.quasigeostrophic import QuasigeostrophicSettings
from daflow.errors import DataError, ModelFailed
from daflow.models import KuramotoSivashinsky, Lorenz63, Lorenz96, LorenzTwoScale, Quasigeostrophic
from daflow.ports import MemberInput

TIMES = {"every_steps": 2, "n_times": 6, "together": 25}
MODELS = {
    "lorenz63": (Lorenz63(Lorenz63Settings(rho="r", **TIMES)), {"x": (3,), "r": ()}),
    "lorenz96": (
        Lorenz96(Lorenz96Settings(n=7, observe_every=2, forcing="F", **TIMES)),
        {"x": (7,), "F": ()},
    ),
    "lorenz96_two_scale": (
        LorenzTwoScale(TwoScaleSettings(n=5, n_fast=3, observe="both", **TIMES)),
        {"x": (5,), "y": (15,)},
    ),
    "kuramoto_sivashinsky": (KuramotoSivashinsky(KuramotoSivashinskySettings(n=30, **TIMES)), {"u": (30,)}),
    "quasigeostrophic": (
        Quasigeostrophic(QuasigeostrophicSettings(shape=(7, 5), every_steps=2, n_times=6)),
        {"psi": (7, 5)},
    ),
}
ROUNDED = {"kuramoto_sivashinsky"}
"""Between two calls the modes, which are what it carries, go over the grid."""


def start_of(name, seed=0):
    random = np.random.default_rng(seed)
    return {key: 1.0 + random.standard_normal(shape) for key, shape in MODELS[name][1].items()}


def member(parameters, table, number=0):
    return MemberInput(number, 0, parameters, table, 0, Path(), Path())


def between(table, start, stop):
    chosen = (table["time"] > start + 1e-9) & (table["time"] <= stop + 1e-9)
    return {key: column[chosen] for key, column in table.items()}


def step_of(name):
    return MODELS[name][0].settings.time_step


def equal(name, one, other):
    tolerance = 1e-12 if name in ROUNDED else 0.0
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=10)
@given(cuts=st.sets(st.integers(1, 11), max_size=4))
def test_that_several_ways_joined_are_one_long_way(name, cuts):
    model, time_step = MODELS[name][0], step_of(name)
    table, state, seen = model.observables(), start_of(name), []
    times = [0.0, *(time_step * cut for cut in sorted(cuts)), 12 * time_step]
    for start, stop in pairwise(times):
        made = model.advance(member(state, between(table, start, stop)), start, stop)
        state = state | made.state
        seen.append(made.predicted)
    equal(name, np.concatenate(seen), model.forecast(member(start_of(name), table)))
    whole = model.advance(member(start_of(name), table), 0.0, 12 * time_step)
    assert whole.state.keys() == set(model.system.state)
    for key, values in whole.state.items():
        assert values.shape == MODELS[name][1][key]
        equal(name, state[key], values)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=10)
@given(group=st.lists(st.integers(0, 4), max_size=6))
def test_that_members_together_are_members_one_by_one_whatever_the_company(name, group):
    model, time_step = MODELS[name][0], step_of(name)
    start, stop = 3 * time_step, 7 * time_step
    table = between(model.observables(), start, stop)
    inputs = {number: member(start_of(name, number), table, number) for number in range(4)}
    inputs[4] = member({key: np.full(np.shape(v), np.nan) for key, v in start_of(name).items()}, table, 4)
    results = model.advance_many([inputs[number] for number in group], start, stop)
    for number, result in zip(group, results, strict=True):
        if number == 4:
            assert isinstance(result, ModelFailed)
            continue
        alone = model.advance(inputs[number], start, stop)
        assert result.predicted.tobytes() == alone.predicted.tobytes()
        for key, values in alone.state.items():
            assert result.state[key].tobytes() == values.tobytes()


def test_that_a_way_with_nothing_to_see_still_carries_the_state():
    model, _ = MODELS["lorenz96"]
    nothing = between(model.observables(), 0.0, 0.0)
    made = model.advance(member(start_of("lorenz96"), nothing), 0.0, 0.05)
    assert made.predicted.shape == (0,)
    assert np.abs(made.state["x"] - start_of("lorenz96")["x"]).max() > 0


def test_that_times_are_taken_as_files_have_them():
    model, _ = MODELS["lorenz96"]
    table = between(model.observables(), 0.1, 0.3)
    plain = model.advance(member(start_of("lorenz96"), table), 0.1, 0.3)
    rounded = model.advance(member(start_of("lorenz96"), table), 0.1 + 1e-12, 0.1 + 0.2)
    assert plain.predicted.size == 8
    np.testing.assert_array_equal(plain.predicted, rounded.predicted)


@pytest.mark.parametrize(("start", "stop"), [(0.0, 0.07), (0.02, 0.1), (0.1, 0.1), (0.1, 0.05)])
def test_that_a_time_between_two_time_steps_is_refused(start, stop):
    model, _ = MODELS["lorenz96"]
    nothing = between(model.observables(), 0.0, 0.0)
    with pytest.raises(DataError, match="whole time steps"):
        model.advance(member(start_of("lorenz96"), nothing), start, stop)


def test_that_what_is_not_seen_on_the_way_is_refused():
    model, _ = MODELS["lorenz96"]
    later = between(model.observables(), 0.3, 0.6)
    with pytest.raises(DataError, match="cannot predict"):
        model.advance(member(start_of("lorenz96"), later), 0.0, 0.3)


def test_that_a_state_that_grows_beyond_all_bounds_behind_the_last_observation_fails_the_member():
    model = Lorenz96(Lorenz96Settings(n=8, time_step=1.0, every_steps=20))
    nothing = between(model.observables(), 0.0, 0.0)
    with pytest.raises(ModelFailed, match="beyond all bounds between the times 0 and 10"):
        model.advance(member({"x": 50.0 * np.arange(8.0)}, nothing), 0.0, 10.0)


def test_that_the_kinds_that_can_are_those_that_the_workflow_file_takes():
    assert set(MODELS) == set(ADVANCING)
    assert {model.settings.kind for model, _ in MODELS.values()} == set(ADVANCING)
