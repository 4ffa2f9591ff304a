"""What a run's journal has of its steps: figures of preparations, and updates put together from slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from daflow.execution.tasks.change import MOVED, MOVED_IN_SPREAD, SPREAD_AFTER, SPREAD_BEFORE
from daflow.names import LAST, LOCALIZED_AWAY, Phase, Status
from daflow.ports import FloatArray
from daflow.records import Layout, Outcome
from daflow.report import StepFigures, StepUpdate

PREPARING = (Phase.PREPARE, Phase.CONCLUDE)


def step_figures(outcomes: Iterable[Outcome]) -> list[StepFigures]:
    """Return what the preparations of updates noted, clocks apart, in the order of steps."""
    by_step: dict[int, dict[str, float]] = {}
    for outcome in _done(outcomes, PREPARING):
        told = by_step.setdefault(outcome.task.step, {})
        for name, value in outcome.figures.items():
            if name != LAST and not name.endswith("_seconds"):
                told[name] = value
    return [StepFigures(step, told) for step, told in sorted(by_step.items())]


def step_updates(outcomes: Iterable[Outcome], layout: Layout) -> list[StepUpdate]:
    """Return every update of which all slices are done, in the order of steps."""
    by_step: dict[int, list[Outcome]] = {}
    for outcome in _done(outcomes, (Phase.UPDATE,)):
        by_step.setdefault(outcome.task.step, []).append(outcome)
    whole = {step: slices for step, slices in by_step.items() if len(slices) == layout.n_slices}
    return [_update(step, slices, layout) for step, slices in sorted(whole.items())]


def _done(outcomes: Iterable[Outcome], phases: tuple[Phase, ...]) -> Iterator[Outcome]:
    """Yield one good end of each task: one that was given up as lost may have been done twice."""
    last = {(o.task.phase, o.task.step, o.task.index): o for o in outcomes if o.status is Status.OK}
    return (outcome for (phase, _, _), outcome in last.items() if phase in phases)


def _update(step: int, slices: list[Outcome], layout: Layout) -> StepUpdate:
    sizes = {variable.name: variable.size for variable in layout.variables}
    slices = sorted(slices, key=lambda outcome: outcome.task.index)

    def means(which: str, finish: Callable[[float], float] = float) -> dict[str, float]:
        """Return the mean over a variable's numbers, where every slice has its part of the sum."""
        return {
            name: finish(sum(parts) / size)
            for name, size in sizes.items()
            if (parts := _parts(which + name, name, slices, layout)) is not None
        }

    return StepUpdate(
        step,
        before=means(SPREAD_BEFORE),
        after=means(SPREAD_AFTER),
        moved=means(MOVED, _root),
        moved_in_spread=means(MOVED_IN_SPREAD, _root),
        by_slice=np.array([_moved_slice(outcome, layout) for outcome in slices]),
        localized_away=_away(slices, layout),
    )


def _root(square: float) -> float:
    return float(np.sqrt(square))


def _parts(figure: str, variable: str, slices: list[Outcome], layout: Layout) -> list[float] | None:
    parts = []
    for outcome in slices:
        if any(v.name == variable for v, _, _ in layout.segments(layout.slice(outcome.task.index))):
            if figure not in outcome.figures:
                return None
            parts.append(outcome.figures[figure])
    return parts


def _moved_slice(outcome: Outcome, layout: Layout) -> float:
    where = layout.slice(outcome.task.index)
    names = [MOVED_IN_SPREAD + variable.name for variable, _, _ in layout.segments(where)]
    squares = sum(outcome.figures.get(name, float("nan")) for name in names)
    return float(np.sqrt(squares / where.size))


def _away(slices: list[Outcome], layout: Layout) -> float | None:
    """Return the share over the whole state: every slice has as many pairs a number."""
    shares: FloatArray = np.array([o.figures.get(LOCALIZED_AWAY, np.nan) for o in slices])
    sizes = [layout.slice(outcome.task.index).size for outcome in slices]
    share = float(np.average(shares, weights=sizes))
    return share if np.isfinite(share) else None
