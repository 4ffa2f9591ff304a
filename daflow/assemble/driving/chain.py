"""Drivers that are jobs of a queue, one after the other, until the run is done.

A queue ends every job, a driver's as well. So each generation submits its successor first, to begin when it
has ended itself, however it ends; lays the run down before its own time is over; and cancels the successor
where there is nothing left to go on with. ``work/chain.jsonl`` in the run's folder has a line a generation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from daflow.assemble.driving.launch import Watch, drive
from daflow.assemble.driving.sessions import JOB_IDS, Session
from daflow.assemble.folder import RunFolder
from daflow.errors import ConfigError, InputError, LeaseError, PoolError, RunError, StoreError
from daflow.execution.queues.batch_systems import batch_system
from daflow.execution.queues.registry import register, registered
from daflow.names import Status
from daflow.runs import facts
from daflow.runs.decide import Stop
from daflow.runs.facts import Fact
from daflow.runs.halting import WALLTIME
from daflow.runs.journal import Journal, read_journal
from daflow.runs.lease import PATIENT_SECONDS, Lease
from daflow.runs.orders import NONE, Orders
from daflow.storage.files import make_folder, store_errors

CHAIN: Final = Path("work") / "chain.jsonl"
SCRIPT: Final = "driver.sh"
"""What each generation is submitted by, in the run's folder."""
MOST_IDLE: Final = 3
"""So many generations in a row may bring nothing new; then the chain ends."""
STALLED: Final = "stalled"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Generation:
    """A driver of a chain, as it began."""

    job: str
    successor: str
    """The job that goes on; empty: the queue refused it."""
    done: int
    """How much of the run was done then: tasks that ended well, and stages that were settled."""


def n_done(known: Sequence[Fact]) -> int:
    """Return how much of a run is done, by its journal; it never gets less."""
    return sum(f["fact"] == "closed" or (f["fact"] == "ended" and f["status"] == Status.OK) for f in known)


def n_idle(history: Sequence[Generation], done: int) -> int:
    """Return how many generations in a row, up to the last, brought nothing new.

    Laws: it is none after one that did, and one more after each that did not; what was before a generation
    that brought something does not count.
    """
    idle = 0
    for generation in reversed(history):
        if generation.done != done:
            break
        idle += 1
    return idle


def goes_on(stop: Stop | None) -> bool:
    """Say whether a successor is to go on after a driver that ended like this; ``None``: it broke off.

    A driver whose time was over, or that was ended from outside, or that lost its disk or its workers, is
    followed: another one may fare better, and idle ones are counted. What the run itself came to is final: a
    successor would come to the same. So is a stop that somebody asked for.
    """
    return stop is None or stop.kind == WALLTIME


def successor_of(history: Sequence[Generation], job: str) -> str:
    """Return the successor that a job has already: a queue may begin a job anew whose node failed."""
    if not job:
        return ""
    return next((each.successor for each in reversed(history) if each.job == job), "")


def followed_by(history: Sequence[Generation], job: str) -> str:
    """Return the job that this one goes on after, itself if it is begun anew; empty: it begins the chain."""
    return next((each.job for each in reversed(history) if job in (each.job, each.successor)), "")


def read_chain(folder: Path) -> list[Generation]:
    """Return the generations of a run's chain so far; a torn line is none."""
    path = folder / CHAIN
    if not path.exists():
        return []
    found = []
    with store_errors("read", path):
        lines = path.read_text().splitlines()
    for line in lines:
        with suppress(ValueError, TypeError):
            found.append(Generation(**json.loads(line)))
    return found


def _note(folder: Path, generation: Generation) -> None:
    path = folder / CHAIN
    make_folder(path.parent)
    with store_errors("write", path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(generation)) + "\n")


def submit_driver(folder: Path, system: str, after: str | None = None) -> str:
    """Submit a driver of the run as a job, and register it; return its id.

    Raises
    ------
    daflow.errors.PoolError
        The queue refuses.
    daflow.errors.StoreError
        The job cannot be registered.
    """
    job = batch_system(system).submit(folder / SCRIPT, after=after)
    try:
        register(folder, job, system, "driver", SCRIPT)
    except StoreError:
        # What is not in the registry would be forgotten.
        batch_system(system).cancel([job])
        raise
    return job


