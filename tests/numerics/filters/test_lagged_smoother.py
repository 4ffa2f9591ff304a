import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError, DataError
from daflow.numerics.filters.ensemble_transform import apply_transform
from daflow.numerics.filters.filter_transforms import etkf, stochastic_enkf
from daflow.numerics.filters.lagged_smoother import composed, transforms_for


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


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_that_composed_transforms_do_what_each_does_in_turn(seed):
    history, transforms, *_ = filtered(seed)
    state = history[0]
    for transform in transforms:
        state = apply_transform(transform, state)
    np.testing.assert_allclose(apply_transform(composed(transforms), history[0]), state, atol=1e-12)
    nested = composed([composed(transforms[:2]), composed(transforms[2:])])
    np.testing.assert_allclose(nested.weights, composed(transforms).weights, atol=1e-12)


@settings(deadline=None, max_examples=20)
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
