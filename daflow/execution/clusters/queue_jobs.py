"""Jobs of a queue that each run workers: what was asked for, what became of it, and who has called."""

from __future__ import annotations

import os
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from distributed.deploy.spec import ProcessInterface

from daflow.errors import StoreError
from daflow.execution.clusters.jobqueue import Job, JobQueueCluster
from daflow.execution.clusters.queue_scripts import avoiding
from daflow.execution.queues.commands import outside_of_jobs
from daflow.execution.queues.registry import register

SAID: Final = re.compile(r"stderr:\n(.*)", re.DOTALL)
"""What the system's command complained of, in dask-jobqueue's message."""


@dataclass
class QueueJob:
    """A job that was asked for."""

    name: str
    """Of its worker; no other job ever has it."""
    id: str | None
    """In the system's words; ``None``: it was refused."""
    asked: float
    """When, by the monotonic clock."""
    running: float | None = None
    """Since when it is known to run without a worker."""
    joined: bool = False
    """Whether a worker of it has ever called."""
    idle: float | None = None
    """Since when its workers have nothing to do, or it has none."""
    workers: set[str] = field(default_factory=set)
    """The addresses of those that are there now."""


class Book:
    """What is known of a run's jobs; the cluster's thread writes in it and the driver's reads.

    Parameters
    ----------
    kind
        Of the batch system.
    folder
        The run's, where jobs are registered.
    logs
        The folder for what jobs print.
    """

    def __init__(self, kind: str, folder: Path, logs: Path) -> None:
        self.kind, self.folder, self.logs = kind, folder, logs
        self.lock = threading.Lock()
        self.jobs: dict[str, QueueJob] = {}
        """By name: all that are wanted, and in the queue unless they were refused."""
        self.by_worker: dict[str, QueueJob] = {}
        """By the address of a worker that has ever called."""
        self.avoided: set[str] = set()
        """The hosts that new jobs are kept from."""
        self.refusal = ""
        """What the system said when it last took no job; nothing once it has taken one."""
        self.refused_since: float | None = None
        self.refused_last = 0.0

    def submitted(self, name: str, job: str) -> None:
        """Note a job that the system took."""
        with self.lock:
            self.jobs[name] = QueueJob(name, job, time.monotonic())
            self.refusal, self.refused_since = "", None
        register(self.folder, job, self.kind, "worker", name)

    def refused(self, name: str, said: str) -> None:
        """Note a job that the system did not take."""
        now = time.monotonic()
        with self.lock:
            self.jobs[name] = QueueJob(name, None, now)
            self.refusal = said
            self.refused_since = self.refused_since or now
            # A host that the system does not know, or the only one there is, may be why: at once without.
            self.refused_last = 0.0 if self.avoided else now
            self.avoided.clear()

    def called(self, address: str, worker: str) -> None:
        """Note a worker that has come; what it is called begins with its job's name."""
        with self.lock:
            job = self.jobs.get(worker) or self.jobs.get(worker.rpartition("-")[0])
            if job is not None:
                job.joined = True
                job.workers.add(address)
                job.running = job.idle = None
                self.by_worker[address] = job

    def left(self, address: str) -> None:
        """Note a worker that has gone, or is no more heard of."""
        with self.lock:
            job = self.by_worker.get(address)
            if job is not None:
                job.workers.discard(address)

    def forget(self, name: str) -> None:
        """Let go of a job that is not wanted any more."""
        with self.lock:
            self.jobs.pop(name, None)

    def standing(self) -> list[QueueJob]:
        """Return all jobs that are wanted."""
        with self.lock:
            return list(self.jobs.values())


class NotedJob(Job):
    """A job of dask-jobqueue that is entered in the run's book, refused or not."""

    book: Book
    threads: int

    def __init__(self, scheduler: Any = None, name: Any = None, **said: Any) -> None:
        said["job_extra_directives"] = avoiding(
            self.book.kind, said.get("job_extra_directives"), self.book.avoided
        )
        super().__init__(scheduler=scheduler, name=name, **said)

    @property
    def worker_process_threads(self) -> int:
        """How many tasks a process runs at once; its cores may be more."""
        return self.threads

    async def start(self) -> None:
        """Submit the job; where the system refuses it, note that: it is tried again later."""
        try:
            await super().start()
            self.book.submitted(str(self.name), str(self.job_id))
        except (RuntimeError, ValueError, OSError) as error:
            self.book.refused(str(self.name), told(str(self.submit_command), error))
            await ProcessInterface.start(self)
        except StoreError:
            # What is not in the registry would be forgotten if the driver died.
            await self.close()
            raise

    @staticmethod
    async def _call(cmd: list[str], *, shell: bool = False, **options: Any) -> str:
        environment = outside_of_jobs(os.environ)
        said: str = await Job._call(  # noqa: SLF001 - the one place where commands are run
            cmd, shell=shell, env=environment, **options
        )
        return said


def told(command: str, error: Exception) -> str:
    """Return what a system said when it refused a job, on a line."""
    name = command.split(maxsplit=1)[0]
    if isinstance(error, FileNotFoundError):
        return f"{name} is not found: go to a host from which jobs can be submitted"
    found = SAID.search(str(error))
    said = " ".join((found[1] if found else str(error)).replace(f"{name}: error: ", "").split())
    return f"{name} was refused: {said or 'nothing was said'}"


def cluster_class(made_of: Any, book: Book, threads: int) -> Any:
    """Return a class of clusters whose jobs are noted in a book, and are called by no name twice."""
    job = type("Noted", (NotedJob, made_of.job_cls), {"book": book, "threads": threads})
    numbers = iter(range(1, 10**9))

    def new_name(cluster: JobQueueCluster, _: int) -> str:
        return f"{cluster.name}-{next(numbers)}"

    return type("QueueCluster", (made_of,), {"job_cls": job, "_new_worker_name": new_name})
