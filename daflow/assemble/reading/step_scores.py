"""How good the predictions of a run's steps are, from what its store has of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from daflow.assemble.reading.judged import desroziers
from daflow.errors import DataError
from daflow.names import TRUTH, Phase
from daflow.numerics.diagnostics.scores import Scores, mean_misfits, scores_of
from daflow.ports import FloatArray, ObservationTable, Store
from daflow.report import StepScores
from daflow.report.groups import observation_groups
from daflow.runs.decide import Plan
from daflow.runs.facts import Progress


@dataclass(frozen=True)
class Scoring:
    """Reads a step's predictions when it is asked for their scores, and keeps none of them.

    Observations that some member has no prediction of are left out. Memory: the predictions of a step, a few
    times.

    Parameters
    ----------
    plan, store, progress
        Of the run, which has observations.
    """

    plan: Plan
    store: Store
    progress: Progress

    @cached_property
    def table(self) -> ObservationTable:
        """The observation table."""
        return self.store.read_observations().table

    @cached_property
    def groups(self) -> list[str]:
        """Labels of the groups of observations, as the report has them."""
        return [group.label for group in observation_groups(self.table)]

    @property
    def group_sizes(self) -> list[int]:
        """How many observations each group has."""
        return [int(size) for size in np.bincount(self._codes)]

    @cached_property
    def _codes(self) -> NDArray[np.int64]:
        codes = np.empty(len(self.table["value"]), dtype=np.int64)
        for number, group in enumerate(observation_groups(self.table)):
            codes[group.rows] = number
        return codes

    @property
    def has_truth(self) -> bool:
        """Whether predictions can be held against a truth."""
        return self.plan.twin and (Phase.TRUTH, 0) in self.progress.survivors

    @cached_property
    def truth(self) -> FloatArray:
        """What the truth predicts of all observations (n_obs,)."""
        truth: FloatArray = self.store.read_predicted(0, [TRUTH], 0, self.store.layout.n_obs)[0]
        return truth

    @property
    def steps(self) -> list[int]:
        """The steps whose forecast is complete and observed."""
        every = range(self.plan.n_steps + 1)
        done = [step for step in every if (Phase.FORECAST, step) in self.progress.survivors]
        return [step for step in done if len(self.store.layout.obs_of(step))]

    def members(self, step: int) -> tuple[int, ...]:
        """Return who came through a step's forecast."""
        return self.progress.survivors[Phase.FORECAST, step]

    def read(self, step: int, members: Sequence[int]) -> FloatArray:
        """Return what members predict of the observations that a step has (n_members, n)."""
        return self.store.read_predicted(step, members, 0, len(self.store.layout.obs_of(step)))

    def at(self, step: int) -> StepScores:
        """Return the scores of a step's predictions."""
        predicted = self.read(step, self.members(step))
        kept, predicted = self._kept(step, predicted)
        groups = len(self.groups)
        if not kept.size:
            return StepScores(step, np.full(groups, np.nan))
        value, std = (np.asarray(self.table[name], dtype=np.float64)[kept] for name in ("value", "error_std"))
        misfit = mean_misfits(predicted, value, std, self._codes[kept], groups)
        sizes = np.bincount(self._codes[kept], minlength=groups)
        overall = float(np.nansum(misfit * sizes)) / kept.size
        scored = self.has_truth and len(predicted) > 1
        truth = self._scores(kept, predicted, std) if scored else None
        return StepScores(step, misfit, overall, truth)

    def _kept(self, step: int, predicted: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
        rows = np.asarray(self.store.layout.obs_of(step), dtype=np.int64)
        there = np.isfinite(predicted).all(axis=0)
        return (rows, predicted) if there.all() else (rows[there], predicted[:, there])

    def _scores(self, kept: NDArray[np.int64], predicted: FloatArray, std: FloatArray) -> Scores | None:
        truth = self.truth[kept]
        there = np.isfinite(truth)
        if not there.any():
            return None
        return scores_of(predicted[:, there], truth[there], std[there])

    @cached_property
    def ratio_kinds(self) -> list[str]:
        """The kinds of observation whose errors forecasts before and after all updates can diagnose.

        None before a run has come to its end, nor where a step has observations of its own, for nobody
        forecasts these again.
        """
        last = self._last
        if self.store.layout.cycles or last < 1 or not {0, last} <= set(self.steps):
            return []
        if len(self.members(last)) < 2:
            return []
        return list(dict.fromkeys(np.asarray(self.table["kind"], dtype=str).tolist()))

    @property
    def _last(self) -> int:
        return self.plan.n_updates(self.progress)

    def error_ratios(self) -> dict[str, float]:
        """Return diagnosed over assumed standard deviations of the errors, by kind of observation."""
        if not self.ratio_kinds:
            return {}
        try:
            found = desroziers(self.store, self.progress, self._last)
        except DataError:  # every observation was left out
            return {}
        return dict(zip(found["kind"].values.tolist(), found["ratio"].values.tolist(), strict=True))
