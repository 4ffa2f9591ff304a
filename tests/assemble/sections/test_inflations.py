"""The section ``inflation`` as a run takes it: what it becomes, what it refuses, what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from daflow.assemble.looking_ahead.preview import _notes
from daflow.assemble.sections.filters import FILTERS
from daflow.assemble.sections.inflations import check_inflation, inflated, inflations_told
from daflow.assemble.sections.methods import KINDS, check_method, method_of, n_steps_of
from daflow.assemble.sections.smoothers import SMOOTHERS
from daflow.config.load import workflow_from
from daflow.errors import CombinationError
from daflow.methods import EsMda
from daflow.methods.inflated import Inflated
from daflow.methods.inflations import (
    AdaptivePrior,
    MultipliedPosterior,
    MultipliedPrior,
    Noise,
    RelaxedToPerturbations,
    RelaxedToSpread,
)
from daflow.methods.spatial_inflation import SpatialPrior
from daflow.numerics.obs_error.covariance import DiagonalCovariance
from daflow.ports import Observations, SlicePoints, StepInput

NORMAL = {"kind": "normal", "mean": 0.0, "std": 1.0}
N_OBS = 5
TABLE = {
    "name": np.array(["a", "b", "a", "b", "c"]),
    "kind": np.array(["k"] * N_OBS),
    "time": np.array([1.0, 1.0, 2.0, 2.0, 2.0]),
    "x": np.array([0.5, 2.5, 0.5, 2.5, 4.5]),
    "y": np.full(N_OBS, np.nan),
    "z": np.full(N_OBS, np.nan),
    "value": np.arange(5.0),
    "error_std": np.full(N_OBS, 0.5),
}
OBSERVED = Observations(TABLE, {})
WIDER = {"kind": "multiplicative", "factor": 1.44}
RTPS = {"kind": "relaxation", "to": "prior_spread", "strength": 0.8}
SPATIAL = {"kind": "spatial", "std": 0.5, "least_std": 0.1, "lower": 0.8, "upper": 3.0, "damping": 0.7}
DISTANCE = {"kind": "distance", "lengths": {"x": 1.0}, "variables": {"b": "none"}}


def workflow(inflation, **sections):
    values = {
        "seed": 9,
        "grids": {"line": {"shape": [6], "axes": ["x"]}},
        "parameters": {"a": {"grid": "line", "prior": NORMAL}, "b": {"shape": [2], "prior": NORMAL}},
        "model": {"kind": "callable", "function": "model:forecast", "advance": "model:advance"},
        "observations": {"kind": "twin", "error": {"default": {"absolute": 1.0}}},
        "method": {"kind": "es_mda", "steps": 1},
        "cycling": {"start": 0.0},
        "inflation": inflation,
    }
    return workflow_from({name: each for name, each in (values | sections).items() if each is not None})


def smoother(inflation, **sections):
    model = {"kind": "callable", "function": "model:forecast"}
    return workflow(inflation, **({"cycling": None, "model": model} | sections))


def es_mda():
    return EsMda((1.0,), TABLE["value"], DiagonalCovariance(TABLE["error_std"] ** 2), 9)


def test_that_a_method_without_inflation_is_itself():
    method = es_mda()
    assert inflated(smoother("none"), method, OBSERVED) is method


def test_that_a_factor_on_the_variance_is_the_square_of_one_on_the_anomalies():
    variance, posterior = WIDER | {"of": "variance"}, WIDER | {"of": "variance", "on": "posterior"}
    assert inflated(smoother(WIDER), es_mda(), OBSERVED).prior == MultipliedPrior(1.44)
    assert inflated(smoother(variance), es_mda(), OBSERVED).prior == MultipliedPrior(1.2)
    method = inflated(smoother([variance, posterior]), es_mda(), OBSERVED)
    assert (method.prior, method.posterior) == (MultipliedPrior(1.2), (MultipliedPosterior(1.2),))


def test_that_what_acts_after_the_update_acts_in_the_order_of_the_list():
    noise = {"kind": "additive", "std": {"b": 0.3}}
    rtpp = {"kind": "relaxation", "to": "prior_perturbations", "strength": 0.5}
    method = inflated(smoother([noise, RTPS]), es_mda(), OBSERVED)
    assert (method.prior, method.posterior) == (None, (Noise(((6, 8, 0.3),), 9), RelaxedToSpread(0.8)))
    method = inflated(smoother([rtpp, noise]), es_mda(), OBSERVED)
    assert method.posterior == (RelaxedToPerturbations(0.5), Noise(((6, 8, 0.3),), 9))


def test_that_an_adaptive_factor_knows_what_each_cycle_observes():
    settings = {"kind": "adaptive", "initial": 1.5, "std": 0.3, "forgetting": 1.2, "lower": 0.9, "upper": 2}
    prior = inflated(workflow(settings), es_mda(), OBSERVED).prior
    assert isinstance(prior, AdaptivePrior)
    assert prior.initial == (1.5, 0.3**2)
    assert (prior.forgetting, prior.lower, prior.upper) == (1.2, 0.9, 2.0)
    assert [prior.observed(step).values.tolist() for step in range(2)] == [[0.0, 1.0], [2.0, 3.0, 4.0]]


def test_that_a_spatial_inflation_knows_places_again_and_how_far_they_reach():
    prior = inflated(workflow(SPATIAL, localization=DISTANCE), es_mda(), OBSERVED).prior
    assert isinstance(prior, SpatialPrior)
    assert (prior.deviations, prior.bounds, prior.damping) == ((0.1, 0.5), (0.8, 3.0), 0.7)
    first, second = prior.seen(0), prior.seen(1)
    assert second.values.tolist() == [2.0, 3.0, 4.0]
    assert second.variances.tolist() == [0.25] * 3
    assert np.isin(second.places, first.places).tolist() == [True, True, False]
    points = SlicePoints(np.array([0, 0, 1]), np.array([[0.5], [4.5], [np.nan]]) * np.array([1.0, np.nan, 1]))
    weights = second.taper(points).toarray()
    np.testing.assert_allclose(weights[:2], [[1, 0, 0], [0, 0, 1]], atol=1e-12)
    assert weights[2].tolist() == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(second.among(slice(1, 3)).toarray(), [[0, 1, 0], [0, 0, 1]], atol=1e-12)


def test_that_a_spatial_inflation_without_localization_reaches_everywhere():
    seen = inflated(workflow(SPATIAL), es_mda(), OBSERVED).prior.seen(0)
    assert seen.taper is None
    assert seen.among is None


def test_that_what_is_observed_several_times_in_a_cycle_is_told_apart_by_its_turn():
    twice = Observations(TABLE | {"x": np.array([0.5, 0.5, 0.5, 2.5, 0.5])}, {})
    prior = inflated(workflow(SPATIAL), es_mda(), twice).prior
    first, second = prior.seen(0).places, prior.seen(1).places
    assert len(set(first)) == 2
    assert len(set(second)) == 3
    assert second[0] == first[0]
    assert second[2] == first[1]


def test_that_leaving_observations_out_leaves_the_places_of_the_others_as_they_were():
    few = Observations({name: column[[1, 2, 3]] for name, column in TABLE.items()}, {})
    prior = inflated(workflow(SPATIAL), es_mda(), few).prior
    every = inflated(workflow(SPATIAL), es_mda(), OBSERVED).prior
    assert prior.seen(0).places.tolist() == every.seen(0).places[1:].tolist()
    assert prior.seen(1).places.tolist() == every.seen(1).places[:2].tolist()


def test_that_where_there_is_no_place_the_name_stands_for_it():
    nowhere = Observations(TABLE | {"x": np.full(N_OBS, np.nan)}, {})
    prior = inflated(workflow(SPATIAL), es_mda(), nowhere).prior
    assert prior.seen(1).places[:2].tolist() == prior.seen(0).places.tolist()


REFUSED = {
    "adaptive, the same observations again": (
        smoother({"kind": "adaptive"}, method={"kind": "es_mda", "steps": 2}),
        "do not know yet",
    ),
    "momentum": (
        smoother(RTPS, method={"kind": "eki", "perturbed": "none", "acceleration": "nesterov"}),
        "for motion",
    ),
    "spatial, one step": (smoother(SPATIAL), "there is only one"),
    "spatial, weights that come from the step": (
        workflow(SPATIAL, localization={"kind": "sampling_error", "family": "fisher"}),
        "known before the step",
    ),
    "spatial, correlated errors": (
        workflow(
            SPATIAL,
            observations={"kind": "file", "path": "o.csv", "error": {"kind": "dense", "file": "r.npy"}},
        ),
        "one by one",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_that_what_cannot_be_right_is_refused_before_anything_is_observed(case):
    refused, said = REFUSED[case]
    with pytest.raises(CombinationError, match=said):
        check_inflation(KINDS[refused.method.kind], refused)


def test_that_one_update_may_adapt_its_inflation():
    one = smoother({"kind": "adaptive"})
    check_method(one)
    assert n_steps_of(one) == 1


@pytest.mark.parametrize("kind", SMOOTHERS)
def test_that_exactly_the_methods_that_start_from_an_earlier_prior_are_refused(kind):
    method = {"kind": kind}
    made, plain = smoother(WIDER, method=method), method_of(smoother("none", method=method), OBSERVED)
    if any(plain.base(step) != step for step in range(plain.n_steps)):
        for refuses in (check_method, lambda workflow: method_of(workflow, OBSERVED)):
            with pytest.raises(CombinationError, match="starts each update from the prior"):
                refuses(made)
    else:
        check_method(made)


def test_that_filters_start_from_what_was_forecast_last():
    assert not any(kind.starts_from_prior for kind in FILTERS.values())


def test_that_inflations_are_told_in_a_line():
    assert inflations_told(smoother("none")) == ""
    many = [{"kind": "adaptive"}, RTPS, WIDER | {"on": "posterior"}]
    told = "adaptive of the prior, relaxation of the posterior, multiplicative of the posterior"
    assert inflations_told(smoother(many)) == told
    assert f"inflation: {told}" in _notes(smoother(many))


def test_that_the_method_of_a_workflow_is_inflated():
    method = method_of(smoother([WIDER, RTPS]), OBSERVED)
    while not isinstance(method, Inflated):
        method = method.method
    assert method.prior == MultipliedPrior(1.44)
    predicted = np.random.default_rng(0).standard_normal((4, N_OBS))
    given = StepInput(0, range(4), lambda a, b: predicted[:, a:b].copy(), {})
    assert (
        method.prepare(given).arrays["transform"] != method.method.prepare(given).arrays["transform"]
    ).any()
