from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.assemble.driving import chain
from daflow.assemble.driving.chain import (
    MOST_IDLE,
    Generation,
    goes_on,
    n_done,
    n_idle,
    read_chain,
    successor_of,
)
from daflow.assemble.driving.sessions import Session
from daflow.errors import ConfigError, DataError, LeaseError, PoolError, StoreError
from daflow.execution.queues.job_states import UNKNOWN, JobState
from daflow.names import Phase, Status
from daflow.records import Outcome, Task
from daflow.runs import facts
from daflow.runs.decide import Stop
from daflow.runs.journal import Journal, read_journal
from daflow.runs.orders import NONE, Orders

FINISHED = Stop("finished", "all steps are done", resumable=False)
TIME_OVER = Stop("walltime", "its time is over", resumable=True)
TOO_FEW = Stop("too few members", "one is left", resumable=True)
ASKED = Stop("interrupted", "ann@there asked for it", resumable=True)


def generations(*done):
    return [Generation(str(number), str(number + 1), n) for number, n in enumerate(done)]


# ------------------------------------------------------------------------------------------ pure


@given(st.lists(st.integers(0, 3), max_size=12).map(sorted), st.integers(0, 3))
def test_that_idle_generations_are_those_since_anything_was_done(done, more):
    total = (done[-1] if done else 0) + more
    idle = n_idle(generations(*done), total)
    assert idle == done.count(total)
    assert n_idle(generations(*done, total), total) == idle + 1
    assert n_idle(generations(*done, total), total + 1) == 0


@given(st.lists(st.sampled_from(["ended", "lost", "closed", "opened", "stopped"]), max_size=20))
def test_that_only_what_ended_well_or_was_settled_counts_as_done(kinds):
    made = {
        "ended": facts.ended(Outcome(Task(Phase.FORECAST, 0, 1, 0), Status.OK)),
        "lost": facts.ended(Outcome(Task(Phase.FORECAST, 0, 1, 0), Status.LOST)),
        "closed": facts.closed((Phase.FORECAST, 0), (1,)),
        "opened": facts.opened({"pid": 1}),
        "stopped": facts.stopped("walltime", "", resumable=True),
    }
    known = [made[kind] for kind in kinds]
    counts = [n_done(known[:n]) for n in range(len(known) + 1)]
    assert counts == sorted(counts)
    assert counts[-1] == kinds.count("ended") + kinds.count("closed")


@pytest.mark.parametrize(
    ("stop", "expected"),
    [(None, True), (TIME_OVER, True), (FINISHED, False), (TOO_FEW, False), (ASKED, False)],
)
def test_that_a_chain_goes_on_after_the_end_of_a_job_and_not_after_an_end_of_the_run(stop, expected):
    assert goes_on(stop) == expected


def test_that_a_job_that_a_queue_begins_anew_has_its_successor_already():
    assert successor_of(generations(0, 5, 9), "1") == "2"
    assert successor_of(generations(0, 5, 9), "7") == ""
    assert successor_of([Generation("", "4", 0)], "") == ""


# ------------------------------------------------------------------------------- a queue of our own


class Queue:
    """A batch system that takes jobs unless it is told to refuse them."""

    def __init__(self):
        self.waiting, self.after, self.number, self.refusals = [], {}, 10, 0

    def submit(self, script, *, array=None, at_once=None, after=None):
        if self.refusals:
            self.refusals -= 1
            raise PoolError("the queue refused", got="too many jobs")
        self.number += 1
        job = str(self.number)
        self.waiting.append(job)
        self.after[job] = after
        return job

    def states(self, ids):
        return {job: JobState("pending") if job in self.waiting else UNKNOWN for job in ids}

    def cancel(self, ids):
        self.waiting = [job for job in self.waiting if job not in set(ids)]


@pytest.fixture
def queue(monkeypatch):
    made = Queue()
    monkeypatch.setattr(chain, "batch_system", lambda kind: made)
    return made


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return SimpleNamespace(folder=folder, journal=folder / "journal.jsonl", lease=folder / "lease.json")


SESSION = Session("job", "10", "slurm")
driven = []
"""After which job a driver went on, and what was asked of it."""


def generation(run, monkeypatch, end, session=SESSION, n_new=1, orders=NONE):
    """Drive a generation that does some tasks and ends like this; return what it said."""
    said = []

    def drive(run, watch, *, orders, session):
        assert session.patience > 0
        driven.append((session.follows, orders))
        n_before = len(read_journal(run.journal))
        with Journal(run.journal) as journal:
            for number in range(n_new):
                task = Task(Phase.PRIOR, 0, n_before + number, 0)
                journal.append(facts.ended(Outcome(task, Status.OK)))
        if isinstance(end, BaseException):
            raise end
        return end

    monkeypatch.setattr(chain, "drive", drive)
    try:
        stop = chain.drive_generation(run, lambda *_: None, session, said.append, orders)
    except BaseException as error:  # noqa: BLE001 - what a driver may end with
        stop = error
    return stop, said


