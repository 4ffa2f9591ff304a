"""What a driver that was killed leaves behind, found and cleared; only what is its own.

Workers of a local cluster end with their driver, and simulators with their worker, as a rule. What may stay:
a worker whose model holds Python's lock, a program that a user's function started by itself, jobs in a queue,
directories of attempts, files half written. Processes of a driver carry a mark in their environment
(``DAFLOW_RUN``) that says of which run and which driver they are; a process is ended only if it is this
user's, of this run, and its driver is gone. Those of a queue's jobs are left to the queue.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil

from daflow.assemble.folder import RunFolder
from daflow.config.execution import AddressExecution, ExecutionSettings
from daflow.config.external_models import Keep
from daflow.errors import PoolError
from daflow.execution.queues.batch_systems import batch_system, cancel_those_left
from daflow.execution.queues.registry import registered
from daflow.models.attempt_directory import stays
from daflow.names import TRUTH, Phase, Status
from daflow.ports import Store
from daflow.records import Task
from daflow.runs.lease import BORN_AT, Holder
from daflow.storage.files import PARTIAL

MARK: Final = "DAFLOW_RUN"
"""The variable by which processes of a driver are known."""
JOB_END: Final = "DAFLOW_JOB_END"
"""When the queue ends the job that a process is in, if it is in one."""
PATIENCE_SECONDS = 5.0
"""How long killed processes may take to go."""
OLD_SECONDS = 3600.0
"""A branch that has been half made for so long is not being made any more."""
_ATTEMPT: Final = re.compile(r"member=(-?\d+)-(\d+)-.+")


@dataclass(frozen=True)
class Cleared:
    """What was left behind and is gone."""

    processes: tuple[str, ...] = ()
    """Their number and their program."""
    jobs: tuple[str, ...] = ()
    """Their ids."""
    folders: int = 0
    """Directories of attempts whose worker died, workers' scratch, branches half made."""
    left: tuple[str, ...] = ()
    """What could not be cleared, and why."""

    def __bool__(self) -> bool:
        return bool(self.processes or self.jobs or self.folders or self.left)

    def told(self) -> str:
        """Return it in a line."""
        parts = [
            _counted(len(self.processes), "orphaned process", "es", ", ".join(self.processes)),
            _counted(len(self.jobs), "job", "s", ", ".join(self.jobs)),
            _counted(self.folders, "folder", "s", "of attempts and workers that died"),
        ]
        told = "cleared " + ", ".join(part for part in parts if part) if any(parts) else ""
        return "; ".join(part for part in (told, *self.left) if part)

    def and_folders(self, n_more: int) -> Cleared:
        """Return it with so many more folders."""
        return replace(self, folders=self.folders + n_more)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


def _counted(n: int, name: str, plural: str, which: str) -> str:
    return f"{n} {name}{'' if n == 1 else plural} ({which})" if n else ""


def name_of(folder: Path) -> str:
    """Return what a run is called in marks: the same name for the same folder."""
    return hashlib.blake2b(str(folder.resolve()).encode(), digest_size=10).hexdigest()


def mark_of(folder: Path, driver: Holder) -> str:
    """Return the mark of a driver's processes: run, host, process, when it started, when its job ends."""
    started = driver.born or repr(driver.process_started)
    return f"{name_of(folder)} {driver.host} {driver.pid} {started} {os.environ.get(JOB_END, '-')}"


@contextmanager
def marked(folder: Path) -> Iterator[None]:
    """Let what this process starts carry the mark of a run while the context is open."""
    before = os.environ.get(MARK)
    os.environ[MARK] = mark_of(folder, Holder.this_process())
    try:
        yield
    finally:
        os.environ.pop(MARK, None)
        if before is not None:
            os.environ[MARK] = before


def orphans_of(folder: Path) -> list[psutil.Process]:
    """Return the processes on this host that are of this run and whose driver is gone."""
    run, found = name_of(folder), []
    for process in psutil.process_iter():
        # Those of others cannot be read; one may end while it is looked at.
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.uids().real == os.getuid():
                environment = process.environ()
                if is_orphan(run, environment.get(MARK, ""), environment.get(JOB_END, "-")):
                    found.append(process)
    return found


def is_orphan(run: str, mark: str, job_end: str) -> bool:
    """Say whether a process with this mark and this end of its job is one that a driver left behind.

    Law: it is not where the mark is another run's, another host's or unreadable, where the driver lives, or
    where the process is in a job of its own.
    """
    parts = mark.split()
    if len(parts) != 5 or parts[0] != run or parts[1] != socket.gethostname() or parts[4] != job_end:
        return False
    try:
        pid = int(parts[2])
        if BORN_AT in parts[3]:
            driver = Holder(parts[1], pid, 0.0, 0.0, 0.0, born=parts[3])
        else:
            driver = Holder(parts[1], pid, float(parts[3]), 0.0, 0.0)
    except ValueError:
        return False
    return not driver.alive()


