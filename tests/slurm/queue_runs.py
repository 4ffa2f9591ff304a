"""Runs whose workers are jobs of a queue: workflow files, what they did, and how they compare."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

from daflow.runs.journal import read_journal
from tests.end_to_end.small_run import run_inline, start, written
from tests.slurm.start_slurm import Slurm

MEMBERS = 24
STEPS = 2
T = TypeVar("T")
N_FORECASTS = MEMBERS * (STEPS + 1) + 1
"""Of all members from every step, and of the truth."""
WORKFLOW = f"""
name: queued
seed: 5
ensemble: {{size: {MEMBERS}}}
parameters:
  level: {{shape: [14], prior: {{kind: normal, mean: 0, std: 1}}}}
model: {{kind: callable, function: 'model:forecast', observables: 'model:observables'}}
observations: {{kind: twin, error: {{default: {{absolute: 0.3}}}}}}
method: {{kind: es_mda, steps: {STEPS}}}
storage: {{slice_size: 4}}
"""
"""Fourteen numbers a member, in four slices."""
FORECAST = """
import hashlib
import os
import time
from pathlib import Path

CALLS = Path(__file__).with_name("calls")

def noted(what, parameters):
    line = f"{what} {hashlib.sha256(parameters['level'].tobytes()).hexdigest()[:16]}\\n"
    descriptor = os.open(CALLS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)

def forecast(parameters, observations):
    noted("began", parameters)
    time.sleep(SECONDS)
    noted("ended", parameters)
    return parameters["level"][:3] ** 2 + parameters["level"][4:7]
"""
"""Notes which parameters it was called with, and whether it came to its end."""
PATIENCE = 300.0
"""Seconds that anything may take on a machine with better things to do."""
QUICK = "execution: {kind: local, workers: 2}\n"


def made(place: Path, seconds: float, execution: str) -> Path:
    """Write a workflow whose members take so long; return where it is."""
    return written(place, WORKFLOW + execution, FORECAST.replace("SECONDS", str(seconds)))


def on_slurm(**settings: object) -> str:
    """Return a section ``execution`` for the tests' Slurm, two jobs of a worker but for what is said here."""
    said = {
        "kind": "slurm",
        "jobs": 2,
        "memory": "1GB",
        "interface": "lo",
        "walltime": "'00:10:00'",
        "group": 1,
        "directives": "[--no-requeue]",
    }
    pairs = ", ".join(f"{name}: {value}" for name, value in (said | settings).items())
    return f"execution: {{{pairs}}}\n"


def chunks(folder: Path) -> dict[str, str]:
    """Return the digest of every chunk of a run's arrays."""
    arrays = folder / "ensemble.zarr"
    files = (path for path in arrays.rglob("*") if path.is_file() and path.name != "zarr.json")
    return {str(path.relative_to(arrays)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def reference(place: Path) -> dict[str, str]:
    """Return the chunks of the same run in this process, which nothing disturbs."""
    return dict(_undisturbed())


@cache
def _undisturbed() -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="daflow-test-") as folder:
        place = Path(folder)
        run_inline(made(place, 0, QUICK), place / "run", seed=3)
        return chunks(place / "run")


def calls(place: Path) -> tuple[Counter[str], Counter[str]]:
    """Return how often members began and came to an end, by what they were called with."""
    path = place / "calls"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    began, ended = Counter[str](), Counter[str]()
    for what, which in (line.split() for line in lines):
        (began if what == "began" else ended)[which] += 1
    return began, ended


def assert_only_the_interrupted_ran_again(place: Path, most: int) -> None:
    """See that every member was forecast, and none again but for at most so many that were cut off."""
    began, ended = calls(place)
    assert len(ended) == N_FORECASTS
    assert sum(began.values()) <= N_FORECASTS + most
    # Cut off between its end and its receipt it ends twice.
    assert sum(ended.values()) <= N_FORECASTS + most


def until(
    found: Callable[[], T], driver: subprocess.Popen[str] | None = None, seconds: float = PATIENCE
) -> T:
    """Wait for something and return it; fail if the driver ends before."""
    deadline = time.monotonic() + seconds
    while not (it := found()):
        if driver is not None and driver.poll() is not None:
            raise AssertionError(f"the driver ended: {driver.communicate()[0]}")
        if time.monotonic() > deadline:
            raise AssertionError(f"waited for in vain: {found}")
        time.sleep(0.1)
    return it


def n_ended(folder: Path, phase: str = "forecast") -> int:
    """Return how many tasks of a phase have ended, as the journal has it."""
    journal = folder / "journal.jsonl"
    if not journal.exists():
        return 0
    return sum(fact.get("phase") == phase and fact["fact"] == "ended" for fact in read_journal(journal))


def running(queue: Slurm, folder: Path) -> dict[str, str]:
    """Return the run's jobs that run now, and on which nodes."""
    said = queue.say(
        "squeue", "--noheader", "--states=RUNNING", f"--name={job_name(folder)}", "--format=%i %N"
    )
    return dict(line.split() for line in said.splitlines())


def both_of(queue: Slurm, folder: Path, driver: subprocess.Popen[str]) -> dict[str, str]:
    """Return the run's two jobs and their nodes, once both run."""
    return until(lambda: len(jobs := running(queue, folder)) == 2 and jobs, driver)


def standing(queue: Slurm, folder: Path) -> list[str]:
    """Return the run's jobs that wait or run."""
    return queue.say("squeue", "--noheader", f"--name={job_name(folder)}", "--format=%i").split()


def job_name(folder: Path) -> str:
    """Return what a run's jobs are called."""
    return f"daflow-{folder.name}"[:15]


@contextmanager
def driven(workflow: Path, folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a driver, which ends with the context if it has not before."""
    # Jobs of PBS leave what they say where they were submitted.
    with ended(start("run", workflow, "--run", folder, *words, cwd=folder.parent)) as driver:
        yield driver


@contextmanager
def ended(driver: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """End a driver with the context."""
    try:
        yield driver
    finally:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)
        driver.communicate()


def finished(driver: subprocess.Popen[str], seconds: float = PATIENCE) -> str:
    """Wait for a driver to come to its end; return what it said."""
    said, _ = driver.communicate(timeout=seconds)
    assert driver.returncode == 0, said
    return said
