from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.filters.ensemble_transform import apply_transform
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.filters.shrinkage import apply_shrinkage, shrinkage_etkf, shrunk_modes
from daflow.numerics.filters.shrinkage_roots import dynamic_root, low_rank_root, shrinkage_gram

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = ["popov_small_n6_m4", "popov_l96_N5_M100", "popov_l96_N14_M100", "popov_l96_N5_M20_r12"]
any_case = pytest.mark.parametrize("case", CASES)
drawn = given(
    st.integers(0, 2**32 - 1), st.integers(2, 8), st.integers(2, 12), st.integers(1, 6), st.floats(0, 1)
)


def load(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


class Golden:
    def __init__(self, name):
        golden = self.golden = load(name)
        prior = golden["X"].T
        self.prior = prior.mean(axis=0) + float(golden["alpha"]) * (prior - prior.mean(axis=0))
        self.synthetic = golden["Xs"].T
        self.given = (
            self.prior @ golden["H"].T,
            self.synthetic @ golden["H"].T,
            golden["y"],
            golden["R"],
        )

    def meets(self, transform, name):
        found, expected = apply_shrinkage(transform, self.prior, self.synthetic), self.golden[name].T
        assert np.abs(found - expected).max() <= 1e-8 * np.abs(expected).max()


@any_case
def test_that_the_golden_analyses_are_met(case):
    one = Golden(case)
    for name, gamma in (("rblw", one.golden["gamma_rblw"]), ("g085", 0.85), ("g01", 0.1)):
        one.meets(shrinkage_etkf(*one.given, float(gamma)), f"analysis_{name}")


@any_case
def test_that_the_golden_analyses_of_the_corrected_appendix_are_met(case):
    one = Golden(case)
    found = dynamic_root(
        shrunk_modes(*one.given, float(one.golden["gamma_rblw"])), shrinkage_gram(one.prior, one.synthetic)
    )
    posterior = apply_shrinkage(found.transform, one.prior, one.synthetic)
    # There the mean is that of eq. A.6; here the one of the other roots.
    golden, mean = one.golden["appendixA_corrected"].T, one.golden["analysis_rblw"].mean(axis=1)
    close(posterior - posterior.mean(axis=0), golden - golden.mean(axis=0))
    close(posterior.mean(axis=0), mean)
    assert found.smallest_eigenvalue == pytest.approx(one.golden["appendixA_min_eig"][0], rel=1e-6)
    literal = one.golden["appendixA_literal"].T
    assert np.abs((literal - literal.mean(axis=0)) - (golden - golden.mean(axis=0))).max() > 1e-4


def close(actual, expected, rtol=1e-8):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * max(1.0, np.abs(expected).max()))


class Problem:
    def __init__(self, seed, n_members=5, n_synthetic=9, n_obs=4, n_state=6):
        rng = np.random.default_rng(seed)
        self.prior = 2 + rng.standard_normal((n_members, n_state))
        self.synthetic = self.prior.mean(axis=0) + 2 * rng.standard_normal((n_synthetic, n_state))
        self.map = rng.standard_normal((n_state, n_obs))
        root = rng.standard_normal((n_obs, n_obs))
        self.given = (
            self.prior @ self.map,
            self.synthetic @ self.map,
            rng.standard_normal(n_obs),
            root @ root.T + np.eye(n_obs),
        )

    @property
    def gram(self):
        return shrinkage_gram(self.prior, self.synthetic)

    def roots(self, gamma):
        modes = shrunk_modes(*self.given, gamma)
        return {
            "symmetric": shrinkage_etkf(*self.given, gamma),
            "low rank": low_rank_root(modes, self.gram).transform,
            "dynamic": dynamic_root(modes, self.gram).transform,
        }

    def apply(self, transform):
        return apply_shrinkage(transform, self.prior, self.synthetic)

    def kalman(self, gamma):
        """Return mean and covariance of the Kalman filter with the shrunk covariance."""
        covariance = (1 - gamma) * np.cov(self.prior.T) + gamma * np.cov(self.synthetic.T)
        _, _, values, error = self.given
        gain = covariance @ self.map @ np.linalg.inv(self.map.T @ covariance @ self.map + error)
        mean = self.prior.mean(axis=0)
        return mean + gain @ (values - mean @ self.map), covariance - gain @ self.map.T @ covariance


@settings(max_examples=30)
@drawn
def test_that_every_root_has_the_kalman_mean_of_the_shrunk_covariance(seed, n, m, n_obs, gamma):
    problem = Problem(seed, n, m, n_obs)
    for transform in problem.roots(gamma).values():
        close(problem.apply(transform).mean(axis=0), problem.kalman(gamma)[0])


@settings(max_examples=30)
@drawn
def test_that_gamma_zero_is_the_etkf(seed, n, m, n_obs, gamma):
    problem = Problem(seed, n, m, n_obs)
    predicted, _, *rest = problem.given
    expected = apply_transform(etkf(predicted, *rest), problem.prior)
    roots = problem.roots(0.0)
    close(problem.apply(roots["symmetric"]), expected)
    close(problem.apply(roots["dynamic"]), expected)
    close(np.cov(problem.apply(roots["low rank"]).T), np.cov(expected.T))


