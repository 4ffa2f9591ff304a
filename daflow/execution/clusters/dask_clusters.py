"""Dask clusters: one of this machine's own, or one that runs already."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Final

import dask
from distributed import Client, LocalCluster

from daflow.config.execution import AddressExecution, ExecutionSettings, LocalExecution, QueueExecution
from daflow.errors import ConfigError, PoolError
from daflow.execution.clusters.plugin_clusters import plugin_crew
from daflow.execution.clusters.queue_scripts import Site
from daflow.execution.pools.crews import Crew, Unattended

SETTINGS: Final[dict[str, Any]] = {
    # The driver counts retries itself: a worker's death must not be blamed on a task that merely waited.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    # Models may hold the interpreter's lock for minutes: silence is not death.
    "distributed.scheduler.worker-ttl": "300s",
    # A nanny brings its worker back, however long that takes on a busy machine: were it found without one
    # when this time is over, the cluster would end the nanny as well and have a worker less for good.
    "distributed.deploy.lost-worker-timeout": "365 days",
    "distributed.comm.retry.count": 3,
    "distributed.comm.timeouts.connect": "60s",
    # A host that is gone or cut off says nothing: the kernel's own patience would be a quarter of an hour.
    "distributed.comm.timeouts.tcp": "30s",
    # Tasks leave no results behind, so there is nothing to spill.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": 0.85,
    "distributed.worker.memory.terminate": 0.95,
    # Of what was sent, of each task's states and of the machine a scheduler and its workers keep the last
    # thousands, tasks and outcomes within: for whoever looks for bugs in dask. Nobody here reads them.
    "distributed.admin.low-level-log-length": 10,
    "distributed.admin.system-monitor.log-length": 10,
    "distributed.diagnostics.computations.max-history": 1,
    # How late a loop is, which only a log that is silent would tell, is looked at fifty times a second.
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.worker.profile.enabled": False,
    # A worker calls once it can work: what its first task needs takes seconds to load, minutes from a busy
    # disk, which would count as that task's.
    "distributed.worker.preload": "daflow.assemble.worker",
}
PRELOAD: Final = "distributed.worker.preload"


FOR_WORKERS: Final[dict[str, Any]] = {
    name: value
    for name, value in SETTINGS.items()
    if name.startswith(("distributed.worker.", "distributed.comm.", "distributed.admin."))
}
"""Those that workers elsewhere have to be told."""


def _but_their_own(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of ours; what workers load is left to a configuration of dask that names anything."""
    theirs = dask.config.get(PRELOAD, None) not in (None, [], SETTINGS[PRELOAD])
    return {name: value for name, value in settings.items() if not (theirs and name == PRELOAD)}


ANSWER_SECONDS: Final = 10
"""How long a scheduler that runs already may take to answer at first."""
RETURN_SECONDS: Final = 100
"""How long one that was lost is looked for: it is started again, or a network comes back."""
STARTS: Final = 5
"""How often a local cluster is started before the run is laid down."""


@contextmanager
def connect(execution: ExecutionSettings, folder: Path) -> Iterator[Crew]:
    """Return the workers that a workflow asks for; a cluster started here ends with it.

    Parameters
    ----------
    execution
        The section of the workflow file.
    folder
        The run's; workers of this machine put small files of their own into ``work/dask`` there.

    Raises
    ------
    daflow.errors.PoolError
        The scheduler cannot be reached.
    """
    scratch = folder / "work" / "dask"
    with dask.config.set(_but_their_own(SETTINGS) | _silence_of(execution)):
        if isinstance(execution, LocalExecution):
            with _local(execution, scratch) as client:
                yield Unattended(client)
        elif isinstance(execution, AddressExecution):
            with _existing(execution) as client:
                yield Unattended(client)
        elif isinstance(execution, QueueExecution):
            with _queued(execution, folder) as crew:
                yield crew
        else:
            with plugin_crew(execution) as crew:
                yield crew


def _silence_of(execution: ExecutionSettings) -> dict[str, Any]:
    """Return how long workers may be silent, where the scheduler is ours."""
    seconds = getattr(execution, "silence", None)
    return {} if seconds is None else {"distributed.scheduler.worker-ttl": f"{seconds:g}s"}


