"""What a run and its branches made of the same forecast: the numbers that one chooses by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Final

import numpy as np

from daflow.assemble.branching import (
    BRANCHES,
    branch_folders,
    branching_of,
    plan_for,
    store_for,
)
from daflow.assemble.folder import RunFolder, open_folder
from daflow.errors import DaflowError, DataError
from daflow.execution.tasks.change import MOVED_IN_SPREAD, SPREAD_AFTER, SPREAD_BEFORE
from daflow.execution.tasks.workbench import factors_of
from daflow.methods.checked import PREFIX
from daflow.methods.diagnosed import CHI_SQUARE, SIGNAL
from daflow.names import TRUTH, Phase, Status
from daflow.numerics.diagnostics.crps import crps
from daflow.numerics.inversion.global_update import transform_members
from daflow.numerics.inversion.thin_transform import ThinTransform, is_transform, transform_of
from daflow.ports import FloatArray, Store
from daflow.records import Outcome
from daflow.report import ReportContents
from daflow.report.analyses import AnalysisFigures, save_comparison
from daflow.runs.decide import BEFORE_ANALYSIS
from daflow.runs.facts import Progress, fold
from daflow.runs.journal import read_journal
from daflow.runs.lease import read_holder
from daflow.runs.status import status_of

THE_RUN: Final = "(the run)"
"""What the run itself is called among its branches."""
KEPT_BESIDE: Final = frozenset({"alphas"})
"""What a method keeps beside a transform for its next steps, and no slice is updated by."""
BLOCK: Final = 2**20
"""Numbers of an ensemble that are looked at together."""


def compare(run: RunFolder, step: int | None = None) -> list[AnalysisFigures]:
    """Return what each branch of a run made of its forecast, and before them what the run itself did.

    Cost: reads the predictions, and in a twin experiment each posterior once, slice by slice.

    Parameters
    ----------
    run
        A run that has branches.
    step
        The step whose analyses are compared; ``None``: of all steps that have branches, in their order.

    Raises
    ------
    daflow.errors.DataError
        There is no branch, or none of this step.
    """
    branches = {name: open_folder(folder) for name, folder in branch_folders(run).items()}
    at = {name: _branched_at(branch) for name, branch in branches.items()}
    steps = sorted(set(at.values()))
    wanted = [each for each in steps if step is None or each == step]
    if not wanted:
        raise DataError(
            f"there is nothing to compare in {run.folder}",
            got=f"branches of steps {steps}" if steps else "no branches",
            allowed="a step that has branches",
            do="make one with `daflow analyse`",
        )
    rows = []
    for each in wanted:
        theirs = _Analysis(run, THE_RUN, each)
        before = theirs.crps_before()
        rows += [theirs.figures(before)] if theirs.outcomes else []
        rows += [_Analysis(branches[n], n, each).figures(before) for n in branches if at[n] == each]
    return rows


def with_analyses(contents: ReportContents, run: RunFolder) -> ReportContents:
    """Return what a run's report tells, with what its branches made of its forecasts if it has any.

    A branch that cannot be read does not cost the report.
    """
    if not branch_folders(run):
        return contents
    try:
        return replace(contents, analyses=compare(run))
    except DaflowError as error:
        return replace(contents, notes=[*contents.notes, f"The branches cannot be compared: {error.what}"])


def draw(run: RunFolder, rows: Sequence[AnalysisFigures]) -> list[Path]:
    """Draw a comparison into the folder of the branches; return the files, a PNG and an SVG."""
    return save_comparison(rows, run.folder / BRANCHES / "compare")


def _branched_at(branch: RunFolder) -> int:
    branching = branching_of(branch.folder)
    return -1 if branching is None else branching.step


@dataclass(frozen=True)
class _Known:
    """A run's journal, and the outcomes of the tasks of one step's analysis that ended well."""

    progress: Progress
    outcomes: tuple[Outcome, ...]


def _known(run: RunFolder, step: int) -> _Known:
    journal = read_journal(run.journal)
    ended = (fact for fact in journal if fact["fact"] == "ended" and fact["step"] == step)
    outcomes = (Outcome.from_json(fact) for fact in ended if fact["status"] == Status.OK)
    return _Known(fold(journal), tuple(o for o in outcomes if o.task.phase not in BEFORE_ANALYSIS))


class _Analysis:
    """The analysis of a step by a run or a branch of it."""

    def __init__(self, run: RunFolder, name: str, step: int) -> None:
        self._run, self._name, self._step = run, name, step
        self._store: Store = store_for(run)
        self._layout = run.layout
        known = _known(run, step)
        self._progress, self.outcomes = known.progress, known.outcomes

    def figures(self, crps_before: Mapping[str, float]) -> AnalysisFigures:
        """Return what is known of it."""
        branching, plan = branching_of(self._run.folder), plan_for(self._run)
        status = status_of("", plan, self._progress, read_holder(self._run.lease))
        prepared = self._figures_of(Phase.PREPARE, Phase.CONCLUDE)
        whole = (Phase.UPDATE, self._step) in self._progress.survivors
        before, linear = self._misfits()
        return AnalysisFigures(
            self._name,
            self._step,
            status.state,
            {} if branching is None or self._name == THE_RUN else branching.changed,
            before,
            linear,
            self._misfit_after(),
            prepared.get(CHI_SQUARE),
            prepared.get(SIGNAL),
            self._spread_reduction() if whole else {},
            self._moved() if whole else {},
            crps_before,
            self._crps(self._step + 1, self._progress.survivors[Phase.UPDATE, self._step]) if whole else {},
            sum(outcome.seconds for outcome in self.outcomes) if self.outcomes else None,
        )

    def _figures_of(self, *phases: Phase) -> dict[str, float]:
        """Return the figures of tasks of these phases, summed up where several have one."""
        found: dict[str, float] = {}
        for outcome in self.outcomes:
            if outcome.task.phase in phases:
                for name, value in outcome.figures.items():
                    found[name] = found.get(name, 0.0) + value
        return found

    def _spread_reduction(self) -> dict[str, float]:
        found = self._figures_of(Phase.UPDATE)
        spreads = {
            v.name: (found.get(SPREAD_BEFORE + v.name, 0.0), found.get(SPREAD_AFTER + v.name, 0.0))
            for v in self._layout.variables
        }
        return {name: 1 - after / before for name, (before, after) in spreads.items() if before > 0}

    def _moved(self) -> dict[str, float]:
        found = self._figures_of(Phase.UPDATE)
        return {
            v.name: sqrt(found[MOVED_IN_SPREAD + v.name] / v.size)
            for v in self._layout.variables
            if MOVED_IN_SPREAD + v.name in found
        }

    def _misfits(self) -> tuple[float | None, float | None]:
        """Return the misfit of the forecast, and what the update makes of it if the model is linear."""
        members = self._progress.survivors.get((Phase.FORECAST, self._step))
        return (None, None) if members is None else self._misfit(self._step, members, self._transform())

    def _misfit_after(self) -> float | None:
        members = self._progress.survivors.get((Phase.FORECAST, self._step + 1))
        # A filter's next forecast is of other observations.
        if members is None or self._layout.cycles:
            return None
        return self._misfit(self._step + 1, members, None)[0]

    def _transform(self) -> FloatArray | ThinTransform | None:
        """Return the matrix that is the whole update, where there is one."""
        workflow = self._run.workflow
        if workflow.localization.kind != "none" or workflow.inflation != "none":
            return None
        factors = self._store.read_arrays(factors_of(self._step)) or {}
        own = {name for name in factors if not name.startswith(PREFIX)} - KEPT_BESIDE
        return transform_of(factors) if is_transform(own) else None

    def _misfit(
        self, step: int, members: Sequence[int], transform: FloatArray | ThinTransform | None
    ) -> tuple[float, float | None]:
        rows = self._layout.obs_of(step)
        table = self._store.read_observations().table
        values, std = (np.asarray(table[name])[rows.start : rows.stop] for name in ("value", "error_std"))
        before = after = 0.0
        n_obs = 0
        size = max(1, BLOCK // len(members))
        for start in range(0, len(rows), size):
            stop = min(start + size, len(rows))
            predicted = self._store.read_predicted(step, members, start, stop)
            # What some member does not predict has no misfit.
            there = np.isfinite(predicted).all(axis=0)
            n_obs += int(there.sum())
            predicted, block = predicted[:, there], (values[start:stop][there], std[start:stop][there])
            before += _squares(predicted, *block)
            if transform is not None:
                transform_members(transform, predicted, predicted)
                after += _squares(predicted, *block)
        n = len(members) * max(1, n_obs)
        return before / n, None if transform is None else after / n

    def crps_before(self) -> dict[str, float]:
        """Return the score of the forecast's members; empty where there is no truth."""
        members = self._progress.survivors.get((Phase.FORECAST, self._step))
        return {} if members is None else self._crps(self._step, members)

    def _crps(self, step: int, members: Sequence[int]) -> dict[str, float]:
        """Return each variable's score against the truth; empty where there is none.

        A filter's prior and posterior of a cycle are scored at the cycle's end.
        """
        if (Phase.TRUTH, 0) not in self._progress.survivors:
            return {}
        cycling = bool(self._layout.cycles)
        source = self._store.forecasts if cycling and step == self._step else self._store
        truth_of, truth_step = (self._store.forecasts, self._step) if cycling else (self._store, 0)
        totals = dict.fromkeys((v.name for v in self._layout.variables), 0.0)
        slab = self._store.slab(len(members))
        for index in range(self._layout.n_slices):
            where = self._layout.slice(index)
            source.read_slice(step, where, members, slab)
            truth = truth_of.read_member(truth_step, TRUTH, where.start, where.stop)
            for variable, begin, end in self._layout.segments(where):
                totals[variable.name] += _score(slab[:, begin:end], truth[begin:end])
        return {v.name: totals[v.name] / v.size for v in self._layout.variables}


def _score(members: FloatArray, truth: FloatArray) -> float:
    size = max(1, BLOCK // len(members))
    starts = range(0, len(truth), size)
    return sum(float(crps(members[:, i : i + size], truth[i : i + size]).sum()) for i in starts)


def _squares(predicted: FloatArray, values: FloatArray, std: FloatArray) -> float:
    departures = (predicted - values) / std
    return float(np.einsum("ij,ij->", departures, departures))
