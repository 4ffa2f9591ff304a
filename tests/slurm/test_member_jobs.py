"""Members that are jobs of their own, programs of two processes each: on a real Slurm, and by qsub."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import pytest

from daflow.execution.queues.registry import registered
from daflow.runs.journal import read_journal
from tests.end_to_end.small_run import run_inline, start
from tests.slurm.queue_runs import chunks, ended, finished, until
from tests.slurm.start_slurm import PLACES, Slurm

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
MEMBERS = 5
AT_ONCE = 2
WORKFLOW = f"""
name: parallel
seed: 5
ensemble: {{size: {MEMBERS}}}
parameters:
  level: {{shape: [14], prior: {{kind: normal, mean: 0, std: 1}}}}
model:
  kind: command
  command: [{sys.executable}, "{{folder}}/rank.py"]
  files: [{{kind: array, target: level.npy, variable: level, format: npy}}]
  output: {{kind: npy, file: out.npy}}
observations: {{kind: file, path: observed.csv}}
method: {{kind: es_mda, steps: 1}}
storage: {{slice_size: 4}}
"""
OBSERVED = "name,kind,value,error_std\na,k,0.5,0.3\nb,k,1.5,0.3\nc,k,0.2,0.3\n"
RANK = """
import os, sys, time
from pathlib import Path
import numpy as np

rank, size = int(os.environ.get("SLURM_PROCID", 0)), int(os.environ.get("SLURM_NTASKS", 1))
assert os.environ.get("OMP_NUM_THREADS") == os.environ.get("SLURM_CPUS_PER_TASK", "1")
with open(sys.path[0] + "/calls", "a") as calls:
    calls.write(f"{rank} of {size}\\n")
level = np.load("level.npy").ravel()
time.sleep(PACE)
np.save(f"part-{rank}.half.npy", (level[:3] ** 2 + level[4:7])[rank::size])
Path(f"part-{rank}.half.npy").rename(f"part-{rank}.npy")
if rank == 0:
    out = np.empty(3)
    for other in range(size):
        while not Path(f"part-{other}.npy").exists():
            time.sleep(0.02)
        out[other::size] = np.load(f"part-{other}.npy")
    np.save("out.npy", out)
"""
"""Each process computes a part, on the disk that they share; the first puts them together."""
LOCAL = "execution: {kind: local, member: {cores: 1}}\n"


def made(place: Path, execution: str, pace: float) -> Path:
    """Write a workflow; return where it is."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "rank.py").write_text(RANK.replace("PACE", str(pace)))
    (place / "observed.csv").write_text(OBSERVED)
    path = place / "workflow.yaml"
    path.write_text(WORKFLOW + execution)
    return path


def jobs(**settings: object) -> str:
    """Return a section ``execution`` with local workers and members' own jobs."""
    said = {
        "kind": "job",
        "system": "slurm",
        "tasks": 2,
        "memory": "200MB",
        "walltime": "'00:05:00'",
        "launcher": "srun",
        "at_once": AT_ONCE,
    }
    pairs = ", ".join(f"{name}: {value}" for name, value in (said | settings).items())
    return f"execution: {{kind: local, workers: 1, group: 1, member: {{{pairs}}}}}\n"


def elements(slurm: Slurm, folder: Path, *states: str) -> list[str]:
    """Return the elements of the run's arrays in one of these states."""
    ids = ",".join(entry.id for entry in registered(folder) if entry.kind == "member")
    if not ids:
        return []
    said = slurm.say(
        "squeue", "-h", "-r", "-j", f"{ids},{ids}", f"--states={','.join(states)}", "--format=%i"
    )
    return said.split()


def reference(place: Path) -> dict[str, str]:
    """Return the chunks of the same run in this process, a process a member."""
    workflow = made(place / "undisturbed", LOCAL, 0)
    run_inline(workflow, place / "undisturbed" / "run")
    return chunks(place / "undisturbed" / "run")


def ends(folder: Path) -> list[str]:
    """Return how forecasts ended, as the journal has it."""
    known = read_journal(folder / "journal.jsonl")
    return [fact["status"] for fact in known if fact["fact"] == "ended" and fact["phase"] == "forecast"]


def test_that_arrays_of_parallel_members_outlive_a_driver_and_have_the_bits_of_a_local_run(slurm, place):
    workflow, run = made(place, jobs(), 2.0), place / "run"
    with ended(start("run", workflow, "--run", run)) as driver:
        running = until(lambda: elements(slurm, run, "RUNNING"), driver)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    assert len(running) <= AT_ONCE
    # Without a driver the queue goes on: nobody is waited for, and nobody begins twice.
    left = elements(slurm, run, "RUNNING", "PENDING")
    with ended(start("resume", run)) as driver:
        # Of the second step: of the first, the new driver may not have taken an element up yet. The last in
        # the line: it cannot be done already.
        second = until(lambda: [entry.id for entry in registered(run) if "forecast-1-" in entry.what], driver)
        slurm.say("scancel", f"{second[0]}_{MEMBERS - 1}")
        finished(driver)
    assert left
    assert sorted(ends(run)) == sorted([*(["ok"] * 2 * MEMBERS), "lost"])
    calls = (place / "calls").read_text().splitlines()
    assert set(calls) == {"0 of 2", "1 of 2"}
    assert len(calls) == 4 * MEMBERS
    assert chunks(run) == reference(place)
    assert not elements(slurm, run, "RUNNING", "PENDING")
    assert not list((run / "work" / "member_jobs").iterdir())


def test_that_an_interrupted_driver_takes_its_jobs_along(slurm, place):
    workflow, run = made(place, jobs(), 30), place / "run"
    with ended(start("run", workflow, "--run", run)) as driver:
        until(lambda: elements(slurm, run, "RUNNING"), driver)
        driver.send_signal(signal.SIGINT)
        driver.communicate(timeout=60)
    assert driver.returncode == 130
    until(lambda: not elements(slurm, run, "RUNNING", "PENDING"))


@pytest.mark.skipif(
    shutil.which("qsub", path=PLACES) is None, reason="no qsub here: .ci/run installs slurm-wlm-torque"
)
def test_that_jobs_go_one_by_one_through_qsub(slurm, place):
    execution = jobs(system="torque", array="false", launcher="null", tasks=1)
    workflow, run = made(place, execution, 0.1), place / "run"
    with ended(start("run", workflow, "--run", run, "--set", "ensemble.size=2")) as driver:
        finished(driver)
    assert ends(run) == ["ok"] * 4
    assert len([entry for entry in registered(run) if entry.system == "torque"]) == 4
