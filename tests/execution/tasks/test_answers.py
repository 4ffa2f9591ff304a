import pickle

import numpy as np
import pytest

from daflow.errors import ModelFailed, OutputInvalid, PredictionsMissing
from daflow.execution.tasks.answers import usable
from daflow.models.predictions import checked_predictions

TABLE = {"name": np.array(list("abcd")), "kind": np.full(4, "k"), "time": np.arange(4.0)}
HOLES = np.array([1.0, np.nan, 3.0, np.nan])


def test_that_an_answer_of_the_wrong_shape_names_what_was_allowed():
    with pytest.raises(OutputInvalid) as error:
        usable(np.zeros(3), TABLE, None)
    assert error.value.got == (3,)
    assert "(4,)" in error.value.allowed


def test_that_missing_predictions_are_invalid_unless_the_policy_speaks_of_them():
    with pytest.raises(OutputInvalid, match=r"2 of 4, the first ones observation 1 \(k b at 1\)") as error:
        usable(HOLES, TABLE, None)
    assert "policy.missing_predictions" in error.value.do
    np.testing.assert_array_equal(usable(HOLES, TABLE, 0.5), HOLES)
    np.testing.assert_array_equal(usable(np.full(4, np.nan), TABLE, 1.0), np.full(4, np.nan))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.49])
def test_that_a_member_that_misses_more_than_it_may_is_given_up_at_once(share):
    with pytest.raises(ModelFailed, match=r"policy\.missing_predictions"):
        usable(HOLES, TABLE, share)


@pytest.mark.parametrize("missing", [None, 0.0, 1.0])
def test_that_what_is_whole_counts_and_what_is_infinite_does_not_whatever_the_policy(missing):
    assert usable(np.arange(4), TABLE, missing).tolist() == [0, 1, 2, 3]
    with pytest.raises(OutputInvalid, match="not finite"):
        usable(np.array([1.0, np.inf, 2.0, 3.0]), TABLE, missing)


def test_that_a_model_s_own_word_on_missing_predictions_counts_like_the_numbers():
    with pytest.raises(PredictionsMissing) as raised:
        checked_predictions(HOLES, TABLE, "o.csv")
    np.testing.assert_array_equal(usable(raised.value, TABLE, 0.5), HOLES)
    with pytest.raises(PredictionsMissing, match=r"o.csv: 2 of 4(.|\n)*policy.missing_predictions"):
        usable(raised.value, TABLE, None)


def test_that_infinite_predictions_are_not_missing_ones():
    with pytest.raises(OutputInvalid) as raised:
        checked_predictions(np.array([np.nan, np.inf, 0.0, 0.0]), TABLE, "o.csv")
    assert not isinstance(raised.value, PredictionsMissing)
    with pytest.raises(OutputInvalid, match=r"o\.csv"):
        usable(raised.value, TABLE, 1.0)


def test_that_the_error_travels_as_words():
    with pytest.raises(PredictionsMissing) as raised:
        checked_predictions(HOLES, TABLE, "o.csv")
    back = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - ours
    assert type(back) is OutputInvalid
    assert str(back) == str(raised.value)
