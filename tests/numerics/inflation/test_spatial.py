import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import invgamma, norm

from daflow.errors import ConfigError, DataError
from daflow.numerics.inflation.spatial import (
    DENSITIES,
    InflationField,
    departures_of,
    learn,
    shape_of,
    update_inflation,
)

any_density = pytest.mark.parametrize("density", DENSITIES)
seeds = given(st.integers(0, 2**32 - 1), st.sampled_from(list(DENSITIES)))


def problem(seed, n_members=8, n_state=5, n_obs=3):
    rng = np.random.default_rng(seed)
    prior = rng.standard_normal((n_members, n_state))
    predicted = prior @ rng.standard_normal((n_state, n_obs)) + 0.3 * rng.standard_normal((n_members, n_obs))
    values = predicted.mean(axis=0) + 3 * rng.standard_normal(n_obs)
    field = InflationField(rng.uniform(0.8, 1.5, n_state), rng.uniform(0.1, 0.6, n_state))
    return field, prior, predicted, (values, rng.uniform(0.3, 2, n_obs))


def single(distance, density, *, factor=1.2, deviation=0.5):
    """Return the field of a number that is itself observed, with variance 1 and error variance 1."""
    prior = np.sqrt(1 / 2) * np.array([[-1.0], [1.0]])
    field = InflationField(np.array([factor]), np.array([deviation]))
    return update_inflation(field, prior, prior, ([distance], [1.0]), density=density)


def likelihood(factor, distance):
    return np.exp(-0.5 * distance**2 / (factor + 1)) / np.sqrt(factor + 1)


LOG_PRIORS = {
    "gaussian": lambda field: norm(field.factor[0], field.deviation[0]).logpdf,
    "inverse_gamma": lambda field: (
        invgamma(shape_of(field)[0], scale=(shape_of(field)[0] + 1) * field.factor[0]).logpdf
    ),
}


@any_density
@pytest.mark.parametrize("distance", [0.0, 1.0, 2.0, 4.0])
def test_that_the_mode_is_that_of_the_prior_times_the_linear_likelihood(density, distance):
    field = InflationField(np.array([1.2]), np.array([0.5]))
    factors = np.linspace(0.01, 4, 400_001)
    slope = (likelihood(1.2 + 1e-6, distance) - likelihood(1.2 - 1e-6, distance)) / 2e-6
    linear = likelihood(1.2, distance) + slope * (factors - 1.2)
    posterior = LOG_PRIORS[density](field)(factors) + np.log(np.where(linear > 0, linear, 1e-300))
    assert single(distance, density).factor[0] == pytest.approx(factors[posterior.argmax()], abs=3e-5)


def test_that_the_density_has_the_mode_and_deviation_that_it_is_said_to_have():
    field = InflationField(np.array([1.2, 0.9, 3.0]), np.array([0.5, 0.01, 4.0]))
    shape = shape_of(field)
    assert (shape > 2).all()
    found = invgamma(shape, scale=(shape + 1) * field.factor)
    np.testing.assert_allclose(found.std(), field.deviation, rtol=1e-9)


@any_density
def test_that_farther_observations_raise_nearer_ones_lower_and_expected_ones_leave_the_factor(density):
    expected = np.sqrt(2.2)
    assert single(expected, density).factor[0] == pytest.approx(1.2, abs=1e-12)
    factors = [single(distance, density).factor[0] for distance in (0.0, 0.7, expected, 2.0, 5.0)]
    assert factors == sorted(factors)
    assert factors[0] < 1.2 < factors[-1]


@any_density
@pytest.mark.parametrize("distance", [0.0, 1e3, 1e150])
@pytest.mark.parametrize("deviation", [1e-3, 1.0, 50.0])
def test_that_the_factor_stays_finite_and_above_zero_whatever_is_observed(density, distance, deviation):
    found = single(distance, density, deviation=deviation)
    assert np.isfinite(found.factor).all()
    assert (found.factor > 0).all()
    assert (found.deviation > 0).all()


@settings(max_examples=30)
@seeds
def test_that_gaussian_deviations_never_grow_and_others_by_5_percent_an_observation_at_most(seed, density):
    field, *rest = problem(seed)
    growth = 1.0 if density == "gaussian" else 1.05**3
    found = update_inflation(field, *rest, density=density)
    assert (found.deviation <= growth * field.deviation * (1 + 1e-12)).all()


