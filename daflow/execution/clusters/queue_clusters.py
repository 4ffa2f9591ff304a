"""Workers that are jobs of a batch system: asked for, looked after and given back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import Any, Final

from distributed import Client, Scheduler, SchedulerPlugin

from daflow.config.clusters import QueueExecution
from daflow.errors import PoolError
from daflow.execution.clusters.jobqueue import JobQueueCluster, dask_jobqueue
from daflow.execution.clusters.queue_crews import MOST_AT_ONCE, QueueCrew
from daflow.execution.clusters.queue_jobs import Book, cluster_class
from daflow.execution.clusters.queue_scripts import Site, keywords
from daflow.execution.queues.batch_systems import BatchSystem, batch_system, cancel_those_left

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


def _book(execution: QueueExecution, site: Site) -> Book:
    kind = str(getattr(execution, "kind", ""))
    return Book(kind, site.folder, execution.logs or site.logs)


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
        book.logs.mkdir(parents=True, exist_ok=True)
        cluster: JobQueueCluster = made(**keywords(execution, site), name=site.job_name)
    except (OSError, RuntimeError, ValueError, TypeError, ImportError) as error:
        raise PoolError(
            f"the {book.kind} cluster cannot be made",
            got=f"{type(error).__name__}: {error}",
            do="see execution.interface, execution.logs, execution.options; 'encryption: tls' needs the "
            "package cryptography (pip install 'daflow[cluster]')",
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
    book = _book(execution, site)
    _check_command(book.kind)
    system = batch_system(book.kind)
    try:
        with made_cluster(execution, site, book) as cluster:
            cluster.scheduler.add_plugin(_Calls(book))
            with Client(cluster, set_as_default=False) as client:
                crew = QueueCrew(execution, cluster, client, book, system)
                crew.change([], min(execution.jobs, MOST_AT_ONCE))
                try:
                    yield crew
                finally:
                    crew.close()
    finally:
        _give_back(book, system)


def _give_back(book: Book, system: BatchSystem) -> None:
    """End the jobs that are left; dask-jobqueue has tried, but takes no answer for a good one."""
    ids = [job.id for job in book.standing() if job.id is not None]
    # A queue that does not answer leaves them to the registry: the next driver ends them.
    with suppress(PoolError):
        if ids:
            cancel_those_left(system, ids)


def _check_command(kind: str) -> None:
    job: Any = getattr(dask_jobqueue, CLASSES[kind]).job_cls
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
    book = _book(execution, site)
    job = cluster_class(getattr(dask_jobqueue, CLASSES[book.kind]), book, execution.threads).job_cls
    said = {name: value for name, value in keywords(execution, site).items() if name not in OF_CLUSTERS}
    try:
        # dask-jobqueue makes the folder for what jobs print there and then: it gets another one.
        with TemporaryDirectory() as instead:
            logs, said["log_directory"] = said["log_directory"], instead
            script: str = job("tcp://DRIVER:PORT", name=f"{site.job_name}-1", **said).job_script()
    except (ValueError, TypeError, OSError) as error:
        raise PoolError(
            f"dask-jobqueue cannot make a job for {book.kind}", got=str(error), do="see execution.options"
        ) from error
    return script.replace(instead, logs)
