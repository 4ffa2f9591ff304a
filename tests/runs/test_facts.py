import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import JournalError
from daflow.names import BLAMELESS, BY_OPERATOR, Phase, Status
from daflow.records import Outcome, Task
from daflow.runs import facts
from daflow.runs.facts import Progress, fold
from daflow.runs.orders import Orders

TASKS = st.builds(Task, st.sampled_from(Phase), st.integers(0, 1), st.integers(0, 2), st.integers(0, 2))
ENDS = st.builds(
    Outcome,
    TASKS,
    st.sampled_from(Status),
    host=st.sampled_from(["", "n1"]),
    reason=st.sampled_from(["", "because"]),
    started=st.floats(0, 9),
)
STAGES = st.tuples(st.sampled_from(Phase), st.integers(0, 1))
ORDERS = st.builds(
    Orders,
    st.frozensets(st.sampled_from(Status), max_size=2),
    st.frozensets(st.integers(0, 2), max_size=1),
    st.frozensets(st.integers(0, 2), max_size=2),
    st.none() | st.integers(2, 9),
)
FACTS = st.one_of(
    st.builds(lambda retry: facts.opened({"pid": 1}, retry_failed=retry), st.booleans()),
    st.builds(lambda orders, at: facts.opened({"host": "h"}, orders=orders, at=at), ORDERS, STAGES),
    st.builds(facts.avoided, st.sampled_from(["", "n1"]), st.just("ends badly"), st.floats(0, 9)),
    ENDS.map(facts.ended),
    ENDS.map(facts.ended),
    st.builds(facts.closed, STAGES, st.sets(st.integers(0, 2)).map(sorted)),
    st.builds(lambda on: facts.stopped("interrupted", "an operator", resumable=on), st.booleans()),
)


def ended(index, status, attempt=0, phase=Phase.FORECAST, reason=""):
    return facts.ended(Outcome(Task(phase, 0, index, attempt), status, reason=reason))


@settings(max_examples=100)
@given(st.lists(FACTS, max_size=25))
def test_that_a_journal_followed_line_by_line_ends_where_one_read_at_once_does(history):
    progress = Progress()
    for n, fact in enumerate(history, start=1):
        progress.take(fact)
        assert progress == fold(history[:n])


@settings(max_examples=100)
@given(st.lists(FACTS, max_size=25))
def test_that_an_end_or_a_close_taken_twice_changes_nothing(history):
    twice = [fact for fact in history for _ in range(1 if fact["fact"] == "opened" else 2)]
    assert fold(twice) == fold(history)


@settings(max_examples=100)
@given(st.lists(FACTS, max_size=25), st.data())
def test_that_an_end_journalled_again_later_changes_nothing(history, data):
    ends = [n for n, fact in enumerate(history) if fact["fact"] == "ended"]
    if not ends:
        return
    again = data.draw(st.sampled_from(ends))
    first = next(n for n in ends if history[n] == history[again])
    place = data.draw(st.integers(first + 1, len(history)))
    assert fold([*history[:place], history[again], *history[place:]]) == fold(history)


@given(st.lists(ENDS, max_size=12))
def test_that_what_was_done_once_stays_done_whatever_comes_after(ends):
    progress = fold(facts.ended(end) for end in ends)
    for end in ends:
        if end.status == Status.OK:
            assert end.task.index in progress.done[end.task.phase, end.task.step]


def test_that_attempts_are_numbered_on_from_the_last_one_that_ended():
    stage = (Phase.FORECAST, 0)
    assert fold([]).next_attempt(stage, 4) == 0
    assert fold([ended(4, Status.LOST), ended(4, Status.LOST, 2)]).next_attempt(stage, 4) == 3
    assert fold([ended(4, Status.BLOCKED)]).next_attempt(stage, 4) == 1


def test_that_a_new_session_forgives_what_was_lost_and_forgives_failures_only_when_asked():
    ends = [ended(0, Status.LOST), ended(1, Status.FAILED), ended(2, Status.INVALID)]
    kept = {0: 1, 1: 1, 2: 1}
    for opened, expected in (
        ([], kept),
        ([facts.opened({})], kept | {0: 0}),
        ([facts.opened({}, retry_failed=True)], dict.fromkeys(kept, 0)),
        ([facts.closed((Phase.FORECAST, 0), []), facts.opened({}, retry_failed=True)], kept),
    ):
        failures = fold([*ends, *opened]).failures[Phase.FORECAST, 0]
        assert {index: len(outcomes) for index, outcomes in failures.items()} == expected


