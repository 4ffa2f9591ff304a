import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.filters.ensemble_transform import apply_transform
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.obs_error.covariance import DenseCovariance, DiagonalCovariance
from daflow.numerics.observations.thinning import boxes_of, super_observations, thinned

seeds = given(st.integers(0, 2**32 - 1), st.integers(1, 30))


def problem(seed, n_obs):
    rng = np.random.default_rng(seed)
    return rng.uniform(-3, 3, (n_obs, 2)), rng.uniform(0.3, 2, n_obs), rng


def test_that_boxes_hold_what_lies_together():
    places = [[0.1, 0.2], [0.9, 0.9], [1.1, 0.1], [0.5, 0.5], [-0.1, 0.2]]
    np.testing.assert_array_equal(boxes_of(places, 1.0), [0, 0, 1, 0, 2])
    np.testing.assert_array_equal(boxes_of(places, [10.0, 0.5]), [0, 1, 0, 1, 2])


@settings(max_examples=30)
@seeds
def test_that_one_is_left_of_each_box_and_thinning_again_changes_nothing(seed, n_obs):
    places, variances, _ = problem(seed, n_obs)
    boxes = boxes_of(places, 1.0)
    kept = thinned(boxes, variances)
    assert sorted(boxes[kept]) == list(range(boxes.max() + 1))
    for index in kept:
        assert variances[index] == variances[boxes == boxes[index]].min()
    again = thinned(boxes_of(places[kept], 1.0), variances[kept])
    np.testing.assert_array_equal(again, np.arange(len(kept)))
    np.testing.assert_array_equal(boxes_of(1e3 * places, 1e3), boxes)


@settings(max_examples=30)
@seeds
def test_that_the_precision_of_an_average_is_the_sum_of_those_in_its_box(seed, n_obs):
    places, variances, rng = problem(seed, n_obs)
    boxes = boxes_of(places, 2.0)
    averages = super_observations(boxes, variances)
    precision = np.bincount(boxes, weights=1 / variances)
    error = averages.error(DiagonalCovariance(variances))
    np.testing.assert_allclose(error.diagonal(), 1 / precision, rtol=1e-12)
    dense = averages.error(DenseCovariance(np.diag(variances)))
    np.testing.assert_allclose(dense.dense(), np.diag(1 / precision), atol=1e-12)
    values = rng.standard_normal(n_obs)
    expected = [
        np.average(values[boxes == b], weights=1 / variances[boxes == b]) for b in range(boxes.max() + 1)
    ]
    np.testing.assert_allclose(averages.average(values), expected, rtol=1e-12, atol=1e-14)


def test_that_averages_lose_nothing_where_all_in_a_box_predict_the_same():
    rng = np.random.default_rng(0)
    prior = rng.standard_normal((6, 4))
    boxes, variances = np.array([0, 0, 1, 1, 1, 2]), rng.uniform(0.5, 2, 6)
    values, predicted = rng.standard_normal(6), prior[:, boxes]
    averages = super_observations(boxes, variances)
    fewer = etkf(
        averages.average(predicted), averages.average(values), averages.error(DiagonalCovariance(variances))
    )
    whole = etkf(predicted, values, variances)
    np.testing.assert_allclose(apply_transform(fewer, prior), apply_transform(whole, prior), atol=1e-12)


def test_that_what_cannot_be_used_is_refused():
    with pytest.raises(DataError, match="gaps"):
        thinned([0, 2], [1.0, 1.0])
    with pytest.raises(DataError, match="boxes"):
        super_observations([0.0, 1.0], [1.0, 1.0])
    with pytest.raises(DataError, match="boxes"):
        boxes_of([[0.0, 1.0]], 0.0)
    with pytest.raises(DataError, match="averaged"):
        super_observations([0, 1], [1.0, 1.0]).average([1.0, 2.0, 3.0])
