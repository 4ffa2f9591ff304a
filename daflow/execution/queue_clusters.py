"""Workers that are jobs of a batch system: asked for, looked after and given back."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import dask_jobqueue
from dask_jobqueue.core import JobQueueCluster
from distributed import Client, Scheduler, SchedulerPlugin

from daflow.config.clusters import QueueExecution
from daflow.errors import PoolError
from daflow.execution.batch_systems import BatchSystem, batch_system, systems
from daflow.execution.crews import Fate
from daflow.execution.job_states import BLAMELESS, UNKNOWN, JobState
from daflow.execution.queue_jobs import Book, QueueJob, cluster_class
from daflow.execution.queue_scripts import Site, keywords

CLASSES: Final = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
    "oar": "OARCluster",
    "htcondor": "HTCondorCluster",
    "moab": "MoabCluster",
}
"""Kind -> the class of dask-jobqueue."""
OF_CLUSTERS: Final = frozenset({"scheduler_options", "security", "shared_temp_directory", "silence_logs"})
"""Keywords that a cluster takes and no job."""
LOOK_SECONDS: Final = 3.0
"""How often the queue is asked about jobs without a worker."""
SETTLING_SECONDS: Final = 2.0
"""How long a job that was just submitted is left alone."""
STARTING_SECONDS: Final = 300.0
"""How long a running job may be without a worker: a slow disk takes minutes to load Python."""
FORGOTTEN_SECONDS: Final = 30.0
"""How long a job that the queue does not know is believed to be there all the same."""
AGAIN_SECONDS: Final = 30.0
"""How long after a refusal the system is asked for a job again."""
MOST_AT_ONCE: Final = 20
"""How many jobs are submitted together."""
FATE_SECONDS: Final = 5.0
"""How long the queue gets to say what ended a job."""
STILLBORN: Final = 3
"""How many jobs a wanted one may end one after the other without a worker ever having called."""


class _Calls(SchedulerPlugin):
    """Enters in the book which workers come and go."""

    name = "daflow-calls"

    def __init__(self, book: Book) -> None:
        self._book = book

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Note a worker that has come."""
        self._book.called(worker, str(scheduler.workers[worker].name))

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:  # noqa: ARG002
        """Note a worker that has gone."""
        self._book.left(worker)


