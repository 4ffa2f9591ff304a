"""One worker on trial: whether the place that a workflow names gives workers that can do its tasks."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daflow.assemble.driving.first_workers import check_workers, of_this_worker
from daflow.assemble.folder import RunFolder
from daflow.config.execution import ExecutionSettings, LocalExecution, PluginExecution, QueueExecution
from daflow.config.schema import Workflow
from daflow.errors import DataError
from daflow.execution.clusters.dask_clusters import connect
from daflow.execution.queues.registry import registered


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of asking for one worker."""

    kind: str
    jobs: tuple[str, ...]
    """The ids of the jobs that were submitted."""
    seconds: float
    """How long it took until the worker had called and been looked at, the queue's time included."""
    scheduler: str
    """The address at which workers reach the driver."""
    worker: Mapping[str, Any]
    """What the worker is and sees."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


def try_one(workflow: Workflow, beside: Path, tell: Callable[[str], None]) -> Trial:
    """Ask for one worker as a run would, look at it, and give it back.

    Parameters
    ----------
    workflow
        Whose ``execution`` is tried.
    beside
        Where runs go: a folder is made there for the trial, and removed.
    tell
        Called with what is done.

    Raises
    ------
    daflow.errors.DataError
        Nothing can be written there.
    daflow.errors.PoolError
        No worker came, or it cannot do the tasks; the message says why.
    """
    try:
        beside.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="daflow-trial-", dir=beside))
    except OSError as error:
        raise DataError(f"{beside} cannot be written", got=error.strerror, do="name another --run") from error
    try:
        (folder / "work" / "dask").mkdir(parents=True)
        run = RunFolder(folder, workflow, 0, {})
        began = time.monotonic()
        tell(f"asking for one worker ({workflow.execution.kind})")
        with connect(_of_one(workflow.execution), folder) as crew:
            check_workers(run, crew)
            seen = crew.client.run(seen_there, str(folder))
            jobs = tuple(entry.id for entry in registered(folder))
            scheduler: Any = crew.client.scheduler
            seconds = time.monotonic() - began
        return Trial(workflow.execution.kind, jobs, seconds, scheduler.address, next(iter(seen.values()), {}))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _of_one(execution: ExecutionSettings) -> ExecutionSettings:
    if isinstance(execution, QueueExecution):
        return execution.model_copy(update={"jobs": 1, "adaptive": None})
    if isinstance(execution, (LocalExecution, PluginExecution)) and execution.workers is not None:
        return execution.model_copy(update={"workers": 1})
    return execution


def seen_there(folder: str, dask_worker: Any) -> dict[str, Any]:
    """Return what a worker is and sees: called there; dask fills in ``dask_worker``."""
    end = os.environ.get("DAFLOW_JOB_END")
    return of_this_worker(folder) | {
        "cores": len(os.sched_getaffinity(0)),
        "threads": dask_worker.state.nthreads,
        "memory_bytes": dask_worker.memory_manager.memory_limit,
        "scratch": dask_worker.local_directory,
        "scratch_free_bytes": shutil.disk_usage(dask_worker.local_directory).free,
        "seconds_left": None if end is None else float(end) - time.time(),
    }
