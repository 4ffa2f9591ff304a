import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import JournalError
from daflow.names import Phase, Status
from daflow.records import Outcome, Task
from daflow.runs import facts
from daflow.runs.facts import Progress, fold

TASKS = st.builds(Task, st.sampled_from(Phase), st.integers(0, 1), st.integers(0, 2), st.integers(0, 2))
ENDS = st.builds(Outcome, TASKS, st.sampled_from(Status), reason=st.sampled_from(["", "because"]))
STAGES = st.tuples(st.sampled_from(Phase), st.integers(0, 1))
FACTS = st.one_of(
    st.builds(lambda retry: facts.opened({"pid": 1}, retry_failed=retry), st.booleans()),
    ENDS.map(facts.ended),
    ENDS.map(facts.ended),
    st.builds(facts.closed, STAGES, st.sets(st.integers(0, 2)).map(sorted)),
    st.builds(lambda on: facts.stopped("interrupted", "an operator", resumable=on), st.booleans()),
)


def ended(index, status, attempt=0, phase=Phase.FORECAST, reason=""):
    return facts.ended(Outcome(Task(phase, 0, index, attempt), status, reason=reason))


@settings(max_examples=100, deadline=None)
@given(st.lists(FACTS, max_size=25))
def test_that_a_journal_followed_line_by_line_ends_where_one_read_at_once_does(history):
    progress = Progress()
    for n, fact in enumerate(history, start=1):
        progress.take(fact)
        assert progress == fold(history[:n])


@settings(max_examples=100, deadline=None)
@given(st.lists(FACTS, max_size=25))
def test_that_an_end_or_a_close_taken_twice_changes_nothing(history):
    twice = [fact for fact in history for _ in range(1 if fact["fact"] == "opened" else 2)]
    assert fold(twice) == fold(history)


@settings(max_examples=100, deadline=None)
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
        {"fact": "ended", "phase": "forecast"},
        {"fact": "ended", **Outcome(Task(Phase.PRIOR, 0, 0), Status.OK).to_json(), "status": "fine"},
        {"fact": "closed", "phase": "lunch", "step": 0, "survivors": []},
        {"fact": "closed", "phase": "prior", "step": 0, "survivors": 3},
    ],
)
def test_that_a_fact_that_is_not_complete_is_named(fact):
    with pytest.raises(JournalError, match="fact 2 of the journal"):
        fold([facts.opened({}), fact])
