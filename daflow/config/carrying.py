"""How many forecasts a worker carries at once, by what the sections of a workflow file say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from daflow.config.clusters import QueueExecution
from daflow.config.execution import ExecutionSettings, LocalExecution
from daflow.config.member_jobs import JobMember, WorkerMember
from daflow.config.section import Problem

COMMAND: Final = "command"
USERS_OWN: Final = frozenset({COMMAND, "callable"})
"""The models that may start processes of their own."""
MEMBERS_OWN_SYSTEMS: Final = frozenset({"slurm", "pbs", "lsf", "sge"})
"""The kinds of execution whose batch system can also run members' own jobs."""


def carried(member: WorkerMember, threads: int, cores: int | None, memory: int | None) -> int:
    """Return how many forecasts a worker carries at once.

    Laws: as many as it has threads where nothing is asked; more asked is never more carried; 0 where not even
    one fits.

    Parameters
    ----------
    member
        What a forecast takes.
    threads
        How many tasks the worker runs at once.
    cores, memory
        What the worker has, the latter in bytes; ``None``: nobody knows, and it is not counted.
    """
    most = [threads]
    if member.cores is not None and cores is not None:
        most.append(cores // member.cores)
    if member.memory_bytes is not None and memory is not None:
        most.append(memory // member.memory_bytes)
    return min(most)


def carried_by_worker(execution: ExecutionSettings) -> int | None:
    """Return how many forecasts one worker process carries at once; ``None``: only the workers know.

    The cores of this machine are for all local workers together: they are not counted here.
    """
    member = execution.member
    if not isinstance(member, WorkerMember):
        return None
    if isinstance(execution, LocalExecution):
        return carried(member, execution.threads, None, execution.memory_bytes)
    if isinstance(execution, QueueExecution):
        n = execution.processes
        return carried(member, execution.threads, execution.cores // n, execution.memory_bytes // n)
    return None


def carried_here(execution: ExecutionSettings, threads: int, memory: int | None) -> int | None:
    """Return how many forecasts one worker process carries at once; ``None``: as many as come.

    Parameters
    ----------
    execution
        The section of the workflow file.
    threads, memory
        What the worker has; its threads count as cores where the file does not say.
    """
    member = execution.member
    if not isinstance(member, WorkerMember) or member == WorkerMember():
        return None
    each = carried_by_worker(execution)
    return max(each if each is not None else carried(member, threads, threads, memory), 1)


def of_member(execution: ExecutionSettings, model_kind: str) -> Iterator[Problem]:
    """Yield what is wrong with what members take: what can never fit, what nobody can do."""
    member = execution.member
    if isinstance(member, JobMember):
        yield from _of_job(member, execution.kind, model_kind)
    elif carried_by_worker(execution) == 0:
        of_queue = isinstance(execution, QueueExecution)
        n, cores = (execution.processes, execution.cores) if isinstance(execution, QueueExecution) else (1, 0)
        whose = f"a job's, shared by {n} processes" if of_queue and n > 1 else "a worker's"
        if of_queue and member.cores is not None and cores // n < member.cores:
            what = f"a forecast never fits: it takes more cores than {whose}"
            yield Problem("execution.member.cores", what, member.cores, f"at most {cores // n}")
        else:
            memory = getattr(execution, "memory", None)
            what = f"a forecast never fits: it takes more memory than {whose}, execution.memory = {memory}"
            yield Problem("execution.member.memory", what, member.memory, "less, or more for the worker")


def _of_job(member: JobMember, kind: str, model_kind: str) -> Iterator[Problem]:
    if member.system is None and kind not in MEMBERS_OWN_SYSTEMS:
        what = f"which batch system runs members' jobs does not follow from execution.kind: {kind}"
        yield Problem("execution.member.system", what, "null", "slurm, pbs, torque, lsf, sge")
    if member.launcher is not None and model_kind != COMMAND:
        what = f"a launcher starts a command, and a {model_kind!r} model is none"
        yield Problem("execution.member.launcher", what, member.launcher, "null, or model.kind: command")
    if model_kind not in USERS_OWN and (member.tasks > 1 or member.nodes > 1):
        what = f"a {model_kind!r} model is one process"
        got = f"nodes: {member.nodes}, tasks: {member.tasks}"
        yield Problem("execution.member", what, got, "nodes: 1 and tasks: 1")
    if member.tasks % member.nodes:
        what = "processes are shared evenly among nodes"
        yield Problem("execution.member.tasks", what, member.tasks, f"a multiple of nodes: {member.nodes}")
