"""How a filter does from cycle to cycle: errors of its states against a truth, spread, and chi-square."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from daflow.report.style import LIGHT, REFERENCE, Picture, canvas, to_svg
from daflow.report.wording import number

VARIABLES_SHOWN: Final = 4
MARKED_CYCLES: Final = 60
"""With more cycles points have no marks: a line says it."""


@dataclass(frozen=True, slots=True)
class CycleScores:
    """How good a filter's states are at the end of a cycle.

    Parameters
    ----------
    step, time
        The number of the cycle, from 0 on, and when it ends.
    forecast_spread, analysis_spread
        Variable -> standard deviation over the members, mean over the variable's numbers, in its unit; the
        forecast's is empty, and so is its error, where the cycle was repeated.
    forecast_rmse, analysis_rmse
        Variable -> root mean square, over its numbers, of the mean's error against the truth; empty where
        nobody knows the truth.
    chi_square
        Of the innovations, a degree of freedom; ``None`` where the method does not note it.
    smoothed_rmse
        As the others, of the smoothed states at that time; empty where there is none.
    """

    step: int
    time: float
    forecast_spread: Mapping[str, float]
    analysis_spread: Mapping[str, float]
    forecast_rmse: Mapping[str, float]
    analysis_rmse: Mapping[str, float]
    chi_square: float | None = None
    smoothed_rmse: Mapping[str, float] = field(default_factory=dict)


def cycle_pictures(cycles: Sequence[CycleScores]) -> list[Picture]:
    """Return a picture a variable, of the first few, and one of chi-square where it is known."""
    if not cycles:
        return []
    names = list(cycles[0].analysis_spread)[:VARIABLES_SHOWN]
    pictures = [_errors(name, cycles, number) for number, name in enumerate(names)]
    if any(cycle.chi_square is not None for cycle in cycles):
        pictures.append(_chi_square(cycles))
    return pictures


def _errors(name: str, cycles: Sequence[CycleScores], place: int) -> Picture:
    figure, axes = canvas(4.2, 2.7)
    lines: dict[str, tuple[str, str, Callable[[CycleScores], Mapping[str, float]]]] = {
        "forecast error": ("prior", "-", lambda cycle: cycle.forecast_rmse),
        "forecast spread": ("prior", ":", lambda cycle: cycle.forecast_spread),
        "analysis error": ("posterior", "-", lambda cycle: cycle.analysis_rmse),
        "analysis spread": ("posterior", ":", lambda cycle: cycle.analysis_spread),
        "smoothed error": ("ink", "--", lambda cycle: cycle.smoothed_rmse),
    }
    told = []
    for label, (colour, style, of) in lines.items():
        values = np.array([of(cycle).get(name, np.nan) for cycle in cycles])
        if np.isnan(values).all():
            continue
        _line(axes, values, LIGHT[colour], style, label)
        known = values[~np.isnan(values)]
        told.append(f"{label} {number(float(known[0]))} to {number(float(known[-1]))}")
    _cycle_axis(axes, f"{name}, in its unit")
    axes.legend(frameon=False, loc="best")
    alt = f"{name} by cycle. {'; '.join(told)}."
    return Picture(name, "", to_svg(figure, f"cycle{place}", alt))


def _chi_square(cycles: Sequence[CycleScores]) -> Picture:
    figure, axes = canvas(4.2, 2.7)
    values = np.array([np.nan if each.chi_square is None else each.chi_square for each in cycles])
    _line(axes, values, LIGHT["posterior"], "-", "")
    axes.axhline(1, **REFERENCE)
    _cycle_axis(axes, "chi-square a degree of freedom")
    alt = f"Chi-square of the innovations by cycle, {number(float(np.nanmean(values)))} in the mean."
    return Picture("Innovations", "", to_svg(figure, "cyclechi", alt))


def _line(
    axes: Axes, values: np.ndarray[tuple[int], np.dtype[np.float64]], colour: str, style: str, label: str
) -> None:
    mark = "o" if len(values) <= MARKED_CYCLES and style == "-" else ""
    axes.plot(values, color=colour, linestyle=style, linewidth=1.4, marker=mark, markersize=3.5, label=label)


def _cycle_axis(axes: Axes, label: str) -> None:
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("cycle")
    axes.set_ylabel(label)