def waiting_drivers(folder: Path, but: str = "") -> list[str]:
    """Return the jobs that are to drive a run and have not ended.

    Raises
    ------
    daflow.errors.PoolError
        The queue does not answer.
    """
    jobs = [job for job in registered(folder) if job.kind == "driver" and job.id != but]
    found: list[str] = []
    for system in dict.fromkeys(job.system for job in jobs):
        states = batch_system(system).states([job.id for job in jobs if job.system == system])
        found += [job for job, state in states.items() if not state.gone]
    return found


def drive_as_job(run: RunFolder, watch: Watch, session: Session, orders: Orders = NONE) -> Stop:
    """Drive a run as a job that has no successor."""
    return drive(run, watch, orders=orders, session=_patient(session))


def drive_generation(
    run: RunFolder, watch: Watch, session: Session, tell: Tell, orders: Orders = NONE
) -> Stop:
    """Drive a run as one of a chain of jobs.

    Parameters
    ----------
    run
        The run.
    watch
        As `daflow.assemble.driving.launch.drive` has it.
    session
        Names the job and its queue, and when its time is over.
    tell
        Called with what happens to the chain.
    orders
        What the operator asks for: done by the first of the chain, and in the journal for those that follow.

    Raises
    ------
    daflow.errors.ConfigError
        The queue does not tell the job its id.
    daflow.errors.DaflowError, KeyboardInterrupt
        As `daflow.assemble.driving.launch.drive`.
    """
    if not session.job:
        raise ConfigError(
            "the queue does not tell this job its id: a successor could not wait for its end",
            got=f"none of {', '.join(JOB_IDS.get(session.system, ()))} is set",
            do="submit the driver without --chain",
        )
    history, done = read_chain(run.folder), n_done(read_journal(run.journal))
    if n_idle(history, done) >= MOST_IDLE:
        return _stalled(run, history)
    successor = successor_of(history, session.job) or _submitted(run, session, tell)
    follows = followed_by(history, session.job)
    _note(run.folder, Generation(session.job, successor, done))
    stop: Stop | None = None
    final = False
    try:
        following = replace(_patient(session), follows=follows)
        stop = drive(run, watch, orders=NONE if follows else orders, session=following)
    except (LeaseError, InputError):
        # Somebody else drives it, or it cannot be driven as it is.
        final = True
        raise
    except RunError as error:
        tell(f"{error.what}; the next generation tries again")
        raise
    finally:
        if final or not goes_on(stop):
            _cancel(session.system, successor, tell)
    if goes_on(stop):
        successor = successor or _submitted(run, session, tell)
        tell(f"laid down before its walltime; job {successor} goes on" if successor else "nobody goes on")
    return stop


def _patient(session: Session) -> Session:
    """Let a driver wait for a lease that the one before it could not give back."""
    return replace(session, patience=PATIENT_SECONDS)


def _submitted(run: RunFolder, session: Session, tell: Tell) -> str:
    try:
        successor = submit_driver(run.folder, session.system, session.job or None)
    except PoolError as error:
        tell(f"the successor could not be submitted: {error.what}: {error.got}")
        return ""
    tell(f"job {successor} is to go on after this one")
    return successor


def _cancel(system: str, successor: str, tell: Tell) -> None:
    if not successor:
        return
    try:
        batch_system(system).cancel([successor])
        tell(f"job {successor}, which was to go on, is cancelled")
    except PoolError as error:
        tell(f"job {successor}, which was to go on, could not be cancelled: {error.what}")


def _stalled(run: RunFolder, history: Sequence[Generation]) -> Stop:
    jobs = ", ".join(each.job for each in history[-MOST_IDLE:])
    reason = (
        f"{MOST_IDLE} drivers in a row (jobs {jobs}) brought nothing new: their time was over, or they broke "
        "off, before any member was done; driver.log in the run's folder says which"
    )
    stop = Stop(STALLED, reason, resumable=True)
    with Lease(run.lease, patience=PATIENT_SECONDS), Journal(run.journal) as journal:
        journal.append(facts.stopped(stop.kind, stop.reason, resumable=True))
    return stop
