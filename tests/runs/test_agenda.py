from collections import Counter
from dataclasses import replace
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.names import BLAMELESS, Phase, Status
from daflow.records import Outcome, Task
from daflow.runs import facts
from daflow.runs.agenda import Agenda
from daflow.runs.decide import Close, Dispatch, Plan, decide
from daflow.runs.facts import fold
from daflow.runs.orders import Orders
from daflow.runs.policy import Policy, retries_of

MEMBERS = (0, 1, 3, 4)
PLAN = Plan(MEMBERS, n_steps=1, n_slices=3, twin=False, keys={})
ENDS = [Status.FAILED, Status.INVALID, Status.TIMED_OUT, Status.CANCELLED, Status.LOST]
RETRIES = st.dictionaries(st.sampled_from(ENDS), st.integers(0, 2)).map(retries_of)
STOP_ON = st.frozensets(st.sampled_from(ENDS), max_size=2)
POLICIES = st.builds(Policy, RETRIES, min_members=st.integers(1, 4), stop_on=STOP_ON)
MOVES = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("send", "send", "end", "end", "end", "end badly", "end badly", "back", "late", "late"),
                *("open", "orders", "avoid", "close"),
            ]
        ),
        st.integers(0, 7),
        st.sampled_from([*ENDS, Status.BLOCKED, Status.LOST]),
    ),
    min_size=25,  # without, lists are of five moves on average: too few to get anywhere
    max_size=50,
)
HOSTS = ("", "n1", "n2")
PRIOR = (Phase.PRIOR, 0)
BEFORE = [facts.closed((Phase.COORDINATES, 0), MEMBERS)]


class Played:
    """An agenda, and the tasks that are out as anybody else would keep them."""

    def __init__(self, policy, progress):
        self.policy = policy
        self.agenda = Agenda(progress, PLAN, policy)
        self.out, self.ended = [], []

    def play(self, move, number, status):
        match move:
            case "send":
                self.out += self.agenda.send(number % 3 + 1)
            case "end" | "end badly" if self.out:
                task = self.out.pop(number % len(self.out))
                self.ended.append(task)
                self.agenda.home(task)
                self.take(task, Status.OK if move == "end" else status)
            case "back" if self.out:
                self.agenda.home(self.out.pop(number % len(self.out)))
            case "late" if self.ended:  # of an attempt that had been given up, or is told twice
                self.take(self.ended[number % len(self.ended)], Status.OK if number > 3 else status)
            case "open":
                self.agenda.take(facts.opened({}, retry_failed=number > 3))
            case "orders":
                member = MEMBERS[number % len(MEMBERS)]
                orders = (
                    Orders(retry=frozenset({status} - {Status.BLOCKED})),
                    Orders(members=frozenset({member})),
                    Orders(drop=frozenset({member}), min_members=number),
                )[number % 3]
                # In the stage at hand, in one to come, or in one that may be closed.
                at = (PRIOR, (Phase.FORECAST, 0), self.agenda.stage or PRIOR)[number % 4 % 3]
                self.agenda.take(facts.opened({"host": "here", "time": 5.0}, orders=orders, at=at))
            case "avoid":
                self.agenda.take(facts.avoided(HOSTS[number % 2 + 1], "ends badly", number))
            case "close":
                settled = self.agenda.settled()
                if isinstance(settled, Close):
                    self.agenda.take(facts.closed(settled.stage, settled.survivors))

    def take(self, task, status):
        host = HOSTS[(task.attempt + task.index) % 3]
        end = Outcome(task, status, host=host, reason="because", started=task.index)
        blameless = {BLAMELESS: 1.0} if task.index == 3 else {}
        self.agenda.take(facts.ended(replace(end, figures=blameless)))


@settings(max_examples=150)
@given(POLICIES, MOVES, st.sampled_from([[], BEFORE, BEFORE]))
def test_that_an_agenda_says_after_any_history_what_the_whole_journal_says(policy, moves, before):
    played = Played(policy, fold(before))
    for move in moves:
        played.play(*move)
        agenda = played.agenda
        assert agenda.decision() == decide(agenda.progress, PLAN, policy, played.out)
        afresh = Agenda(agenda.progress, PLAN, policy)
        assert decide(agenda.progress, PLAN, policy) == afresh.decision()
        assert len(set(played.out)) == len(played.out)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=10), st.randoms())
