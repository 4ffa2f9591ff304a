import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import CombinationError, ConfigError, DataError
from daflow.numerics.inversion.global_update import transform_members
from daflow.numerics.observations import blocks
from daflow.numerics.observations.blocks import blocks_of_arrays
from daflow.numerics.smoothers.iterative_smoothers import apply_weights, no_weights
from daflow.numerics.smoothers.weight_steps import (
    PredictionSums,
    costs,
    gauss_newton,
    levenberg_marquardt,
    sums_of_predictions,
    survivors_weights,
    transform_of_weights,
)
from tests.methods.smoothing import errors_of

FORMS = ["diagonal", "dense", "block", "low_rank"]


def drawn(seed, n_members=7, n_obs=12):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_members, n_obs)), 2 * rng.standard_normal((n_members, n_obs))


def close(actual, expected, rtol=1e-12):
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * scale)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 5, 2**18])
def test_that_sums_by_blocks_are_those_of_the_whole(form, size, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_NUMBERS", size)
    monkeypatch.setattr(blocks, "WINDOW_NUMBERS", 3 * size)
    predicted, observed = drawn(1)
    error = errors_of(12)[form]
    found = sums_of_predictions(blocks_of_arrays(predicted, observed, error))
    anomalies, mismatch = predicted - predicted.mean(axis=0), observed - predicted
    inverse = np.linalg.inv(error.dense())
    close(found.gram, anomalies @ inverse @ anomalies.T, 1e-11)
    close(found.products, mismatch @ inverse @ anomalies.T, 1e-11)
    close(found.squares, np.einsum("ij,jk,ik->i", mismatch, inverse, mismatch), 1e-11)


@settings(max_examples=30)
@given(st.integers(0, 2**16), st.sets(st.integers(0, 6), min_size=2).map(sorted))
def test_that_sums_of_survivors_are_those_of_members_that_had_never_been_others(seed, kept):
    predicted, observed = drawn(seed)
    error = errors_of(12)["diagonal"]
    found = sums_of_predictions(blocks_of_arrays(predicted, observed, error)).of(kept)
    alone = sums_of_predictions(blocks_of_arrays(predicted[kept], observed[kept], error))
    for one, other in zip(found, alone, strict=True):
        close(one, other, 1e-11)


def weights_of(seed, n_members=7):
    """Return weights as steps make them: their rows sum to zero."""
    weights = 0.3 * np.random.default_rng(seed).standard_normal((n_members, n_members))
    return weights - weights.mean(axis=1, keepdims=True)


@settings(max_examples=30)
@given(st.integers(0, 2**16), st.integers(0, 6))
def test_that_a_survivor_moves_by_its_weight_on_the_lost_times_how_far_that_is_from_the_others(seed, lost):
    prior = np.random.default_rng(seed + 1).standard_normal((7, 5))
    kept = [member for member in range(7) if member != lost]
    weights = weights_of(seed)
    before = apply_weights(weights, prior)[kept]
    after = apply_weights(survivors_weights(weights, kept), prior[kept])
    away = prior[lost] - prior[kept].mean(axis=0)
    close(before - after, np.outer(weights[kept, lost] / np.sqrt(6), away))


def test_that_nobody_lost_changes_nothing_and_no_weights_stay_none():
    weights = weights_of(3)
    assert survivors_weights(weights, list(range(7))) is weights
    assert not survivors_weights(no_weights(7), [0, 2, 5]).any()


@settings(max_examples=20)
@given(st.integers(0, 2**16))
def test_that_the_transform_of_weights_makes_the_members_that_they_stand_for(seed):
    prior, weights = np.random.default_rng(seed).standard_normal((7, 9)), weights_of(seed)
    found = np.empty_like(prior)
    transform_members(transform_of_weights(weights), prior, found)
    close(found, apply_weights(weights, prior))
    transform_members(transform_of_weights(no_weights(7)), prior, found)
    assert found.tobytes() == prior.tobytes()


@settings(max_examples=20)
@given(st.integers(0, 2**16), st.floats(0, 100))
def test_that_damped_steps_lie_between_gauss_newton_and_standing_still(seed, damping):
    sums = sums_of_predictions(blocks_of_arrays(*drawn(seed), errors_of(12)["dense"]))
    weights = weights_of(seed)
    full = gauss_newton(weights, sums, 1.0)
    close(levenberg_marquardt(weights, sums, 0.0), full, 1e-9)
    step = levenberg_marquardt(weights, sums, damping) - weights
    assert np.linalg.norm(step) <= np.linalg.norm(full - weights) * (1 + 1e-9)
    close(levenberg_marquardt(weights, sums, 1e14), weights, 1e-9)


def test_that_costs_are_of_weights_and_mismatch():
    sums = PredictionSums(np.zeros((2, 2)), np.zeros((2, 2)), np.array([3.0, 5.0]))
    np.testing.assert_allclose(costs(np.array([[1.0, 2.0], [0.0, 4.0]]), sums), [4.0, 10.5])


def test_that_predictions_that_dwarf_their_errors_are_told_of():
    rng = np.random.default_rng(4)
    predicted, observed = 1e15 * rng.standard_normal((7, 3)), rng.standard_normal((7, 3))
    sums = sums_of_predictions(blocks_of_arrays(predicted, observed, errors_of(3)["diagonal"]))
    with pytest.raises(CombinationError, match="rounding hides"):
        gauss_newton(no_weights(7), sums, 1.0)


def test_that_what_cannot_be_used_is_refused():
    sums = sums_of_predictions(blocks_of_arrays(*drawn(1), errors_of(12)["diagonal"]))
    with pytest.raises(ConfigError, match="length of a step"):
        gauss_newton(no_weights(7), sums, 0.0)
    with pytest.raises(ConfigError, match="damping"):
        levenberg_marquardt(no_weights(7), sums, -1.0)
    same = -np.sqrt(6) * (np.eye(7) - 1 / 7)
    with pytest.raises(DataError, match="no longer differ"):
        gauss_newton(same, sums, 1.0)
    predicted, observed = drawn(1)
    predicted[3, 2] = np.nan
    with pytest.raises(DataError, match="predicted"):
        sums_of_predictions(blocks_of_arrays(predicted, observed, errors_of(12)["diagonal"]))