@settings(max_examples=30)
@seeds
def test_that_slices_give_what_the_whole_gives(seed, density):
    field, prior, *rest = problem(seed)
    taper = np.random.default_rng(seed).uniform(size=(5, 3))
    whole = update_inflation(field, prior, *rest, density=density, state_obs_taper=taper)
    for part in (slice(2), slice(2, None)):
        mine = InflationField(field.factor[part], field.deviation[part])
        found = update_inflation(mine, prior[:, part], *rest, density=density, state_obs_taper=taper[part])
        np.testing.assert_allclose(found.factor, whole.factor[part], rtol=1e-12)
        np.testing.assert_allclose(found.deviation, whole.deviation[part], rtol=1e-9)


@settings(max_examples=20)
@seeds
def test_that_a_sparse_taper_gives_what_a_dense_one_gives_and_keeps_the_bits_of_what_is_out_of_reach(
    seed, density
):
    field, prior, predicted, observations = problem(seed)
    taper = np.random.default_rng(seed).uniform(-1, 1, (5, 3)).clip(0)
    taper[4] = 0.0
    dense = update_inflation(field, prior, predicted, observations, density=density, state_obs_taper=taper)
    seen = departures_of(predicted, *map(np.asarray, observations))
    found = learn(field, prior, seen, density=density, state_obs_taper=sparse.csr_array(taper))
    np.testing.assert_allclose(found.factor, dense.factor, rtol=1e-12)
    np.testing.assert_allclose(found.deviation, dense.deviation, rtol=1e-6)
    assert (found.factor[4], found.deviation[4]) == (field.factor[4], field.deviation[4])


@any_density
def test_that_what_is_uncorrelated_or_tapered_away_does_not_change(density):
    field, prior, predicted, observations = problem(0)
    prior[:, 1] = 4.0
    taper = np.ones((5, 3))
    taper[2] = 0.0
    found = update_inflation(field, prior, predicted, observations, density=density, state_obs_taper=taper)
    np.testing.assert_allclose(found.factor[[1, 2]], field.factor[[1, 2]], rtol=1e-14)
    np.testing.assert_allclose(found.deviation[[1, 2]], field.deviation[[1, 2]], rtol=1e-7)
    assert (np.abs(found.factor[[0, 3, 4]] - field.factor[[0, 3, 4]]) > 1e-4).all()


@any_density
def test_that_predictions_without_spread_tell_nothing(density):
    field, prior, predicted, observations = problem(0)
    found = update_inflation(field, prior, np.ones_like(predicted), observations, density=density)
    np.testing.assert_array_equal(found, field)


@any_density
def test_that_units_do_not_matter(density):
    field, prior, predicted, (values, variances) = problem(1)
    scaled = (7 * prior, 1e3 * predicted, (1e3 * values, 1e6 * variances))
    plain = update_inflation(field, prior, predicted, (values, variances), density=density)
    np.testing.assert_allclose(update_inflation(field, *scaled, density=density), plain, rtol=1e-9)


@any_density
@pytest.mark.parametrize("distance", [0.0, 1.0, 2.0])
def test_that_narrow_densities_end_as_wide_as_bayes_says(density, distance):
    field = InflationField(np.array([1.2]), np.array([0.1]))
    factors = np.linspace(0.6, 1.8, 20_001)
    posterior = np.exp(LOG_PRIORS[density](field)(factors)) * likelihood(factors, distance)
    posterior /= posterior.sum()
    width = np.sqrt(posterior @ factors**2 - (posterior @ factors) ** 2)
    found = single(distance, density, deviation=0.1)
    assert found.factor[0] == pytest.approx(factors[posterior.argmax()], abs=2e-4)
    assert found.deviation[0] == pytest.approx(width, rel=2e-3)


@any_density
def test_that_the_factor_is_learnt_from_many_observations(density):
    rng = np.random.default_rng(2)
    field = InflationField(np.ones(1), np.full(1, 0.6))
    prior = np.sqrt(1 / 2) * np.array([[-1.0], [1.0]])
    for distance in np.sqrt(2.5 + 1.0) * rng.standard_normal(1000):
        field = update_inflation(field, prior, prior, ([distance], [1.0]), density=density)
    assert field.factor[0] == pytest.approx(2.5, abs=0.3)


def test_that_what_cannot_be_used_is_refused():
    field, *rest = problem(0)
    with pytest.raises(ConfigError, match="inverse_gamma"):
        update_inflation(field, *rest, density="lognormal")
    with pytest.raises(DataError, match="fit the state"):
        update_inflation(InflationField(np.ones(4), np.ones(4)), *rest)
    with pytest.raises(DataError, match="positive"):
        update_inflation(InflationField(np.zeros(5), np.ones(5)), *rest)