def test_that_a_successor_waits_for_the_end_of_the_job_before_anything_is_driven(run, queue, monkeypatch):
    stop, said = generation(run, monkeypatch, TIME_OVER)
    assert stop == TIME_OVER
    assert queue.waiting == ["11"]
    assert queue.after == {"11": "10"}
    assert said[-1] == "laid down before its walltime; job 11 goes on"
    assert read_chain(run.folder) == [Generation("10", "11", 0)]
    assert chain.waiting_drivers(run.folder) == ["11"]
    assert chain.waiting_drivers(run.folder, but="11") == []


@pytest.mark.parametrize(
    "end", [FINISHED, TOO_FEW, ASKED, LeaseError("another drives it"), DataError("no file")]
)
def test_that_a_successor_is_cancelled_where_there_is_nothing_to_go_on_with(run, queue, monkeypatch, end):
    stop, said = generation(run, monkeypatch, end)
    assert stop == end
    assert queue.waiting == []
    assert "is cancelled" in said[-1]


@pytest.mark.parametrize("end", [KeyboardInterrupt(), PoolError("no workers"), StoreError("no space")])
def test_that_a_successor_goes_on_after_a_driver_that_broke_off(run, queue, monkeypatch, end):
    stop, _ = generation(run, monkeypatch, end)
    assert stop == end
    assert queue.waiting == ["11"]


def test_that_a_queue_that_takes_no_successor_is_asked_again_at_the_end(run, queue, monkeypatch):
    queue.refusals = 1
    _, said = generation(run, monkeypatch, TIME_OVER)
    assert "too many jobs" in said[0]
    assert queue.waiting == ["11"]
    queue.refusals = 2
    _, said = generation(run, monkeypatch, TIME_OVER, replace(SESSION, job="11"))
    assert said[-1] == "nobody goes on"


def test_that_a_job_begun_anew_does_not_get_a_second_successor(run, queue, monkeypatch):
    generation(run, monkeypatch, KeyboardInterrupt())
    generation(run, monkeypatch, TIME_OVER)
    assert queue.waiting == ["11"]


def test_that_the_first_of_a_chain_does_what_is_asked_for_and_the_others_only_follow(run, queue, monkeypatch):
    asked = Orders(drop=frozenset({3}))
    driven.clear()
    for job in ("10", "11", "11", "77"):
        # 11 is begun anew, as by a queue whose node failed; 77 is submitted by somebody.
        generation(run, monkeypatch, TIME_OVER, replace(SESSION, job=job), orders=asked)
    assert driven == [("", asked), ("10", NONE), ("11", NONE), ("", asked)]


def test_that_generations_that_bring_nothing_new_end_the_chain(run, queue, monkeypatch):
    stop, _ = generation(run, monkeypatch, TIME_OVER)
    for number in range(MOST_IDLE):
        stop, _ = generation(run, monkeypatch, TIME_OVER, replace(SESSION, job=str(11 + number)), n_new=0)
        assert stop == TIME_OVER
    before = list(queue.waiting)
    stop, _ = generation(run, monkeypatch, FINISHED, replace(SESSION, job="14"))
    assert stop.kind == "stalled"
    assert stop.resumable
    assert "jobs 11, 12, 13" in stop.reason
    assert queue.waiting == before, "no other one is submitted"
    assert read_journal(run.journal)[-1]["kind"] == "stalled"


def test_that_a_torn_line_of_the_chain_is_no_generation(run, queue, monkeypatch):
    generation(run, monkeypatch, TIME_OVER)
    with (run.folder / chain.CHAIN).open("a") as file:
        file.write('{"job": "1')
    assert read_chain(run.folder) == [Generation("10", "11", 0)]


def test_that_a_job_that_cannot_be_registered_is_not_left_in_the_queue(run, queue, monkeypatch):
    def refuse(*_):
        raise StoreError("the disk is full")

    monkeypatch.setattr(chain, "register", refuse)
    with pytest.raises(StoreError):
        chain.submit_driver(run.folder, "slurm")
    assert queue.waiting == []


def test_that_a_chain_does_not_begin_where_a_job_is_not_told_its_id(run, queue, monkeypatch):
    stop, _ = generation(run, monkeypatch, TIME_OVER, Session("job", "", "pbs"))
    assert isinstance(stop, ConfigError)
    assert "PBS_JOBID" in stop.got
    assert queue.number == 10
