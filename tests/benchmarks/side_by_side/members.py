"""What a member costs beyond its model: sent, stored, journalled."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from side_by_side import bare_pool
from side_by_side.contest import Aim, Case, Contender, cpu_of_the_family
from side_by_side.runs import FROM_PARAMETERS, Stages, made, workers

from daflow.names import Phase

POOL = "ProcessPool that writes the same chunks"
ONE_A_TASK, GROUPED = "daflow, one member a task", "daflow, members grouped"
WORKERS: Final = 2
N_STATE, N_OBS = 1_000, 100
CHUNK_OF_TASKS = 25
_numbers = count()

GROUPS: Mapping[str, Mapping[str, Any]] = {ONE_A_TASK: {"group": 1}, GROUPED: {"group": "auto"}}
"""Contender -> what it sets in the section ``execution``."""


def _processes() -> Executor:
    return ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn"))


def _pool(place: Path, n_members: int, seconds: float, *, small: bool) -> Contender:
    folder = place / "pool"
    bare_pool.lay_out(folder, n_members, N_STATE)
    work = partial(bare_pool.forecast, folder, seconds, N_STATE // N_OBS)

    def run() -> dict[str, float]:
        out = place / f"predicted-{next(_numbers)}"
        out.mkdir()
        with ThreadPoolExecutor(WORKERS) if small else _processes() as pool:
            list(pool.map(abs, range(2 * WORKERS)))  # the processes are there
            wall, cpu = time.perf_counter(), cpu_of_the_family()
            list(pool.map(partial(work, out), range(n_members), chunksize=CHUNK_OF_TASKS))
            return _told(time.perf_counter() - wall, cpu_of_the_family() - cpu, n_members, seconds)

    return Contender(POOL, run, note=f"{CHUNK_OF_TASKS} members a task, each file synced")


def _run(
    name: str, place: Path, n_members: int, seconds: float, *, small: bool, settings: Mapping[str, Any]
) -> Contender:
    def run() -> dict[str, float]:
        stages = Stages((Phase.FORECAST, 0))
        with workers(small=small) as execution:
            folder = made(
                place / "daflow",
                n_members=n_members,
                n_state=N_STATE,
                n_obs=N_OBS,
                seconds=seconds,
                predicted=FROM_PARAMETERS,
                execution=dict(execution) | dict(settings),
            )
            stages.drive(folder)
        took = stages.between((Phase.PRIOR, 0), (Phase.FORECAST, 0))
        return _told(took["wall"], took["cpu"], n_members, seconds)

    return Contender(name, run, after=lambda: _aside(place / "daflow"), note="the stage of forecasts alone")


def _aside(folder: Path) -> None:
    """Put a run where it is in nobody's way; ext4 makes files slowly for minutes after many were deleted."""
    folder.rename(folder.with_name(f"{folder.name}-{next(_numbers)}"))


def _told(wall: float, cpu: float, n_members: int, seconds: float) -> dict[str, float]:
    return {
        "wall": wall,
        "cpu": cpu,
        "cpu_ms": 1e3 * cpu / n_members,
        "efficiency": n_members * seconds / (WORKERS * wall),
    }


def of_a_model(place: Path, n_members: int, seconds: float, *, small: bool) -> Sequence[Contender]:
    """Return the bare pool and daflow."""
    return [
        _pool(place, n_members, seconds, small=small),
        *(
            _run(name, place, n_members, seconds, small=small, settings=settings)
            for name, settings in GROUPS.items()
        ),
    ]


def of_more_members(place: Path, sizes: Sequence[int], *, small: bool) -> Sequence[Contender]:
    """Return the same run with more and more members; what a whole step costs a member."""
    return [_step(place, n_members, small=small) for n_members in sizes]


def _step(place: Path, n_members: int, *, small: bool) -> Contender:
    def run() -> dict[str, float]:
        stages = Stages((Phase.UPDATE, 0))
        with workers(small=small) as execution:
            folder = made(place / "daflow", n_members=n_members, n_state=N_STATE, execution=execution)
            stages.drive(folder)
        took = stages.between((Phase.PRIOR, 0), (Phase.UPDATE, 0))
        return _told(took["wall"], took["cpu"], n_members, 0.0)

    return Contender(_many(n_members), run, after=lambda: _aside(place / "daflow"))


def _many(n_members: int) -> str:
    return f"daflow, {n_members:,} members"


SIZES = (100, 1_000, 10_000)
SMALL = {"n_members": 4, "small": True}
BARE = "a bare pool of 2 processes; for a model that takes time, 2 processors at full use"
CASES = (
    Case(
        "members-0ms",
        "{n_members:,} members of a model of 0 ms",
        of_a_model,
        {"n_members": 1_000, "seconds": 0.0, "small": False},
        SMALL | {"seconds": 0.0},
        (
            Aim(GROUPED, 1.5, (POOL,)),
            Aim(ONE_A_TASK, 5.0, figure="cpu_ms", unit="ms of CPU a member"),
        ),
        BARE,
    ),
    Case(
        "members-10ms",
        "{n_members:,} members of a model of 10 ms",
        of_a_model,
        {"n_members": 1_000, "seconds": 0.01, "small": False},
        SMALL | {"seconds": 0.001},
        (
            Aim(GROUPED, 0.9, figure="efficiency", sense="at least", unit="of 2 workers"),
            Aim(ONE_A_TASK, 0.8, figure="efficiency", sense="at least", unit="of 2 workers"),
            Aim(POOL, 0.0, figure="efficiency", sense="beside", unit="of 2 workers"),
        ),
        BARE,
    ),
    Case(
        "members-many",
        "a step of 100 to 10,000 members, a member's share",
        of_more_members,
        {"sizes": SIZES, "small": False},
        {"sizes": (3, 4), "small": True},
        (Aim(_many(SIZES[-1]), 1.15, (_many(SIZES[1]),), "cpu_ms"),),
        "linear: a member costs the same however many there are",
        rounds=1,
    ),
)
