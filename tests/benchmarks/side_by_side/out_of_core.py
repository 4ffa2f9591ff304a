"""An update from disk to disk, larger than memory wants to be, beside the disk itself."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from side_by_side.contest import Aim, Case, Contender
from side_by_side.raw_disk import copy_by_threads, forget, give_back, write_files
from side_by_side.runs import Stages, made, workers

from daflow.assemble.driving.launch import _ready_store
from daflow.assemble.sections.build import bench_of
from daflow.execution.tasks.carry_out import carry_out, carry_out_all
from daflow.execution.tasks.workbench import Workbench
from daflow.names import Phase, Status
from daflow.records import Task

RAW = "raw direct read and write"
CORES = (1, 2)
"""That the one worker owns: so many slices are computed at a time, while others are read and written."""
GROUP = 8
"""Slices that become a task's together, as in a run."""
RUN_OURS = "daflow run, 2 workers"
PIECE = 2**20
WORKERS = 2


def _filled(place: Path, n_state: int, n_members: int, dtype: str) -> Workbench:
    """Return the workbench of a run that has come to its first update."""
    run = made(place, n_state=n_state, n_members=n_members, storage={"dtype": dtype})
    store = _ready_store(run)
    bench = bench_of(run.workflow, run.folder, run.n_obs)
    numbers = np.random.default_rng(1).standard_normal(min(PIECE, n_state))

    def fill(member: int) -> None:
        sizes = (min(PIECE, n_state - start) for start in range(0, n_state, PIECE))
        store.write_member(0, member, (numbers[:size] + member for size in sizes))

    fill(-1)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, range(n_members)))
    _done(carry_out(bench, Task(Phase.TRUTH, 0, 0)))
    for member in range(n_members):
        _done(carry_out(bench, Task(Phase.FORECAST, 0, member)))
    store.write_survivors(0, range(n_members))
    _done(carry_out(bench, Task(Phase.PREPARE, 0, 0)))
    return bench


def _done(outcome: object) -> None:
    if getattr(outcome, "status", None) != Status.OK:
        raise RuntimeError(outcome)


def by_threads(
    place: Path, n_bytes: float, n_members: int, dtype: str, threads: Sequence[int]
) -> Sequence[Contender]:
    """Return the disk by so many threads each, and the update tasks of a run as one worker does them."""
    n_state = int(n_bytes) // np.dtype(dtype).itemsize // n_members
    bench = _filled(place, n_state, n_members, dtype)
    root = bench.folder / "ensemble.zarr"
    chunks = sorted((root / "step=0" / "parameters" / "c").rglob("*/*"))
    tasks = [Task(Phase.UPDATE, 0, index) for index in range(bench.store.layout.n_slices)]
    cleared = count()

    def clear() -> None:
        for left in (root / "step=1", place / "raw"):
            give_back(left, place / "left" / f"{next(cleared)}")
        bench.store.create_step(1)
        forget(chunks)

    def update(cores: int) -> None:
        for first in range(0, len(tasks), GROUP):
            for outcome in carry_out_all(bench, tasks[first : first + GROUP], cores=cores):
                _done(outcome)

    return [
        *(
            Contender(
                _raw_by(n), partial(copy_by_threads, chunks, place / "raw", n), clear, clear, note=DIRECTLY
            )
            for n in threads
        ),
        *(Contender(_on(cores), partial(update, cores), clear, clear) for cores in CORES),
    ]


def _raw_by(threads: int) -> str:
    return f"{RAW}, {threads} thread{'s' if threads > 1 else ''}"


def _on(cores: int) -> str:
    return f"daflow, one worker of {cores} core{'s' if cores > 1 else ''}"


def by_a_run(place: Path, n_bytes: float, n_members: int, dtype: str, *, small: bool) -> Sequence[Contender]:
    """Return the disk, and the update of a run, from the fact before it to the fact that ends it."""
    n_state = int(n_bytes) // np.dtype(dtype).itemsize // n_members
    copied = place / "copied"
    files: list[Path] = []

    emptied = count()

    def away(folder: Path) -> None:
        give_back(folder, place / "left" / f"{next(emptied)}")

    def lay_out() -> None:
        files[:] = write_files(copied / "source", int(n_bytes), min(2**20, int(n_bytes) // 8))

    def update() -> dict[str, float]:
        stages = Stages((Phase.UPDATE, 0))
        with workers(small=small) as execution:
            run = made(
                place / "daflow",
                n_state=n_state,
                n_members=n_members,
                storage={"dtype": dtype},
                execution=execution,
            )
            stages.drive(run)
        return stages.between((Phase.PREPARE, 0), (Phase.UPDATE, 0))

    return [
        Contender(
            RAW,
            lambda: copy_by_threads(files, copied / "target", WORKERS),
            lay_out,
            lambda: away(copied),
            note=DIRECTLY,
        ),
        Contender(RUN_OURS, update, after=lambda: away(place / "daflow"), note="from journal to journal"),
    ]


DIRECTLY = "files of a chunk each into one file a thread, past the page cache, synced"
LIMIT = "the disk: the same bytes, read and written directly: by one to eight threads, the fastest counts"
RAW_THREADS = (1, 2, 4, 8)
TITLE = "from disk to disk, {n_bytes:.2g} B in and as many out, {n_members} members, {dtype}, "
CASES = (
    *(
        Case(
            f"disk-{dtype}",
            TITLE + "one worker",
            by_threads,
            {"n_bytes": 8e9, "n_members": 100, "dtype": dtype, "threads": RAW_THREADS},
            {"n_bytes": 1e5, "n_members": 4, "dtype": dtype, "threads": (1, 2)},
            tuple(
                Aim(_on(cores), 0.8, tuple(map(_raw_by, RAW_THREADS)), "wall", "at least") for cores in CORES
            ),
            LIMIT,
        )
        for dtype in ("float64", "float32")
    ),
    *(
        Case(
            f"run-{dtype}",
            TITLE + "`daflow run` on 2 workers",
            by_a_run,
            {"n_bytes": 8e9, "n_members": 100, "dtype": dtype, "small": False},
            {"n_bytes": 1e5, "n_members": 4, "dtype": dtype, "small": True},
            (Aim(RUN_OURS, 0.6, (RAW,), "wall", "at least"),),
            "the disk: the same bytes, read and written directly by as many threads",
            rounds=3,
        )
        for dtype in ("float64", "float32")
    ),
)
