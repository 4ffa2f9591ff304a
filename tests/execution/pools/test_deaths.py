import time

import pytest

from daflow.execution.lifetimes import Life
from daflow.execution.pools import deaths
from daflow.execution.pools.crews import Fate
from daflow.execution.pools.deaths import Death, Deaths
from daflow.execution.pools.roster import Roster
from daflow.names import BLAMELESS, BY_WALLTIME, Phase, Status
from daflow.records import Outcome, Task

TASKS = [Task(Phase.FORECAST, 1, index) for index in range(4)]
WORKER = "tcp://10.0.0.1:1234"
DEATH = Death(WORKER, f"the worker at {WORKER} died")


class Crew:
    def __init__(self, fate=None):
        self.told, self.asked = fate, []

    def fate(self, worker):
        self.asked.append(worker)
        return self.told


class Witness:
    def __init__(self, begun=None, word=()):
        self.at, self.said = begun, list(word)

    def begun(self, tasks):
        return self.at

    def word(self, tasks, begun):
        return self.said


def ends(fate=None, life=None, begun=TASKS[1], word=(), death=DEATH, since=0.0):
    roster = Roster()
    roster.see({WORKER: 1})
    roster.tell_host(WORKER, "node1")
    if life is not None:
        roster.tell_life(WORKER, life)
    told = Deaths(Crew(fate), roster, Witness(begun, word))
    return told.outcomes(TASKS, death, (begun, time.monotonic() - since))


def test_that_a_death_is_held_against_the_task_under_way_with_its_host_and_how_long_it_ran():
    (outcome,) = ends(since=50.0)
    assert (outcome.task, outcome.status, outcome.host) == (TASKS[1], Status.LOST, "node1")
    assert outcome.seconds == pytest.approx(50, abs=1)
    assert outcome.started == pytest.approx(time.time() - 50, abs=1)
    assert outcome.reason == DEATH.words
    assert not outcome.figures


def test_that_the_queue_s_word_is_the_reason_and_says_whose_fault_it_was():
    (outcome,) = ends(Fate("the queue ended job 17 on node1 (CANCELLED)", blameless=True))
    assert outcome.reason.startswith("the queue ended job 17 on node1 (CANCELLED)")
    assert outcome.figures == {BLAMELESS: 1.0}
    (outcome,) = ends(Fate("job 17 on node1 ran out of memory (OUT_OF_MEMORY)", blameless=False))
    assert not outcome.figures


def test_that_a_worker_is_asked_for_once_however_many_groups_it_had():
    crew, roster = Crew(), Roster()
    told = Deaths(crew, roster, Witness(TASKS[1]))
    for _ in range(3):
        told.outcomes(TASKS, DEATH, (None, time.monotonic()))
    assert crew.asked == [WORKER]


def test_that_a_worker_whose_time_was_over_or_that_was_let_go_leaves_nobody_to_blame():
    (outcome,) = ends(life=Life(left=1.0, whole=600.0), since=60.0)
    assert outcome.figures == {BLAMELESS: 1.0, BY_WALLTIME: 1.0}
    assert outcome.reason.startswith("its worker's time was over")
    (outcome,) = ends(life=Life(left=400.0, whole=600.0), since=60.0)
    assert not outcome.figures
    (outcome,) = ends(death=Death(WORKER, "it went", expected=True))
    assert outcome.figures == {BLAMELESS: 1.0}


def test_that_what_we_ended_ourselves_is_nobody_s_fault():
    told = Deaths(Crew(Fate("the job failed", blameless=False)), Roster(), Witness(TASKS[1]))
    told.by_us(WORKER, "it was restarted to end member 17")
    (outcome,) = told.outcomes(TASKS, DEATH, (None, time.monotonic()))
    assert outcome.figures == {BLAMELESS: 1.0}
    assert "restarted to end member 17" in outcome.reason


def test_that_a_member_that_always_outlasts_a_worker_takes_too_long():
    roster = Roster()
    roster.tell_life(WORKER, Life(left=0.0, whole=600.0))
    told = Deaths(Crew(), roster, Witness(TASKS[1]))
    got = []
    for seconds in (200, 590, 590):
        got += told.outcomes(TASKS, DEATH, (TASKS[1], time.monotonic() - seconds))
    assert [outcome.status for outcome in got] == [Status.LOST, Status.LOST, Status.TIMED_OUT]
    assert "longer than the 600 s that a worker's job lasts" in got[-1].reason


def test_that_word_that_was_left_counts_and_nothing_is_lost_beside_it():
    done = Outcome(TASKS[1], Status.OK, host="node7", started=9.0)
    assert ends(word=[done]) == [done]
    assert ends(begun=None, word=[done]) == [done]


def test_that_what_hung_is_told_with_where_and_since_when_it_ran():
    hung = Outcome(TASKS[1], Status.TIMED_OUT, seconds=30.0, reason="took longer")
    (outcome,) = ends(word=[hung])
    assert (outcome.status, outcome.host, outcome.reason) == (Status.TIMED_OUT, "node1", "took longer")
    assert outcome.started == pytest.approx(time.time() - 30, abs=1)


def test_that_nothing_is_lost_where_nothing_had_begun_until_that_has_happened_too_often(monkeypatch):
    monkeypatch.setattr(deaths, "MOST_SENT_AGAIN", 2)
    told = Deaths(Crew(), Roster(), Witness())
    got = [told.outcomes(TASKS, DEATH, (None, time.monotonic())) for _ in range(3)]
    assert got[:2] == [[], []]
    assert [outcome.task for outcome in got[2]] == [TASKS[0]]


def test_that_nobody_is_asked_about_a_worker_that_was_let_go():
    crew = Crew(Fate("its process ended, while the queue let job 17 go on", blameless=False))
    roster = Roster()
    roster.tell_life(WORKER, Life(left=0.0, whole=600.0))
    told = Deaths(crew, roster, Witness(TASKS[1]))
    (outcome,) = told.outcomes(TASKS, Death(WORKER, "it went", expected=True), (None, time.monotonic()))
    assert outcome.reason == "its worker's time was over (it went)"
    assert crew.asked == []
