"""What a run would take on a machine: tasks, bytes, files, memory, jobs of a queue, and hours.

The costs are those that were measured with daflow itself (tests/benchmarks: two cores of 2026, a local disk);
what a forecast takes only the user knows, or a run that was like it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from math import ceil
from statistics import median
from typing import Any, Final

from daflow.assemble.folder import RunFolder
from daflow.assemble.looking_ahead.preview import Preview, preview
from daflow.assemble.reading.contents import outcomes_of
from daflow.assemble.sections.methods import surveys
from daflow.config.carrying import carried_by_worker
from daflow.config.clusters import QueueExecution
from daflow.config.execution import ExecutionSettings, LocalExecution
from daflow.config.member_jobs import JobMember
from daflow.config.schema import Workflow
from daflow.errors import ConfigError, DataError
from daflow.names import Phase, Status

TASK_SECONDS: Final = 0.007
"""What a task that is sent alone costs the driver, the scheduler and its worker together."""
SHORT_TASK_SECONDS: Final = 0.0012
"""What one of many short tasks costs that are sent and kept together."""
TOGETHER_BELOW: Final = 0.5
"""Seconds of a task below which several go together."""
PRODUCTS_A_SECOND: Final = 4e10
"""Multiplications and additions that a core does in the products of an update, without localization."""
LOCALIZED: Final = 10.0
"""How much longer an update takes where it is localized, at most some tens of observations in reach."""
BYTES_A_SECOND: Final = 1e9
"""What the disk that all workers share reads and writes, if nobody says better."""
IMPORTS_BYTES: Final = 250e6
"""What a worker's process takes before it has done anything."""
SLABS: Final = 4
"""Slabs of an update that are in memory at once, at most."""
JOB_SECONDS: Final = 10.0
"""From the start of a job to its first task: Python, imports, the way to the scheduler."""


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """What the tasks of one phase take, all steps together."""

    phase: str
    tasks: int
    task_seconds: float | None
    """What each takes; ``None``: nobody knows."""
    seconds: float | None
    """What all take on the workers there are, without waits in a queue."""


@dataclass(frozen=True, slots=True)
class RunEstimate:
    """What a run would take."""

    name: str
    where: str
    """Kind of execution, jobs and slots, in words."""
    slots: int
    """Tasks that run at once."""
    forecasts_at_once: int
    stages: tuple[StageEstimate, ...]
    tasks: int
    store_bytes: int
    moved_bytes: int
    """What is read from the disk and written to it."""
    files: int
    """Of arrays and receipts."""
    worker_bytes: int
    """What a worker's process needs for an update, imports included, without the model."""
    worker_limit: int | None
    """What it may use; ``None``: not known."""
    seconds: float | None
    """From the first task to the last, no waits in a queue; ``None``: what a forecast takes is not known."""
    worker_jobs: int
    """Jobs of workers, one generation after the other; 0 where there is no queue, or no time is known."""
    member_jobs: int
    """Jobs of members of their own."""
    core_hours: float | None
    """Of all workers or members' jobs, from the first task to the last."""
    warnings: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Machine:
    """What a plan has to be told of where a run goes.

    Parameters
    ----------
    forecast_seconds
        What a forecast of a member takes; ``None``: unknown.
    slots
        Tasks that run at once, where the workflow does not say; ``None``: as it says.
    bytes_a_second
        What the shared disk reads and writes.
    """

    forecast_seconds: float | None = None
    slots: int | None = None
    bytes_a_second: float = BYTES_A_SECOND


def forecast_seconds_of(run: RunFolder) -> float:
    """Return what a forecast took in a run, the median of those that ended well.

    Raises
    ------
    daflow.errors.DataError
        None has ended well there.
    """
    took = [
        outcome.seconds
        for outcome in outcomes_of(run)
        if outcome.task.phase is Phase.FORECAST and outcome.status is Status.OK
    ]
    if not took:
        raise DataError(f"no forecast has ended well in {run.folder}", do="name another run, or the seconds")
    return median(took)


def plan_run(workflow: Workflow, machine: Machine) -> RunEstimate:
    """Return what a run of a workflow would take.

    Laws: more slots never take longer; twice the members are at least as many tasks, bytes and files.

    Raises
    ------
    daflow.errors.InputError
        Something that the workflow names cannot be used.
    daflow.errors.ConfigError
        How many tasks run at once is neither in the workflow nor told.
    """
    seen = preview(workflow)
    slots = _slots(workflow.execution, machine)
    at_once = _forecasts_at_once(workflow.execution, slots)
    stages = tuple(_stages(workflow, seen, machine, slots, at_once))
    seconds = _sum([stage.seconds for stage in stages])
    needed = int(IMPORTS_BYTES) + SLABS * seen.slab_bytes
    limit = _limit(workflow.execution)
    return RunEstimate(
        seen.name,
        _where(workflow.execution, slots),
        slots,
        at_once,
        stages,
        sum(stage.tasks for stage in stages),
        seen.store_bytes,
        _moved(seen),
        seen.store_files + sum(stage.tasks for stage in stages),
        needed,
        limit,
        seconds,
        _worker_jobs(workflow.execution, seconds),
        seen.forecasts if isinstance(workflow.execution.member, JobMember) else 0,
        _core_hours(workflow.execution, seconds, slots),
        tuple(_warnings(workflow, machine, needed, limit)),
    )


