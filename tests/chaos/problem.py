"""The run that is disturbed: many short members, each an external program with dice of its own."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.small_run import OBSERVABLES

PROGRAM = '''
import os, random, signal, sys, time

member, step, log_dir, seed, pace, hog_bytes = sys.argv[1:7]
member, step, pace = int(member), int(step), float(pace)
attempt = int(log_dir.rpartition("attempt=")[2])
well = os.environ.get("CHAOS_DICE", "on") != "on" or member < 0


def lingers(deaf):
    """Leave a process behind, in a session of its own, with a parent that is gone."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            if deaf:
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                    signal.signal(number, signal.SIG_IGN)
            time.sleep(3600)
        os._exit(0)


def floods():
    """Say more than anybody reads."""
    for _ in range(40):
        os.write(1, b"o" * 524288)
        os.write(2, b"e" * 524288)


def fills():
    """Write until the disk is full: this one is ill however often it is tried."""
    with open("restart.dat", "wb") as file:
        for _ in range(int(hog_bytes) // 65536):
            file.write(b"r" * 65536)


# What is rolled depends on who rolls, never on when; and only a first attempt falls ill of these.
fate = random.Random(f"{seed} {step} {member}").choices(
    ["", "killed", "short", "child", "daemon", "deaf", "flood", "slow"], [76, 4, 4, 4, 3, 3, 3, 3]
)[0]
with open("level.csv") as file:
    level = [float(value) for value in file.read().replace(",", " ").split()]
rows = ["predicted", *(repr(level[i] ** 2 + level[i + 4]) for i in range(3))]
if member >= 0 and random.Random(f"for good {seed} {step} {member}").random() < 0.008:
    if not well:
        fills()
    sys.exit(3)
if not well:
    time.sleep(pace * random.Random(f"pace {seed} {step} {member}").uniform(0.2, 1.8))
if not well and attempt == 0:
    if fate == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fate == "short":
        rows.pop()
    elif fate == "child":
        if os.fork() == 0:
            time.sleep(3600)
    elif fate in ("daemon", "deaf"):
        lingers(fate == "deaf")
    elif fate == "flood":
        floods()
    elif fate == "slow":
        time.sleep(8 * pace)
with open("out.csv", "w") as file:
    file.write("\\n".join(rows) + "\\n")
'''

WORKFLOW = """
name: chaos
seed: 5
ensemble: {{size: {size}}}
parameters:
  level: {{shape: [14], prior: {{kind: normal, mean: 0, std: 1}}}}
  field: {{shape: [{n_field}], prior: {{kind: normal, mean: 0, std: 1}}}}
model:
  kind: command
  command: ['{python}', '-I', '-S', '{{folder}}/program.py', '{{member}}', '{{step}}', '{{log_dir}}',
            '{seed}', '{pace}', '{hog_bytes}']
  files: [{{kind: array, target: level.csv, variable: level, format: csv}}]
  output: {{kind: csv, file: out.csv, column: predicted}}
  observables: 'model:observables'
observations: {{kind: twin, error: {{default: {{absolute: 0.3}}}}}}
method: {{kind: es_mda, steps: {steps}}}
storage: {{slice_size: {slice_size}}}
policy: {{retries: 100}}
execution: {execution}
"""


@dataclass(frozen=True)
class Problem:
    """How large the run is, and what its members roll."""

    size: int
    steps: int
    pace: float
    """Seconds that a member takes on average."""
    seed: int
    """Of the members' dice."""
    n_field: int
    """How many numbers a member has beside those that its program reads."""
    hog_bytes: int
    """What a member that is ill for good writes before it gives up: more than the disk holds."""

    def written(self, folder: Path, execution: str) -> Path:
        """Write workflow file and program; return where the workflow file is."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.py").write_text(OBSERVABLES)
        (folder / "program.py").write_text(PROGRAM)
        path = folder / "workflow.yaml"
        numbers = {"size": self.size, "steps": self.steps, "pace": self.pace, "seed": self.seed}
        numbers |= {"n_field": self.n_field, "slice_size": max(self.n_field // 10, 1)}
        path.write_text(
            WORKFLOW.format(python=sys.executable, hog_bytes=self.hog_bytes, execution=execution, **numbers)
        )
        return path
