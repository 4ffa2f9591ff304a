"""Members that are jobs of their own: their pool, their script, and those that an earlier driver left."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Final

from daflow.assemble.folder import RunFolder
from daflow.config.member_jobs import JobMember
from daflow.config.schema import Workflow
from daflow.execution.member_jobs.batches import PLACE, Batch
from daflow.execution.member_jobs.desk import JobDesk, jobs_left
from daflow.execution.member_jobs.pool import JobPool
from daflow.execution.member_jobs.scripts import OUTPUT, JobNeeds, folder_of_output, job_script
from daflow.execution.pools.witnesses import Witness
from daflow.execution.queues.batch_systems import batch_system
from daflow.execution.queues.registry import registered

NAME: Final = "daflow-member"
"""What members' jobs are called."""
ONE_THREAD: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What dask's nannies set for workers."""
FIRST_IS_ONE: Final = frozenset({"lsf", "sge"})
"""The queues that count the elements of arrays from 1."""


def job_pool(run: RunFolder, member: JobMember, witness: Witness) -> JobPool:
    """Return the pool of members' own jobs; those that an earlier driver left are in it.

    Raises
    ------
    daflow.errors.PoolError
        The queue that knows of them does not answer.
    """
    folder_of_output(run.folder).mkdir(parents=True, exist_ok=True)
    desk = _desk(run.folder, member, run.workflow.execution.kind)
    return JobPool(desk, witness, member.at_once, arrays=member.array, keep=member.when_stopped == "keep")


def _desk(folder: Path, member: JobMember, kind: str) -> JobDesk:
    system = system_of(member, kind)
    return JobDesk(
        folder,
        batch_system(system),
        partial(_script, folder, member, system),
        partial(_printed, folder, system),
        float(member.seconds),
    )


def system_of(member: JobMember, kind: str) -> str:
    """Return the batch system that runs members' jobs where workers are of this kind."""
    return member.system or kind


def _printed(folder: Path, system: str, batch: Batch, index: int) -> Path:
    """Return the file for what an element prints."""
    if len(batch.groups) == 1:
        return folder_of_output(folder) / f"{batch.name}.txt"
    if system == "torque":  # it appends the number by itself
        return folder_of_output(folder) / f"{batch.name}.txt-{index}"
    return folder_of_output(folder) / f"{batch.name}-{index + (system in FIRST_IS_ONE)}.txt"


def _script(folder: Path, member: JobMember, system: str, batch: Batch, avoided: Collection[str] = ()) -> str:
    array = len(batch.groups) > 1
    name = f"{batch.name}-{OUTPUT[system]}.txt" if array and system in OUTPUT else f"{batch.name}.txt"
    python = member.python or sys.executable
    # One thread, as workers have it: what the model itself starts is told how many it has.
    words = ["env", *(f"{name}=1" for name in ONE_THREAD), python]
    words += ["-m", "daflow.assemble.member_job", str(folder), str(batch.folder)]
    index = batch_system(system).index if array else "0"
    command = f'{shlex.join(words)} "{index}"'
    return job_script(system, _needs(member), str(folder_of_output(folder) / name), command, avoided)


def _needs(member: JobMember) -> JobNeeds:
    return JobNeeds(
        NAME,
        member.nodes,
        member.tasks,
        member.cores,
        member.memory_bytes,
        member.seconds,
        member.queue,
        member.account,
        member.directives,
        member.prologue,
    )


def member_script(workflow: Workflow, folder: Path) -> str | None:
    """Return the script of members' jobs as the queue would get it; ``None``: members have no jobs.

    Parameters
    ----------
    workflow
        What is to be run.
    folder
        Where the run is to go.
    """
    member = workflow.execution.member
    if not isinstance(member, JobMember):
        return None
    folder = folder.absolute()
    batch = Batch(folder / PLACE / "STEP", ((), ()) if member.array else ((),))
    return _script(folder, member, system_of(member, workflow.execution.kind), batch)


def members_at_work(run: RunFolder) -> bool:
    """Say whether jobs that an earlier driver submitted may still be at work in the run's folder.

    Those that nobody will take up again, for members have no such jobs any more, are cancelled; they may take
    a moment to end.

    Raises
    ------
    daflow.errors.PoolError
        The queue does not answer: it has to be known before anything is tidied up.
    """
    member = run.workflow.execution.member
    systems = {entry.system for entry in registered(run.folder) if entry.kind == "member"}
    mine = system_of(member, run.workflow.execution.kind) if isinstance(member, JobMember) else None
    found = False
    for system in systems:
        queue = batch_system(system)
        alive = jobs_left(run.folder, queue)
        found = found or bool(alive)
        if system != mine:
            queue.cancel(element.id for element in alive)
    return found
