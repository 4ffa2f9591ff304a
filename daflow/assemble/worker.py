"""What a dask worker calls: tasks of the run in a folder, carried out with what that run is made of."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock

from threadpoolctl import threadpool_limits

from daflow.assemble.branching import bench_for
from daflow.assemble.folder import open_folder
from daflow.assemble.sections.build import bench_of
from daflow.config.carrying import carried_here
from daflow.execution.pools.members_window import room_for
from daflow.execution.tasks.carry_out import carry_out_all
from daflow.execution.tasks.under_way import under_way
from daflow.execution.tasks.workbench import Workbench
from daflow.records import Outcome, Task

_one_at_a_time = Lock()


def dask_setup(worker: object) -> None:  # noqa: ARG001 - dask calls it with the worker that loads this
    """Let a worker that is told to go in the middle of a heartbeat go without a traceback."""
    logging.getLogger("tornado.application").addFilter(is_no_parting)


def is_no_parting(record: logging.LogRecord) -> bool:
    """Say whether a record is anything but a heartbeat that found the worker's own connections closed.

    On a busy machine many a worker goes like that when a run is over. Nothing is wrong then, but
    tornado prints a traceback, under whatever the driver has said last.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, RuntimeError) and str(error) == "ConnectionPool is closed")


def workbench(folder: str) -> Workbench:
    """Return the workbench of a run, built once a process."""
    with _one_at_a_time:
        return _built(folder)


@lru_cache(maxsize=4)
def _built(folder: str) -> Workbench:
    # One BLAS thread a task: more would spin on each other, and change the last bits.
    threadpool_limits(1)
    run = open_folder(Path(folder))
    return bench_for(run, bench_of(run.workflow, run.folder, run.n_obs, run.cycles))


@lru_cache(maxsize=4)
def _carried(folder: str) -> int | None:
    """Return how many forecasts of a run this process carries at once; ``None``: as many as come."""
    if "distributed" not in sys.modules:
        return None  # a member's own job, which has one group and is not to wait for imports
    from distributed import get_worker  # noqa: PLC0415 - the same

    try:
        worker = get_worker()
    except ValueError:
        return None
    limit = worker.memory_manager.memory_limit
    memory = None if limit is None else int(limit)
    return carried_here(open_folder(Path(folder)).workflow.execution, worker.state.nthreads, memory)


def work(folder: str, tasks: Sequence[Task]) -> list[Outcome]:
    """Carry out tasks of the run in this folder, unless these attempts have ended already.

    A scheduler sends tasks again whose outcomes went down with a worker before anybody fetched them. Their
    receipts are these outcomes.
    """
    with room_for(tasks[0].phase, _carried(folder)), under_way(Path(folder), tasks) as mark:
        bench = workbench(folder)
        before = bench.store.receipts_together(tasks)
        if before and before[0].key == bench.keys[tasks[0].phase, tasks[0].step]:
            return before
        return carry_out_all(bench, tasks, mark.begin)
