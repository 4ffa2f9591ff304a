"""Whether a run's answer is any good: its diagnostics as one labelled dataset, lazy where it reads arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed

from daflow.assemble.reading.step_figures import step_figures, step_updates
from daflow.assemble.reading.step_scores import Scoring
from daflow.numerics.diagnostics.scores import ADDED, N_BINS, Scores
from daflow.ports import FloatArray
from daflow.records import Layout, Outcome
from daflow.report import Diagnostics, StepFigures, StepScores, StepUpdate

STEP: Final = "step"
TOLD: Final[Mapping[str, tuple[str, str]]] = {
    "chi_square": (
        "innovations' chi-square a degree of freedom",
        "1 at step 0, above if dfs nears members - 1; below where data were used",
    ),
    "dfs": (
        "degrees of freedom for signal",
        "0: data tell nothing; members - 1: they tell all there is room for",
    ),
    "effective_rank": ("directions that the predictions have", "members - 1; 1: they differ in one way only"),
    "misfit": ("mean misfit per observation, with all of R", "1 once the data are explained"),
    "undiagnosed": ("the step's figures could not be found", "absent"),
    "mean_misfit": (
        "mean misfit per observation, in units of their standard deviations",
        "1, as group_misfit",
    ),
    "group_misfit": ("mean misfit per observation of a group", "1 once the data are explained"),
    "spread_before": ("mean standard deviation before the update, in the variable's unit", ""),
    "spread_after": ("mean standard deviation after the update, in the variable's unit", ""),
    "spread_reduction": ("share of the spread that the update took", "not 1: that is a collapse"),
    "update_rms": ("root mean square of how far an update took the mean from where it began", ""),
    "update_rms_in_spread": ("the same in standard deviations before", "1 or less; far above: overfitting"),
    "update_by_slice": ("the same over each slice of the state", "even where data are"),
    "localized_away": ("share of pairs of number and observation that are localized away", ""),
    "rmse": ("root mean square error of the mean prediction, in units of errors", "prediction_spread"),
    "prediction_spread": ("error to be expected of the mean from the spread, in units of errors", "rmse"),
    "crps": ("continuous ranked probability score, in units of errors", "small"),
    "crps_reliability": ("part of it that is a wrong spread or a bias", "0"),
    "crps_potential": ("part of it that would be left were the spread right", "small"),
    "rank_count": ("how many truths have each rank among the members", "flat"),
    "rank_divergence": (f"Kullback-Leibler, ranks from uniform, {ADDED:g} added to each", "0"),
    "skill_spread": ("error to be expected, by bins of the spread, in units of errors", "skill_error"),
    "skill_error": ("error that there is, by bins of the spread, in units of errors", "skill_spread"),
    "error_ratio": ("diagnosed over assumed standard deviation of errors (Desroziers et al., 2005)", "1"),
}
"""Variable -> what it is, and what it should be near."""


def diagnostics_of(scoring: Scoring, outcomes: Sequence[Outcome]) -> Diagnostics:
    """Return the diagnostics as the report tells them: read at once, a step in memory at a time."""
    return Diagnostics(
        groups=scoring.groups,
        figures=step_figures(outcomes),
        updates=step_updates(outcomes, scoring.store.layout),
        scores=[scoring.at(step) for step in scoring.steps],
        error_ratios=scoring.error_ratios(),
    )


def diagnosis(scoring: Scoring, outcomes: Sequence[Outcome]) -> xr.Dataset:
    """Return the diagnostics of a run, finished or not.

    What the journal has is there at once; what comes from predictions is lazy, and a step's predictions are
    read once for all of them that are computed together. What a step has not is NaN; what no step has is
    left out.

    Parameters
    ----------
    scoring
        The run's predictions.
    outcomes
        How its tasks ended.
    """
    figures, layout = step_figures(outcomes), scoring.store.layout
    updates = step_updates(outcomes, layout)
    numbers = {each.step for each in figures} | {each.step for each in updates} | set(scoring.steps)
    steps = list(range(max(numbers, default=-1) + 1))
    found = {
        **_of_figures(figures, steps),
        **_of_updates(updates, steps, layout),
        **_of_scores(scoring, steps),
        **_of_errors(scoring),
    }
    sizes = {dim: size for array in found.values() for dim, size in array.sizes.items()}
    coords = {
        STEP: (STEP, steps),
        "variable": ("variable", [variable.name for variable in layout.variables]),
        "group": ("group", scoring.groups),
        "group_size": ("group", scoring.group_sizes),
        "state_start": ("slice", [layout.slice(index).start for index in range(layout.n_slices)]),
        **{dim: (dim, np.arange(sizes.get(dim, 0))) for dim in ("slice", "rank", "bin")},
    }
    dataset = xr.Dataset(
        found, {name: (dim, values) for name, (dim, values) in coords.items() if dim in sizes}
    )
    for name, array in dataset.items():
        what, near = TOLD.get(str(name), ("noted by the method", ""))
        array.attrs = {"long_name": what} | ({"near": near} if near else {})
    return dataset


def _of_figures(figures: Sequence[StepFigures], steps: Sequence[int]) -> dict[str, xr.DataArray]:
    told = {each.step: each.figures for each in figures}
    names = dict.fromkeys(name for each in figures for name in each.figures)
    return {
        _own_name(name): xr.DataArray([told.get(s, {}).get(name, np.nan) for s in steps], dims=STEP)
        for name in names
    }


def _own_name(name: str) -> str:
    """Return a method's name for a figure, unless something else is called so here."""
    taken = [*list(TOLD)[list(TOLD).index("mean_misfit") :], STEP, "variable", "group"]
    return f"method_{name}" if name in taken else name


