"""Laws of the local ensemble transform Kalman filter, compiled and not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import CombinationError, DataError
from daflow.numerics.filters.ensemble_transform import apply_transform
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.localization import compiled_systems, local_systems
from daflow.numerics.localization.cell_planning import plan_localization
from daflow.numerics.localization.distance import DistanceTaper
from daflow.numerics.localization.letkf import add_letkf_analysis, letkf_factors
from daflow.numerics.localization.local_analysis import add_local_analysis
from tests.numerics.localization.local_problems import plain_letkf, plan_of
from tests.numerics.localization.tapers_by_hand import (
    close,
    dense_by_kind,
    ensembles,
    mixed_rules,
    scattered,
    seeds,
    taper_of,
)

SOLVERS = pytest.mark.parametrize("solver", [local_systems, compiled_systems], ids=["numpy", "compiled"])
GOLDEN = sorted((Path(__file__).parents[2] / "golden").glob("filt_n*.npz"))


def updated(plan, slab, anomalies, innovation, solver=None):
    posterior = slab.copy()
    add_letkf_analysis(plan, posterior, anomalies, innovation, solver)
    return posterior


def problem(seed, n=400, m=30, n_members=6):
    rng = np.random.default_rng(seed)
    points, obs_points = scattered(seed, n), scattered(seed + 1, m)
    slab, anomalies, mismatch = ensembles(seed, n_members, n, m)
    where = points, rng.choice([3, 8], n), obs_points, rng.integers(0, 3, m), mixed_rules()
    return where, slab, anomalies, mismatch[:, 0]


@SOLVERS
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_that_it_gives_the_golden_numbers(solver, path):
    golden = np.load(path)
    scale = np.sqrt(np.diag(golden["R"]) * (golden["X"].shape[1] - 1.0))
    predicted = golden["H"] @ golden["X"]
    mean = predicted.mean(axis=1, keepdims=True)
    anomalies, innovation = (predicted - mean) / scale[:, np.newaxis], (golden["y"] - mean[:, 0]) / scale
    posterior = updated(plan_of(golden["letkf_rho"]), golden["X"].T, anomalies, innovation, solver)
    rtol = 1e-5 if path.stem.endswith("ill") else 1e-8
    np.testing.assert_allclose(
        posterior.T, golden["letkf"], rtol=0, atol=rtol * np.abs(golden["letkf"]).max()
    )


def test_that_there_are_golden_numbers():
    assert len(GOLDEN) == 5


@SOLVERS
@given(seed=seeds, n_members=st.integers(2, 12))
@settings(max_examples=15)
def test_that_it_equals_the_plain_formula_of_each_point(solver, seed, n_members):
    where, *ensemble = problem(seed, n_members=n_members)
    expected = plain_letkf(dense_by_kind(*where), *ensemble)
    close(updated(plan_localization(*where), *ensemble, solver), expected)


@SOLVERS
@given(seed=seeds, cut=st.integers(0, 400))
@settings(max_examples=10)
def test_that_it_does_not_depend_on_the_split_into_slices(solver, seed, cut):
    (points, variables, *others), slab, *obs = problem(seed)
    whole = updated(plan_localization(points, variables, *others), slab, *obs, solver)
    for part in (slice(0, cut), slice(cut, 400)):
        plan = plan_localization(points[part], variables[part], *others)
        close(updated(plan, slab[:, part], *obs, solver), whole[:, part])


@SOLVERS
@pytest.mark.parametrize("taper", [None, DistanceTaper("step", (1e6, 1e6, 1e6))], ids=["untapered", "ones"])
def test_that_with_weights_of_one_it_is_the_global_transform_filter(solver, taper):
    (points, _, obs_points, *_), *ensemble = problem(2, 120, 14)
    plan = plan_localization(points, 0, obs_points, 0, {(0, 0): taper})
    close(updated(plan, *ensemble, solver), plain_letkf(np.ones((120, 14)), *ensemble))


@SOLVERS
@given(seed=seeds)
@settings(max_examples=10)
def test_that_its_mean_is_that_of_the_stochastic_analysis_without_perturbations(solver, seed):
    where, slab, anomalies, innovation = problem(seed)
    plan = plan_localization(*where)
    stochastic = slab.copy()
    # Without perturbations a member's mismatch is the mean's, less its own departure.
    mismatch = innovation[:, np.newaxis] - anomalies
    add_local_analysis(plan, stochastic, anomalies, mismatch, solver)
    close(updated(plan, slab, anomalies, innovation, solver).mean(axis=0), stochastic.mean(axis=0))


@SOLVERS
def test_that_what_hears_nothing_stays_as_it_is_bit_for_bit(solver):
    points, obs_points = scattered(3, 500), np.array([[2.0, 2.0, np.nan]])
    slab, anomalies, mismatch = ensembles(1, 5, 500, 1)
    far = np.hypot(*(points[:, :2] - 2.0).T) > 4.0
    plan = plan_localization(points, 0, obs_points, 0, {(0, 0): taper_of()})
    posterior = updated(plan, slab, anomalies, mismatch[:, 0], solver)
    assert posterior[:, far].tobytes() == slab[:, far].tobytes()


def test_that_an_observation_of_no_weight_is_as_good_as_none():
    rng = np.random.default_rng(5)
    slab, anomalies, mismatch = ensembles(5, 7, 40, 9)
    weights = rng.random((40, 9))
    weights[:, 4:] = 0.0
    expected = updated(plan_of(weights[:, :4]), slab, anomalies[:4], mismatch[:4, 0])
    close(updated(plan_of(weights), slab, anomalies, mismatch[:, 0]), expected)


def test_that_an_innovation_that_does_not_fit_is_refused():
    plan = plan_localization(scattered(1, 40), 0, scattered(2, 12), 0, {(0, 0): taper_of()})
    slab, anomalies, mismatch = ensembles(1, 5, 40, 12)
    with pytest.raises(DataError, match="innovation does not fit"):
        add_letkf_analysis(plan, slab, anomalies, mismatch)


@given(seed=seeds, n_members=st.integers(2, 12))
@settings(max_examples=15)
def test_that_with_weights_of_one_its_factors_give_the_etkf(seed, n_members):
    rng = np.random.default_rng(seed)
    prior, predicted = rng.standard_normal((n_members, 7)), rng.standard_normal((n_members, 5))
    observed, variances = rng.standard_normal(5), rng.uniform(0.3, 2, 5)
    factors = letkf_factors(predicted, observed, variances)
    expected = apply_transform(etkf(predicted, observed, variances), prior)
    np.testing.assert_allclose(updated(plan_of(np.ones((7, 5))), prior, *factors), expected, atol=1e-11)


def test_that_factors_of_correlated_errors_are_refused():
    with pytest.raises(CombinationError, match="independent"):
        letkf_factors(np.eye(3), np.zeros(3), np.eye(3) + 0.1)
