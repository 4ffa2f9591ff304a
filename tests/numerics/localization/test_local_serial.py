from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from daflow.errors import DataError
from daflow.numerics.filters.serial_filters import SERIAL_FILTERS, apply_serial, serial_factors
from daflow.numerics.localization.cell_planning import plan_localization
from daflow.numerics.localization.distance import DistanceTaper, taper_by_kind
from daflow.numerics.localization.local_serial import add_serial_analysis
from tests.numerics.localization.local_problems import plan_of

GOLDEN = Path(__file__).parents[2] / "golden"
NEAR = DistanceTaper("gaspari_cohn", (0.3, 0.3, None))
STEP = DistanceTaper("step", (0.2, None, None))


def problem(seed, n_members=7, n_state=30, n_obs=12):
    rng = np.random.default_rng(seed)
    prior = 50 + rng.standard_normal((n_members, n_state))
    predicted = rng.standard_normal((n_members, n_obs))
    return prior, predicted, rng.standard_normal(n_obs), rng.uniform(0.3, 2, n_obs)


def close(actual, expected, tolerance=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("scheme", SERIAL_FILTERS)
def test_that_the_golden_tapered_analysis_is_met_cell_by_cell(scheme):
    # All of the state is observed there: the same taper lies among the observations.
    golden = np.load(GOLDEN / "filt_n40_m40_N10.npz")
    assert (golden["H"] == np.eye(40)).all()
    prior, taper = golden["X"].T, golden["rho_serial"]
    factors = serial_factors(
        prior, golden["y"], np.diag(golden["R"]), scheme=scheme, obs_obs_taper=sparse.csr_array(taper)
    )
    posterior = prior.copy()
    add_serial_analysis(plan_of(taper.T), posterior, *factors)
    expected = golden["esrf_serial_loc"].T
    assert np.abs(posterior - expected).max() <= 1e-8 * np.abs(expected).max()


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_that_cells_give_what_the_dense_tapers_give(seed):
    prior, predicted, values, variances = problem(seed)
    rng = np.random.default_rng(seed)
    points, obs_points = (np.column_stack([rng.uniform(size=(n, 2)), np.zeros(n)]) for n in (30, 12))
    variables, kinds = rng.integers(0, 2, 30), rng.integers(0, 3, 12)
    rules = {
        (0, 0): NEAR, (0, 1): STEP, (0, 2): None, (1, 0): None, (1, 1): None, (1, 2): None,
    }  # fmt: skip
    among = {(a, b): NEAR if b else STEP for a in range(3) for b in range(3)}
    weights = taper_by_kind(points, variables, obs_points, kinds, rules).toarray()
    own = taper_by_kind(obs_points, kinds, obs_points, kinds, among)
    factors = serial_factors(predicted, values, variances, obs_obs_taper=own)
    dense = serial_factors(predicted, values, variances, obs_obs_taper=own.toarray())
    close(factors.regressors, dense.regressors)
    close(factors.increments, dense.increments)
    posterior = prior.copy()
    add_serial_analysis(plan_localization(points, variables, obs_points, kinds, rules), posterior, *factors)
    close(posterior, apply_serial(dense, prior, weights))


def test_that_what_hears_nothing_stays_as_it_is_and_what_does_not_fit_is_refused():
    prior, *rest = problem(3)
    weights = np.random.default_rng(3).uniform(size=(30, 12))
    weights[7:11] = 0.0
    factors = serial_factors(*rest)
    for dtype in (np.float64, np.float32):
        posterior = prior.astype(dtype)
        add_serial_analysis(plan_of(weights), posterior, *factors)
        assert posterior[:, 7:11].tobytes() == prior.astype(dtype)[:, 7:11].tobytes()
        close(posterior, apply_serial(factors, prior, weights), 1e-12 if dtype is np.float64 else 1e-6)
    with pytest.raises(DataError, match="regressors"):
        add_serial_analysis(plan_of(weights), prior, factors.regressors[1:], factors.increments)
    with pytest.raises(DataError, match="wrong shape"):
        serial_factors(*rest, obs_obs_taper=sparse.csr_array(np.ones((3, 3))))
