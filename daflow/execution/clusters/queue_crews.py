"""Who looks after workers that are jobs of a batch system: what has ended is asked for again."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Mapping, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from distributed import Client

from daflow.config.clusters import QueueExecution
from daflow.errors import PoolError
from daflow.execution.clusters.queue_jobs import Book, QueueJob
from daflow.execution.clusters.queue_scripts import AVOIDING
from daflow.execution.pools.crews import Fate
from daflow.execution.queues.batch_systems import BatchSystem
from daflow.execution.queues.job_states import BLAMELESS, CANCELLED, NODE_FAIL, PREEMPTED, UNKNOWN, JobState

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
ALONE_SECONDS: Final = 60.0
"""How long a run has been without workers when that is told."""
TELL_AGAIN_SECONDS: Final = 3600.0
"""How long after that it is told again."""
MOST_AT_ONCE: Final = 20
"""How many jobs are submitted together."""
FATE_SECONDS: Final = 5.0
"""How long the queue gets to say what ended a job."""
STILLBORN: Final = 3
"""How many jobs for each wanted one may end, one after the other, before a worker of theirs has called."""
NO_DAFLOW: Final = "No module named 'daflow"
"""What a worker's Python prints that cannot do what workers of a run do: another job would be no better."""
OF_NO_ACCOUNT: Final = frozenset({CANCELLED, NODE_FAIL, PREEMPTED})
"""Ends that say nothing of whether workers start in such jobs."""

log = logging.getLogger(__name__)


