import json
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from daflow.names import BLAMELESS, Phase, Status
from daflow.records import Outcome, Task
from daflow.runs import facts
from daflow.runs.ends import ends_of, listed, told_hosts, told_messages
from daflow.runs.facts import fold
from daflow.runs.orders import Orders

FORECAST = (Phase.FORECAST, 0)
BAD = [status for status in Status if status is not Status.OK]


def ended(index, status, attempt=0, host="", reason="because", **figures):
    return facts.ended(
        Outcome(Task(*FORECAST, index, attempt), status, host=host, reason=reason, figures=figures)
    )


def test_that_attempts_are_grouped_by_how_they_ended_with_hosts_and_first_messages():
    lost = [ended(n, Status.LOST, host=f"n{n % 2}", reason=f"the worker at :{n}40 died") for n in range(5)]
    progress = fold(
        [
            *lost,
            ended(0, Status.LOST, 1, "n0", "job 7 was cancelled\nby root", **{BLAMELESS: 1.0}),
            ended(0, Status.OK, 2),
            ended(7, Status.FAILED, reason="no licence"),
        ]
    )
    failed, lost = ends_of(progress)
    assert (failed.status, failed.attempts, failed.members, failed.hosts) == (Status.FAILED, 1, (7,), {})
    assert (lost.status, lost.attempts, lost.members) == (Status.LOST, 6, (0, 1, 2, 3, 4))
    assert (lost.done_since, lost.blameless) == (1, 1)
    assert list(lost.hosts.items()) == [("n0", 4), ("n1", 2)]
    # What differs by a number only is one message, told as the first said it.
    assert told_messages(lost) == "5 x the worker at :040 died\njob 7 was cancelled"
    assert json.loads(json.dumps(asdict(lost)))["messages"][0] == {
        "text": "the worker at :040 died",
        "attempts": 5,
    }


def test_that_a_member_that_the_operator_dropped_was_not_brought_through_though_it_was_done():
    drop = facts.opened({}, orders=Orders(drop=frozenset({3})), at=FORECAST)
    (group,) = ends_of(fold([ended(3, Status.OK), drop]))
    assert (group.status, group.members, group.done_since) == (Status.CANCELLED, (3,), 0)


@given(
    st.lists(
        st.builds(
            ended,
            st.integers(0, 3),
            st.sampled_from(BAD),
            st.integers(0, 3),
            st.sampled_from(["", "n1", "n2"]),
            st.sampled_from(["a", "b", "c", "d 1", "d 2", "e"]),
        )
    )
)
def test_that_every_attempt_is_counted_once(history):
    progress = fold(history)
    groups = ends_of(progress)
    assert sum(group.attempts for group in groups) == len(progress.bad_ends)
    assert [group.status for group in groups] == sorted({o.status for o in progress.bad_ends}, key=BAD.index)
    for group in groups:
        assert sum(m.attempts for m in group.messages) + group.other_messages == group.attempts
        assert sum(group.hosts.values()) <= group.attempts
        assert len(group.messages) <= 3


def test_that_words_name_a_few_hosts_and_count_the_others():
    assert told_hosts({}) == ""
    assert told_hosts({"n1": 3, "n2": 1}) == "n1 (3), n2 (1)"
    assert told_hosts({f"n{i}": 9 - i for i in range(5)}) == "n0 (9), n1 (8), n2 (7) and 2 others"


@given(st.sets(st.integers(0, 40)))
def test_that_a_list_of_numbers_names_each_of_them(numbers):
    read = set()
    for part in filter(None, listed(numbers).split(", ")):
        first, _, last = part.partition("-")
        read |= set(range(int(first), int(last or first) + 1))
    assert read == numbers
