"""What a run takes of memory, process by process, as the state grows.

Run by hand::

    python tests/benchmarks/memory_of_a_run.py 1e6 --members 100 --workers 2 --steps 1 --folder /scratch

A linear model that observes every (state/100)-th number of one variable of that size; its members are
loaded whole, since a model asks for variables, not for parts of them. Every 50 ms the peak resident memory
(VmHWM) of the driver, which holds dask's scheduler, and of each worker is read from /proc. The baseline is
the same workflow with 1000 numbers a member: imports, dask, and all that does not grow.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

WORKFLOW = """
name: memory
seed: 1
ensemble: {{size: {members}}}
grids: {{line: {{shape: [{state}], dims: [cell], axes: [x]}}}}
parameters:
  level: {{grid: line, prior: {{kind: normal, mean: 0, std: 1}}}}
model: {{kind: linear, variable: level, n: {state}, every: {every}}}
observations: {{kind: twin, error: {{default: {{absolute: 0.5}}}}}}
method: {{kind: es_mda, steps: {steps}}}
execution: {{kind: local, workers: {workers}}}
"""
SAMPLE_SECONDS = 0.05
SMALL = 1000
MIB = 2**20


def peak(process: psutil.Process) -> int:
    """Return the most resident memory that a process ever had, in bytes."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def peaks_of_a_run(asked: argparse.Namespace, state: int, folder: Path) -> tuple[dict[str, int], float]:
    """Run the workflow; return the peak of each process in bytes, and the seconds it took."""
    given = vars(asked) | {"state": state, "every": max(state // 100, 1)}
    workflow = folder / "workflow.yaml"
    workflow.write_text(WORKFLOW.format(**given))
    words = [sys.executable, "-m", "daflow.cli", "run", str(workflow), "--run", str(folder / "run")]
    began = time.monotonic()
    driver = psutil.Popen(words)
    seen: dict[int, tuple[str, int]] = {}
    while driver.poll() is None:
        for process in _family(driver):
            with contextlib.suppress(psutil.Error):
                what = "driver" if process.pid == driver.pid else _kind(process)
                seen[process.pid] = (what, max(peak(process), seen.get(process.pid, ("", 0))[1]))
        time.sleep(SAMPLE_SECONDS)
    if driver.returncode:
        raise subprocess.CalledProcessError(driver.returncode, words)
    workers = sorted(most for what, most in seen.values() if what == "worker")
    named = {f"worker {number}": most for number, most in enumerate(workers)}
    return {"driver": max(most for what, most in seen.values() if what == "driver")} | named, (
        time.monotonic() - began
    )


def _family(driver: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return [driver, *driver.children(recursive=True)]
    return []


def _kind(process: psutil.Process) -> str:
    return "worker" if "spawn_main" in " ".join(process.cmdline()) else "other"


def main() -> None:
    """Run small, then at each size asked for; write a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("states", nargs="+", type=lambda text: int(float(text)), help="numbers a member: 1e6")
    for name, default in (("members", 100), ("workers", 2), ("steps", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", type=Path, default=None, help="a disk with room; default: the system's")
    asked = parser.parse_args()
    out = sys.stdout
    baseline: dict[str, int] = {}
    for state in (SMALL, *asked.states):
        folder = Path(tempfile.mkdtemp(prefix="daflow-memory-", dir=asked.folder))
        try:
            peaks, seconds = peaks_of_a_run(asked, state, folder)
        finally:
            shutil.rmtree(folder)
        baseline = baseline or peaks
        out.write(f"\nstate {state:,}, {asked.members} members, {asked.steps} steps: {seconds:.0f} s\n")
        for name, most in peaks.items():
            beyond = (most - baseline.get(name, most)) / MIB
            out.write(f"  {name:<10} peak {most / MIB:8.0f} MiB   beyond the baseline {beyond:8.0f} MiB\n")


if __name__ == "__main__":
    main()
