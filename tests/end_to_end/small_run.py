"""Small runs of real workflow files: by dask workers, in this process, or by the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

import daflow
from daflow.assemble.driving.launch import _ready_store, ignore
from daflow.assemble.folder import make_run
from daflow.assemble.sections.build import bench_of, plan_of, policy_of
from daflow.config.load import load_workflow
from daflow.execution.pools.inline_pool import InlinePool
from daflow.execution.tasks.carry_out import carry_out_all
from daflow.runs import facts
from daflow.runs.driver import Driver
from daflow.runs.facts import fold
from daflow.runs.journal import Journal, read_journal

RING = """
name: ring
seed: 11
ensemble: {size: 20}
grids:
  ring: {shape: [24], dims: [component], axes: [x]}
parameters:
  start:
    grid: ring
    prior: {kind: normal, mean: 2.3, std: 2.0}
  forcing:
    prior: {kind: normal, mean: 8.0, std: 0.5}
model:
  {kind: lorenz96, variable: start, forcing: forcing, n: 24, every_steps: 2, n_times: 2, observe_every: 2}
observations: {kind: twin, error: {default: {absolute: 0.5}}}
method: {kind: es_mda, steps: 3}
localization: {kind: distance, lengths: {x: 4}, variables: {forcing: none}}
storage: {slice_size: 10}
"""
"""A twin experiment: 25 numbers a member in three slices, one of which holds both variables."""

CALLABLE = """
name: users
seed: 5
ensemble: {size: 12}
parameters:
  level: {shape: [14], prior: {kind: normal, mean: 0, std: 1}}
model: {kind: callable, function: 'model:forecast', observables: 'model:observables'}
observations: {kind: twin, error: {default: {absolute: 0.3}}}
method: {kind: es_mda, steps: 2}
storage: {slice_size: 4}
"""
"""A user's Python function: 14 numbers a member in four slices."""

OBSERVABLES = """
import numpy as np

def observables():
    return {"name": np.array(["a", "b", "c"]), "kind": np.array(["k"] * 3), "time": np.arange(3.0)}
"""

WELL = """
def forecast(parameters, observations):
    return parameters["level"][:3] ** 2 + parameters["level"][4:7]
"""
"""A function that nothing is wrong with."""
HELD = """
import time
from pathlib import Path

HOLD = Path(__file__).with_name("hold")

def forecast(parameters, observations, step):
    time.sleep(PACE)
    while step == 2 and HOLD.exists():
        time.sleep(0.02)
    return parameters["level"][:3] ** 2 + parameters["level"][4:7]
"""


def slow(seconds: float) -> str:
    """Return a function that takes so long, and longer in step 2 while it is `held`."""
    return HELD.replace("PACE", str(seconds))


@contextmanager
def held(workflow: Path) -> Iterator[Path]:
    """Let no member of step 2 end meanwhile, or while the file that is yielded is there."""
    hold = workflow.with_name("hold")
    hold.touch()
    try:
        yield hold
    finally:
        hold.unlink(missing_ok=True)


def written(folder: Path, text: str, model: str = "") -> Path:
    """Write a workflow file, and its model beside it; return where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    if model:
        (folder / "model.py").write_text(OBSERVABLES + model)
    path = folder / "workflow.yaml"
    path.write_text(text)
    return path


def run_inline(workflow: Path, folder: Path, *overrides: str, seed: int | None = None) -> daflow.Run:
    """Drive a workflow to its end in this process, its tasks in a shuffled order."""
    made = make_run(load_workflow(workflow, overrides), folder, workflow.read_text())
    store, progress = _ready_store(made), fold(read_journal(made.journal))
    bench = bench_of(made.workflow, made.folder, made.n_obs, made.cycles)
    pool = InlinePool(lambda tasks: carry_out_all(bench, tasks), slots=1 if seed is None else 50, seed=seed)
    with Journal(made.journal) as journal:
        opened = facts.opened({"host": "here", "pid": os.getpid(), "time": 0.0})
        journal.append(opened)
        progress.take(opened)
        plan = plan_of(made.workflow, made.layout)
        workers, policy = lambda: nullcontext(pool), policy_of(made.workflow)
        group = made.workflow.execution.group
        asked = None if group == "auto" else group
        stop = Driver(plan, policy, store, workers, journal, progress, ignore, asked).run()
    stop.check(folder)
    return daflow.open_run(folder)


def run_by_workers(workflow: Path, folder: Path, *overrides: str) -> daflow.Run:
    """Drive a workflow to its end by a dask cluster of its own."""
    return daflow.run(load_workflow(workflow, overrides), folder)


def finals(run: daflow.Run, members: list[int] | None = None) -> dict[str, Any]:
    """Return the last step's arrays, of these members only if any are named."""
    chosen = {} if members is None else {"member": members}
    arrays = {name: array.sel(chosen).values for name, array in run.parameters().items()}
    return arrays | {"predicted": run.predicted().sel(chosen).values}


def assert_same_bits(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Compare arrays bit by bit."""
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert np.isfinite(array).all()
        assert array.dtype == theirs[name].dtype
        assert array.shape == theirs[name].shape
        assert array.tobytes() == theirs[name].tobytes(), name


COMMAND = (sys.executable, "-m", "daflow.cli")
STARTED: list[subprocess.Popen[str]] = []
"""What a test has started and does not wait for: ended with it, however it ends."""


def command(*words: object, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, to its end."""
    given = {"capture_output": True, "text": True, "timeout": 500} | settings
    return subprocess.run([*COMMAND, *map(str, words)], check=False, **given)


DEADLY = """
import json, os, runpy, signal, sys
from daflow.runs.journal import Journal

told, left = json.loads(sys.argv[1]), [int(sys.argv[2])]
append_all = Journal.append_all

def deadly(journal, facts):
    append_all(journal, facts)
    left[0] -= sum(told.items() <= fact.items() for fact in facts)
    if left[0] <= 0:
        os.killpg(0, signal.SIGKILL)

Journal.append_all = deadly
sys.argv[:] = ["daflow", *sys.argv[3:]]
runpy.run_module("daflow.cli", run_name="__main__")
"""


def killed_at(told: dict[str, object], *words: object, times: int = 1) -> None:
    """Run the command line, which is killed with its workers once its journal has said this so many times."""
    asked = [sys.executable, "-c", DEADLY, json.dumps(told), str(times), *map(str, words)]
    ended = subprocess.run(
        asked, start_new_session=True, capture_output=True, text=True, timeout=500, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stdout + ended.stderr


def _interruptible() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*words: object, **settings: Any) -> subprocess.Popen[str]:
    """Start the command line in a process group of its own, open to interrupts even where we are not."""
    given = {
        "start_new_session": True,
        "preexec_fn": _interruptible,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
    }
    STARTED.append(subprocess.Popen([*COMMAND, *map(str, words)], **(given | settings)))
    return STARTED[-1]
