"""Laws of the local transform filter with a shrunk covariance, compiled and not."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import CombinationError, DataError
from daflow.numerics.filters.shrinkage import apply_shrinkage, shrinkage_etkf
from daflow.numerics.localization import cell_planning, compiled_systems, local_systems, shrinkage_letkf
from daflow.numerics.localization.cell_planning import plan_localization
from daflow.numerics.localization.distance import DistanceTaper
from daflow.numerics.localization.letkf import add_letkf_analysis, letkf_factors
from daflow.numerics.localization.shrinkage_letkf import (
    add_shrinkage_analysis,
    shrinkage_letkf_factors,
)
from tests.numerics.localization.local_problems import plan_of
from tests.numerics.localization.tapers_by_hand import dense_by_kind, mixed_rules, scattered, seeds, taper_of

SOLVERS = pytest.mark.parametrize("solver", [local_systems, compiled_systems], ids=["numpy", "compiled"])
gammas = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.01, 0.99))
sizes = st.integers(2, 7)


def close(got, expected, tolerance=1e-10):
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max(initial=1.0))


class Problem:
    """A slice, synthetic members, and what is predicted of both."""

    def __init__(self, seed, n=90, m=16, n_members=4, n_synthetic=6):
        rng = np.random.default_rng(seed)
        self.slab = 3 + rng.standard_normal((n_members, n))
        self.synthetic = -7 + 2 * rng.standard_normal((n_synthetic, n))
        self.seen = rng.standard_normal((n_members, m)), 2 * rng.standard_normal((n_synthetic, m))
        self.observed, self.variances = rng.standard_normal(m), rng.uniform(0.3, 2, m)
        points, obs_points = scattered(seed, n), scattered(seed + 1, m)
        self.where = points, rng.choice([3, 8], n), obs_points, rng.integers(0, 3, m), mixed_rules()

    @property
    def plan(self):
        return plan_localization(*self.where)

    def plan_within(self, part):
        points, variables, *others = self.where
        return plan_localization(points[part], variables[part], *others)

    def factors(self, gamma):
        return shrinkage_letkf_factors(*self.seen, self.observed, self.variances, gamma)

    def updated(self, gamma, plan=None, solver=None, part=slice(None)):
        posterior, synthetic = self.slab[:, part].copy(), self.synthetic[:, part]
        plan = self.plan if plan is None else plan
        add_shrinkage_analysis(
            plan, posterior, lambda a, b: synthetic[:, a:b].copy(), self.factors(gamma), solver
        )
        return posterior


def whole(problem, gamma, error, near=slice(None), point=slice(None)):
    """The global analysis with some of the observations, at some of the points."""
    seen = [predicted[:, near] for predicted in problem.seen]
    transform = shrinkage_etkf(*seen, problem.observed[near], error, gamma)
    return apply_shrinkage(transform, problem.slab[:, point], problem.synthetic[:, point])


def plain(problem, weights, gamma):
    """Each point by the inverse of S and the root of what it leaves of the extended ensemble."""
    posterior, n = problem.slab.copy(), len(problem.slab)
    counts = [len(problem.slab), len(problem.synthetic)]
    scale = np.repeat(np.sqrt([(1 - gamma) / (counts[0] - 1), gamma / (counts[1] - 1)]), counts)[:, None]
    both = [np.vstack([a - a.mean(axis=0), b - b.mean(axis=0)]) * scale
            for a, b in ((problem.slab, problem.synthetic), problem.seen)]  # fmt: skip
    for point, of_point in enumerate(weights):
        near = of_point > 0
        if not near.any():
            continue
        state, seen = both[0][:, point], both[1][:, near]
        inverse = np.linalg.inv(seen.T @ seen + np.diag(problem.variances[near] / of_point[near]))
        pull = inverse @ (problem.observed - problem.seen[0].mean(axis=0))[near]
        root = scipy.linalg.sqrtm(np.eye(sum(counts)) - seen @ inverse @ seen.T).real
        mean = problem.slab[:, point].mean() + state @ seen @ pull
        posterior[:, point] = mean + (root @ state)[:n] / scale[0]
    return posterior


@SOLVERS
@given(seeds, sizes, sizes, st.floats(0, 0.95), st.integers(3, 60))
@settings(max_examples=12)
def test_that_it_equals_the_plain_formula_of_each_point(solver, seed, n_members, n_synthetic, gamma, cell):
    problem = Problem(seed, 60, 16, n_members, n_synthetic)
    expected = plain(problem, dense_by_kind(*problem.where), gamma)
    with pytest.MonkeyPatch.context() as patched:
        # Cells of few points: many are worked on together.
        patched.setattr(cell_planning, "CELL_SIZE", cell)
        plan = problem.plan
    close(problem.updated(gamma, plan, solver), expected)


@given(seeds, sizes, sizes, gammas)
@settings(max_examples=12)
def test_that_each_point_has_the_global_analysis_with_its_own_errors(seed, n_members, n_synthetic, gamma):
    problem = Problem(seed, 40, 16, n_members, n_synthetic)
    found = problem.updated(gamma)
    for point, weights in enumerate(dense_by_kind(*problem.where)):
        # Errors of which hardly anything is left are as good as none, and overflow as variances.
        near = weights > 1e-14
        expected = problem.slab[:, [point]]
        if near.any():
            expected = whole(problem, gamma, problem.variances[near] / weights[near], near, [point])
        close(found[:, [point]], expected)


@SOLVERS
@given(seeds, sizes, sizes, gammas, st.integers(1, 20))
@settings(max_examples=12)
def test_that_with_weights_of_one_it_is_the_global_filter(solver, seed, n_members, n_synthetic, gamma, m):
    problem = Problem(seed, 20, m, n_members, n_synthetic)
    expected = whole(problem, gamma, problem.variances)
    points, _, obs_points, *_ = problem.where
    close(problem.updated(gamma, plan_of(np.ones((20, m))), solver), expected)
    for taper in (None, DistanceTaper("step", (1e6, 1e6, 1e6))):
        plan = plan_localization(points, 0, obs_points, 0, {(0, 0): taper})
        close(problem.updated(gamma, plan, solver), expected)


@SOLVERS
@given(seeds, sizes, sizes)
@settings(max_examples=12)
def test_that_a_gamma_of_zero_is_the_letkf(solver, seed, n_members, n_synthetic):
    problem = Problem(seed, n_members=n_members, n_synthetic=n_synthetic)
    expected = problem.slab.copy()
    factors = letkf_factors(problem.seen[0], problem.observed, problem.variances)
    add_letkf_analysis(problem.plan, expected, *factors, solver)
    close(problem.updated(0.0, solver=solver), expected)


@given(seeds, gammas, st.lists(st.integers(0, 90), max_size=3).map(sorted), st.integers(1, 90))
@settings(max_examples=20)
def test_that_neither_slices_nor_windows_matter(seed, gamma, cuts, columns):
    problem = Problem(seed)
    expected = problem.updated(gamma)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shrinkage_letkf, "WINDOW_BYTES", 8 * len(problem.synthetic) * columns)
        for start, stop in zip([0, *cuts], [*cuts, 90], strict=True):
            part = slice(start, stop)
            found = problem.updated(gamma, problem.plan_within(part), part=part)
            close(found, expected[:, part], 1e-12)


@given(seeds, sizes, gammas)
@settings(max_examples=12)
def test_that_permuting_the_members_permutes_the_posterior(seed, n_members, gamma):
    problem = Problem(seed, n_members=n_members)
    expected = problem.updated(gamma)
    order = np.random.default_rng(seed).permutation(n_members)
    problem.slab, problem.seen = problem.slab[order], (problem.seen[0][order], problem.seen[1])
    close(problem.updated(gamma), expected[order])
    turned = np.random.default_rng(seed).permutation(len(problem.synthetic))
    problem.synthetic = problem.synthetic[turned]
    problem.seen = problem.seen[0], problem.seen[1][turned]
    close(problem.updated(gamma), expected[order])


@SOLVERS
def test_that_compiled_or_not_is_the_same_and_hardly_moved_by_what_members_share(solver):
    problem = Problem(5, 300, 30)
    expected = problem.updated(0.6, solver=local_systems)
    close(problem.updated(0.6, solver=solver), expected, 1e-12)
    problem.synthetic = problem.synthetic + 1e4 * np.arange(300)
    close(problem.updated(0.6, solver=solver), expected, 1e-8)


@SOLVERS
def test_that_what_hears_nothing_stays_as_it_is_bit_for_bit_and_is_not_asked_for(solver):
    problem = Problem(3, 500, 1)
    points, obs_points = problem.where[0], np.array([[2.0, 2.0, np.nan]])
    far = np.hypot(*(points[:, :2] - 2.0).T) > 4.0
    problem.synthetic[:, far] = 1e300
    plan = plan_localization(points, 0, obs_points, 0, {(0, 0): taper_of()})
    posterior = problem.updated(0.5, plan, solver)
    assert posterior[:, far].tobytes() == problem.slab[:, far].tobytes()
    assert (posterior != problem.slab).any()
    nothing = plan_localization(points[far], 0, obs_points, 0, {(0, 0): taper_of()})
    add_shrinkage_analysis(
        nothing, posterior[:, far], lambda *_: pytest.fail("nobody hears"), problem.factors(0.5), solver
    )


def test_that_float32_is_updated_to_its_own_rounding():
    problem = Problem(7)
    expected = problem.updated(0.5)
    problem.slab = problem.slab.astype(np.float32)
    found = problem.updated(0.5)
    assert found.dtype == np.float32
    close(found, expected, 2e-6)


BAD = {
    "gamma": lambda p: p.factors(1.1),
    "one synthetic member": lambda p: shrinkage_letkf_factors(
        p.seen[0], p.seen[1][:1], p.observed, p.variances, 0.5
    ),
    "synthetic members elsewhere": lambda p: add_shrinkage_analysis(
        p.plan, p.slab, lambda a, b: np.ones((6, b - a + 1)), p.factors(0.5)
    ),
    "synthetic members that are not finite": lambda p: add_shrinkage_analysis(
        p.plan, p.slab, lambda a, b: np.full((6, b - a), np.nan), p.factors(0.5)
    ),
    "another innovation": lambda p: add_shrinkage_analysis(
        p.plan, p.slab, lambda a, b: p.synthetic[:, a:b], p.factors(0.5)._replace(innovation=np.ones(3))
    ),
    "no synthetic members": lambda p: add_shrinkage_analysis(
        p.plan,
        p.slab,
        lambda a, b: p.synthetic[:, a:b],
        p.factors(0.5)._replace(extended=p.factors(0.5).dynamic),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_that_what_cannot_be_used_is_refused(case):
    with pytest.raises(DataError):
        BAD[case](Problem(0))


def test_that_errors_that_depend_on_each_other_are_refused():
    problem = Problem(0, m=3)
    with pytest.raises(CombinationError, match="independent"):
        shrinkage_letkf_factors(*problem.seen, problem.observed, np.eye(3) + 0.1, 0.5)
