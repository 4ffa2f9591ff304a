from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError, StoreError
from daflow.methods import EsMda
from daflow.methods.diagnosed import diagnosed, localized_away
from daflow.methods.observed import Observed
from daflow.names import LOCALIZED_AWAY
from daflow.numerics.diagnostics.innovations import innovation_figures
from daflow.numerics.localization.cell_planning import plan_localization
from daflow.numerics.localization.distance import DistanceTaper
from daflow.ports import Prepared, SlicePoints, StepInput
from tests.methods.in_slices import InSlices
from tests.methods.test_es_mda import (
    CUTS,
    ERRORS,
    KINDS,
    MEMBERS,
    N_MEMBERS,
    N_OBS,
    N_STATE,
    OBS_PLACES,
    PLACES,
    PREDICTED,
    PRIOR,
    RULES,
    VALUES,
    VARIABLE,
    dense_taper,
    locality,
    read,
)

DIAGONAL = ERRORS["diagonal"]
FIGURES = {"chi_square", "dfs", "effective_rank", "misfit"}


def es_mda(error=DIAGONAL, **settings):
    return EsMda((2.0, 2.0), VALUES, error, 5, **settings)


def with_figures(method, error=DIAGONAL):
    return diagnosed(method, lambda step: Observed(VALUES, error))


def stepped(method, cuts):
    slices = InSlices(method, SlicePoints(VARIABLE, PLACES), cuts)
    return slices.step(0, PRIOR, PREDICTED, MEMBERS)


@settings(max_examples=20)
@given(CUTS, st.sampled_from(list(ERRORS)), st.sampled_from([None, "gain", "cross_covariance"]))
def test_that_an_update_has_the_bits_that_it_has_without(cuts, error, tapers):
    method = es_mda(ERRORS[error], locality=None if tapers is None else locality(tapers))
    plain, prepared = stepped(method, cuts)
    told, prepared_too = stepped(with_figures(method, ERRORS[error]), cuts)
    assert told.tobytes() == plain.tobytes()
    assert prepared_too.arrays.keys() == prepared.arrays.keys()
    for name, array in prepared.arrays.items():
        assert prepared_too.arrays[name].tobytes() == array.tobytes()
    assert prepared_too.figures.keys() == prepared.figures.keys() | FIGURES
    assert prepared_too.last == prepared.last


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_that_the_figures_are_those_of_the_predictions_and_the_observations(error):
    prepared = with_figures(es_mda(error), error).prepare(StepInput(0, MEMBERS, read(PREDICTED), {}))
    expected = innovation_figures(N_MEMBERS, read(PREDICTED), VALUES, error)
    found = tuple(prepared.figures[n] for n in ("chi_square", "dfs", "effective_rank", "misfit"))
    assert found == expected
    assert prepared.figures["alpha"] == 2.0


@dataclass
class Recorded:
    """A method that tells what it is given."""

    calls: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    n_steps = 3

    def base(self, step):
        return 7 * step

    def prepare(self, given):
        self.calls.append("prepare")
        return Prepared({"a": np.ones(1)}, self.figures, last=True)

    def localize(self, locate):
        return {"mine": np.ones(2)}

    def apply(self, given, slab):
        self.calls.append(f"apply with {', '.join(given.places)}")
        return {"left": np.zeros(1)}


class Surveyed(Recorded):
    """The same, and it surveys."""

    def survey(self, given, slab):
        return {"places": np.array(sorted(given.places))}

    def conclude(self, given, factors, found):
        return Prepared({"n": np.array(len(list(found)))}, {"concluded": 1.0})


def test_that_all_that_a_method_is_asked_is_asked_of_it():
    inner = Surveyed(figures={"misfit": -1.0, "mine": 2.0})
    method = with_figures(inner)
    assert (method.n_steps, method.base(2)) == (3, 14)
    slices = InSlices(method, SlicePoints(VARIABLE, PLACES), [10])
    _, prepared = slices.step(0, PRIOR, PREDICTED, MEMBERS)
    assert slices.before["n"] == 2
    assert slices.carried[1].keys() == {"left"}
    assert inner.calls == ["prepare", "apply with mine", "apply with mine"]
    assert prepared.last
    assert prepared.figures == {**prepared.figures, "misfit": -1.0, "mine": 2.0}, "its own figures stay"
    assert prepared.figures.keys() == FIGURES | {"mine", "concluded"}
    assert not hasattr(with_figures(Recorded()), "survey"), "only what surveys is said to"


class UnforeseenError(Exception):
    """What nobody thought of."""


def raising(error):
    def read_or_not(*where):
        raise error

    return read_or_not


@pytest.mark.parametrize(
    "error",
    [
        DataError("no"),
        StoreError("no"),
        MemoryError(),
        np.linalg.LinAlgError(),
        UnforeseenError(),
        RuntimeWarning(),
    ],
)
def test_that_figures_that_cannot_be_found_cost_no_update(error):
    for observed, reader in (
        (raising(error), read(PREDICTED)),
        (lambda step: Observed(VALUES, DIAGONAL), raising(error)),
    ):
        prepared = diagnosed(Recorded(), observed).prepare(StepInput(0, MEMBERS, reader, {}))
        assert prepared.arrays.keys() == {"a"}
        assert prepared.figures == {"undiagnosed": 1.0}


@pytest.mark.parametrize("predicted", [np.full((N_MEMBERS, N_OBS), np.nan), PREDICTED[:1], PREDICTED[:, :2]])
def test_that_predictions_that_tell_nothing_cost_no_update(predicted):
    given = StepInput(0, MEMBERS[: len(predicted)], read(predicted), {})
    assert with_figures(Recorded()).prepare(given).figures == {"undiagnosed": 1.0}


def test_that_what_a_method_does_wrong_is_raised():
    method = Recorded()
    method.prepare = raising(UnforeseenError())
    with pytest.raises(UnforeseenError):
        with_figures(method).prepare(StepInput(0, MEMBERS, read(PREDICTED), {}))


@settings(max_examples=30)
@given(st.integers(0, N_STATE), st.integers(0, N_STATE))
def test_that_the_share_that_is_localized_away_is_that_of_the_zeros_of_the_taper(one, other):
    first, last = sorted((one, other))
    method = with_figures(es_mda(locality=locality("gain")))
    here = slice(first, last)
    places = method.localize(lambda: SlicePoints(VARIABLE[here], PLACES[here]))
    zeros = dense_taper()[here] == 0
    assert places[LOCALIZED_AWAY] == pytest.approx(zeros.mean() if zeros.size else 0.0)


def test_that_it_is_none_where_all_hear_all_and_all_where_nobody_hears():
    for taper, share in ((None, 0.0), (DistanceTaper("step", (1e-3, 1e-3, None)), 1.0)):
        rules = dict.fromkeys(RULES, taper)
        plan = plan_localization(PLACES + 0.5, VARIABLE, OBS_PLACES, KINDS, rules)
        assert localized_away(plan) == share
    assert with_figures(es_mda()).localize(raising(UnforeseenError())) == {}
