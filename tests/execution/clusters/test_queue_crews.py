"""Jobs are looked after: what the queue ends or refuses is asked for again, and no more than is wanted."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.config.clusters import AdaptiveSettings, PbsExecution, SlurmExecution
from daflow.errors import PoolError
from daflow.execution.clusters import queue_crews, queue_jobs
from daflow.execution.clusters.jobqueue import dask_jobqueue
from daflow.execution.clusters.queue_clusters import _give_back
from daflow.execution.clusters.queue_crews import AGAIN_SECONDS, MOST_AT_ONCE, STARTING_SECONDS, QueueCrew
from daflow.execution.clusters.queue_jobs import Book, cluster_class, told
from daflow.execution.pools.crews import Fate
from daflow.execution.queues.job_states import JobState
from daflow.execution.queues.registry import registered

RUNNING, PENDING = JobState("running", host="n1"), JobState("pending", "Resources")


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    time = monotonic


class Queue:
    """A batch system and the cluster above it, with what it says of each job set by hand."""

    kind = "slurm"

    def __init__(self, book: Book) -> None:
        self.book, self.states_of = book, dict[str, JobState]()
        self.worker_spec: dict[str, Any] = {}
        self.loop = SimpleNamespace(add_callback=lambda function, *given: function(*given))
        self.scheduler = SimpleNamespace(workers={})
        self.refuses = ""
        self.answers = True
        self.n_jobs = 0

    def scale(self, jobs: int) -> None:
        while len(self.worker_spec) < jobs:
            self.n_jobs += 1
            name = f"job-{self.n_jobs}"
            self.worker_spec[name] = None
            if self.refuses:
                self.book.refused(name, self.refuses)
            else:
                self.book.submitted(name, str(self.n_jobs))
                self.states_of[str(self.n_jobs)] = PENDING

    def states(self, ids: Any) -> dict[str, JobState]:
        if not self.answers:
            raise PoolError("the queue did not answer squeue")
        return {job: self.states_of.get(job, JobState("unknown")) for job in ids}

    def starts(self, job: int, *, busy: bool = True) -> str:
        """Let a job run and its worker call; return its address."""
        self.states_of[str(job)] = RUNNING
        address = f"tcp://n1:{job}"
        self.scheduler.workers[address] = SimpleNamespace(processing={"task"} if busy else set())
        self.book.called(address, f"job-{job}")
        return address

    def ends(self, job: int, reason: str) -> None:
        """End a job; its worker, if it had called, is gone."""
        self.states_of[str(job)] = JobState("ended", reason, "n1")
        self.scheduler.workers.pop(f"tcp://n1:{job}", None)
        self.book.left(f"tcp://n1:{job}")


@pytest.fixture
def clock(monkeypatch):
    moved = Clock()
    monkeypatch.setattr(queue_crews, "time", moved)
    monkeypatch.setattr(queue_jobs, "time", moved)
    return moved


@pytest.fixture
def made(tmp_path, clock):
    """Return a crew and its queue, of a Slurm that wants two jobs unless told otherwise."""

    def make(**asked: Any) -> tuple[QueueCrew, Queue]:
        book = Book("slurm", tmp_path, tmp_path / "logs")
        queue = Queue(book)
        execution = SlurmExecution(**{"jobs": 2, **asked})
        crew = QueueCrew(execution, queue, None, book, queue)
        crew.change([], execution.jobs)
        return crew, queue

    return make


def look(crew: QueueCrew, clock: Clock, seconds: float = 3.0) -> None:
    clock.now += seconds
    crew.look()


def test_that_a_job_is_replaced_once_the_queue_says_that_it_ended_and_not_before(made, clock):
    crew, queue = made()
    queue.starts(1)
    address = queue.starts(2)
    look(crew, clock)
    assert list(queue.worker_spec) == ["job-1", "job-2"]
    # Its worker is gone, but its nanny may bring it back.
    queue.book.left(address)
    for _ in range(3):
        look(crew, clock)
        assert list(queue.worker_spec) == ["job-1", "job-2"]
    queue.ends(2, "TIMEOUT")
    look(crew, clock)
    assert list(queue.worker_spec) == ["job-1", "job-3"]
    assert [entry.id for entry in registered(queue.book.folder)] == ["1", "2", "3"]


def test_that_a_job_that_waits_keeps_its_place_however_long(made, clock):
    crew, queue = made()
    for _ in range(20):
        look(crew, clock, 3600)
    assert list(queue.worker_spec) == ["job-1", "job-2"]
    assert crew.awaited() == "2 jobs wait in the queue (Resources)"
    queue.starts(1)
    assert crew.awaited() == "1 job waits in the queue (Resources)"
    queue.starts(2)
    assert crew.awaited() == ""


def test_that_a_running_job_without_a_worker_is_given_up_after_a_while(made, clock):
    crew, queue = made()
    queue.starts(1)
    queue.states_of["2"] = RUNNING
    look(crew, clock)
    assert crew.awaited() == "1 job on the way, without a worker yet"
    look(crew, clock, STARTING_SECONDS - 1)
    assert "job-2" in queue.worker_spec
    look(crew, clock, 1)
    assert "job-2" not in queue.worker_spec


def test_that_a_queue_that_does_not_answer_changes_nothing(made, clock):
    crew, queue = made()
    queue.starts(1)
    look(crew, clock)
    queue.answers = False
    for _ in range(5):
        look(crew, clock, 60)
    assert list(queue.worker_spec) == ["job-1", "job-2"]


def test_that_no_job_is_asked_for_that_has_nothing_to_do(made, clock):
    crew, queue = made(jobs=3, cores=2, threads=2)
    for job in (1, 2, 3):
        queue.starts(job)
    crew.tend(4)
    crew._looking.result()
    for job in (1, 2):
        queue.ends(job, "CANCELLED")
    look(crew, clock)
    # Four groups are two jobs of two threads.
    assert list(queue.worker_spec) == ["job-3", "job-4"]
    # Those that are there stay: the next stage wants them.
    crew._wanted = 1
    look(crew, clock)
    assert list(queue.worker_spec) == ["job-3", "job-4"]
    crew.close()


def test_that_many_jobs_are_asked_for_in_lots(made, clock):
    crew, queue = made(jobs=50)
    queue.worker_spec.clear()
    queue.book.jobs.clear()
    for n_lots in (1, 2):
        look(crew, clock)
        assert len(queue.worker_spec) == n_lots * MOST_AT_ONCE
    look(crew, clock)
    assert len(queue.worker_spec) == 50


def test_that_a_refusal_is_told_and_tried_again_with_one_job_first(made, clock, caplog):
    crew, queue = made()
    queue.starts(1)
    queue.ends(2, "CANCELLED")
    queue.refuses = "sbatch was refused: over the limit"
    with caplog.at_level(logging.WARNING):
        look(crew, clock)
        look(crew, clock)
        look(crew, clock)
    assert caplog.messages == ["sbatch was refused: over the limit; tried again in 30 s"]
    assert crew.awaited() == "sbatch was refused: over the limit; tried again in 24 s"
    n_asked = queue.n_jobs
    look(crew, clock, AGAIN_SECONDS)
    assert queue.n_jobs == n_asked + 1
    queue.refuses = ""
    look(crew, clock, AGAIN_SECONDS)
    look(crew, clock)
    assert [job.id is not None for job in queue.book.standing()] == [True, True]
    assert crew.awaited() == "1 job waits in the queue (Resources)"


def test_that_a_system_that_takes_its_time_with_a_job_is_waited_for_but_not_for_ever(made, clock):
    crew, queue = made(jobs=1, patience=1000.0)
    queue.book.forget("job-1")
    look(crew, clock)
    assert crew.awaited() == "1 job being submitted"
    look(crew, clock, 999)
    assert crew.awaited() == "1 job being submitted"
    look(crew, clock, 1)
    assert crew.awaited() == ""


def test_that_a_run_whose_workers_are_all_gone_says_what_it_waits_for(made, clock, caplog):
    crew, queue = made(jobs=1)
    look(crew, clock, 3600)
    assert caplog.messages == []
    queue.starts(1)
    look(crew, clock)
    queue.ends(1, "TIMEOUT")
    for _ in range(40):
        look(crew, clock)
    assert caplog.messages == ["no worker is left: 1 job waits in the queue (Resources)"]
    look(crew, clock, 3600)
    assert len(caplog.messages) == 2
    queue.starts(2)
    look(crew, clock, 3600)
    assert len(caplog.messages) == 2


def test_that_a_run_without_workers_is_laid_down_when_patience_with_refusals_is_over(made, clock):
    crew, queue = made(patience=100.0)
    queue.worker_spec.clear()
    queue.book.jobs.clear()
    queue.refuses = "sbatch was refused: no such account"
    for _ in range(4):
        look(crew, clock, 31)
    with pytest.raises(PoolError, match="no such account") as error:
        look(crew, clock, 31)
    assert "execution.patience" in error.value.do


def test_that_refusals_do_not_end_a_run_that_has_a_worker(made, clock):
    crew, queue = made(patience=100.0)
    queue.starts(1)
    queue.ends(2, "CANCELLED")
    queue.refuses = "sbatch was refused: over the limit"
    for _ in range(100):
        look(crew, clock, 31)
    assert "job-1" in queue.worker_spec


def test_that_jobs_in_which_no_worker_starts_end_the_run_with_what_they_printed(made, clock):
    crew, queue = made()
    queue.book.logs.mkdir()
    (queue.book.logs / "job.err").write_text("python: command not found\n")

    def one_round() -> None:
        for job in queue.book.standing():
            queue.ends(int(job.id), "FAILED")
        look(crew, clock)

    one_round()
    one_round()
    with pytest.raises(PoolError, match="before their workers have called") as error:
        one_round()
    assert "python: command not found" in error.value.got
    assert str(queue.book.logs) in error.value.do


def test_that_workers_without_daflow_end_the_run_with_the_first_of_them(made, clock):
    crew, queue = made(jobs=100)
    queue.book.logs.mkdir()
    said = "ModuleNotFoundError: No module named 'daflow'\nRuntimeError: Nanny failed to start.\n"
    (queue.book.logs / "job.err").write_text(said)
    queue.ends(1, "FAILED")
    with pytest.raises(PoolError, match="no daflow") as error:
        look(crew, clock)
    assert "execution.python" in error.value.do


def test_that_cancelled_jobs_say_nothing_of_whether_workers_start(made, clock):
    crew, queue = made()
    for _ in range(20):
        for job in queue.book.standing():
            queue.ends(int(job.id), "CANCELLED")
        look(crew, clock)
    assert len(queue.worker_spec) == 2


def test_that_a_fate_is_what_the_queue_says_ended_the_job(made, clock):
    crew, queue = made()
    first, second = queue.starts(1), queue.starts(2)
    queue.ends(1, "TIMEOUT")
    assert crew.fate(first) == Fate("slurm ended job 1 on n1 (TIMEOUT)", blameless=True)
    queue.ends(2, "OUT_OF_MEMORY")
    assert crew.fate(second) == Fate("slurm ended job 2 on n1 (OUT_OF_MEMORY)", blameless=False)
    assert crew.fate("tcp://elsewhere:1") is None
    # It is known after the job has been replaced, too.
    look(crew, clock)
    assert crew.fate(first).blameless


def test_that_a_worker_whose_job_goes_on_ended_by_itself(made, clock):
    crew, queue = made()
    address = queue.starts(1)
    queue.book.left(address)
    fate = crew.fate(address)
    assert fate == Fate("it ended or fell silent while slurm let job 1 go on", blameless=False)


def test_that_a_host_is_left_once_nothing_runs_there_and_named_to_new_jobs(made, clock):
    crew, queue = made()
    address = queue.starts(1)
    queue.starts(2)
    queue.states_of["2"] = JobState("running", host="n2")
    crew.avoid("n1.site.org")
    look(crew, clock)
    assert list(queue.worker_spec) == ["job-1", "job-2"]
    queue.scheduler.workers[address].processing.clear()
    look(crew, clock)
    assert list(queue.worker_spec) == ["job-2", "job-3"]
    job = cluster_class(dask_jobqueue.SLURMCluster, queue.book, 1).job_cls
    script = job("tcp://a:1", "x", cores=1, memory="1GB", job_extra_directives=[]).job_script()
    assert "#SBATCH --exclude=n1\n" in script
    # Where nothing else is left, the system refuses: then it is asked without.
    queue.book.refused("job-9", "sbatch was refused: no nodes")
    assert "exclude" not in job("tcp://a:1", "x", cores=1, memory="1GB").job_script()
    assert queue.book.refused_last == 0.0


def test_that_an_adaptive_number_follows_what_waits_and_gives_idle_jobs_back(made, clock):
    crew, queue = made(jobs=2, adaptive=AdaptiveSettings(minimum=1, maximum=4, idle=100.0))
    crew._wanted = 9
    look(crew, clock)
    assert len(queue.worker_spec) == 4
    for job in (1, 2, 3, 4):
        queue.starts(job, busy=job == 3)
    crew._wanted = 1
    look(crew, clock)
    look(crew, clock, 99)
    assert len(queue.worker_spec) == 4
    look(crew, clock, 1)
    assert list(queue.worker_spec) == ["job-3"]
    crew._wanted = 0
    look(crew, clock, 1000)
    assert list(queue.worker_spec) == ["job-3"]


@settings(max_examples=40)
@given(st.data())
def test_that_there_are_never_more_jobs_than_wanted_whatever_happens_to_them(tmp_path_factory, data):
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(queue_crews, "time", clock)
        patch.setattr(queue_jobs, "time", clock)
        patch.setattr(queue_jobs, "register", lambda *_: None)
        folder = tmp_path_factory.getbasetemp()
        book = Book("slurm", folder, folder)
        queue = Queue(book)
        crew = QueueCrew(SlurmExecution(jobs=3, patience=1e9), queue, None, book, queue)
        crew.change([], 3)
        for _ in range(data.draw(st.integers(1, 12))):
            standing = [job for job in book.standing() if job.id is not None]
            for job in standing:
                match data.draw(st.sampled_from(["wait", "start", "end", "forget", "leave"])):
                    case "start":
                        queue.starts(int(job.id))
                    case "end":
                        queue.ends(int(job.id), data.draw(st.sampled_from(["CANCELLED", "NODE_FAIL"])))
                    case "forget":
                        queue.states_of.pop(job.id, None)
                    case "leave":
                        book.left(f"tcp://n1:{job.id}")
            queue.refuses = data.draw(st.sampled_from(["", "", "sbatch was refused: full"]))
            queue.answers = data.draw(st.sampled_from([True, True, False]))
            look(crew, clock, data.draw(st.sampled_from([3.0, 31.0, 301.0])))
            assert len(queue.worker_spec) <= 3
            assert set(queue.worker_spec) == {job.name for job in book.standing()}
        # In the end all is well again.
        queue.refuses, queue.answers = "", True
        for job in book.standing():
            if job.id is not None:
                queue.ends(int(job.id), "CANCELLED")
        for _ in range(4):
            look(crew, clock, 31.0)
        assert len(queue.worker_spec) == 3
        assert all(job.id is not None for job in book.standing())


def test_that_jobs_that_were_not_cancelled_with_the_cluster_are_cancelled(made, tmp_path):
    _, queue = made(jobs=3)
    queue.ends(2, "CANCELLED")
    cancelled = []
    queue.cancel = cancelled.extend
    _give_back(queue.book, queue)
    assert cancelled == ["1", "3"]
    queue.answers = False
    _give_back(queue.book, queue)
    assert cancelled == ["1", "3"]


def test_that_no_job_gets_the_name_of_another_one():
    cluster = SimpleNamespace(name="daflow-x")
    first = cluster_class(dask_jobqueue.SLURMCluster, Book("slurm", None, None), 1)
    names = [first._new_worker_name(cluster, 0) for _ in range(3)]
    assert names == ["daflow-x-1", "daflow-x-2", "daflow-x-3"]


def test_that_each_process_of_a_job_is_known_by_its_jobs_name(tmp_path, clock):
    book = Book("slurm", tmp_path, tmp_path)
    book.submitted("daflow-x-1", "17")
    book.called("tcp://n1:1", "daflow-x-1-0")
    book.called("tcp://n1:2", "daflow-x-1-1")
    book.called("tcp://n1:3", "somebody-else")
    (job,) = book.standing()
    assert job.workers == {"tcp://n1:1", "tcp://n1:2"}
    book.left("tcp://n1:1")
    assert job.workers == {"tcp://n1:2"}
    assert "tcp://n1:3" not in book.by_worker


def test_that_a_submission_that_fails_is_noted_and_one_that_succeeds_registered(tmp_path, monkeypatch, clock):
    book = Book("slurm", tmp_path, tmp_path)
    made_of = cluster_class(dask_jobqueue.SLURMCluster, book, 1).job_cls
    command = tmp_path / "bin" / "sbatch"
    command.parent.mkdir()
    monkeypatch.setenv("PATH", str(command.parent), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "5")

    def submitted(name: str, script: str) -> Any:
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
        job = made_of("tcp://a:1", name, cores=1, memory="1GB")
        asyncio.run(job.start())
        return job

    job = submitted("a", "echo sbatch: error: too many >&2; exit 1")
    assert book.refusal == "sbatch was refused: too many"
    assert (job.job_id, book.jobs["a"].id) == (None, None)
    assert registered(tmp_path) == []
    # What says of which job the driver is a part does not reach those that it submits.
    job = submitted("b", 'test -z "$SLURM_JOB_ID" && echo Submitted batch job 17')
    assert (job.job_id, book.refusal) == ("17", "")
    assert [(entry.id, entry.system, entry.kind) for entry in registered(tmp_path)] == [
        ("17", "slurm", "worker")
    ]


def test_that_a_command_that_is_not_there_is_told():
    assert "qsub is not found" in told("qsub", FileNotFoundError())
    assert told("qsub -x", ValueError("Could not parse job id")) == "qsub was refused: Could not parse job id"


def test_that_other_systems_are_named_in_fates(tmp_path, clock):
    book = Book("pbs", tmp_path, tmp_path)
    queue = Queue(book)
    crew = QueueCrew(PbsExecution(), queue, None, book, queue)
    crew.change([], 1)
    address = queue.starts(1)
    queue.ends(1, "NODE_FAIL")
    assert crew.fate(address).reason == "pbs ended job 1 on n1 (NODE_FAIL)"
