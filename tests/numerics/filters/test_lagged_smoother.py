import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError, DataError
from daflow.numerics.filters.ensemble_transform import apply_transform
from daflow.numerics.filters.filter_transforms import etkf, stochastic_enkf
from daflow.numerics.filters.lagged_smoother import composed, composed_as_members_leave, transforms_for


def filtered(seed, n_steps=4, n_members=6):
    """Return analyses of a linear model without noise, their transforms, the model and all observations."""
    rng = np.random.default_rng(seed)
    model = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    state, history, transforms, observations = rng.standard_normal((n_members, 3)), [], [], []
    for step in range(n_steps):
        predicted, values = state[:, :2], rng.standard_normal(2)
        if step % 2:
            transform = etkf(predicted, values, [0.5, 1.0])
        else:
            transform = stochastic_enkf(predicted, values, [0.5, 1.0], rng.standard_normal((n_members, 2)))
        history.append(state)
        transforms.append(transform)
        observations.append(values)
        state = apply_transform(transform, state) @ model
    return history, transforms, model, observations


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_that_composed_transforms_do_what_each_does_in_turn(seed):
    history, transforms, *_ = filtered(seed)
    state = history[0]
    for transform in transforms:
        state = apply_transform(transform, state)
    np.testing.assert_allclose(apply_transform(composed(transforms), history[0]), state, atol=1e-12)
    nested = composed([composed(transforms[:2]), composed(transforms[2:])])
    np.testing.assert_allclose(nested.weights, composed(transforms).weights, atol=1e-12)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_that_a_smoothed_member_of_a_model_without_noise_is_the_trajectory_to_the_filtered_one(seed, step):
    history, transforms, model, _ = filtered(seed)
    smoothed = apply_transform(composed([transforms[i] for i in transforms_for(step, 3, 10)]), history[step])
    final = apply_transform(transforms[-1], history[-1])
    np.testing.assert_allclose(smoothed @ np.linalg.matrix_power(model, 3 - step), final, atol=1e-10)


def test_that_a_lag_of_zero_is_the_filter_and_none_goes_beyond_the_lag_or_the_last():
    assert list(transforms_for(2, 9, 0)) == [2]
    assert list(transforms_for(2, 9, 3)) == [2, 3, 4, 5]
    assert list(transforms_for(8, 9, 3)) == [8, 9]
    assert list(transforms_for(8, 7, 3)) == []


def test_that_what_cannot_be_used_is_refused():
    _, transforms, *_ = filtered(0)
    _, others, *_ = filtered(0, n_members=5)
    with pytest.raises(DataError, match="composed"):
        composed([])
    with pytest.raises(DataError, match="composed"):
        composed([transforms[0], others[0]])
    with pytest.raises(ConfigError, match="lag"):
        transforms_for(0, 3, -1)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.lists(st.booleans(), min_size=3, max_size=3))
def test_that_who_leaves_between_analyses_is_taken_out_where_it_leaves(seed, stays):
    rng = np.random.default_rng(seed)
    members = [[0, 3, 4, 7], [3, 4, 7] if stays[0] else [0, 3, 7], [3, 7] if stays[1] else [7]]
    matrices = [rng.standard_normal((len(each), len(each))) for each in members]
    matrices[1] = matrices[1] if stays[2] else None
    state = prior = rng.standard_normal((4, 5))
    before = members[0]
    for present, matrix in zip(members, matrices, strict=True):
        state = state[[before.index(member) for member in present]]
        state = state if matrix is None else matrix @ state
        before = present
    np.testing.assert_allclose(composed_as_members_leave(members, matrices) @ prior, state, atol=1e-12)


def test_that_where_nobody_leaves_it_is_the_composed_transform():
    _, transforms, *_ = filtered(2)
    product = composed_as_members_leave([range(6)] * 4, [one.matrix for one in transforms])
    np.testing.assert_allclose(product, composed(transforms).matrix, atol=1e-12)


def errors_by_lag(seed, lags, n_steps=40, n_members=100):
    """Return, for each lag, the mean squared error of the mean states of a linear model with noise."""
    rng = np.random.default_rng(seed)
    model = 0.98 * np.linalg.qr(rng.standard_normal((4, 4)))[0]
    truth, state = rng.standard_normal(4), rng.standard_normal((n_members, 4))
    truths, states, transforms = [truth], [state], []
    for _ in range(n_steps):
        truth = truth @ model + 0.2 * rng.standard_normal(4)
        state = state @ model + 0.2 * rng.standard_normal((n_members, 4))
        transforms.append(etkf(state[:, :2], truth[:2] + rng.standard_normal(2), np.ones(2)))
        state = apply_transform(transforms[-1], state)
        truths.append(truth)
        states.append(state)

    def error(lag):
        squares = []
        for step in range(n_steps - max(lags)):
            after = [one.matrix for one in transforms[step : step + lag]]
            everybody = [range(n_members)] * lag
            smoothed = composed_as_members_leave(everybody, after) @ states[step] if lag else states[step]
            squares.append(np.square(smoothed.mean(axis=0) - truths[step]))
        return float(np.mean(squares))

    return [error(lag) for lag in lags]


def test_that_smoothed_means_of_a_linear_gaussian_model_are_nearer_the_truth_than_filtered_ones():
    filtered_error, short, long = np.mean([errors_by_lag(seed, (0, 2, 6)) for seed in range(6)], axis=0)
    assert short < 0.95 * filtered_error
    assert long < 0.95 * short
