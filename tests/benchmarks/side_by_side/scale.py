"""Very many tasks: what each costs, and whether the process of driver and scheduler stays small."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from side_by_side.contest import Aim, Case, Contender
from side_by_side.runs import made, workers, workflow

from daflow.assemble.driving.launch import drive
from daflow.config.load import to_json, workflow_from

_numbers = count()
DRIVE = """
import sys
from pathlib import Path
from daflow.assemble.folder import make_run
from daflow.assemble.driving.launch import drive
from daflow.config.load import load_workflow
if __name__ == "__main__":
    path = Path(sys.argv[1])
    drive(make_run(load_workflow(path), Path(sys.argv[2]), path.read_text()))
"""
BEGUN = 0.2
"""The share of a run after which all that is imported is there."""


def _run(place: Path, given: Mapping[str, Any], tasks: int) -> dict[str, float]:
    """Run a workflow in a process of its own, which holds the scheduler, without the report."""
    folder = place / f"scale-{next(_numbers)}"
    values = workflow(folder, **given)
    path = folder / "workflow.yaml"
    path.write_text(to_json(workflow_from(values, folder)))
    words = [sys.executable, "-c", DRIVE, str(path), str(folder / "run")]
    begun = time.perf_counter()
    driver = subprocess.Popen(words, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(folder)})
    samples: list[_Sample] = []
    watcher = threading.Thread(target=_watch, args=(driver.pid, samples))
    watcher.start()
    _, status, used = os.wait4(driver.pid, 0)
    watcher.join()
    if status:
        raise RuntimeError(f"the run in {folder} ended with {status}")
    wall, cpu = time.perf_counter() - begun, used.ru_utime + used.ru_stime
    later = [sample.size for sample in samples if sample.moment - samples[0].moment > BEGUN * wall]
    return {
        "wall": wall,
        "cpu": cpu,
        "cpu_ms": 1e3 * cpu / tasks,
        "driver_cpu": samples[-1].cpu,
        "begun_mb": later[0] / 1e6,
        "peak_mb": max(later) / 1e6,
        "grown_bytes": (max(later) - later[0]) / tasks,
    }


@dataclass(frozen=True)
class _Sample:
    """How the driver's process stands, without its workers."""

    moment: float
    size: float
    cpu: float


def _watch(pid: int, samples: list[_Sample]) -> None:
    process = psutil.Process(pid)
    while True:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return
            used = process.cpu_times()
            samples.append(_Sample(time.perf_counter(), process.memory_info().rss, used.user + used.system))
        except psutil.NoSuchProcess:
            return
        time.sleep(0.1)


def _here(place: Path, given: Mapping[str, Any]) -> dict[str, float]:
    """Run a workflow in this process: what is told of memory is not of the run."""
    with workers(small=True) as execution:
        drive(made(place / f"scale-{next(_numbers)}", **given, execution=execution))
    return dict.fromkeys(("cpu_ms", "driver_cpu", "begun_mb", "peak_mb", "grown_bytes"), 1.0)


def of_members(place: Path, sizes: Sequence[int], steps: int, *, small: bool) -> Sequence[Contender]:
    """Return runs of a null model with more and more members."""

    def contender(n: int) -> Contender:
        given = {"n_members": n, "n_state": 1_000, "n_obs": 10, "method": {"kind": "es_mda", "steps": steps}}
        run = partial(_here, place, given) if small else partial(_run, place, given, n * (steps + 1))
        return Contender(_members(n), run)

    return [contender(n) for n in sizes]


def of_slices(place: Path, sizes: Sequence[int], *, small: bool) -> Sequence[Contender]:
    """Return runs of two members whose state is cut into more and more slices."""

    def contender(n: int) -> Contender:
        given = {"n_members": 2, "n_state": 4 * n, "n_obs": 2, "storage": {"slice_size": 4}}
        run = partial(_here, place, given) if small else partial(_run, place, given, n)
        return Contender(_slices(n), run)

    return [contender(n) for n in sizes]


def _members(n: int) -> str:
    return f"daflow, {n:,} members"


def _slices(n: int) -> str:
    return f"daflow, {n:,} slices"


CASES = (
    Case(
        "scale-members",
        "members of a null model, {steps} steps: the driver's process with the scheduler in it",
        of_members,
        {"sizes": (100, 1_000, 10_000), "steps": 10, "small": False},
        {"sizes": (3, 4), "steps": 1, "small": True},
        (
            Aim(_members(10_000), 1.15, (_members(1_000),), "cpu_ms"),
            Aim(_members(10_000), 1.1, (_members(1_000),), "peak_mb"),
        ),
        "linear in tasks; memory as with a tenth of the members",
        rounds=1,
    ),
    Case(
        "scale-slices",
        "slices of an update: the driver's process with the scheduler in it",
        of_slices,
        {"sizes": (1_000, 10_000, 100_000), "small": False},
        {"sizes": (3, 4), "small": True},
        (
            Aim(_slices(100_000), 1.15, (_slices(10_000),), "cpu_ms"),
            Aim(_slices(100_000), 1.1, (_slices(10_000),), "peak_mb"),
        ),
        "linear in tasks; memory as with a tenth of the slices",
        rounds=1,
    ),
)
