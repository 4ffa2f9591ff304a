"""The forecasts that a report shows, and of which observations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daflow.names import Phase
from daflow.ports import FloatArray, ObservationTable, Store
from daflow.report import StepPredictions
from daflow.runs.decide import Plan
from daflow.runs.facts import Progress

Forecast = tuple[int, Sequence[int], FloatArray]
"""A step, its members, and what these predict (n_members, n)."""


class Shown(NamedTuple):
    """Forecasts without holes, and the observations that they are of."""

    predictions: list[StepPredictions]
    rows: NDArray[np.int64]
    """(n_shown,) which observations of the run."""
    note: str
    """What is not shown, if anything."""

    def of(self, table: ObservationTable) -> ObservationTable:
        """Return the observations that are shown."""
        return {name: np.asarray(column)[self.rows] for name, column in table.items()}


def shown(plan: Plan, store: Store, progress: Progress) -> Shown:
    """Return the forecasts so far, of the observations that no member misses in any of them.

    A filter's are those of all cycles as one: each observation is predicted by the forecast of its own cycle;
    of members that leave, nothing is told.
    """
    n_obs = store.layout.n_obs
    found = list(_joined(store, progress) if store.layout.cycles else _by_step(plan, store, progress))
    if not found:
        return Shown([], np.arange(n_obs), "")
    there = np.logical_and.reduce([np.isfinite(predicted).all(axis=0) for _, _, predicted in found])
    rows, n_missed = np.flatnonzero(there), int((~there).sum())
    note = f"Pictures show {rows.size} observations; of {n_missed} some member's prediction is missing."
    if not rows.size:
        return Shown([], np.arange(n_obs), "No observation is predicted by every member: none is shown.")
    if not n_missed:
        return Shown([StepPredictions(*each) for each in found], rows, "")
    made = [StepPredictions(step, members, predicted[:, rows]) for step, members, predicted in found]
    return Shown(made, rows, note)


def _by_step(plan: Plan, store: Store, progress: Progress) -> Iterator[Forecast]:
    for step in range(plan.n_steps + 1):
        if (Phase.FORECAST, step) in progress.survivors:
            members = progress.survivors[Phase.FORECAST, step]
            yield step, members, store.read_predicted(step, members, 0, store.layout.n_obs)


def _joined(store: Store, progress: Progress) -> Iterator[Forecast]:
    layout = store.layout
    firsts = (s for s in range(len(layout.cycles)) if layout.first_of(s) == s)
    done = [s for s in firsts if (Phase.FORECAST, s) in progress.survivors]
    if done:
        members = progress.survivors[Phase.FORECAST, done[-1]]
        parts = [store.read_predicted(s, members, 0, len(layout.obs_of(s))) for s in done]
        yield 0, members, np.concatenate(parts, axis=1)
