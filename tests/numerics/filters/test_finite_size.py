import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError
from daflow.numerics.filters.ensemble_transform import apply_transform
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.filters.finite_size import finite_size_enkf, mode_corrected

drawn = given(
    st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 9), st.floats(-2, 3).map(lambda p: 10.0**p)
)


def problem(seed, n_members, n_obs, distance):
    rng = np.random.default_rng(seed)
    predicted = rng.standard_normal((n_members, n_obs)) + rng.standard_normal(n_obs)
    return (
        predicted,
        predicted.mean(axis=0) + distance * rng.standard_normal(n_obs),
        rng.uniform(0.3, 2, n_obs),
    )


def cost_and_gradient(weights, predicted, values, variances):
    n = len(predicted)
    anomalies = predicted - predicted.mean(axis=0)
    residual = values - predicted.mean(axis=0) - weights @ anomalies
    norm = 1 + 1 / n + weights @ weights
    cost = 0.5 * (residual**2 / variances).sum() + 0.5 * (n + 1) * np.log(norm)
    return cost, -anomalies @ (residual / variances) + (n + 1) * weights / norm


@settings(max_examples=30)
@drawn
def test_that_the_weights_are_the_lowest_minimum_of_the_cost(seed, n_members, n_obs, distance):
    arrays = problem(seed, n_members, n_obs, distance)
    weights = finite_size_enkf(*arrays).transform.mean_weights
    cost, gradient = cost_and_gradient(weights, *arrays)
    scale = np.abs((arrays[0] - arrays[0].mean(axis=0)) @ ((arrays[1] - arrays[0].mean(axis=0)) / arrays[2]))
    assert np.abs(gradient).max() <= 1e-9 * max(1.0, scale.max())
    others = np.random.default_rng(0).standard_normal((50, n_members)) * (0.1 + 2 * np.abs(weights).max())
    lower = [cost_and_gradient(w - w.mean() + shift, *arrays)[0] for w in others for shift in (0, weights)]
    assert cost <= min(lower) + 1e-9 * abs(cost)


@settings(max_examples=30)
@drawn
def test_that_the_mean_is_that_of_the_etkf_of_an_inflated_forecast(seed, n_members, n_obs, distance):
    predicted, values, variances = problem(seed, n_members, n_obs, distance)
    found = finite_size_enkf(predicted, values, variances)
    mean = predicted.mean(axis=0)
    inflated = mean + found.inflation * (predicted - mean)
    expected = apply_transform(etkf(inflated, values, variances), inflated).mean(axis=0)
    posterior = apply_transform(found.transform, predicted)
    np.testing.assert_allclose(
        posterior.mean(axis=0), expected, rtol=0, atol=1e-9 * max(1, np.abs(expected).max())
    )


@settings(max_examples=30)
@drawn
def test_that_the_anomalies_are_a_root_of_the_inverse_hessian(seed, n_members, n_obs, distance):
    arrays = problem(seed, n_members, n_obs, distance)
    found = finite_size_enkf(*arrays)
    weights, transform = found.transform
    anomalies = arrays[0] - arrays[0].mean(axis=0)
    hessian = (anomalies / arrays[2]) @ anomalies.T + found.precision * np.eye(n_members)
    hessian -= 2 * found.precision**2 / (n_members + 1) * np.outer(weights, weights)
    product = transform @ hessian @ transform / (n_members - 1)
    np.testing.assert_allclose(product, np.eye(n_members), atol=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 9), st.floats(1, 50))
def test_that_a_larger_innovation_never_gives_a_smaller_inflation(seed, n_members, n_obs, factor):
    predicted, values, variances = problem(seed, n_members, n_obs, 1.0)
    mean = predicted.mean(axis=0)
    farther = finite_size_enkf(predicted, mean + factor * (values - mean), variances)
    assert farther.inflation >= finite_size_enkf(predicted, values, variances).inflation * (1 - 1e-9)