def test_that_a_driver_that_follows_in_a_chain_forgives_losses_that_are_nobody_s_fault_and_no_others():
    blameless = facts.ended(Outcome(Task(Phase.FORECAST, 0, 1, 0), Status.LOST, figures={BLAMELESS: 1.0}))
    ends = [ended(0, Status.LOST), blameless]
    for opened, expected in (
        (facts.opened({"follows": "17"}), {0: 1, 1: 0}),
        (facts.opened({"follows": "17"}, orders=Orders(retry=frozenset({Status.LOST}))), {0: 0, 1: 0}),
        (facts.opened({}), {0: 0, 1: 0}),
    ):
        failures = fold([*ends, opened]).failures[Phase.FORECAST, 0]
        assert {index: len(outcomes) for index, outcomes in failures.items()} == expected


@given(ORDERS)
def test_that_orders_come_back_from_the_fact_that_they_are_kept_in(orders):
    fact = json.loads(json.dumps(facts.opened({"host": "h"}, orders=orders, at=(Phase.PRIOR, 0))))
    assert Orders.from_json(fact) == orders
    assert bool(orders) == (len(fact) > 3)


def test_that_ends_and_members_that_are_named_get_new_attempts_and_no_others():
    ends = [ended(0, Status.TIMED_OUT), ended(1, Status.FAILED), ended(2, Status.INVALID)]
    ends += [ended(0, Status.INVALID, attempt=1), ended(1, Status.CANCELLED, phase=Phase.PRIOR)]
    for orders, expected in (
        (Orders(), {0: 2, 1: 1, 2: 1}),
        (Orders(retry=frozenset({Status.INVALID})), {0: 1, 1: 1, 2: 0}),
        (Orders(retry=frozenset({Status.TIMED_OUT, Status.FAILED})), {0: 1, 1: 0, 2: 1}),
        (Orders(members=frozenset({0})), {0: 0, 1: 1, 2: 1}),
    ):
        failures = fold([*ends, facts.opened({}, orders=orders)]).failures
        assert {index: len(outcomes) for index, outcomes in failures[Phase.FORECAST, 0].items()} == expected
        assert len(failures[Phase.PRIOR, 0][1]) == 1


def test_that_members_dropped_are_recorded_as_cancelled_by_the_operator_until_they_are_asked_for_again():
    stage = (Phase.FORECAST, 0)
    who = {"host": "login", "time": 99.0}
    drop = facts.opened(who, orders=Orders(drop=frozenset({0, 2})), at=stage)
    progress = fold([ended(0, Status.LOST), drop])
    assert progress.dropped[stage].keys() == {0, 2}
    assert [(o.task.index, o.task.attempt, o.status, o.host, o.started) for o in progress.bad_ends[1:]] == [
        (0, 1, Status.CANCELLED, "login", 99.0),
        (2, 0, Status.CANCELLED, "login", 99.0),
    ]
    assert all(
        o.reason == "dropped by the operator" and o.figures[BY_OPERATOR] for o in progress.bad_ends[1:]
    )
    assert progress.next_attempt(stage, 2) == 1
    progress.take(facts.opened(who))
    assert progress.dropped[stage].keys() == {0, 2}
    progress.take(facts.opened(who, orders=Orders(members=frozenset({0}))))
    assert progress.dropped[stage].keys() == {2}
    again = facts.opened(who, orders=Orders(retry=frozenset({Status.CANCELLED})))
    assert fold([drop, facts.closed(stage, [1]), again]).dropped[stage].keys() == {0, 2}
    assert fold([facts.closed(stage, [0, 1, 2]), drop]).dropped == {}
    progress.take(again)
    assert progress.dropped[stage] == {}


def test_that_with_how_few_members_to_go_on_holds_for_the_session_that_was_told():
    told = facts.opened({}, orders=Orders(min_members=5))
    assert fold([told]).min_members == 5
    assert fold([told, facts.opened({})]).min_members is None