class QueueCrew:
    """Workers of a queue's jobs, one that ends being replaced.

    dask-jobqueue would not replace one by itself. Here the queue is asked: a job is replaced once it says
    that the job has ended, so that a worker that its nanny brings back keeps its place.

    Laws: there are never more jobs than wanted; a job that waits in the queue keeps its place there; what
    the queue refuses is asked for again; the driver's thread waits for the queue only where it asks for a
    fate.

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
    system
        The batch system.
    """

    def __init__(
        self, execution: QueueExecution, cluster: Any, client: Client, book: Book, system: BatchSystem
    ) -> None:
        self.client = client
        self._execution, self._cluster, self._book, self._system = execution, cluster, book, system
        self._wanted = execution.jobs * execution.slots_a_job
        self._states: Mapping[str, JobState] = {}
        self._ends: dict[str, JobState] = {}
        self._looked = 0.0
        self._n_stillborn = 0
        self._told = ""
        self._alone: float | None = None
        self._submitting: float | None = None
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
        now, jobs = time.monotonic(), self._book.standing()
        self._note_idlers(jobs, now)
        # Whoever waits for somebody elsewhere wants to know where all are.
        unsure = jobs if self._book.avoided else [job for job in jobs if not job.workers]
        self._ask(job.id for job in unsure)
        over = [job for job in jobs if self._is_over(job, now)]
        self._count_stillborn(over)
        self._see_that_jobs_are_taken(now, jobs, over)
        left = [job for job in jobs if job not in over]
        target = self._target(len(left), now)
        spare = self._spare(left, target, now)
        self._tell(now, jobs)
        self._submitting = self._submitting or now if self._n_submitting(jobs) else None
        self.change([job.name for job in (*over, *spare)], max(target, len(left) - len(spare)))

    def _ask(self, ids: Iterable[str | None]) -> None:
        asked = [job for job in ids if job is not None]
        if not asked:
            return
        with suppress(PoolError):  # a queue that does not answer now may do so the next time
            self._states = self._system.states(asked)
            self._ends |= {job: state for job, state in self._states.items() if state.phase == "ended"}

    def _n_submitting(self, jobs: Sized) -> int:
        """Return how many jobs are asked for that the system has neither taken nor refused yet."""
        return max(len(self._cluster.worker_spec) - len(jobs), 0)

    def _state(self, job: QueueJob) -> JobState:
        return self._states.get(job.id or "", UNKNOWN)

    def _note_idlers(self, jobs: Iterable[QueueJob], now: float) -> None:
        there = self._cluster.scheduler.workers
        for job in jobs:
            with suppress(KeyError):  # a worker that has just gone
                busy = any(there[address].processing for address in tuple(job.workers))
                job.idle = None if busy else job.idle or now

    def _is_over(self, job: QueueJob, now: float) -> bool:
        """Say whether a job is to be let go: it has ended, or is idle where none should be."""
        if job.workers:
            return job.idle is not None and self._is_unwelcome(self._state(job).host)
        if job.id is None:
            return now - self._book.refused_last >= AGAIN_SECONDS
        if now - job.asked < SETTLING_SECONDS:
            return False
        phase = self._state(job).phase
        if phase == "pending":
            job.running = None
            return False
        job.running = job.running or now
        patience = {"ended": 0.0, "running": STARTING_SECONDS}.get(phase, FORGOTTEN_SECONDS)
        return now - job.running >= patience

    def _is_unwelcome(self, host: str) -> bool:
        """Say whether a host is avoided and new jobs can be kept from it."""
        return self._book.kind in AVOIDING and _short(host) in {_short(name) for name in self._book.avoided}

    def _count_stillborn(self, over: Iterable[QueueJob]) -> None:
        for job in over:
            if job.joined:
                self._n_stillborn = 0
            elif job.id is not None and self._state(job).reason not in OF_NO_ACCOUNT:
                self._n_stillborn += 1
        if self._n_stillborn and not self._book.by_worker and NO_DAFLOW in _last_print(self._book.logs):
            raise PoolError(
                "workers have no daflow, or another one than the driver's",
                got=f"a job printed: {NO_DAFLOW}...",
                allowed="the environment that the driver has",
                do="install it there, or name their Python by execution.python, container or prologue",
            )
        if self._n_stillborn >= STILLBORN * self._execution.jobs:
            raise PoolError(
                "jobs end before their workers have called",
                got=f"{self._n_stillborn} one after the other; {_last_words(self._book.logs)}",
                allowed="jobs in which Python starts and the driver's address can be reached",
                do=f"read what they printed in {self._book.logs}; mend prologue, python, container, memory "
                "or interface",
            )

    def _see_that_jobs_are_taken(self, now: float, jobs: list[QueueJob], over: list[QueueJob]) -> None:
        since = self._book.refused_since
        if since is None or any(job.id is not None and job not in over for job in jobs):
            return
        if now - since >= self._execution.patience:
            raise PoolError(
                self._book.refusal,
                got=f"no job was taken for {now - since:.0f} s, and there is no worker",
                do="mend what it names (queue, account, limits), or give execution.patience more seconds; "
                "then `daflow resume` the run",
            )

    def _target(self, n_there: int, now: float) -> int:
        """Return how many jobs there are to be; fewer than there are only where that is asked for."""
        execution, book = self._execution, self._book
        adaptive = execution.adaptive
        most = execution.jobs if adaptive is None else adaptive.maximum
        least = 0 if adaptive is None else adaptive.minimum
        target = max(least, min(most, math.ceil(self._wanted / execution.slots_a_job)))
        if adaptive is None:
            target = max(target, n_there)
        if book.refusal:
            # It may be a limit on how many: one job shows whether it still holds.
            target = min(target, n_there + (now - book.refused_last >= AGAIN_SECONDS))
        return min(target, n_there + MOST_AT_ONCE)

    def _spare(self, jobs: list[QueueJob], target: int, now: float) -> list[QueueJob]:
        """Return the jobs to give back: there are too many, and these have had nothing to do for long."""
        adaptive = self._execution.adaptive
        if adaptive is None:
            return []
        idle = [job for job in jobs if job.idle is not None and now - job.idle >= adaptive.idle]
        idle.sort(key=lambda job: bool(job.workers))
        return idle[: max(len(jobs) - target, 0)]

    def _tell(self, now: float, jobs: Iterable[QueueJob]) -> None:
        """Say that jobs are refused, and what is waited for where there were workers and are none."""
        if self._book.refusal != self._told:
            self._told = self._book.refusal
            if self._told:
                log.warning("%s; tried again in %.0f s", self._told, AGAIN_SECONDS)
        if not self._book.by_worker or any(job.workers for job in jobs):
            self._alone = None
            return
        self._alone = self._alone or now
        if now - self._alone >= ALONE_SECONDS:
            self._alone = now + TELL_AGAIN_SECONDS - ALONE_SECONDS
            log.warning("no worker is left: %s", self.awaited() or "new jobs are asked for")

    def change(self, over: list[str], target: int) -> None:
        """Let go of jobs, by name, and ask for others until there are so many; returns at once."""
        self._cluster.loop.add_callback(self._change, over, target)

    def _change(self, over: list[str], target: int) -> None:
        # On the cluster's own thread.
        wanted = self._cluster.worker_spec
        for name in over:
            wanted.pop(name, None)
            self._book.forget(name)
        if over or target > len(wanted):
            self._cluster.scale(jobs=max(target, len(wanted)))

    def awaited(self) -> str:
        """Return what is still to come, in words."""
        jobs, now = self._book.standing(), time.monotonic()
        states = [self._state(job) for job in jobs if job.id is not None and not job.workers]
        pending = [state for state in states if state.phase == "pending"]
        told = []
        if pending:
            reasons = ", ".join(sorted({state.reason for state in pending if state.reason}))
            wait = "waits" if len(pending) == 1 else "wait"
            told.append(f"{_jobs(len(pending))} {wait} in the queue{f' ({reasons})' if reasons else ''}")
        starting = sum(state.phase in {"running", "unknown"} for state in states)
        if starting:
            told.append(f"{_jobs(starting)} on the way, without a worker yet")
        submitting = self._n_submitting(jobs)
        # A command that hangs is not waited for without end.
        if submitting and now - (self._submitting or now) < self._execution.patience:
            told.append(f"{_jobs(submitting)} being submitted")
        if self._book.refusal:
            left = max(0.0, AGAIN_SECONDS - (now - self._book.refused_last))
            told.append(f"{self._book.refusal}; tried again in {left:.0f} s")
        return "; ".join(told)

    def fate(self, worker: str) -> Fate | None:
        """Return what ended a worker, as the queue has it; it gets some seconds to say."""
        job = self._book.by_worker.get(worker)
        if job is None or job.id is None:
            return None
        until = time.monotonic() + FATE_SECONDS
        while job.id not in self._ends and not job.workers:
            absent = [other.id for other in self._book.standing() if other.id != job.id and not other.workers]
            self._ask([job.id, *absent])
            if job.id in self._ends or time.monotonic() > until:
                break
            time.sleep(0.5)
        state = self._ends.get(job.id)
        if state is None:
            kind = self._book.kind
            return Fate(f"it ended or fell silent while {kind} let job {job.id} go on", blameless=False)
        where = f" on {state.host}" if state.host else ""
        said = f" ({state.reason})" if state.reason else ""
        return Fate(f"{self._book.kind} ended job {job.id}{where}{said}", blameless=state.reason in BLAMELESS)

    def avoid(self, host: str) -> None:
        """Keep new jobs from a host, if the system has a word for it; end those there once they are idle."""
        self._book.avoided.add(host)

    def close(self) -> None:
        """Stop looking."""
        self._meanwhile.shutdown(wait=True, cancel_futures=True)


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"


def _short(host: str) -> str:
    return host.partition(".")[0]


def _last_words(folder: Path, most: int = 400) -> str:
    """Return the end of what the newest job printed."""
    said = " ".join(_last_print(folder).split())[-most:]
    return f"the last one printed: {said}" if said else "they printed nothing"


def _last_print(folder: Path) -> str:
    """Return what the newest job printed; nothing if none printed anything."""
    with suppress(OSError, ValueError):
        written = [path for path in folder.iterdir() if path.is_file() and path.stat().st_size]
        return max(written, key=lambda path: path.stat().st_mtime).read_text(errors="replace")
    return ""
