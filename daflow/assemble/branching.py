"""Branches of a run: another analysis of a forecast that is there, in a folder of its own.

::

    RUN/branches/NAME/
      branch.json      whose branch this is, from which step on, and which settings differ
      resolved.json  journal.jsonl  ensemble.zarr/  receipts/  ...      as any run's

A branch knows its parent by a relative path, so that a run may be moved with its branches.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from daflow.assemble.folder import RunFolder, open_folder
from daflow.assemble.sections.build import plan_of, store_of
from daflow.config.load import digest
from daflow.errors import DataError
from daflow.execution.tasks.workbench import Workbench
from daflow.names import Phase
from daflow.runs.decide import BEFORE_ANALYSIS, Plan
from daflow.runs.facts import Progress, Stage, fold
from daflow.runs.journal import read_journal
from daflow.storage import ZarrStore
from daflow.storage.branch_store import BranchStore

BRANCHES: Final = "branches"
"""The folder of a run's branches."""
RECORD: Final = "branch.json"
_NUMBER: Final = re.compile(r"(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Branching:
    """Whose branch a run is."""

    parent: str
    """The way from the branch's folder to its parent's."""
    step: int
    """The step whose analysis is the branch's first; the parent has its forecast."""
    members: tuple[int, ...]
    """Those that came through that forecast."""
    changed: Mapping[str, Any]
    """The settings that differ from the parent's: dotted key -> value."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        plain = {"parent": self.parent, "step": self.step, "members": list(self.members)}
        return plain | {"changed": dict(self.changed)}


def branching_of(folder: Path) -> Branching | None:
    """Return whose branch the run in a folder is; ``None``: nobody's.

    Raises
    ------
    daflow.errors.DataError
        The record is not as it was written.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        plain = json.loads(path.read_text())
        return Branching(plain["parent"], plain["step"], tuple(plain["members"]), plain["changed"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read",
            got=f"{type(error).__name__}: {error}",
            do="restore the file from a copy, or clear the branch away and make it again",
        ) from error


def parent_of(run: RunFolder, branching: Branching) -> RunFolder:
    """Return the run that a branch reads from.

    Raises
    ------
    daflow.errors.DataError
        It is not where it was: the branch was moved alone.
    """
    folder = run.folder / branching.parent
    try:
        return open_folder(folder.resolve())
    except DataError as error:
        raise DataError(
            f"the run that {run.folder} is a branch of cannot be opened: {error.what}",
            got=error.got,
            allowed=f"a run in {branching.parent} as seen from the branch: it reads the forecasts there",
            do="move the branch back into that run's folder 'branches', or move both together",
        ) from error


def branch_folders(run: RunFolder) -> dict[str, Path]:
    """Return the branches of a run by name, in the order of their names, 9 before 10."""
    found = [path.parent for path in (run.folder / BRANCHES).glob(f"*/{RECORD}")]
    made = [folder for folder in found if not folder.name.startswith(".")]
    return {folder.name: folder for folder in sorted(made, key=_in_order)}


def _in_order(folder: Path) -> tuple[str | float, ...]:
    """Return words and the numbers between them."""
    parts = _NUMBER.split(folder.name)
    return tuple(float(part) if i % 2 else part for i, part in enumerate(parts))


def store_for(run: RunFolder) -> ZarrStore | BranchStore:
    """Return the store of a run; a branch's reads from its parent what was there before it."""
    own, branching = store_of(run.workflow, run.folder, run.layout), branching_of(run.folder)
    if branching is None:
        return own
    return BranchStore(own, store_for(parent_of(run, branching)), branching.step)


def plan_for(run: RunFolder) -> Plan:
    """Return all that a run is going to do; a branch begins with an analysis of its parent's forecast."""
    own, branching = plan_of(run.workflow, run.layout), branching_of(run.folder)
    if branching is None:
        return own
    keys = keys_of_branch(own, plan_for(parent_of(run, branching)), branching.step)
    return replace(own, keys=keys, members=branching.members, branched=branching.step)


def keys_of_branch(own: Plan, parent: Plan, step: int) -> dict[Stage, str]:
    """Return the keys of the stages of a branch.

    Laws: a branch at the first step has the keys of a run with its settings where the forecast is that of
    such a run; else its own stages have keys that no run without a branch there has. Phases before the step
    are those that the parent had. Its preparation of step 0, by which places are kept, has the key of its
    own localization.
    """
    before = {stage: own.keys.get(stage, key) for stage, key in parent.keys.items() if _before(stage, step)}
    after = {stage: key for stage, key in own.keys.items() if not _before(stage, step)}
    came_from, forecast = parent.keys[Phase.FORECAST, step], own.keys.get((Phase.FORECAST, step))
    if forecast == came_from:
        return before | after
    return before | {stage: digest(["branch", came_from, key]) for stage, key in after.items()}


def _before(stage: Stage, step: int) -> bool:
    return stage[1] < step or (stage[1] == step and stage[0] in BEFORE_ANALYSIS)


def bench_for(run: RunFolder, own: Workbench) -> Workbench:
    """Return what a worker needs for the tasks of a run, from what it would need were the run no branch."""
    if branching_of(run.folder) is None:
        return own
    return replace(own, store=store_for(run), keys=plan_for(run).keys)


def progress_of(run: RunFolder) -> Progress:
    """Return where a run stands."""
    return fold(read_journal(run.journal))
