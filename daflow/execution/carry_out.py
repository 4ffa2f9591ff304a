"""Carry out a task: do it, then say durably how it ended."""

from __future__ import annotations

import errno
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace

from daflow.errors import DaflowError, MemberLost, OutputInvalid, StoreError
from daflow.execution import analysis, member
from daflow.execution.workbench import Stopwatch, Workbench
from daflow.names import Phase, Status
from daflow.records import Outcome, Task

TASKS: Mapping[Phase, Callable[[Workbench, Task, Stopwatch], str]] = {
    Phase.COORDINATES: analysis.write_coordinates,
    Phase.TRUTH: member.observe_truth,
    Phase.PRIOR: member.draw,
    Phase.FORECAST: member.forecast,
    Phase.PREPARE: analysis.prepare,
    Phase.UPDATE: analysis.update,
}

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What the operating system says when it is the disk, not the member, that is at fault."""


def carry_out(bench: Workbench, task: Task) -> Outcome:
    """Do a task and leave its receipt; whatever goes wrong becomes a status and a reason."""
    watch = Stopwatch()
    started, clock = time.time(), time.perf_counter()
    status, reason, digest = Status.OK, "", ""
    try:
        digest = TASKS[task.phase](bench, task, watch)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - what a model raises is a fact about it
        status, reason = _verdict(error)
        if not isinstance(error, DaflowError):
            _keep_traceback(bench, task)
    outcome = Outcome(
        task,
        status,
        seconds=round(time.perf_counter() - clock, 6),
        host=socket.gethostname(),
        reason=reason,
        started=started,
        key=bench.keys[task.phase, task.step],
        digest=digest,
        figures={name: round(value, 6) for name, value in watch.figures.items()},
    )
    if status is Status.BLOCKED:
        return outcome
    try:
        bench.store.write_receipt(outcome)
    except StoreError as error:
        return replace(outcome, status=Status.BLOCKED, reason=str(error))
    return outcome


def _verdict(error: BaseException) -> tuple[Status, str]:
    if isinstance(error, StoreError) or (isinstance(error, OSError) and error.errno in FULL):
        return Status.BLOCKED, str(error)
    if isinstance(error, OutputInvalid):
        return Status.INVALID, str(error)
    if isinstance(error, MemberLost):
        return Status.LOST, str(error)
    if isinstance(error, MemoryError):
        return Status.LOST, f"out of memory: {error}"
    if isinstance(error, DaflowError):
        return Status.FAILED, str(error)
    return Status.FAILED, f"{type(error).__name__}: {error}"


def _keep_traceback(bench: Workbench, task: Task) -> None:
    folder = member.log_folder(bench.folder, task)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "traceback.txt").write_text(traceback.format_exc())
    except OSError:
        # The disk is full or gone: the reason still travels in the outcome.
        return