def test_that_journals_of_before_there_were_orders_fold_as_they_did():
    """As version 0.1 wrote them: a timeout was a failure there."""
    plain = {"seconds": 3.0, "host": "", "started": 0.0, "key": "", "digest": "", "figures": {}}
    ends = [
        {"fact": "ended", "phase": "forecast", "step": 0, "index": n, "attempt": 0, "status": s, "reason": r}
        | plain
        for n, s, r in ((0, "failed", "took longer than policy.timeout = 3 s"), (1, "lost", "died"))
    ]
    before = [{"fact": "opened", "retry_failed": False, "host": "h", "pid": 1, "time": 1.0}, *ends]
    again = {"fact": "opened", "retry_failed": True, "host": "h", "pid": 2, "time": 2.0}
    kept = {index: len(each) for index, each in fold(before).failures[Phase.FORECAST, 0].items()}
    assert kept == {0: 1, 1: 1}
    kept = {index: len(each) for index, each in fold([*before, again]).failures[Phase.FORECAST, 0].items()}
    assert kept == {0: 0, 1: 0}


def test_that_what_befell_members_on_a_node_put_aside_is_not_held_against_them():
    def at(index, host, started, attempt=0):
        task = Task(Phase.FORECAST, 0, index, attempt)
        return facts.ended(Outcome(task, Status.FAILED, host=host, started=started))

    history = [at(0, "n1", 10.0), at(1, "n2", 10.0), at(2, "", 10.0), facts.avoided("n1", "ends badly", 20.0)]
    progress = fold([*history, at(3, "n1", 19.0), at(4, "n1", 21.0), at(5, "n1", 0.0)])
    held = {index for index, outcomes in progress.failures[Phase.FORECAST, 0].items() if outcomes}
    # What was under way there when it was put aside is its fault too; what began later is not.
    assert held == {1, 2, 4, 5}
    assert len(progress.bad_ends) == 6
    assert progress.avoided["n1"].reason == "ends badly"
    progress.take(facts.opened({}))
    assert progress.avoided == {}
    closed = fold([*history[:3], facts.closed((Phase.FORECAST, 0), [3]), history[3]])
    assert closed.failures[Phase.FORECAST, 0][0]


def test_that_what_blocked_one_session_does_not_block_the_next():
    blocked = fold(
        [ended(0, Status.BLOCKED, reason="disk full"), facts.stopped("blocked", "", resumable=True)]
    )
    assert blocked.blocked == "disk full"
    assert blocked.failures == {}
    assert blocked.last_stop is not None
    blocked.take(facts.opened({}))
    assert (blocked.blocked, blocked.last_stop, blocked.sessions) == ("", None, 1)


def test_that_an_attempt_given_up_as_lost_counts_once_its_receipt_says_that_it_was_done():
    progress = fold([ended(0, Status.LOST)])
    late = Outcome(Task(Phase.FORECAST, 0, 0, 0), Status.OK)
    assert not progress.knows(late)
    progress.take(facts.ended(late))
    assert progress.knows(late)
    assert progress.done == {(Phase.FORECAST, 0): {0}}
    assert progress.next_attempt((Phase.FORECAST, 0), 0) == 1


def test_that_the_first_close_of_a_stage_stands():
    stage = (Phase.PRIOR, 0)
    assert fold([facts.closed(stage, [0, 1]), facts.closed(stage, [0])]).survivors == {stage: (0, 1)}


def test_that_facts_of_a_kind_unknown_here_are_passed_over():
    assert fold([{"fact": "noticed", "by": "a later version"}]) == Progress()


@pytest.mark.parametrize(
    "fact",
    [
        {"fact": "opened"},
        {"fact": "opened", "retry_failed": False, "retry": ["tired"]},
        {"fact": "opened", "retry_failed": False, "drop": [1]},
        {"fact": "avoided", "host": "n1"},
        {"fact": "ended", "phase": "forecast"},
        {"fact": "ended", **Outcome(Task(Phase.PRIOR, 0, 0), Status.OK).to_json(), "status": "fine"},
        {"fact": "closed", "phase": "lunch", "step": 0, "survivors": []},
        {"fact": "closed", "phase": "prior", "step": 0, "survivors": 3},
    ],
)
def test_that_a_fact_that_is_not_complete_is_named(fact):
    with pytest.raises(JournalError, match="fact 2 of the journal"):
        fold([facts.opened({}), fact])
