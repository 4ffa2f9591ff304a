"""Carry out tasks: do them, then say durably how they ended."""

from __future__ import annotations

import errno
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Final

from daflow.errors import DaflowError, GivenUp, MemberLost, ModelTimeout, OutputInvalid, PoolError, StoreError
from daflow.execution.lifetimes import time_for_another
from daflow.execution.tasks import analysis, member
from daflow.execution.tasks.workbench import Stopwatch, Workbench
from daflow.names import Phase, Status
from daflow.records import Outcome, Task

MEMBERS: Final = frozenset({Phase.PRIOR, Phase.FORECAST})
SLICES: Final = frozenset({Phase.SURVEY, Phase.UPDATE, Phase.SMOOTH})
TASKS: Final[Mapping[Phase, member.Doing]] = {
    Phase.COORDINATES: analysis.write_coordinates,
    Phase.TRUTH: member.observe_truth,
    Phase.PRIOR: member.draw,
    Phase.FORECAST: member.forecast,
    Phase.PREPARE: analysis.prepare,
    Phase.SURVEY: analysis.do_slice,
    Phase.CONCLUDE: analysis.conclude,
    Phase.UPDATE: analysis.do_slice,
    Phase.SMOOTH: analysis.do_slice,
}

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What the operating system says when it is the disk, not the member, that is at fault."""


LONGEST_SECONDS: Final = 2.0
"""After so long no other member of a group is begun: what is done becomes durable, the rest goes back."""


def carry_out(bench: Workbench, task: Task) -> Outcome:
    """Do a task and leave its receipt; whatever goes wrong becomes a status and a reason."""
    return _with_receipts(bench, [_attempt(bench, task, TASKS[task.phase])])[0]


def _nobody_asks(task: Task | None) -> None:
    """Take no notice."""


def carry_out_all(
    bench: Workbench,
    tasks: Sequence[Task],
    begin: Callable[[Task | None], None] = _nobody_asks,
    cores: int = 1,
) -> list[Outcome]:
    """Do tasks of one stage one after the other; their data become durable together, then their receipts.

    Parameters
    ----------
    bench
        What a worker has at hand.
    tasks
        At least one.
    begin
        Told of each task before it begins, and ``None`` when none of them alone is under way.
    cores
        How many processors these tasks own: so many slices are computed at a time.

    Returns
    -------
    The outcomes of the tasks that were done, at least one. The others were not begun, because those before
    took too long or the store was full, or are not kept: they may be sent again.
    """
    if tasks[0].phase not in SLICES:
        bench.idle_slabs.clear()  # a model may need the memory
    if len(tasks) == 1:
        begin(tasks[0])
        return [carry_out(bench, tasks[0])]
    if tasks[0].phase in SLICES:
        begin(None)
        attempts = analysis.do_slices(bench, tasks, cores=cores)
        return _kept(bench, [_outcome(bench, attempt) for attempt in attempts])
    ended: list[Outcome] = []
    try:
        with bench.store.together() as store:
            for outcome in _until_late(_attempts(bench.writing_to(store), tasks, begin), tasks[0].phase):
                ended.append(outcome)
                if outcome.status is Status.BLOCKED:
                    break
            begin(None)
            clock = time.perf_counter()
    except StoreError as error:
        return [_blocked(ended[0] if ended else Outcome(tasks[0], Status.BLOCKED), error)]
    share = (time.perf_counter() - clock) / len(ended)
    return _kept(bench, [_longer(outcome, share) for outcome in ended])


def _kept(bench: Workbench, ended: list[Outcome]) -> list[Outcome]:
    """Write the receipts of a group whose data are durable, but for what the store would not let be."""
    blocked = [outcome for outcome in ended if outcome.status is Status.BLOCKED]
    return _with_receipts(bench, [outcome for outcome in ended if outcome not in blocked]) + blocked


def _until_late(outcomes: Iterator[Outcome], phase: Phase) -> Iterator[Outcome]:
    """Yield outcomes, of members only until it is late, and none once the worker's own time is short."""
    start = time.perf_counter()
    for outcome in outcomes:
        yield outcome
        if (phase in MEMBERS and time.perf_counter() - start > LONGEST_SECONDS) or not time_for_another():
            return


