"""Laying down a run that a driver somewhere has, and what is done where that driver does not answer."""

from __future__ import annotations

import getpass
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal

import psutil

from daflow.assemble.branching import store_for
from daflow.assemble.driving.orphans import Cleared, clear, clear_attempts, workers_live_on
from daflow.assemble.folder import RunFolder
from daflow.config.member_jobs import JobMember
from daflow.errors import DaflowError, LeaseError, PoolError
from daflow.execution.member_jobs.desk import jobs_left
from daflow.execution.queues.batch_systems import batch_system, cancel_those_left
from daflow.execution.queues.registry import registered
from daflow.runs.halting import Request, ask, unask
from daflow.runs.journal import last_fact
from daflow.runs.lease import Holder, Lease, read_holder

POLL_SECONDS = 0.1
"""How often it is looked whether the driver is gone."""
KILL_SECONDS = 30.0
"""How long a driver that is asked to stop now may take before it is killed."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stopped:
    """What was found, and what became of it."""

    found: Literal["driven", "stale", "nobody"]
    """A driver at work; the lease of one that died; nobody."""
    driver: str
    """Who that was."""
    finished: bool
    """Whether the run had come to its end: there is nothing to go on with."""
    killed: bool
    """Whether the driver had to be killed."""
    successors: tuple[str, ...]
    """Jobs that would have gone on with the run, and are cancelled."""
    cleared: Cleared
    """What a dead driver had left behind."""
    seconds: float = 0.0
    """How long it took to lay the run down."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


def stop_run(run: RunFolder, tell: Tell, *, now: bool) -> Stopped:
    """Lay a run down; return once nobody drives it.

    Parameters
    ----------
    run
        The run.
    tell
        Called with what is found and waited for.
    now
        Whether members under way are ended; else they are waited for.

    Raises
    ------
    daflow.errors.LeaseError
        A driver on another host does not answer, and cannot be reached from here.
    daflow.errors.StoreError
        The request cannot be written.
    """
    began = time.monotonic()
    holder = read_holder(run.lease)
    if holder is None or not holder.alive():
        if holder is not None:
            tell(f"the lease is stale: {holder.told()}, since {holder.told_since()}, is gone")
        successors = _end_successors(run, tell)
        cleared = _clear_up(run, tell, now=now)
        found: Literal["stale", "nobody"] = "nobody" if holder is None else "stale"
        driver = "" if holder is None else holder.told()
        return Stopped(found, driver, _finished(run), killed=False, successors=successors, cleared=cleared)
    how = "now" if now else "once what is under way has come home"
    tell(f"{holder.told()}, since {holder.told_since()}: asked to lay the run down {how}")
    ask(run.folder, Request.to(holder, f"{getpass.getuser()}@{socket.gethostname()}", now=now))
    if now and holder.here:
        # It looks for requests, too; a signal reaches it where it waits for something else.
        _signal(holder, signal.SIGTERM)
    killed = False
    while _holds(run, holder):
        time.sleep(POLL_SECONDS)
        if now and not killed and time.monotonic() - began > KILL_SECONDS:
            _kill(holder)
            killed = True
    successors = _end_successors(run, tell, "" if killed else holder.job)
    cleared = _clear_up(run, tell, now=now) if killed else Cleared()
    unask(run.folder)
    seconds = time.monotonic() - began
    return Stopped("driven", holder.told(), _finished(run), killed, successors, cleared, seconds)


def _finished(run: RunFolder) -> bool:
    last = last_fact(run.journal) if run.journal.exists() else None
    return last is not None and last.get("kind") == "finished"


def _holds(run: RunFolder, holder: Holder) -> bool:
    now = read_holder(run.lease)
    return holder.same_as(now) and now is not None and now.alive()


def _signal(holder: Holder, number: int) -> None:
    """Send a signal to a driver on this host; to no later process of its number."""
    with suppress(psutil.Error):
        process = psutil.Process(holder.pid)
        if holder.alive():
            process.send_signal(number)


def _kill(holder: Holder) -> None:
    if holder.here:
        _signal(holder, signal.SIGKILL)
    elif holder.job and holder.system:
        batch_system(holder.system).cancel([holder.job])
    else:
        raise LeaseError(
            "the driver does not answer",
            got=f"{holder.told()}, asked {KILL_SECONDS:.0f} s ago",
            do=f"look at that process on {holder.host}: `daflow stop --now` there ends it. A disk that two "
            "hosts share may show the request late: it stands",
        )


def _end_successors(run: RunFolder, tell: Tell, but: str = "") -> tuple[str, ...]:
    """Cancel the jobs that would go on with the run; ``but`` is one that is about to end by itself."""
    jobs = [job for job in registered(run.folder) if job.kind == "driver" and job.id != but]
    ended: list[str] = []
    for system in dict.fromkeys(job.system for job in jobs):
        try:
            ids = [job.id for job in jobs if job.system == system]
            ended += cancel_those_left(batch_system(system), ids)
        except PoolError as error:
            tell(f"jobs that would go on with the run could not be looked for: {error.what}")
    return tuple(ended)


def _clear_up(run: RunFolder, tell: Tell, *, now: bool) -> Cleared:
    """Clear what a dead driver left, unless another one has the run by now."""
    try:
        with Lease(run.lease):
            cleared = clear(run.folder)
            try:
                at_work = _members_at_work(run, tell, now=now)
            except PoolError as error:
                tell(f"jobs of members could not be looked for: {error.what}")
                return cleared
            with suppress(DaflowError, OSError):
                if not (at_work or workers_live_on(run.workflow.execution)):
                    cleared = cleared.and_folders(clear_attempts(run, store_for(run)))
            return cleared
    except LeaseError:
        return Cleared()


def _members_at_work(run: RunFolder, tell: Tell, *, now: bool) -> bool:
    """Cancel the jobs of members that are left, unless they are to be kept; return whether there were any."""
    member = run.workflow.execution.member
    keep = isinstance(member, JobMember) and member.when_stopped == "keep" and not now
    found = False
    for system in {entry.system for entry in registered(run.folder) if entry.kind == "member"}:
        queue = batch_system(system)
        alive = [element.id for element in jobs_left(run.folder, queue)]
        if alive and not keep:
            queue.cancel(alive)
        if alive:
            how = "go on; `daflow resume` takes in what they do" if keep else "are cancelled"
            tell(f"{len(alive)} jobs of members {how}")
        found = found or bool(alive)
    return found
