"""Laws of the scalar distributions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ndtr

from daflow.errors import ConfigError, DataError
from daflow.numerics.priors.distributions import (
    DISTRIBUTIONS,
    Constant,
    LogNormal,
    Normal,
    Triangular,
    TruncatedNormal,
    Uniform,
)

INF = float("inf")
CASES = {
    "normal": (Normal(2.0, 3.0), stats.norm(2.0, 3.0)),
    "lognormal": (LogNormal(0.5, 0.7), stats.lognorm(0.7, scale=np.exp(0.5))),
    "uniform": (Uniform(-1.0, 4.0), stats.uniform(-1.0, 5.0)),
    "truncated": (TruncatedNormal(1.0, 2.0, 0.0, 2.5), stats.truncnorm(-0.5, 0.75, 1.0, 2.0)),
    "one_sided": (TruncatedNormal(1.0, 2.0, 0.0, INF), stats.truncnorm(-0.5, INF, 1.0, 2.0)),
    "in_the_tail": (TruncatedNormal(0.0, 1.0, 6.0, 9.0), stats.truncnorm(6.0, 9.0)),
    "triangular": (Triangular(1.0, 2.0, 5.0), stats.triang(0.25, 1.0, 4.0)),
    "triangular_at_lower": (Triangular(1.0, 1.0, 5.0), stats.triang(0.0, 1.0, 4.0)),
    "triangular_at_upper": (Triangular(1.0, 5.0, 5.0), stats.triang(1.0, 1.0, 4.0)),
}
each = pytest.mark.parametrize(("ours", "theirs"), CASES.values(), ids=CASES)
normals = st.lists(st.floats(-38.0, 38.0), min_size=2, max_size=20).map(sorted)


@each
def test_that_the_quantiles_are_the_distributions(ours, theirs):
    z = np.linspace(-6.0, 6.0, 101)
    low, high = theirs.ppf(stats.norm.cdf(z[:51])), theirs.isf(stats.norm.sf(z[51:]))
    # Far out scipy.stats.truncnorm itself is off by some 1e-8: the next law is the sharp one for it.
    rtol = 1e-7 if isinstance(ours, TruncatedNormal) else 1e-9
    np.testing.assert_allclose(ours.from_normals(z), [*low, *high], rtol=rtol)


@pytest.mark.parametrize(("lower", "upper"), [(0.5, 9.0), (6.0, 9.0), (6.0, INF), (20.0, INF)])
def test_that_the_share_above_a_truncated_value_is_that_above_its_normal(lower, upper):
    z = np.linspace(0.0, 6.0, 51)
    q = TruncatedNormal(0.0, 1.0, lower, upper).from_normals(z)
    above = (ndtr(-q) - ndtr(-upper)) / (ndtr(-lower) - ndtr(-upper))
    np.testing.assert_allclose(above, ndtr(-z), rtol=1e-9)
    mirrored = TruncatedNormal(0.0, 1.0, -upper, -lower).from_normals(-z)
    np.testing.assert_array_equal(mirrored, -q)


@each
@given(z=normals)
def test_that_a_larger_normal_never_gives_a_smaller_value(ours, theirs, z):
    values = ours.from_normals(z)
    assert np.all(np.diff(values) >= -1e-13 * np.abs(values[1:]))


@each
@given(z=normals)
def test_that_the_value_is_finite_and_within_the_support(ours, theirs, z):
    values = ours.from_normals(z)
    lower, upper = theirs.support()
    assert np.isfinite(values).all()
    assert np.all((values >= lower) & (values <= upper))


@each
def test_that_the_median_belongs_to_0(ours, theirs):
    assert ours.from_normals(0.0) == pytest.approx(theirs.median(), rel=1e-12)


@given(z=normals)
def test_that_a_constant_is_constant(z):
    np.testing.assert_array_equal(Constant(4.5).from_normals(z), np.full(len(z), 4.5))


@pytest.mark.parametrize("bounds", [(50.0, 60.0), (-1e6, -1e5), (1e8, INF)])
def test_that_a_cut_far_out_in_a_tail_stays_finite_and_within_its_bounds(bounds):
    values = TruncatedNormal(0.0, 1.0, *bounds).from_normals([-38.0, -1.0, 0.0, 1.0, 38.0])
    assert np.isfinite(values).all()
    assert np.all((values >= bounds[0]) & (values <= bounds[1]))


def test_that_a_cut_that_cuts_nothing_gives_the_normal_distribution():
    z = np.linspace(-8.0, 8.0, 33)
    wide = TruncatedNormal(3.0, 2.0, -INF, INF).from_normals(z)
    np.testing.assert_allclose(wide, Normal(3.0, 2.0).from_normals(z), rtol=1e-13, atol=1e-13)


def test_that_no_spread_gives_the_mean():
    np.testing.assert_array_equal(Normal(2.0, 0.0).from_normals([-1.0, 5.0]), [2.0, 2.0])


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("normal", (0.0, -1.0)),
        ("normal", (float("nan"), 1.0)),
        ("normal", (0.0, INF)),
        ("lognormal", (0.0, -0.1)),
        ("lognormal", (0.0, 20.0)),
        ("lognormal", (800.0, 0.0)),
        ("uniform", (1.0, 1.0)),
        ("uniform", (0.0, INF)),
        ("truncated_normal", (0.0, 0.0, -1.0, 1.0)),
        ("truncated_normal", (0.0, 1.0, 1.0, -1.0)),
        ("truncated_normal", (0.0, 1.0, float("nan"), 1.0)),
        ("triangular", (0.0, 2.0, 1.0)),
        ("triangular", (1.0, 1.0, 1.0)),
        ("constant", (float("nan"),)),
    ],
)
def test_that_parameters_that_make_no_distribution_are_refused(kind, arguments):
    with pytest.raises(ConfigError):
        DISTRIBUTIONS[kind](*arguments)


def test_that_a_normal_that_is_not_finite_is_refused():
    with pytest.raises(DataError, match="not finite"):
        Uniform(0.0, 1.0).from_normals([0.0, float("nan")])