def _of_updates(
    updates: Sequence[StepUpdate], steps: Sequence[int], layout: Layout
) -> dict[str, xr.DataArray]:
    if not updates:
        return {}
    by_step = {each.step: each for each in updates}
    names = [variable.name for variable in layout.variables]

    def table(of: Callable[[StepUpdate], Mapping[str, float]]) -> xr.DataArray:
        rows = [of(by_step[s]) if s in by_step else {} for s in steps]
        return xr.DataArray(
            [[row.get(name, np.nan) for name in names] for row in rows], dims=(STEP, "variable")
        )

    before, after = table(lambda each: each.before), table(lambda each: each.after)
    nowhere = np.full(layout.n_slices, np.nan)
    slices = [by_step[s].by_slice if s in by_step else nowhere for s in steps]
    away = [by_step[s].localized_away if s in by_step else None for s in steps]
    found = {
        "spread_before": before,
        "spread_after": after,
        "spread_reduction": 1 - after / before.where(before > 0),
        "update_rms": table(lambda each: each.moved),
        "update_rms_in_spread": table(lambda each: each.moved_in_spread),
        "update_by_slice": xr.DataArray(np.array(slices), dims=(STEP, "slice")),
    }
    if any(share is not None for share in away):
        found["localized_away"] = xr.DataArray(np.array(away, dtype=np.float64), dims=STEP)
    return found


@dataclass(frozen=True, slots=True)
class _Row:
    """How one number, or a few, of the scores against the truth become a row."""

    take: Callable[[Scores], Any]
    dim: str = ""
    size: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,) if self.dim else ()


def _of_scores(scoring: Scoring, steps: Sequence[int]) -> dict[str, xr.DataArray]:
    there = scoring.steps
    if not there:
        return {}
    scores = {step: delayed(scoring.at, pure=False)(step) for step in there}

    def stacked(take: Callable[[StepScores], FloatArray], dim: str, shape: tuple[int, ...]) -> xr.DataArray:
        nothing = da.from_array(np.full(shape, np.nan))
        rows = [
            da.from_delayed(delayed(take)(scores[step]), shape, np.float64) if step in scores else nothing
            for step in steps
        ]
        return xr.DataArray(da.stack(rows), dims=(STEP, dim) if dim else (STEP,))

    found = {
        "mean_misfit": stacked(_overall, "", ()),
        "group_misfit": stacked(_misfit, "group", (len(scoring.groups),)),
    }
    if scoring.has_truth:
        for name, row in _truth_rows(scoring.store.layout.n_members).items():
            found[name] = stacked(partial(_filled, row), row.dim, row.shape)
    return found


def _overall(scores: StepScores) -> FloatArray:
    return np.asarray(scores.overall)


def _misfit(scores: StepScores) -> FloatArray:
    return scores.misfit


def _filled(row: _Row, scores: StepScores) -> FloatArray:
    """Return a row of its size: fewer members have fewer ranks, fewer observations fewer bins."""
    wanted = np.full(row.shape, np.nan)
    if scores.truth is not None:
        values = np.asarray(row.take(scores.truth), dtype=np.float64)
        wanted[tuple(slice(n) for n in values.shape)] = values
    return wanted


def _truth_rows(n_members: int) -> dict[str, _Row]:
    return {
        "rmse": _Row(lambda each: each.rmse),
        "prediction_spread": _Row(lambda each: each.spread),
        "crps": _Row(lambda each: each.crps.score),
        "crps_reliability": _Row(lambda each: each.crps.reliability),
        "crps_potential": _Row(lambda each: each.crps.potential),
        "rank_divergence": _Row(lambda each: each.divergence),
        "rank_count": _Row(lambda each: each.ranks, "rank", n_members + 1),
        "skill_spread": _Row(lambda each: each.skill.spread, "bin", N_BINS),
        "skill_error": _Row(lambda each: each.skill.error, "bin", N_BINS),
    }


def _of_errors(scoring: Scoring) -> dict[str, xr.DataArray]:
    kinds = scoring.ratio_kinds
    if not kinds:
        return {}
    ratios = delayed(scoring.error_ratios, pure=False)()
    lazy = da.from_delayed(delayed(_listed)(ratios, kinds), (len(kinds),), np.float64)
    return {"error_ratio": xr.DataArray(lazy, {"kind": kinds}, ("kind",))}


def _listed(ratios: Mapping[str, float], kinds: Sequence[str]) -> FloatArray:
    return np.array([ratios.get(kind, np.nan) for kind in kinds])


def rows_of(dataset: xr.Dataset) -> Iterator[tuple[str, xr.DataArray]]:
    """Yield the variables that have one number a step, in their order."""
    for name, array in dataset.items():
        if array.dims == (STEP,):
            yield str(name), array