@contextmanager
def _local(execution: LocalExecution, scratch: Path) -> Iterator[Client]:
    with (
        _out_of_reach(_started, execution, scratch) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _out_of_reach(
    start: Callable[[LocalExecution, Path], LocalCluster], execution: LocalExecution, scratch: Path
) -> LocalCluster:
    """Start workers that a Ctrl-C in the terminal does not reach: it is the driver that ends them.

    The terminal interrupts all its processes. Workers that are starting would tell of it by tracebacks, and
    dask by others that they did not start. They inherit what their thread blocks.
    """
    made: list[LocalCluster] = []

    def make() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        made.append(start(execution, scratch))

    resource_tracker.ensure_running()  # it would unblock what it finds blocked
    try:
        with ThreadPoolExecutor(1) as thread:  # which waits for it, interrupted or not
            thread.submit(make).result()
    except KeyboardInterrupt:
        for cluster in made:
            cluster.close()
        raise
    return made[0]


def _started(execution: LocalExecution, scratch: Path) -> LocalCluster:
    """Start the workers; a nanny brings back one that dies later, but not one that dies while it starts."""
    for _ in range(STARTS - 1):
        with suppress(OSError, RuntimeError, TimeoutError):
            return _cluster(execution, scratch)
    try:
        return _cluster(execution, scratch)
    except (OSError, RuntimeError, TimeoutError) as error:
        raise PoolError(
            "the workers of this machine did not start",
            got=f"{error} ({STARTS} attempts)",
            do="see whether memory, processes or ports ran out, then `daflow resume` the run",
        ) from error


def _cluster(execution: LocalExecution, scratch: Path) -> LocalCluster:
    # Workers are processes under a nanny: it holds BLAS to one thread, ends a worker that grows too
    # large and starts another one.
    return LocalCluster(
        n_workers=execution.workers,
        threads_per_worker=execution.threads,
        memory_limit=execution.memory,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        local_directory=str(scratch),
        silence_logs=logging.CRITICAL,
    )


@contextmanager
def _existing(execution: AddressExecution) -> Iterator[Client]:
    try:
        with Client(execution.address, set_as_default=False, timeout=ANSWER_SECONDS):
            pass
        # A client looks for a scheduler that it has lost as long as it would have at first.
        client = Client(execution.address, set_as_default=False, timeout=RETURN_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise PoolError(
            "execution.address: there is no dask scheduler",
            got=f"{execution.address} ({error})",
            allowed="the address of a scheduler that runs, such as tcp://127.0.0.1:8786",
            do="start one with `dask scheduler`, or use `execution: {kind: local}`",
        ) from error
    with client, _quiet():
        yield client


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep a client from telling by tracebacks what becomes of its scheduler: the pool says it in words."""
    logger = logging.getLogger("distributed.client")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _queued(execution: QueueExecution, folder: Path) -> Iterator[Crew]:
    with _jobqueue():
        from daflow.execution.clusters.queue_clusters import queue_crew  # noqa: PLC0415 - an extra
    with queue_crew(execution, Site(folder, _but_their_own(FOR_WORKERS))) as crew:
        yield crew


@contextmanager
def _jobqueue() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise PoolError(
            "dask-jobqueue is not installed: batch systems are reached through it",
            got=str(error),
            do="pip install 'daflow[cluster]', in the environment that workers use as well",
        ) from error


def job_script_of(execution: ExecutionSettings, folder: Path) -> str:
    """Return the script of the jobs that workers of a run in this folder would be; nothing is submitted.

    Raises
    ------
    daflow.errors.ConfigError
        The section asks for no jobs.
    daflow.errors.PoolError
        dask-jobqueue is not installed, or cannot make such jobs.
    """
    if not isinstance(execution, QueueExecution):
        raise ConfigError(
            "there is no job script: workers do not run as jobs of a queue",
            got=f"execution.kind: {execution.kind}",
            allowed="slurm, pbs, lsf, sge, oar, htcondor, moab",
            do="name a profile of your cluster by --profile, or set execution.kind",
        )
    with _jobqueue():
        from daflow.execution.clusters.queue_clusters import job_script  # noqa: PLC0415 - an extra
    return job_script(execution, Site(folder.absolute(), _but_their_own(FOR_WORKERS)))
