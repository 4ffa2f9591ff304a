"""How long it takes before anything happens: to import, to say what there is, to resume a long run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from side_by_side.contest import Aim, Case, Contender
from side_by_side.runs import made, workers

from daflow.assemble.driving.launch import _ready_store, drive
from daflow.assemble.folder import RunFolder, with_overrides
from daflow.assemble.sections.build import bench_of, plan_of
from daflow.execution.tasks.carry_out import carry_out
from daflow.execution.tasks.workbench import Workbench
from daflow.names import Phase, Status
from daflow.records import Outcome, Task
from daflow.runs import facts
from daflow.runs.decide import Plan
from daflow.runs.facts import Fact
from daflow.runs.journal import Journal

PYTHON = "python that does nothing"
GROUP = 25
"""Members whose receipts are written together."""
IMPORT, HELP, RESUME = "import daflow", "daflow --help", "daflow resume"


def programs(place: Path) -> Sequence[Contender]:
    """Return programs that only start."""
    words = {
        PYTHON: ["-c", "pass"],
        IMPORT: ["-c", "import daflow"],
        HELP: ["-m", "daflow.cli", "--help"],
    }
    return [Contender(name, _program(arguments)) for name, arguments in words.items()]


def _program(arguments: Sequence[str]) -> Any:
    return lambda: _finish(subprocess.run([sys.executable, *arguments], check=True, capture_output=True))


def _finish(_: object) -> None:
    return None


def long_run(place: Path, n_members: int, n_steps: int, *, small: bool) -> Sequence[Contender]:
    """Return the resumption of a run that has all but the last member's last forecast behind it."""
    run = made(place, n_members=n_members, n_state=1_000, method={"kind": "es_mda", "steps": n_steps})
    kept = run.folder / "journal.before"
    n_facts = _lived_through(run)
    run.journal.rename(kept)
    receipts = set(run.folder.glob("receipts/**/*"))

    def lay_out() -> None:
        run.journal.write_bytes(kept.read_bytes())
        for path in set(run.folder.glob("receipts/**/*")) - receipts:
            path.unlink()

    def resume() -> dict[str, float]:
        first: list[float] = []

        def watch(fact: Fact, progress: object) -> None:
            if fact["fact"] == "ended" and not first:
                first.append(fact["started"])

        with workers(small=small) as execution:
            asked = _executed_by(run, execution)
            began = time.time()
            drive(asked, watch).check(run.folder)
        return {"wall": first[0] - began}

    return [
        Contender(
            RESUME, resume, lay_out, note=f"{n_facts:,} facts; its cluster of 2 processes starts as well"
        )
    ]


def _executed_by(run: RunFolder, execution: Mapping[str, Any]) -> RunFolder:
    return with_overrides(run, [f"execution={json.dumps(dict(execution))}"])


def _lived_through(run: RunFolder) -> int:
    """Write the facts and receipts of a run up to its last task; return how many facts those are."""
    plan, store = plan_of(run.workflow, run.layout), _ready_store(run)
    _observe(bench_of(run.workflow, run.folder, run.n_obs))
    store.create_step(plan.n_steps)
    n_facts = 0
    with _syncs_free(), Journal(run.journal) as journal:
        journal.append(facts.opened({"host": "here", "pid": 1, "time": 0.0}))
        for stage in plan.stages:
            last = stage == plan.stages[-1]
            outcomes = list(_outcomes(plan, stage, last=last))
            for first in range(0, len(outcomes), GROUP):
                store.write_receipts(outcomes[first : first + GROUP])
            journal.append_all([facts.ended(outcome) for outcome in outcomes])
            n_facts += len(outcomes)
            if not last:
                journal.append(facts.closed(stage, plan.members))
    return n_facts


def _observe(bench: Workbench) -> None:
    outcome = carry_out(bench, Task(Phase.TRUTH, 0, 0))
    if outcome.status != Status.OK:
        raise RuntimeError(outcome)


def _outcomes(plan: Plan, stage: tuple[Phase, int], *, last: bool) -> Iterator[Outcome]:
    phase, step = stage
    indices = list(plan.indices(phase, plan.members))
    for index in indices[:-1] if last else indices:
        task = Task(phase, step, index)
        seconds = {"read_seconds": 0.0012, "write_seconds": 0.0034}
        key = plan.keys[stage]
        yield Outcome(
            task, Status.OK, 0.0123, "localhost", started=1e9, key=key, digest="0badcafe", figures=seconds
        )


@contextmanager
def _syncs_free() -> Iterator[None]:
    """Let nothing be synced: what is written here need not outlive a power cut."""
    with patch("os.fsync"), patch("os.fdatasync"):
        yield


CASES = (
    Case(
        "start",
        "programs that only start",
        programs,
        {},
        {},
        (
            Aim(HELP, 0.3, figure="wall", unit="s"),
            Aim(IMPORT, 0.5, figure="wall", unit="s"),
        ),
        "python itself",
        rounds=9,
    ),
    Case(
        "resume",
        "resume a run of {n_members:,} members and {n_steps} steps, to its first task",
        long_run,
        {"n_members": 10_000, "n_steps": 9, "small": False},
        {"n_members": 3, "n_steps": 1, "small": True},
        (Aim(RESUME, 2.0, figure="wall", unit="s"),),
        "its journal and receipts are read, its workers start",
    ),
)
