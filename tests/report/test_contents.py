"""Contents refuse what cannot be told, and say where it is."""

import numpy as np
import pytest

from daflow.errors import DataError
from daflow.report import Moments, StepPredictions


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"value": None}, "no column 'value'"),
        ({"error_std": None}, "no column 'error_std'"),
        ({"kind": np.array(["a"])}, "columns of the observation table disagree"),
        ({"value": np.full(16, np.nan)}, "cannot be used"),
        ({"error_std": np.zeros(16)}, "cannot be used"),
    ],
)
def test_that_a_table_that_cannot_be_used_is_refused(make_contents, changes, told):
    table = dict(make_contents().observations) | changes
    with pytest.raises(DataError, match=told):
        make_contents(observations={name: column for name, column in table.items() if column is not None})


def test_that_an_empty_table_is_refused(make_contents):
    with pytest.raises(DataError, match="empty"):
        make_contents(observations={"value": np.empty(0), "error_std": np.empty(0)})


def test_that_predictions_must_fit_table_and_members(make_contents):
    with pytest.raises(DataError, match="step 0 do not fit"):
        make_contents(predictions=[StepPredictions(0, [1], np.zeros((1, 3)))])
    with pytest.raises(DataError, match="truth's"):
        make_contents(truth=np.zeros(3))
    with pytest.raises(DataError, match="step 2 have the wrong shape"):
        StepPredictions(2, [1, 2], np.zeros((1, 3)))
    with pytest.raises(DataError, match="wrong shape"):
        StepPredictions(2, [], np.zeros((0, 3)))


def test_that_a_prediction_that_is_not_finite_names_its_member():
    with pytest.raises(DataError, match="member 9"):
        StepPredictions(1, [4, 9], np.array([[1.0, 2.0], [np.nan, 2.0]]))


def test_that_maps_of_different_shapes_or_without_extent_are_refused(make_maps):
    with pytest.raises(DataError, match="wrong shape"):
        make_maps(truth=np.zeros((2, 2)))
    with pytest.raises(DataError, match="wrong shape"):
        make_maps(prior=Moments(np.zeros(4), np.zeros(4)), posterior=None, truth=None)
    with pytest.raises(DataError, match="no extent"):
        make_maps(extent=(1.0, 1.0, 0.0, 2.0))
