"""How a filter does from cycle to cycle, from what its updates noted: no state is read for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from daflow.assemble.reading.step_figures import step_figures, step_updates
from daflow.execution.tasks.truth import ERROR_AFTER, ERROR_BEFORE
from daflow.names import Phase, Status
from daflow.records import Layout, Outcome
from daflow.report import CycleScores

CHI_SQUARE = "chi_square"


def cycle_scores(outcomes: Sequence[Outcome], layout: Layout) -> list[CycleScores]:
    """Return the scores of every cycle whose update is done; none where there are no cycles."""
    if not layout.cycles:
        return []
    of_cycle = [each for each in step_updates(outcomes, layout) if layout.cycles[each.step].goes_on]
    chi_square = {each.step: each.figures.get(CHI_SQUARE) for each in step_figures(outcomes)}
    errors, smoothed = (
        _squared_errors(outcomes, phase, layout.n_slices) for phase in (Phase.UPDATE, Phase.SMOOTH)
    )

    def repeated(step: int) -> bool:
        return layout.first_of(step) < step

    return [
        CycleScores(
            each.step,
            layout.cycles[each.step].stop,
            # What a repeated cycle goes on from is its analysis: of the forecast before nothing was noted.
            {} if repeated(each.step) else each.before,
            each.after,
            {} if repeated(each.step) else _rms(ERROR_BEFORE, errors.get(each.step, {}), layout),
            _rms(ERROR_AFTER, errors.get(each.step, {}), layout),
            chi_square.get(layout.first_of(each.step)),
            # What a cycle ends with, the next one starts from.
            _rms(ERROR_AFTER, smoothed.get(each.step + 1, {}), layout),
        )
        for each in of_cycle
    ]


def _squared_errors(outcomes: Sequence[Outcome], phase: Phase, n_slices: int) -> dict[int, dict[str, float]]:
    """Return the sums over all slices of a step's update or smoothing, of steps of which all are done."""
    done = {
        (o.task.step, o.task.index): o for o in outcomes if o.task.phase is phase and o.status is Status.OK
    }
    whole = Counter(step for step, _ in done)
    sums: dict[int, dict[str, float]] = {}
    for (step, _), outcome in done.items():
        if whole[step] < n_slices:
            continue
        of_step = sums.setdefault(step, {})
        for name, value in outcome.figures.items():
            if name.startswith((ERROR_BEFORE, ERROR_AFTER)):
                of_step[name] = of_step.get(name, 0.0) + value
    return sums


def _rms(which: str, sums: Mapping[str, float], layout: Layout) -> dict[str, float]:
    return {
        variable.name: float(np.sqrt(sums[which + variable.name] / variable.size))
        for variable in layout.variables
        if which + variable.name in sums
    }