@settings(max_examples=30)
@drawn
def test_that_the_low_rank_covariance_is_the_best_of_its_rank_and_says_what_it_keeps(
    seed, n, m, n_obs, gamma
):
    problem = Problem(seed, n, m, n_obs)
    root = low_rank_root(shrunk_modes(*problem.given, gamma), problem.gram)
    assert 0 < root.kept <= 1 + 1e-12
    total = np.trace(np.cov(problem.apply(root.transform).T)) / root.kept
    assert total == pytest.approx(np.trace(problem.kalman(gamma)[1]), rel=1e-8)
    eigenvalues, vectors = np.linalg.eigh(problem.kalman(gamma)[1])
    kept = vectors[:, ::-1][:, : n - 1] * np.maximum(eigenvalues[::-1][: n - 1], 0)
    found = np.cov(problem.apply(problem.roots(gamma)["low rank"]).T)
    close(found, kept @ vectors[:, ::-1][:, : n - 1].T)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_that_the_dynamic_root_meets_the_whole_covariance_where_the_members_span_the_state(seed, gamma):
    problem = Problem(seed, 12, 9, 4, n_state=3)
    # Weak observations nearly always keep the matrix, whose root is taken, positive.
    problem.given = (*problem.given[:3], 100 * problem.given[3])
    found = dynamic_root(shrunk_modes(*problem.given, gamma), problem.gram)
    assume(found.smallest_eigenvalue > 0)
    dynamic = problem.apply(found.transform)
    # What the dynamic part leaves: gamma S' [I - gamma Z' inv(S) Z] S for the synthetic members.
    whole = shrunk_modes(*problem.given, gamma)
    synthetic = whole.modes.members[12:]
    damping = synthetic * (whole.modes.values**2 / (1 + whole.modes.values**2)) @ synthetic.T
    anomalies = (problem.synthetic - problem.synthetic.mean(axis=0)) / np.sqrt(8)
    rest = gamma * anomalies.T @ (np.eye(9) - damping) @ anomalies
    close((1 - gamma) * np.cov(dynamic.T) + rest, problem.kalman(gamma)[1])


@settings(max_examples=30)
@drawn
def test_that_permuting_the_members_permutes_the_posterior(seed, n, m, n_obs, gamma):
    problem = Problem(seed, n, m, n_obs)
    expected = problem.apply(shrinkage_etkf(*problem.given, gamma))
    order = np.random.default_rng(0).permutation(n)
    predicted, *rest = problem.given
    transform = shrinkage_etkf(predicted[order], *rest, gamma)
    close(apply_shrinkage(transform, problem.prior[order], problem.synthetic), expected[order])


@settings(max_examples=30)
@drawn
def test_that_slices_give_what_the_whole_gives(seed, n, m, n_obs, gamma):
    problem = Problem(seed, n, m, n_obs)
    parts = (slice(2), slice(2, None))
    grams = [shrinkage_gram(problem.prior[:, part], problem.synthetic[:, part]) for part in parts]
    close(sum(grams), problem.gram, 1e-12)
    for transform in problem.roots(gamma).values():
        slices = [
            apply_shrinkage(transform, problem.prior[:, part], problem.synthetic[:, part]) for part in parts
        ]
        close(np.hstack(slices), problem.apply(transform), 1e-12)


def test_that_gamma_near_one_is_the_limit_of_gamma_one():
    problem = Problem(0)
    at_one = problem.apply(shrinkage_etkf(*problem.given, 1.0))
    close(problem.apply(shrinkage_etkf(*problem.given, 1.0 - 1e-12)), at_one, 1e-6)
    assert np.isfinite(at_one).all()
    assert at_one.std(axis=0).min() > 1e-3


def test_that_the_low_rank_root_does_not_collapse_where_everything_is_observed():
    one = Golden("popov_l96_N5_M100")
    modes = shrunk_modes(*one.given, 0.7)
    found = apply_shrinkage(
        low_rank_root(modes, shrinkage_gram(one.prior, one.synthetic)).transform, one.prior, one.synthetic
    )
    assert found.std(axis=0).mean() > 0.1


def test_that_units_of_the_observations_do_not_matter():
    problem = Problem(1)
    scale = np.array([1e-3, 1.0, 7.0, 1e4])
    predicted, synthetic, values, error = problem.given
    scaled = (predicted * scale, synthetic * scale, values * scale, error * np.outer(scale, scale))
    close(shrinkage_etkf(*scaled, 0.4).dynamic, shrinkage_etkf(*problem.given, 0.4).dynamic)


BAD = {
    "gamma": lambda p: shrinkage_etkf(*p.given, 1.1),
    "one synthetic member": lambda p: shrinkage_etkf(p.given[0], p.given[1][:1], *p.given[2:], 0.5),
    "products": lambda p: low_rank_root(shrunk_modes(*p.given, 0.5), np.eye(3)),
    "another ensemble": lambda p: apply_shrinkage(shrinkage_etkf(*p.given, 0.5), p.prior, p.synthetic[:-1]),
}


@pytest.mark.parametrize("case", BAD)
def test_that_what_cannot_be_used_is_refused(case):
    with pytest.raises(DataError):
        BAD[case](Problem(0))
