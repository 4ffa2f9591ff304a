"""What a run takes of memory, process by process, as the state and the ensemble grow.

Every 50 ms the high-water mark of resident memory (VmHWM) of the driver, which holds dask's scheduler, and of
each worker is read. The model needs nothing of its parameters, so that what is seen is daflow's own. The
baseline is a run with 1,000 numbers a member: imports, dask, and all that does not grow.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import psutil
from side_by_side.contest import Aim, Case, Contender
from side_by_side.memory import MB, resident
from side_by_side.runs import made, workflow
from yaml import safe_dump

SAMPLE_SECONDS = 0.05
SMALL_STATE = 1_000


def peaks(folder: Path, n_members: int, n_state: int, dtype: str) -> dict[str, float]:
    """Run a workflow by the command line; return the peaks of driver and largest worker in bytes."""
    values = workflow(folder, n_members=n_members, n_state=n_state, storage={"dtype": dtype})
    (folder / "workflow.yaml").write_text(safe_dump(dict(values)))
    words = ["-m", "daflow.cli", "run", str(folder / "workflow.yaml"), "--run", str(folder / "run")]
    seen: dict[str, float] = {"driver": 0.0, "worker": 0.0}
    with psutil.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as driver:
        while driver.poll() is None:
            for what, process in _family(driver):
                with suppress(OSError):
                    seen[what] = max(seen[what], resident("VmHWM", process.pid))
            time.sleep(SAMPLE_SECONDS)
        if driver.returncode:
            raise RuntimeError(driver.stderr.read().decode())
    shutil.rmtree(folder)
    return seen


def _family(driver: psutil.Process) -> Iterator[tuple[str, psutil.Process]]:
    yield "driver", driver
    with suppress(psutil.Error):
        for child in driver.children(recursive=True):
            with suppress(psutil.Error):
                if "spawn_main" in " ".join(child.cmdline()):
                    yield "worker", child


def peak_here(folder: Path, n_members: int, n_state: int, dtype: str) -> dict[str, float]:
    """Return the peak of this process, which only makes the run: for running through."""
    made(folder, n_members=n_members, n_state=n_state, storage={"dtype": dtype})
    shutil.rmtree(folder)
    return dict.fromkeys(("driver", "worker"), resident("VmHWM"))


def of_larger_states(
    place: Path, states: Sequence[int], n_members: int, dtype: str, *, small: bool
) -> Sequence[Contender]:
    """Return the same run with larger and larger states."""
    take = peak_here if small else peaks

    @cache
    def baseline() -> dict[str, float]:
        return take(place / "small", n_members, SMALL_STATE, dtype)

    def contender(n_state: int) -> Contender:
        def run() -> dict[str, float]:
            seen = take(place / "large", n_members, n_state, dtype)
            beyond = {what: (peak - baseline()[what]) / MB for what, peak in seen.items()}
            layout = made(
                place / "layout", n_members=n_members, n_state=n_state, storage={"dtype": dtype}
            ).layout
            shutil.rmtree(place / "layout")
            slab = n_members * layout.slice_size * np.dtype(dtype).itemsize / MB
            return beyond | {"slab": slab, "slabs": beyond["worker"] / slab, "peak": seen["worker"] / MB}

        return Contender(_state(n_state), run, baseline)

    return [contender(n_state) for n_state in states]


def _state(n_state: int) -> str:
    return f"daflow, {n_state:,} numbers a member"


def _case(n_members: int, states: tuple[int, ...], dtype: str) -> Case:
    largest, smallest = _state(states[-1]), _state(states[0])
    return Case(
        f"memory-{n_members}",
        "memory of `daflow run`, {n_members} members, {dtype}",
        of_larger_states,
        {"states": states, "n_members": n_members, "dtype": dtype, "small": False},
        {"states": (2_000, 4_000), "n_members": 4, "dtype": dtype, "small": True},
        (
            Aim(largest, 1.1, (smallest,), "peak"),
            Aim(largest, 4.0, figure="slabs", unit="slabs beyond imports"),
        ),
        "a worker needs the slab it works on: members x chunk",
        rounds=1,
    )


CASES = (
    _case(100, (1_000_000, 10_000_000, 30_000_000), "float64"),
    _case(1_000, (100_000, 1_000_000, 3_000_000), "float64"),
)
