import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError, DataError
from daflow.numerics.observations.missing_predictions import (
    POLICIES,
    drop_by_share,
    drop_members,
    drop_observations,
)

EVERY = {**POLICIES, "share": lambda predicted: drop_by_share(predicted, 0.3)}
any_policy = pytest.mark.parametrize("policy", EVERY)


def predictions(seed, missing=0.1):
    rng = np.random.default_rng(seed)
    return np.where(rng.uniform(size=(7, 5)) < missing, np.nan, rng.standard_normal((7, 5)))


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(list(EVERY)))
def test_that_what_is_left_has_no_missing_prediction_whatever_the_order(seed, policy):
    predicted = predictions(seed)
    # Two whole members and a whole observation: something is always left.
    predicted[:2] = 0.0
    predicted[:, 0] = 0.0
    kept = EVERY[policy](predicted)
    assert np.isfinite(kept.of(predicted)).all()
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(7), rng.permutation(5)
    permuted = EVERY[policy](predicted[np.ix_(rows, columns)])
    np.testing.assert_array_equal(permuted.members, kept.members[rows])
    np.testing.assert_array_equal(permuted.observations, kept.observations[columns])


@any_policy
def test_that_all_is_kept_where_nothing_is_missing(policy):
    kept = EVERY[policy](predictions(0, missing=0.0))
    assert kept.members.all()
    assert kept.observations.all()


def test_that_each_policy_leaves_out_what_it_says():
    predicted = np.zeros((4, 3))
    predicted[0, :2] = predicted[1, 2] = np.nan
    assert drop_observations(predicted[1:]).observations.tolist() == [True, True, False]
    assert drop_members(predicted).members.tolist() == [False, False, True, True]
    kept = drop_by_share(predicted, 0.5)
    assert kept.members.tolist() == [False, True, True, True]
    assert kept.observations.tolist() == [True, True, False]


def test_that_a_share_of_zero_drops_members_and_one_of_one_observations():
    predicted = predictions(3, missing=0.05)
    predicted[0, 0] = np.nan
    for share, policy in ((0.0, drop_members), (1.0, drop_observations)):
        for mine, theirs in zip(drop_by_share(predicted, share), policy(predicted), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_that_what_leaves_nothing_or_cannot_be_used_is_refused():
    with pytest.raises(DataError, match="too many"):
        drop_observations([[np.nan, 1.0], [1.0, np.nan]])
    with pytest.raises(DataError, match="too many"):
        drop_members([[np.nan, 1.0], [1.0, 1.0]])
    with pytest.raises(DataError, match="infinite"):
        drop_members([[np.inf, 1.0], [1.0, 1.0]])
    with pytest.raises(DataError, match="cannot be looked"):
        drop_members([1.0, 1.0])
    with pytest.raises(ConfigError, match="share"):
        drop_by_share([[1.0], [1.0]], 1.5)