def _slots(execution: ExecutionSettings, machine: Machine) -> int:
    if machine.slots is not None:
        return machine.slots
    if isinstance(execution, LocalExecution):
        return execution.workers * execution.threads
    if isinstance(execution, QueueExecution):
        return execution.jobs * execution.slots_a_job
    raise ConfigError(
        f"execution.kind {execution.kind} does not say how many tasks run at once",
        do="say it: --slots 64",
    )


def _forecasts_at_once(execution: ExecutionSettings, slots: int) -> int:
    if isinstance(execution.member, JobMember):
        return execution.member.at_once
    each = carried_by_worker(execution)
    threads = getattr(execution, "threads", 1)
    return slots if each is None else max(slots // threads * each, 1)


def _stages(
    workflow: Workflow, seen: Preview, machine: Machine, slots: int, at_once: int
) -> Iterator[StageEstimate]:
    row, n = seen.n_state * seen.item_bytes, seen.n_members
    # Workers share the disk: each of them waits for all.
    column = seen.slab_bytes * slots / machine.bytes_a_second
    localized = LOCALIZED if seen.localization != "none" else 1.0
    product = 2.0 * n * n * seen.slice_size / PRODUCTS_A_SECOND * localized
    prepare = 3.0 * seen.n_obs * n * n / PRODUCTS_A_SECOND
    forecast = machine.forecast_seconds
    if forecast is not None and workflow.cycling is not None:
        forecast += row * at_once / machine.bytes_a_second
    n_forecasts = seen.forecasts // n
    yield _stage(Phase.PRIOR, n, 1, 2 * row * slots / machine.bytes_a_second, slots)
    yield _stage(Phase.FORECAST, n, n_forecasts, forecast, at_once)
    yield _stage(Phase.PREPARE, 1, seen.n_steps, prepare, 1)
    if surveys(workflow):
        yield _stage(Phase.SURVEY, seen.n_slices, seen.n_steps, column + product, slots)
    yield _stage(Phase.UPDATE, seen.n_slices, seen.n_steps, 2 * column + product, slots)
    if workflow.cycling is not None and workflow.cycling.lag:
        yield _stage(Phase.SMOOTH, seen.n_slices, seen.n_steps, 2 * column + product, slots)


def _stage(phase: Phase, tasks: int, steps: int, each: float | None, at_once: int) -> StageEstimate:
    """Return what so many tasks take in each of so many steps."""
    if each is None:
        return StageEstimate(phase, tasks * steps, None, None)
    alone = each >= TOGETHER_BELOW
    overhead = tasks * (TASK_SECONDS if alone else SHORT_TASK_SECONDS)
    # Long tasks come in waves; short ones share the slots out evenly.
    waves = ceil(tasks / at_once) if alone else tasks / at_once
    return StageEstimate(phase, tasks * steps, each, steps * max(waves * each, overhead))


def _sum(parts: list[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _moved(seen: Preview) -> int:
    row = seen.n_state * seen.item_bytes * seen.n_members
    # Written once as a prior; read by each forecast; read and written by each update.
    return row * (1 + seen.forecasts // seen.n_members + 2 * seen.n_steps)


def _worker_jobs(execution: ExecutionSettings, seconds: float | None) -> int:
    if not isinstance(execution, QueueExecution) or seconds is None:
        return 0
    if execution.seconds is None:
        return execution.jobs
    useful = execution.seconds - execution.margin - JOB_SECONDS
    return execution.jobs * max(ceil(seconds / max(useful, 1.0)), 1)


def _limit(execution: ExecutionSettings) -> int | None:
    if isinstance(execution, LocalExecution):
        return execution.memory_bytes
    if isinstance(execution, QueueExecution):
        return execution.memory_bytes // execution.processes
    return None


def _core_hours(execution: ExecutionSettings, seconds: float | None, slots: int) -> float | None:
    if seconds is None:
        return None
    cores = execution.jobs * execution.cores if isinstance(execution, QueueExecution) else slots
    return cores * seconds / 3600


def _where(execution: ExecutionSettings, slots: int) -> str:
    if isinstance(execution, QueueExecution):
        return f"{execution.kind}, {execution.jobs} jobs, {slots} tasks at once"
    return f"{execution.kind}, {slots} tasks at once"


def _warnings(workflow: Workflow, machine: Machine, needed: int, limit: int | None) -> Iterator[str]:
    execution, forecast = workflow.execution, machine.forecast_seconds
    if limit is not None and needed > limit:
        yield (
            f"an update needs some {needed / 1e9:.1f} GB a worker, which has {limit / 1e9:.1f} GB: "
            "give workers more memory, or make storage.slice_size smaller"
        )
    if forecast is None:
        yield "what a forecast takes is not known: say it (--forecast-seconds) or name a run like it (--like)"
    if isinstance(execution, QueueExecution) and execution.seconds is not None and forecast is not None:
        useful = execution.seconds - execution.margin - JOB_SECONDS
        if not isinstance(execution.member, JobMember) and forecast > useful:
            yield (
                f"a forecast takes {forecast:.0f} s, and a job of {execution.seconds} s has {useful:.0f} s "
                "for it: raise execution.walltime"
            )
    if (
        isinstance(execution.member, JobMember)
        and forecast is not None
        and forecast > execution.member.seconds
    ):
        yield (
            f"a forecast takes {forecast:.0f} s, and its job may take {execution.member.seconds} s: "
            "raise execution.member.walltime"
        )