def strays_of(folder: Path) -> list[psutil.Process]:
    """Return the processes that came of this process's drive of a run and are nobody's child in it any more.

    Whoever calls this has let its workers go: what is left is what they had started.
    """
    mark = mark_of(folder, Holder.this_process())
    mine = {process.pid for process in psutil.Process().children(recursive=True)} | {os.getpid()}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid not in mine and process.uids().real == os.getuid():
                environment = process.environ()
                if environment.get(MARK) == mark and environment.get(JOB_END, "-") == mark.split()[-1]:
                    found.append(process)
    return found


def end_processes(
    folder: Path, which: Callable[[Path], list[psutil.Process]] = orphans_of
) -> tuple[list[str], list[str]]:
    """End the orphans of a run, or its strays; return those that went, and those that did not."""
    gone: dict[int, str] = {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    # One may start another while it is looked for.
    while (found := which(folder)) and time.monotonic() < deadline:
        for process in found:
            with suppress(psutil.Error):
                gone.setdefault(process.pid, f"{process.pid} {process.name()}")
                process.kill()
        psutil.wait_procs(found, timeout=0.2)
    stay = {process.pid for process in found if _alive(process)}
    return [name for pid, name in gone.items() if pid not in stay], [
        name for pid, name in gone.items() if pid in stay
    ]


def _alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def end_jobs(folder: Path) -> tuple[list[str], list[str]]:
    """Cancel the workers' jobs that the run has in queues; return their ids, and what went wrong.

    Jobs of members end with a receipt, and a driver's successor is one that is wanted: neither is touched.
    """
    jobs = [job for job in registered(folder) if job.kind == "worker"]
    cancelled: list[str] = []
    wrong: list[str] = []
    for system in dict.fromkeys(job.system for job in jobs):
        try:
            ids = [job.id for job in jobs if job.system == system]
            cancelled += cancel_those_left(batch_system(system), ids)
        except PoolError as error:
            wrong.append(f"jobs in the queue could not be looked for: {error.what}")
    return cancelled, wrong


def clear_attempts(run: RunFolder, store: Store) -> int:
    """Remove directories of attempts whose worker died: what it would have kept has a receipt.

    Where an attempt came through a second time, the first one's directory is of no interest either.

    Cost: a look at each name in ``work``; receipts are read of steps that have such directories.
    """
    n_cleared = 0
    keep: Keep = getattr(run.workflow.model, "keep", "failed")
    for place in (run.folder / "work").glob("step=*"):
        step = int(place.name.partition("=")[2])
        attempts = {path: match for path in place.iterdir() if (match := _ATTEMPT.fullmatch(path.name))}
        if not attempts:
            continue
        wanted = {path: (int(match[1]), int(match[2])) for path, match in attempts.items()}
        ended = dict(_ended(store, step, frozenset(wanted.values())))
        for path, attempt in wanted.items():
            status = ended.get(attempt)
            if status is None or not stays(keep, success=status is Status.OK):
                shutil.rmtree(path, ignore_errors=True)
                n_cleared += not path.exists()
    return n_cleared


def workers_live_on(execution: ExecutionSettings) -> bool:
    """Say whether workers go on when their driver has ended: those of a scheduler that it did not start do.

    What they are at must not be cleared away: its end would count against the member.
    """
    return isinstance(execution, AddressExecution)


def _ended(
    store: Store, step: int, wanted: frozenset[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], Status]]:
    """Yield how those of these members' attempts ended that left a receipt; the truth's member is -1."""

    def of_no_interest(task: Task) -> bool:
        return (task.index if task.phase is Phase.FORECAST else TRUTH, task.attempt) not in wanted

    for outcome in store.receipts_of(Phase.FORECAST, step, of_no_interest):
        yield (outcome.task.index, outcome.task.attempt), outcome.status
    for outcome in store.receipts_of(Phase.TRUTH, 0, of_no_interest):
        yield (TRUTH, outcome.task.attempt), outcome.status


def clear_scratch(folder: Path) -> int:
    """Remove what workers and makers of branches left that are gone; return how many folders that were."""
    scratch = folder / "work" / "dask"
    old = time.time() - OLD_SECONDS
    left = [scratch] if any(scratch.glob("*/worker-*")) else []
    left += [path for path in (folder / "branches").glob(f".*{PARTIAL}") if _older(path, old)]
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    return sum(not path.exists() for path in left)


def _older(path: Path, then: float) -> bool:
    with suppress(OSError):
        return path.stat().st_mtime < then
    return False


def clear(folder: Path) -> Cleared:
    """Clear what earlier drivers of a run left behind: processes, jobs, scratch.

    Whoever calls this holds the run's lease, and has not called workers yet.
    """
    gone, stay = end_processes(folder)
    jobs, wrong = end_jobs(folder)
    n_folders = clear_scratch(folder)
    return Cleared(tuple(gone), tuple(jobs), n_folders, tuple(_told(stay)) + tuple(wrong))


def _told(stay: Iterable[str]) -> Iterator[str]:
    for name in stay:
        yield f"process {name} does not end: it hangs in the system"
