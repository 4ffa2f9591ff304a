"""Who runs the forecasts of members: workers, each as many as it carries, or jobs of their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from daflow.assemble.driving.member_jobs import job_pool
from daflow.assemble.driving.members_told import check_machine, cores_here
from daflow.assemble.folder import RunFolder
from daflow.config.carrying import carried, carried_by_worker
from daflow.config.execution import ExecutionSettings, LocalExecution, QueueExecution
from daflow.config.member_jobs import JobMember, WorkerMember
from daflow.errors import PoolError
from daflow.execution.pools.crews import Crew
from daflow.execution.pools.members_apart import MembersApart
from daflow.execution.pools.members_window import MembersWindow
from daflow.execution.pools.witnesses import Witness
from daflow.ports import Pool

COUNT_SECONDS: Final = 1.0


def with_members(run: RunFolder, pool: Pool, crew: Crew, witness: Witness) -> Pool:
    """Return the pool that runs forecasts as the workflow asks, and everything else on these workers.

    Raises
    ------
    daflow.errors.PoolError
        The queue that knows of members' jobs does not answer.
    daflow.errors.ConfigError
        A forecast never fits into this machine.
    """
    execution = run.workflow.execution
    if isinstance(execution.member, JobMember):
        return MembersApart(job_pool(run, execution.member, witness), pool)
    if execution.member == WorkerMember():
        return pool
    check_machine(execution)
    return MembersWindow(pool, _Counted(lambda: forecasts_at_once(execution, crew, pool.slots)))


class _Counted:
    """Counts anew at most once a second: where workers have to be asked, that is a message about each."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count, self._n, self._until = count, 0, 0.0

    def __call__(self) -> int:
        if time.monotonic() >= self._until:
            self._n, self._until = self._count(), time.monotonic() + COUNT_SECONDS
        return self._n


def forecasts_at_once(execution: ExecutionSettings, crew: Crew, slots: int) -> int:
    """Return how many forecasts all workers that are there carry at once.

    Parameters
    ----------
    execution
        The section of the workflow file.
    crew
        The workers.
    slots
        How many tasks they run at once.

    Raises
    ------
    daflow.errors.PoolError
        There are workers, and none of them carries even one.
    """
    member, each = execution.member, carried_by_worker(execution)
    if not isinstance(member, WorkerMember) or not slots:
        return slots
    if isinstance(execution, LocalExecution) and each is not None:
        n = slots // execution.threads * each
        return n if member.cores is None else min(n, cores_here() // member.cores)
    if isinstance(execution, QueueExecution) and each is not None:
        return slots // execution.threads * each
    return _as_workers_say(member, crew)


def _as_workers_say(member: WorkerMember, crew: Crew) -> int:
    """Return how many forecasts workers carry that somebody else has started, by what they say of themselves.

    A worker has as many cores as threads, unless it was started with more: ``--resources "cores=16"``.
    """
    workers = crew.client.scheduler_info(n_workers=-1)["workers"].values()
    n = 0
    for worker in workers:
        threads, cores = worker["nthreads"], int(worker["resources"].get("cores", worker["nthreads"]))
        n += carried(member, threads, cores, worker["memory_limit"] or None)
    if workers and not n:
        most = max(int(worker["resources"].get("cores", worker["nthreads"])) for worker in workers)
        raise PoolError(
            "execution.member: a forecast fits into none of the workers",
            got=f"cores: {member.cores}, memory: {member.memory}; workers have up to {most} cores",
            allowed='workers with as many threads as a forecast has cores, or --resources "cores=16"',
            do="start such workers, or take less for a forecast, then `daflow resume` the run",
        )
    return n