def test_that_units_of_the_observations_do_not_matter():
    predicted, values, variances = problem(3, 5, 4, 2.0)
    scale = np.array([1e-3, 1.0, 10.0, 1e4])
    scaled = finite_size_enkf(predicted * scale, values * scale, variances * scale**2)
    plain = finite_size_enkf(predicted, values, variances)
    np.testing.assert_allclose(scaled.transform.weights, plain.transform.weights, atol=1e-9)


def test_that_constant_predictions_leave_the_mean_and_the_sample_s_own_doubt():
    found = finite_size_enkf(np.ones((5, 2)), [3.0, 4.0], [1.0, 1.0])
    np.testing.assert_array_equal(found.transform.mean_weights, np.zeros(5))
    np.testing.assert_allclose(found.precision, 5, rtol=1e-8)


def test_that_the_posterior_s_mean_is_moved_by_the_weights_alone():
    predicted, values, variances = problem(4, 6, 3, 5.0)
    transform = finite_size_enkf(predicted, values, variances).transform
    np.testing.assert_allclose(
        transform.anomaly_transform.sum(axis=0), transform.anomaly_transform.sum(axis=0)[0]
    )


@settings(max_examples=30)
@drawn
def test_that_the_anomalies_may_be_those_of_the_etkf_of_the_inflated_forecast(
    seed, n_members, n_obs, distance
):
    predicted, values, variances = problem(seed, n_members, n_obs, distance)
    for hyperprior in (mode_corrected(), mode_corrected(2.0)):
        found = finite_size_enkf(predicted, values, variances, hyperprior=hyperprior, root="inflated")
        mean = predicted.mean(axis=0)
        inflated = mean + found.inflation * (predicted - mean)
        expected = apply_transform(etkf(inflated, values, variances), inflated)
        posterior = apply_transform(found.transform, predicted)
        np.testing.assert_allclose(posterior, expected, rtol=0, atol=1e-9 * max(1, np.abs(expected).max()))


@settings(max_examples=30)
@drawn
def test_that_a_corrected_mode_is_the_stationary_point_of_its_own_cost(seed, n_members, n_obs, distance):
    predicted, values, variances = problem(seed, n_members, n_obs, distance)
    found = finite_size_enkf(predicted, values, variances, hyperprior=mode_corrected(1.5))
    weights = found.transform.mean_weights
    anomalies = (predicted - predicted.mean(axis=0)) / np.sqrt(variances)
    signal = np.linalg.eigvalsh(anomalies @ anomalies.T)
    freedom = n_members - 1
    left = np.mean(freedom / (np.maximum(signal, 0) + freedom))
    correction = np.sqrt((n_members + 1) / n_members * freedom / n_members) ** left
    epsilon, count = 1.5 * (n_members + 1) / n_members / correction, 1.5 * n_members * correction
    np.testing.assert_allclose(found.precision * (epsilon + weights @ weights), count, rtol=1e-8)


def test_that_with_a_corrected_mode_nothing_learnt_leaves_the_precision_of_the_etkf():
    predicted, values, variances = problem(3, 9, 5, 1.0)
    deaf = finite_size_enkf(predicted, values, 1e12 * variances, hyperprior=mode_corrected())
    assert deaf.precision == pytest.approx(8, rel=1e-9)
    assert finite_size_enkf(predicted, values, 1e12 * variances).precision == pytest.approx(9, rel=1e-9)


def test_that_certainty_keeps_the_precision_from_following_the_innovation():
    predicted, values, variances = problem(5, 9, 5, 30.0)
    found = [
        finite_size_enkf(predicted, values, variances, hyperprior=mode_corrected(certainty)).inflation
        for certainty in (0.5, 1, 2, 4, 1e6)
    ]
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(1, abs=0.02)


def test_that_what_there_is_none_of_is_refused():
    with pytest.raises(ConfigError, match="hessian, inflated"):
        finite_size_enkf(*problem(1, 4, 3, 1.0), root="cholesky")
    for certainty in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ConfigError, match="certainty"):
            mode_corrected(certainty)