def _attempts(
    bench: Workbench, tasks: Sequence[Task], begin: Callable[[Task | None], None]
) -> Iterator[Outcome]:
    for lot in _lots(bench, tasks):
        left: Mapping[Task, member.Doing] = {}
        if len(lot) > 1:
            begin(None)
            left = member.forecast_lot(bench, lot)
        for task in lot:
            begin(task)
            yield _attempt(bench, task, left.get(task, TASKS[task.phase]))


def _lots(bench: Workbench, tasks: Sequence[Task]) -> Iterator[Sequence[Task]]:
    """Return the tasks as they are done: several at once where the model can, and nobody times them."""
    size = getattr(bench.model, "together", 1)
    alone = bool(bench.store.layout.cycles) and not hasattr(bench.model, "advance_many")
    if tasks[0].phase is not Phase.FORECAST or bench.timeout is not None or alone:
        size = 1
    return (tasks[first : first + size] for first in range(0, len(tasks), size))


def _attempt(bench: Workbench, task: Task, do: member.Doing) -> Outcome:
    watch = Stopwatch()
    started, clock = time.time(), time.perf_counter()
    digest, error = "", None
    try:
        digest = do(bench, task, watch)
    except GivenUp:
        raise  # neither this nor what was done before it here is to last: no receipt, nothing told
    except (Exception, SystemExit) as raised:  # noqa: BLE001 - what a model raises is a fact about it
        error = raised
    seconds = time.perf_counter() - clock + watch.lent
    return _outcome(bench, analysis.Attempt(task, started, seconds, watch.figures, digest, error))


def _outcome(bench: Workbench, attempt: analysis.Attempt) -> Outcome:
    task, error = attempt.task, attempt.error
    status, reason = (Status.OK, "") if error is None else _verdict(error)
    if error is not None and not isinstance(error, DaflowError):
        _keep_traceback(bench, task, error)
    return Outcome(
        task,
        status,
        seconds=round(attempt.seconds, 6),
        host=_host(),
        reason=reason,
        started=attempt.started,
        key=bench.keys[task.phase, task.step],
        digest=attempt.digest,
        figures={name: _rounded(name, value) for name, value in attempt.figures.items()},
    )


def _rounded(name: str, value: float) -> float:
    """Return a figure as short as it may be told: clocks to microseconds, what has a unit to nine digits."""
    return round(value, 6) if name.endswith("_seconds") else float(f"{value:.9g}")


@cache
def _host() -> str:
    return socket.gethostname()


def _longer(outcome: Outcome, share: float) -> Outcome:
    """Return an outcome that has its share of making a group durable in its time."""
    figures = dict(outcome.figures)
    figures["write_seconds"] = round(figures.get("write_seconds", 0.0) + share, 6)
    return replace(outcome, seconds=round(outcome.seconds + share, 6), figures=figures)


def _with_receipts(bench: Workbench, outcomes: list[Outcome]) -> list[Outcome]:
    """Write the receipts of what ended; where they cannot be written, the run stops."""
    if not outcomes or outcomes[0].status is Status.BLOCKED:
        return outcomes
    try:
        bench.store.write_receipts(outcomes)
    except StoreError as error:
        return [_blocked(outcomes[0], error)]
    return outcomes


def _blocked(outcome: Outcome, error: StoreError) -> Outcome:
    return replace(outcome, status=Status.BLOCKED, reason=str(error))


ENDS: Final[tuple[tuple[type[BaseException], Status], ...]] = (
    # A worker that cannot run the model at all says nothing of the member.
    (StoreError, Status.BLOCKED),
    (PoolError, Status.BLOCKED),
    (OutputInvalid, Status.INVALID),
    (ModelTimeout, Status.TIMED_OUT),
    (MemberLost, Status.LOST),
    (DaflowError, Status.FAILED),
)
"""What each kind of error makes of an attempt; the first that it is of."""


def _verdict(error: BaseException) -> tuple[Status, str]:
    if isinstance(error, OSError) and error.errno in FULL:
        return Status.BLOCKED, str(error)
    for kind, status in ENDS:
        if isinstance(error, kind):
            return status, str(error)
    if isinstance(error, MemoryError):
        return Status.LOST, f"out of memory: {error}"
    return Status.FAILED, f"{type(error).__name__}: {error}"


def _keep_traceback(bench: Workbench, task: Task, error: BaseException) -> None:
    folder = member.log_folder(bench.folder, task)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "traceback.txt").write_text("".join(traceback.format_exception(error)))
    except OSError:
        # The disk is full or gone: the reason still travels in the outcome.
        return
