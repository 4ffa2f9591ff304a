"""How members will run, in words; and whether a forecast fits into this machine."""

from __future__ import annotations

import os

from daflow.assemble.driving.member_jobs import system_of
from daflow.config.carrying import carried_by_worker
from daflow.config.execution import ExecutionSettings, LocalExecution, QueueExecution
from daflow.config.member_jobs import JobMember, WorkerMember
from daflow.errors import ConfigError
from daflow.execution.queues.batch_systems import batch_system


def cores_here() -> int:
    """Return how many cores of this machine are ours."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not everywhere
        return os.cpu_count() or 1


def check_machine(execution: ExecutionSettings) -> None:
    """See that a forecast fits into this machine, where workers are here.

    Raises
    ------
    daflow.errors.ConfigError
        It takes more cores than there are.
    """
    member = execution.member
    if not isinstance(execution, LocalExecution) or not isinstance(member, WorkerMember):
        return
    here = cores_here()
    if member.cores is not None and member.cores > here:
        raise ConfigError(
            "execution.member.cores: a forecast never fits: this machine has fewer",
            got=member.cores,
            allowed=f"at most {here}",
            do="take fewer, or run on a machine or cluster that has as many",
        )


def told(execution: ExecutionSettings) -> str:
    """Return in words how members will run; nothing where workers take them like all other tasks."""
    member = execution.member
    if isinstance(member, JobMember):
        return _jobs_told(member, system_of(member, execution.kind))
    if member == WorkerMember():
        return ""
    asked = [f"{member.cores} cores"] if member.cores else []
    asked += [member.memory] if member.memory else []
    each = carried_by_worker(execution)
    if each is None:
        return f"each forecast takes {' and '.join(asked)} of a worker; the workers say how many they carry"
    total = _most_workers(execution) * each
    if isinstance(execution, LocalExecution) and member.cores:
        total = min(total, cores_here() // member.cores)
    return f"each forecast takes {' and '.join(asked)} of a worker: {total} at once"


def _most_workers(execution: ExecutionSettings) -> int:
    if isinstance(execution, LocalExecution):
        return execution.workers
    if isinstance(execution, QueueExecution):
        most = execution.adaptive.maximum if execution.adaptive else execution.jobs
        return most * execution.processes
    return 1


def _jobs_told(member: JobMember, system: str) -> str:
    nodes = "1 node" if member.nodes == 1 else f"{member.nodes} nodes"
    tasks = "1 process" if member.tasks == 1 else f"{member.tasks} processes"
    cores = "1 core" if member.cores == 1 else f"{member.cores} cores each"
    launched = f", started by {member.launcher}" if member.launcher else ""
    how = "as one array a step" if member.array and batch_system(system).has_arrays else "one by one"
    return (
        f"each forecast is a job of {system}: {nodes}, {tasks} of {cores}, {member.memory} a node, "
        f"{member.walltime}{launched}; at most {member.at_once} at once, submitted {how}"
    )