class QueueCrew:
    """Workers of a queue's jobs, one that ends being replaced.

    dask-jobqueue would not replace one by itself. Here the queue is asked: a job is replaced once it says
    that the job has ended, so that a worker that its nanny brings back keeps its place.

    Parameters
    ----------
    execution
        The section of the workflow file.
    cluster
        Of dask-jobqueue.
    client
        Connected to its scheduler.
    book
        Where the cluster enters its jobs.
    """

    def __init__(
        self, execution: QueueExecution, cluster: JobQueueCluster, client: Client, book: Book
    ) -> None:
        self.client = client
        self._execution, self._cluster, self._book = execution, cluster, book
        self._system = _system(book.kind)
        self._wanted = execution.jobs * execution.slots_a_job
        self._states: Mapping[str, JobState] = {}
        self._ends: dict[str, JobState] = {}
        self._looked = 0.0
        self._n_stillborn = 0
        self._idle: dict[str, float] = {}
        self._meanwhile = ThreadPoolExecutor(1, "daflow-queue")
        self._looking: Future[None] | None = None

    def tend(self, n_wanted: int) -> None:
        """Replace what has ended; the queue is asked in a thread of its own, for it may take its time.

        Raises
        ------
        daflow.errors.PoolError
            Jobs end before their workers have called, or the system has taken none for too long.
        """
        self._wanted = n_wanted
        looking = self._looking
        if looking is not None and looking.done():
            self._looking = None
            looking.result()
        if self._looking is None and time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            self._looking = self._meanwhile.submit(self.look)

    def look(self) -> None:
        """See what became of jobs without a worker, let go of those that have ended, ask for new ones."""
        now = time.monotonic()
        absent = [job for job in self._book.standing() if not job.workers]
        self._ask([job.id for job in absent if job.id is not None])
        over = [job for job in absent if self._is_over(job, now)]
        self._count_stillborn(over)
        self._check_patience(now, absent, over)
        n_there = len(self._book.standing()) - len(over)
        self.change([job.name for job in over], self._target(n_there, now))

    def _ask(self, ids: list[str]) -> None:
        if self._system is None or not ids:
            return
        with suppress(PoolError):  # a queue that does not answer now may do so the next time
            self._states = self._system.states(ids)
            self._ends |= {job: state for job, state in self._states.items() if state.phase == "ended"}

    def _state(self, job: QueueJob) -> JobState:
        return self._states.get(job.id or "", UNKNOWN)

    def _is_over(self, job: QueueJob, now: float) -> bool:
        """Say whether a job without a worker is to be let go."""
        if job.id is None:
            return now - self._book.refused_last >= AGAIN_SECONDS
        if now - job.asked < SETTLING_SECONDS:
            return False
        match self._state(job).phase:
            case "ended":
                return True
            case "pending":
                job.running = None
                return False
            case "running":
                job.running = job.running or now
                return now - job.running > STARTING_SECONDS
            case _:
                job.running = job.running or now
                return now - job.running > (FORGOTTEN_SECONDS if self._system else STARTING_SECONDS)

    def _count_stillborn(self, over: list[QueueJob]) -> None:
        for job in over:
            if job.joined:
                self._n_stillborn = 0
            elif job.id is not None and self._state(job).reason not in BLAMELESS:
                self._n_stillborn += 1
        most = STILLBORN * self._execution.jobs
        if self._n_stillborn >= most:
            folder = Path(str(self._cluster._job_kwargs["log_directory"]))  # noqa: SLF001 - as it was told
            raise PoolError(
                "jobs end before their workers have called",
                got=f"{self._n_stillborn} one after the other; the last one printed: {_last_words(folder)}",
                allowed="jobs in which Python starts and the driver's address can be reached",
                do=f"read what they printed in {folder}; mend prologue, python, container or interface",
            )

    def _check_patience(self, now: float, absent: list[QueueJob], over: list[QueueJob]) -> None:
        since = self._book.refused_since
        anything = any(job.id is not None for job in self._book.standing() if job not in over)
        if since is None or anything or now - since < self._execution.patience or not absent:
            return
        raise PoolError(
            f"{self._book.refusal}",
            got=f"no job was taken for {now - since:.0f} s, and there is no worker",
            do="mend what it names (queue, account, limits), or give execution.patience more seconds; "
            "then `daflow resume` the run",
        )

    def _target(self, n_there: int, now: float) -> int:
        """Return how many jobs there are to be; never fewer than there are, see `_give_back`."""
        execution, book = self._execution, self._book
        most = execution.jobs if execution.adaptive is None else execution.adaptive.maximum
        least = 0 if execution.adaptive is None else execution.adaptive.minimum
        wished = max(least, min(most, math.ceil(self._wanted / execution.slots_a_job)))
        if book.refusal:
            # It may be a limit on how many: see with one whether it holds.
            due = now - book.refused_last >= AGAIN_SECONDS
            wished = min(wished, n_there + due)
        return max(n_there, min(wished, n_there + MOST_AT_ONCE))

    def change(self, over: list[str], target: int) -> None:
        """Let go of jobs, by name, and ask for others until there are so many; returns at once."""
        loop: Any = self._cluster.loop
        loop.add_callback(self._change, over, target)

    def _change(self, over: list[str], target: int) -> None:
        # On the cluster's own thread.
        for name in over:
            self._cluster.worker_spec.pop(name, None)
            self._book.forget(name)
        if over or target > len(self._cluster.worker_spec):
            self._cluster.scale(jobs=max(target, len(self._cluster.worker_spec)))

    def awaited(self) -> str:
        """Return what is still to come, in words."""
        told = []
        absent = [job for job in self._book.standing() if job.id is not None and not job.workers]
        states = [self._state(job) for job in absent]
        pending = [state for state in states if state.phase == "pending"]
        if pending:
            reasons = ", ".join(sorted({state.reason for state in pending if state.reason}))
            told.append(f"{_jobs(len(pending))} in the queue{f' ({reasons})' if reasons else ''}")
        starting = len(states) - len(pending) - sum(state.phase == "ended" for state in states)
        if starting:
            told.append(f"{_jobs(starting)} on the way, without a worker yet")
        if self._book.refusal:
            left = max(0.0, AGAIN_SECONDS - (time.monotonic() - self._book.refused_last))
            told.append(f"{self._book.refusal}; tried again in {left:.0f} s")
        return "; ".join(told)

    def fate(self, worker: str) -> Fate | None:
        """Return what ended a worker, as the queue has it; it gets some seconds to say."""
        job = self._book.by_worker.get(worker)
        if job is None or job.id is None:
            return None
        until = time.monotonic() + FATE_SECONDS
        while job.id not in self._ends and self._system is not None:
            absent = [other.id for other in self._book.standing() if other.id and not other.workers]
            self._ask(list(dict.fromkeys([job.id, *absent])))
            if job.id in self._ends or time.monotonic() > until or job.workers:
                break
            time.sleep(0.5)
        state = self._ends.get(job.id)
        if state is None:
            return Fate(f"its process ended, job {job.id} of {self._book.kind} did not", blameless=False)
        where = f" on {state.host}" if state.host else ""
        said = f" ({state.reason})" if state.reason else ""
        return Fate(f"{self._book.kind} ended job {job.id}{where}{said}", blameless=state.reason in BLAMELESS)

    def avoid(self, host: str) -> None:
        """Keep new jobs from a host, where the system has a word for it, and end those that are there."""
        self._book.avoided.add(host)
        jobs = [job for job in self._book.standing() if job.id is not None and job.workers]
        if self._system is None or not jobs:
            return
        short = host.partition(".")[0]
        states = self._system.states([job.id for job in jobs if job.id is not None])
        there = [job.name for job in jobs if states[job.id or ""].host.partition(".")[0] == short]
        n_left = len(self._book.standing()) - len(there)
        self.change(there, n_left)

    def close(self) -> None:
        """Stop looking."""
        self._meanwhile.shutdown(wait=True, cancel_futures=True)


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"


