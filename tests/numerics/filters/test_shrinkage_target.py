from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.filters.shrinkage_target import (
    MatchedScale,
    ShrinkageTarget,
    laplace_draws,
    ledoit_wolf_gamma,
    matched_scale,
    rblw_gamma,
    target_of,
)

GOLDEN = Path(__file__).parents[2] / "golden"
any_case = pytest.mark.parametrize(
    "case", ["popov_small_n6_m4", "popov_l96_N5_M100", "popov_l96_N14_M100", "popov_l96_N5_M20_r12"]
)


def load(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def covariance(seed, n=6):
    root = np.random.default_rng(seed).standard_normal((n, n))
    return root @ root.T + 0.1 * np.eye(n)


@any_case
def test_that_scale_sphericity_and_weights_meet_the_golden_numbers(case):
    golden = load(case)
    n_state = len(golden["P"])
    target = target_of(golden["P"], int(golden["rank"]))
    # There the dimension is that of the state, whatever the rank.
    found = matched_scale(float(golden["alpha"]) * target.project(golden["X"].T), n_state)
    for value, name in (
        (found.scale, "mu"),
        (found.sphericity, "sphericity"),
        (rblw_gamma(found), "gamma_rblw"),
        (ledoit_wolf_gamma(golden["X"].T, target_of(golden["P"])), "gamma_stoica"),
    ):
        np.testing.assert_allclose(value, golden[name], rtol=1e-8)


@any_case
def test_that_synthetic_members_meet_the_golden_numbers(case):
    golden = load(case)
    target = target_of(golden["P"], int(golden["rank"]))
    # There the draws go through the symmetric root: into the target's coordinates and back.
    draws = golden["W"].T @ target.basis
    found = target.synthetic(golden["X"].mean(axis=1), float(golden["mu"]), draws)
    expected = golden["Xs"].T
    assert np.abs(found - expected).max() <= 1e-8 * np.abs(expected).max()


def test_that_the_whole_target_matches_itself():
    rng = np.random.default_rng(0)
    target = target_of(covariance(0))
    members = target.synthetic(np.zeros(6), 4.0, rng.standard_normal((20_000, 6)))
    found = matched_scale(target.project(members))
    assert found.scale == pytest.approx(4.0, rel=0.03)
    assert found.sphericity < 1e-3
    assert rblw_gamma(found) > 0.1
    np.testing.assert_allclose(np.cov(members.T), 4 * covariance(0), atol=0.05 * covariance(0).max() * 4)


@settings(max_examples=30)
@given(st.floats(1e-3, 1), st.integers(2, 50), st.integers(3, 40))
def test_that_the_weight_falls_as_the_ensemble_looks_less_like_the_target(sphericity, dimension, n_members):
    gamma = rblw_gamma(MatchedScale(1.0, sphericity, dimension, n_members))
    assert 0 <= gamma <= 1
    assert rblw_gamma(MatchedScale(1.0, 0.9 * sphericity, dimension, n_members)) >= gamma


def test_that_weights_of_lorenz_96_with_five_members_keep_the_known_bounds():
    # From rank one to the most even ensemble that five members can be.
    assert rblw_gamma(MatchedScale(1.0, 1.0, 40, 5)) == pytest.approx(0.256, abs=1e-3)
    assert rblw_gamma(MatchedScale(1.0, (40 / 4 - 1) / 39, 40, 5)) == pytest.approx(0.833, abs=1e-3)
    assert rblw_gamma(MatchedScale(1.0, 0.0, 40, 5)) == 1.0


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_that_slices_of_the_state_add_up(seed, cut):
    rng = np.random.default_rng(seed)
    target = target_of(covariance(seed), 4)
    members, draws = rng.standard_normal((5, 6)), rng.standard_normal((7, 4))
    projected, synthetic = [], []
    for part in (slice(cut), slice(cut, None)):
        mine = ShrinkageTarget(target.basis[part], target.eigenvalues)
        projected.append(mine.project(members[:, part]))
        synthetic.append(mine.synthetic(members[:, part].mean(axis=0), 1.3, draws))
    np.testing.assert_allclose(sum(projected), target.project(members), atol=1e-12)
    whole = target.synthetic(members.mean(axis=0), 1.3, draws)
    np.testing.assert_allclose(np.hstack(synthetic), whole, atol=1e-12)


def test_that_a_target_has_its_matrix_and_its_leading_directions():
    matrix = covariance(1)
    target = target_of(matrix)
    np.testing.assert_allclose(target.basis * target.eigenvalues @ target.basis.T, matrix, atol=1e-10)
    assert (np.diff(target.eigenvalues) <= 0).all()
    assert target_of(matrix, 2).eigenvalues.tolist() == target.eigenvalues[:2].tolist()
    assert target_of(np.outer([1.0, 2.0], [1.0, 2.0])).rank == 1


def test_that_the_weight_by_ledoit_and_wolf_is_that_of_the_formula():
    rng = np.random.default_rng(2)
    members, matrix = rng.standard_normal((7, 6)), covariance(2)
    anomalies = members - members.mean(axis=0)
    sample = np.cov(members.T)
    numerator = (anomalies**2).sum(axis=1) @ (anomalies**2).sum(axis=1) / 49 - (sample**2).sum() / 7
    expected = np.clip(numerator / ((sample - matrix) ** 2).sum(), 0, 1)
    assert ledoit_wolf_gamma(members, target_of(matrix)) == pytest.approx(expected, rel=1e-9)
    assert ledoit_wolf_gamma(members, target_of(sample + 1e-9 * np.eye(6))) == 1.0


def test_that_laplace_draws_have_mean_zero_unit_covariance_and_heavy_tails():
    rng = np.random.default_rng(3)
    draws = laplace_draws(rng.standard_normal((200_000, 2)), rng.exponential(size=200_000))
    np.testing.assert_allclose(draws.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(np.cov(draws.T), np.eye(2), atol=0.03)
    np.testing.assert_allclose((draws**4).mean(axis=0), 6, rtol=0.1)


BAD = {
    "rank": lambda: target_of(covariance(0), 7),
    "two members": lambda: matched_scale(np.ones((2, 4))),
    "no spread": lambda: matched_scale(np.zeros((5, 4))),
    "eigenvalue": lambda: ShrinkageTarget(np.eye(3), np.array([1.0, 0.0, 2.0])),
    "basis": lambda: ShrinkageTarget(np.eye(3), np.ones(2)),
    "exponential": lambda: laplace_draws(np.ones((2, 2)), [-1.0, 1.0]),
}


@pytest.mark.parametrize("case", BAD)
def test_that_what_cannot_be_used_is_refused(case):
    with pytest.raises(DataError):
        BAD[case]()