def test_that_every_task_is_sent_once_in_the_order_of_its_number_whatever_the_sizes(sizes, random):
    agenda = Agenda(fold([facts.closed((Phase.COORDINATES, 0), MEMBERS)]), PLAN, Policy())
    sent = [task for size in sizes for task in agenda.send(size)]
    assert [task.index for task in sent] == list(MEMBERS)[: sum(sizes)]
    back = random.sample(sent, len(sent) // 2)
    for task in back:
        agenda.home(task)
        agenda.home(task)
    again = agenda.send(len(back))
    assert set(again[: len(back)]) <= {*back, *(Task(Phase.PRIOR, 0, index) for index in MEMBERS)}
    assert not set(again) & (set(sent) - set(back))


def sent_home(agenda, *ends):
    """Send all tasks of the prior and take these ends of them: member -> status."""
    tasks = {task.index: task for task in agenda.send(len(MEMBERS))}
    for index, status in ends:
        agenda.home(tasks[index])
        agenda.take(
            facts.ended(Outcome(tasks[index], status, host=f"n{index}", reason="because", started=1.0))
        )
    return tasks


def test_that_members_wait_again_once_the_node_that_failed_them_is_put_aside():
    agenda = Agenda(fold(BEFORE), PLAN, Policy())
    sent_home(agenda, (0, Status.FAILED), (1, Status.FAILED))
    assert agenda.n_waiting == 0
    agenda.take(facts.avoided("n1", "ends badly", 9.0))
    assert agenda.send(9) == (Task(*PRIOR, 1, 1),)


def test_that_a_member_that_is_done_is_given_up_when_it_is_dropped():
    agenda = Agenda(fold(BEFORE), PLAN, Policy(min_members=4))
    sent_home(agenda, *((index, Status.OK) for index in MEMBERS))
    agenda.take(facts.opened({}, orders=Orders(drop=frozenset({3})), at=PRIOR))
    assert agenda.settled().kind == "too few members"
    agenda.take(facts.opened({}, orders=Orders(min_members=3)))
    assert agenda.settled() == Close(PRIOR, (0, 1, 4))


def test_that_an_end_stops_the_run_only_while_it_stands():
    agenda = Agenda(
        fold(BEFORE), PLAN, Policy(retries_of({Status.LOST: 0}), stop_on=frozenset({Status.LOST}))
    )
    tasks = sent_home(agenda, (0, Status.FAILED))
    assert agenda.settled() is None
    agenda.home(tasks[1])
    agenda.take(facts.ended(Outcome(tasks[1], Status.LOST)))
    assert agenda.settled().kind == "member failed"
    agenda.take(facts.ended(Outcome(tasks[1], Status.OK)))  # its receipt says that it was done
    assert agenda.settled() is None


class Counting(dict):
    """A dictionary that counts how often it is looked into."""

    looks: ClassVar = Counter()

    def get(self, key, default=None):
        self.looks["get"] += 1
        return super().get(key, default)


def looks_a_fact(n_members, monkeypatch):
    """Return how often policy and progress are asked while one outcome after the other is taken."""
    plan = Plan(tuple(range(n_members)), n_steps=1, n_slices=3, twin=False, keys={})
    progress = fold([facts.closed((Phase.COORDINATES, 0), plan.members)])
    agenda = Agenda(progress, plan, Policy(retries_of({Status.LOST: 1})))
    asked = Counter()
    gives_up = Policy.gives_up
    monkeypatch.setattr(Policy, "gives_up", lambda *a: (asked.update(["asked"]), gives_up(*a))[1])
    progress.failures, progress.done = Counting(progress.failures), Counting(progress.done)
    Counting.looks.clear()
    tasks = agenda.send(n_members)
    for task in tasks:
        agenda.home(task)
        status = Status.LOST if task.index % 7 == 0 else Status.OK
        agenda.take(facts.ended(Outcome(task, status)))
        agenda.settled()
    return (asked.total() + Counting.looks.total()) / n_members


def test_that_an_outcome_costs_the_same_however_many_members_there_are(monkeypatch):
    few = looks_a_fact(10, monkeypatch)
    monkeypatch.undo()
    assert looks_a_fact(1000, monkeypatch) == pytest.approx(few, rel=0.3)


def test_that_tasks_of_a_stage_before_do_not_hold_up_the_next():
    agenda = Agenda(fold([]), PLAN, Policy())
    first, *others = agenda.send(3)
    agenda.take(facts.ended(Outcome(first, Status.LOST)))
    for task in others:
        agenda.home(task)
        agenda.take(facts.ended(Outcome(task, Status.OK)))
    agenda.take(facts.ended(Outcome(first, Status.OK)))  # it had been done all the same
    closed = agenda.settled()
    assert isinstance(closed, Close)
    agenda.take(facts.closed(closed.stage, closed.survivors))
    decision = agenda.decision()
    assert isinstance(decision, Dispatch)
    assert [task.index for task in decision.tasks] == list(MEMBERS)
