"""What a dask worker calls: a task of the run in a folder, carried out with what that run is made of."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from threadpoolctl import threadpool_limits

from daflow.assemble.build import bench_of
from daflow.assemble.folder import open_folder
from daflow.execution.carry_out import carry_out
from daflow.execution.under_way import under_way
from daflow.execution.workbench import Workbench
from daflow.records import Outcome, Task


@lru_cache(maxsize=4)
def workbench(folder: str) -> Workbench:
    """Return the workbench of a run, built once a process."""
    # One BLAS thread a task: more would spin on each other, and change the last bits.
    threadpool_limits(1)
    run = open_folder(Path(folder))
    return bench_of(run.workflow, run.folder, run.n_obs)


def work(folder: str, task: Task) -> Outcome:
    """Carry out a task of the run in this folder, unless that attempt has ended already.

    A scheduler sends a task again whose outcome went down with a worker before anybody fetched it. Its
    receipt is that outcome.
    """
    with under_way(Path(folder), task):
        bench = workbench(folder)
        before = bench.store.receipt(task)
        if before is not None and before.key == bench.keys[task.phase, task.step]:
            return before
        return carry_out(bench, task)
