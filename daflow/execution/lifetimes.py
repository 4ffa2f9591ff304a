"""How long a worker has left: its job ends at a time that the job's script has told it.

Every job script that daflow writes exports ``DAFLOW_JOB_END``; other scripts may. The clock is read once:
from then on the monotonic clock counts, which does not jump.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Final

import psutil

JOB_END: Final = "DAFLOW_JOB_END"
"""The environment variable with the time at which the queue ends this job, seconds since the epoch."""
MARGIN_SECONDS: Final = 5.0
"""What a worker keeps in hand: queues are not on the second, and receipts take a moment."""
MARGIN_SHARE: Final = 0.1
"""Tasks may take so much longer than the longest of late."""
STARTING_SECONDS: Final = 15.0
"""What goes of a worker's life before it can take its first task."""
FRESH_SECONDS: Final = 60.0
"""A worker process that its parent started so soon is its job's first."""


@dataclass(frozen=True, slots=True)
class Life:
    """What is left of a worker, and what there was to begin with, in seconds."""

    left: float
    whole: float


def how_many_fit(left: float, seconds: float | None, n_tasks: int) -> int:
    """Return how many tasks a worker with so much time left may begin, one after the other.

    Laws: between none and all; all where nobody knows what one takes; more time never makes it fewer, longer
    tasks never more; what is begun is over, with a margin, before the time is.

    Parameters
    ----------
    left
        What the worker has left, seconds.
    seconds
        What one task takes at the upper end; ``None``: nobody knows.
    n_tasks
        How many there are.
    """
    if seconds is None:
        return n_tasks
    room, each = left - MARGIN_SECONDS, max(seconds, 0.0) * (1 + MARGIN_SHARE)
    if room < each or room <= 0:
        return 0
    return n_tasks if n_tasks * each <= room else min(int(room / each), n_tasks)


def never_fits(whole: float, seconds: float) -> bool:
    """Say whether a task is too long even for a worker that has just begun its life."""
    return how_many_fit(whole - STARTING_SECONDS, seconds, 1) == 0


@dataclass(frozen=True, slots=True)
class _Ends:
    """When this process's job ends and when it began, by the monotonic clock."""

    end: float
    began: float


@cache
def _started() -> float:
    """Return when this process started, by the monotonic clock."""
    return time.monotonic() - (time.time() - psutil.Process().create_time())


@cache
def _job() -> _Ends | None:
    return job_of(os.environ)


def job_of(environment: Mapping[str, str]) -> _Ends | None:
    """Return when the job of this process ends; ``None``: nobody has said so.

    It began when this process was started, or when its parent was: a nanny starts a worker more than once.
    """
    now, clock = time.monotonic(), time.time()
    try:
        end = now + float(environment[JOB_END]) - clock
    except (KeyError, ValueError):
        return None
    began = _started()
    with suppress(psutil.Error):
        parent = now + psutil.Process(os.getppid()).create_time() - clock
        began = parent if began - parent > FRESH_SECONDS else began
    return _Ends(end, began)


def life(lifetime: float | None = None) -> Life | None:
    """Return what this worker has left; ``None``: there is no end.

    Parameters
    ----------
    lifetime
        Seconds from its start after which the worker goes by itself (``dask worker --lifetime``).
    """
    now, job, whole = time.monotonic(), _job(), []
    left = []
    if job is not None:
        left.append(job.end - now)
        whole.append(job.end - job.began)
    if lifetime:
        left.append(_started() + lifetime - now)
        whole.append(lifetime)
    return Life(min(left), min(whole)) if left else None


_term: ContextVar[tuple[float, float] | None] = ContextVar("_term", default=None)


@contextmanager
def term(left: float | None, seconds: float | None) -> Iterator[None]:
    """Let what is done in this context know that it has so much time left, for tasks that take so long."""
    given = None if left is None or seconds is None else (time.monotonic() + left, seconds)
    token = _term.set(given)
    try:
        yield
    finally:
        _term.reset(token)


def time_for_another() -> bool:
    """Say whether there is time to begin another task of the group that is under way here."""
    given = _term.get()
    return given is None or how_many_fit(given[0] - time.monotonic(), given[1], 1) > 0
