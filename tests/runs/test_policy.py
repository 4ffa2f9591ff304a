from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.names import BLAMELESS, BY_OPERATOR, Phase, Status
from daflow.records import Outcome, Task
from daflow.runs.policy import MOST_BLAMELESS, RETRIES, Policy, retries_of

ENDS = st.lists(st.tuples(st.sampled_from(list(RETRIES)), st.booleans()), max_size=30)
POLICIES = st.builds(
    Policy, st.dictionaries(st.sampled_from(list(RETRIES)), st.integers(0, 4)).map(retries_of)
)


def outcomes(ends):
    return [
        Outcome(Task(Phase.FORECAST, 0, 4, n), status, figures={BLAMELESS: 1.0} if blameless else {})
        for n, (status, blameless) in enumerate(ends)
    ]


@pytest.mark.parametrize(
    ("given", "invalid", "lost"), [(0, 0, 10), (2, 2, 10), (10, 10, 10), (100, 100, 100)]
)
def test_that_a_plain_number_is_for_output_that_cannot_be_used_and_never_lowers_the_limit_of_losses(
    given, invalid, lost
):
    assert retries_of(given) == {**RETRIES, Status.INVALID: invalid, Status.LOST: lost}


def test_that_what_is_not_said_end_by_end_stays_as_it_is():
    assert retries_of({Status.FAILED: 3}) == {**RETRIES, Status.FAILED: 3}
    assert Policy().retries == retries_of(2)


@given(POLICIES, ENDS)
def test_that_each_end_has_a_count_of_its_own(policy, ends):
    given_up = policy.gives_up(outcomes(ends))
    over = [
        (status, blameless)
        for status, blameless in ends
        if not (status is Status.LOST and blameless)
        and sum(each is status and not (each is Status.LOST and b) for each, b in ends)
        > policy.retries[status]
    ]
    assert (given_up is not None) == bool(over)
    if given_up is not None:
        assert given_up.status in {status for status, _ in over}


@given(POLICIES, ENDS, ENDS)
def test_that_who_is_given_up_stays_so_for_the_same_end_whatever_is_told_later(policy, ends, more):
    before = policy.gives_up(outcomes(ends))
    if before is not None:
        assert policy.gives_up(outcomes([*ends, *more])) == before


def test_that_losses_nobody_is_to_blame_for_use_up_nothing_but_end_as_well():
    blameless = outcomes([(Status.LOST, True)] * MOST_BLAMELESS)
    assert Policy(retries_of({Status.LOST: 0})).gives_up(blameless) is None
    assert Policy().gives_up([*blameless, *outcomes([(Status.LOST, False)] * 10)]) is None
    assert Policy().gives_up([*blameless, *outcomes([(Status.LOST, False)] * 11)]) is not None
    assert Policy().gives_up([*blameless, blameless[-1]]) == blameless[-1]


def test_that_only_the_ends_that_are_named_stop_a_run_and_the_operator_never_does():
    policy = Policy(stop_on=frozenset({Status.LOST, Status.CANCELLED}))
    failed, lost, cancelled = outcomes([(s, False) for s in (Status.FAILED, Status.LOST, Status.CANCELLED)])
    dropped = replace(cancelled, figures={BY_OPERATOR: 1.0})
    assert [policy.stops(each) for each in (failed, lost, cancelled, dropped)] == [False, True, True, False]
    assert policy.first_stopping({1: failed, 7: cancelled, 3: lost, 0: dropped}) == 3
    assert policy.first_stopping({1: failed}) is None