def _system(kind: str) -> BatchSystem | None:
    return batch_system(kind) if kind in systems() else None


def _last_words(folder: Path, most: int = 400) -> str:
    """Return the end of what the newest job printed."""
    with suppress(OSError):
        written = [path for path in folder.iterdir() if path.is_file() and path.stat().st_size]
        newest = max(written, key=lambda path: path.stat().st_mtime)
        return " ".join(newest.read_text(errors="replace").split())[-most:]
    return "nothing"


def made_cluster(execution: QueueExecution, site: Site, book: Book) -> JobQueueCluster:
    """Return the cluster that a section asks for, with no jobs yet.

    Raises
    ------
    daflow.errors.PoolError
        dask-jobqueue cannot make it, or the driver cannot listen where it is told to.
    """
    made_of = getattr(dask_jobqueue, CLASSES[book.kind])
    made = cluster_class(made_of, book, execution.threads)
    try:
        Path(execution.logs or site.logs).mkdir(parents=True, exist_ok=True)
        cluster: JobQueueCluster = made(**keywords(execution, site), name=site.job_name)
    except (OSError, RuntimeError, ValueError, TypeError, ImportError) as error:
        raise PoolError(
            f"the {book.kind} cluster cannot be made",
            got=f"{type(error).__name__}: {error}",
            do="see execution.interface, execution.logs and execution.options",
        ) from error
    return cluster


@contextmanager
def queue_crew(execution: QueueExecution, site: Site) -> Iterator[QueueCrew]:
    """Call the jobs of a section together; they are ended with the context.

    Raises
    ------
    daflow.errors.PoolError
        The system is not there, or the cluster cannot be made.
    """
    book = Book(str(getattr(execution, "kind", "")), site.folder)
    with made_cluster(execution, site, book) as cluster:
        _check_command(cluster)
        cluster.scheduler.add_plugin(_Calls(book))
        with Client(cluster, set_as_default=False) as client:
            crew = QueueCrew(execution, cluster, client, book)
            crew.change([], min(execution.jobs, MOST_AT_ONCE))
            try:
                yield crew
            finally:
                crew.close()


def _check_command(cluster: JobQueueCluster) -> None:
    job: Any = cluster.job_cls
    command = str(job.submit_command).split(maxsplit=1)[0]
    if shutil.which(command) is None:
        raise PoolError(
            f"{command} is not found: jobs cannot be submitted from here",
            got="it is in none of the folders of PATH",
            allowed="a host from which jobs can be submitted",
            do="go to a login node, load the module that brings it, or take another execution.kind",
        )


def job_script(execution: QueueExecution, site: Site) -> str:
    """Return the script of a job that would be submitted, with words in the place of the driver's address.

    Raises
    ------
    daflow.errors.PoolError
        dask-jobqueue cannot make it.
    """
    book = Book(str(getattr(execution, "kind", "")), site.folder)
    job = cluster_class(getattr(dask_jobqueue, CLASSES[book.kind]), book, execution.threads).job_cls
    said = {name: value for name, value in keywords(execution, site).items() if name not in OF_CLUSTERS}
    try:
        script: str = job("tcp://DRIVER:PORT", name=f"{site.job_name}-1", **said).job_script()
    except (ValueError, TypeError, OSError) as error:
        raise PoolError(
            f"dask-jobqueue cannot make a job for {book.kind}", got=str(error), do="see execution.options"
        ) from error
    return script
