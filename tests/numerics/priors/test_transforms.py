"""Laws of the transforms and of clipping."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata

from daflow.errors import ConfigError, DataError
from daflow.numerics.priors import normal_score
from daflow.numerics.priors.distributions import Triangular
from daflow.numerics.priors.transforms import (
    TRANSFORMS,
    Identity,
    Log,
    Logit,
    NormalScore,
    TriangularScore,
    clip,
)

seeds = st.integers(0, 2**32 - 1)


def positive(rng):
    return rng.lognormal(0.0, 3.0, (7, 40))


def bounded(rng):
    return rng.uniform(-2.0, 5.0, (7, 40))


def tied(rng):
    return np.round(rng.normal(0.0, 1.5, (7, 40)))


CASES = {
    "identity": (Identity(), positive),
    "log": (Log(), positive),
    "logit": (Logit(-2.0, 5.0), bounded),
    "triangular": (TriangularScore(-2.0, 1.0, 5.0), bounded),
    "triangular_at_its_bound": (TriangularScore(-2.0, -2.0, 5.0), bounded),
    "normal_score": (NormalScore(), positive),
    "normal_score_tied": (NormalScore(), tied),
}
each = pytest.mark.parametrize(("transform", "values"), CASES.values(), ids=CASES)


@each
@given(seed=seeds)
@settings(max_examples=30)
def test_that_the_inverse_undoes_the_transform(transform, values, seed):
    x = values(np.random.default_rng(seed))
    fitted = transform.fit(x)
    back = fitted.inverse(fitted.forward(x))
    if isinstance(transform, NormalScore):
        scale = np.ptp(x, axis=0).max()
        np.testing.assert_allclose(back, x, rtol=1e-12, atol=1e-14 * scale)
    else:
        np.testing.assert_allclose(back, x, rtol=1e-12, atol=1e-13)


@each
@given(seed=seeds)
@settings(max_examples=30)
def test_that_both_ways_are_monotone(transform, values, seed):
    rng = np.random.default_rng(seed)
    x = np.sort(values(rng), axis=0)
    fitted = transform.fit(x)
    z = np.sort(rng.normal(0.0, 10.0, x.shape), axis=0)
    assert np.all(np.diff(fitted.forward(x), axis=0) >= 0.0)
    assert np.all(np.diff(fitted.inverse(z), axis=0) >= -1e-12 * np.abs(fitted.inverse(z)).max())


@each
@given(seed=seeds, size=st.floats(0.0, 1e3))
@settings(max_examples=30)
def test_that_any_transformed_value_has_a_finite_value(transform, values, seed, size):
    x = values(np.random.default_rng(seed))
    fitted = transform.fit(x)
    for z in (np.full(x.shape, size), np.full(x.shape, -size)):
        assert np.isfinite(fitted.inverse(z)).all()


@each
@given(seed=seeds, cut=st.integers(1, 39))
@settings(max_examples=20)
def test_that_slices_do_not_matter(transform, values, seed, cut):
    rng = np.random.default_rng(seed)
    x, z = values(rng), rng.normal(0.0, 3.0, (7, 40))
    whole = transform.fit(x)
    for part in (slice(0, cut), slice(cut, None)):
        fitted = transform.fit(x[:, part])
        np.testing.assert_array_equal(fitted.forward(x[:, part]), whole.forward(x)[:, part])
        np.testing.assert_array_equal(fitted.inverse(z[:, part]), whole.inverse(z)[:, part])


bounds = st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(bounds=bounds, z=st.floats(-1e3, 1e3))
def test_that_a_logit_never_leaves_its_bounds_and_can_be_taken_again(bounds, z):
    lower, upper = bounds
    logit = Logit(lower, upper)
    value = logit.inverse([[z]])
    assert lower < value[0, 0] < upper
    assert np.isfinite(logit.forward(value)).all()


@pytest.mark.parametrize(
    "transform", [Logit(0.1, 0.4, "float32"), Logit(-5.0, 0.0, "float32"), Log("float32")]
)
@pytest.mark.parametrize("z", [-1e3, -90.0, -17.0, 17.0, 90.0, 1e3])
def test_that_what_is_stored_in_single_precision_can_be_taken_again(transform, z):
    stored = transform.inverse([[z]]).astype(np.float32)
    assert np.isfinite(transform.forward(stored)).all()


@given(seed=seeds, shift=st.floats(-10.0, 10.0), scale=st.floats(0.1, 10.0))
@settings(max_examples=30)
def test_that_a_logit_does_not_know_the_unit(seed, shift, scale):
    x = np.random.default_rng(seed).uniform(0.05, 0.95, (3, 10))
    expected = Logit(0.0, 1.0).forward(x)
    got = Logit(shift, shift + scale).forward(shift + scale * x)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@given(seed=seeds)
@settings(max_examples=30)
@pytest.mark.parametrize("values", [positive, tied])
def test_that_the_scores_are_normal_quantiles_of_average_ranks(values, seed):
    x = values(np.random.default_rng(seed))
    expected = norm.ppf((rankdata(x, axis=0) - 0.5) / len(x))
    np.testing.assert_allclose(NormalScore().fit(x).forward(x), expected, rtol=1e-12, atol=1e-15)


@given(seed=seeds)
@settings(max_examples=30)
def test_that_scores_depend_on_ranks_only_and_follow_the_members(seed):
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(size=(9, 12)), 1)
    scores = NormalScore().fit(x).forward(x)
    np.testing.assert_array_equal(NormalScore().fit(np.exp(x)).forward(np.exp(x)), scores)
    order = rng.permutation(9)
    np.testing.assert_array_equal(NormalScore().fit(x[order]).forward(x[order]), scores[order])


@given(value=st.floats(-1e100, 1e100), n_members=st.integers(2, 20), z=st.floats(-1e3, 1e3))
def test_that_a_constant_element_stays_constant(value, n_members, z):
    prior = np.full((n_members, 3), value)
    fitted = NormalScore().fit(prior)
    np.testing.assert_array_equal(fitted.inverse(np.full((4, 3), z)), np.full((4, 3), value))
    np.testing.assert_allclose(fitted.forward(prior), 0.0, atol=1e-15)


@given(seed=seeds)
@settings(max_examples=30)
def test_that_a_normal_score_is_linear_between_and_beyond_the_members(seed):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.normal(size=(6, 4)), axis=0)
    fitted = NormalScore().fit(x)
    z = norm.ppf((np.arange(6) + 0.5) / 6)
    for column in range(4):
        middle = 0.5 * (z[2] + z[3])
        expected = 0.5 * (x[2, column] + x[3, column])
        tail = x[-1, column] + 2.0 * (x[-1, column] - x[-2, column])
        at = z[-1] + 2.0 * (z[-1] - z[-2])
        got = fitted.inverse(np.tile([[middle], [at]], 4))[:, column]
        np.testing.assert_allclose(got, [expected, tail], rtol=1e-10, atol=1e-12)
        back = fitted.forward(np.tile([[expected], [tail]], 4))[:, column]
        np.testing.assert_allclose(back, [middle, at], rtol=1e-8, atol=1e-10)


def test_that_beyond_a_flat_tail_the_score_is_the_tails_own():
    prior = np.array([[0.0], [0.0], [1.0], [2.0], [2.0]])
    fitted = NormalScore().fit(prior)
    scores = fitted.forward([[-1.0], [3.0]])
    np.testing.assert_allclose(scores[:, 0], norm.ppf([0.1, 0.9]))


def test_that_a_value_very_far_out_keeps_a_finite_score():
    fitted = NormalScore().fit([[0.0], [1e-300]])
    np.testing.assert_array_equal(fitted.forward([[1e149], [-1e149]]), [[38.0], [-38.0]])


def test_that_blocks_do_not_show(monkeypatch):
    x = np.random.default_rng(3).normal(size=(5, 50))
    whole = NormalScore().fit(x)
    scores, values = whole.forward(x), whole.inverse(0.9 * whole.forward(x))
    monkeypatch.setattr(normal_score, "BLOCK", 7)
    np.testing.assert_array_equal(whole.forward(x), scores)
    np.testing.assert_array_equal(whole.inverse(0.9 * scores), values)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@each
def test_that_what_is_not_finite_is_named_and_never_passed_on(transform, values, bad):
    x = values(np.random.default_rng(1))
    fitted = transform.fit(x)
    x = x.copy()
    x[2, 5] = bad
    with pytest.raises(DataError, match=r"\(2, 5\)"):
        fitted.forward(x)
    with pytest.raises(DataError, match=r"\(2, 5\)"):
        fitted.inverse(x)


@pytest.mark.parametrize(
    ("transform", "bad"), [(Log(), 0.0), (Log(), -1.0), (Logit(0.0, 2.0), 0.0), (Logit(0.0, 2.0), 2.0)]
)
def test_that_the_first_value_that_cannot_be_taken_is_named(transform, bad):
    x = np.ones((3, 4))
    x[1, 2] = bad
    with pytest.raises(DataError, match=r"\(1, 2\) of \(3, 4\)"):
        transform.forward(x)


@pytest.mark.parametrize("arguments", [(1.0, 1.0), (2.0, 1.0), (0.0, np.inf), (np.nan, 1.0), (-1e308, 1e308)])
def test_that_a_logit_without_room_is_refused(arguments):
    with pytest.raises(ConfigError, match="logit"):
        Logit(*arguments)


def test_that_bounds_without_a_number_between_them_are_refused():
    with pytest.raises(ConfigError, match="float64"):
        Logit(1.0, 1.0 + 1e-9, "float32")


def test_that_a_dtype_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="dtype"):
        Log("int32")


def test_that_one_member_has_no_ranks():
    with pytest.raises(DataError, match="2 or more"):
        NormalScore().fit(np.ones((1, 4)))


def test_that_a_normal_score_takes_only_what_fits_its_prior():
    fitted = NormalScore().fit(np.ones((3, 4)))
    with pytest.raises(DataError, match="do not match"):
        fitted.forward(np.ones((3, 5)))
    with pytest.raises(DataError, match="shape"):
        fitted.inverse(np.ones(4))


def test_that_every_transform_has_its_name():
    assert set(TRANSFORMS) == {"identity", "log", "logit", "triangular", "normal_score"}


values_to_clip = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20).map(np.array)


@given(x=values_to_clip, low=st.floats(-1e5, 0.0), high=st.floats(0.0, 1e5))
def test_that_clipping_moves_and_counts_only_what_is_outside(x, low, high):
    clipped, n_clipped = clip(x, low, high)
    outside = (x < low) | (x > high)
    assert n_clipped == outside.sum()
    np.testing.assert_array_equal(clipped[~outside], x[~outside])
    assert np.all((clipped >= low) & (clipped <= high))
    assert clip(clipped, low, high)[1] == 0


def test_that_one_bound_is_enough():
    np.testing.assert_array_equal(clip([-1.0, 2.0], lower=0.0)[0], [0.0, 2.0])
    np.testing.assert_array_equal(clip([-1.0, 2.0], upper=0.0)[0], [-1.0, 0.0])


@pytest.mark.parametrize("bounds", [(None, None), (2.0, 1.0), (np.nan, 1.0)])
def test_that_bounds_that_bound_nothing_are_refused(bounds):
    with pytest.raises(ConfigError, match="clip"):
        clip([1.0], *bounds)


def test_that_nan_is_not_clipped_away():
    with pytest.raises(DataError, match="not finite"):
        clip([1.0, np.nan], 0.0, 2.0)


@pytest.mark.parametrize("mode", [-2.0, 0.5, 5.0])
def test_that_a_triangular_variable_becomes_standard_normal(mode):
    z = np.linspace(-7.0, 7.0, 101)
    x = Triangular(-2.0, mode, 5.0).from_normals(z)
    np.testing.assert_allclose(TriangularScore(-2.0, mode, 5.0).forward(x), z, rtol=0, atol=2e-3)
    near = np.abs(z) < 4
    np.testing.assert_allclose(TriangularScore(-2.0, mode, 5.0).forward(x)[near], z[near], atol=1e-10)


def test_that_a_triangular_score_next_to_a_bound_is_finite():
    next_to = np.array([np.nextafter(0.0, 1.0), np.nextafter(1.0, 0.0)])
    assert np.isfinite(TriangularScore(0.0, 0.3, 1.0).forward(next_to)).all()
    far = TriangularScore(0.0, 0.3, 1.0).inverse(np.array([-60.0, 60.0]))
    assert 0.0 < far[0] < far[1] < 1.0
