"""Pictures of what changes from step to step: chi-square, signal, how far updates go, errors and the CRPS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from daflow.numerics.diagnostics.scores import Scores
from daflow.ports import FloatArray
from daflow.report.figures import LINES, VARIABLES_SHOWN, decimal_ticks, legend_word
from daflow.report.steps import StepFigures, StepUpdate
from daflow.report.style import LIGHT, REFERENCE, Picture, canvas, to_svg
from daflow.report.wording import number

MARKED: Final = 40
"""Up to so many steps each has a dot."""
WIDE: Final = 20.0
"""Values that differ by more than this factor go on a logarithmic axis."""
TOLD: Final = 8
"""So many values are told to a reader who cannot see the picture."""


def chi_square(figures: Sequence[StepFigures]) -> Picture | None:
    """Draw the innovations' chi-square a degree of freedom by step; ``None`` where nobody noted it."""
    steps, values = _noted(figures, "chi_square")
    if not steps.size:
        return None
    figure, axes = canvas(4.2, 2.5)
    _line(axes, steps, values, "posterior")
    _from_zero_or_logarithmic(axes, np.append(values, 1.0))
    axes.axhline(1, **REFERENCE)
    _step_axis(axes, steps)
    alt = f"Chi-square of the innovations. {_told(steps, values)}."
    return Picture("Chi-square of the innovations", "", to_svg(figure, "chi", alt))


def signal(figures: Sequence[StepFigures], n_members: int) -> Picture | None:
    """Draw degrees of freedom for signal and directions of the predictions; ``None`` without the former."""
    steps, values = _noted(figures, "dfs")
    if not steps.size:
        return None
    figure, axes = canvas(4.2, 2.5)
    _line(axes, steps, values, "posterior", "for signal")
    others, ranks = _noted(figures, "effective_rank")
    if others.size:
        _line(axes, others, ranks, "compute", "effective rank of the predictions")
    top = max(float(np.max(values)), float(np.max(ranks, initial=0)))
    if n_members - 1 <= 4 * top:
        axes.axhline(n_members - 1, **REFERENCE)
        top = max(top, n_members - 1)
    axes.set_ylim(0, 1.12 * top or 1)
    _legend(axes)
    _step_axis(axes, steps)
    alt = f"Degrees of freedom for signal. {_told(steps, values)}."
    return Picture("Degrees of freedom", "", to_svg(figure, "dfs", alt))


def moves(updates: Sequence[StepUpdate]) -> Picture | None:
    """Draw how far each update moved the mean of each variable; ``None`` where nobody noted it."""
    noted = [each for each in updates if each.moved_in_spread]
    if not noted:
        return None
    steps = np.array([each.step for each in noted])
    size: Mapping[str, float] = {
        name: max(each.moved_in_spread.get(name, 0.0) for each in noted) for name in noted[0].moved_in_spread
    }
    names = sorted(size, key=lambda name: -size[name])
    figure, axes = canvas(4.2, 2.5)
    drawn = []
    for name, colour in zip(names[:VARIABLES_SHOWN], LINES, strict=False):
        values = np.array([each.moved_in_spread.get(name, np.nan) for each in noted])
        _line(axes, steps, values, colour, legend_word(name))
        drawn.append(values)
    axes.set_ylim(0, 1.15 * float(np.nanmax(drawn)) or 1)
    axes.set_ylabel("prior standard deviations")
    _legend(axes)
    _step_axis(axes, steps)
    beyond = len(names) - VARIABLES_SHOWN
    note = f"{beyond} more variables moved less" if beyond > 0 else ""
    alt = "How far updates moved the mean. " + "; ".join(
        f"{name}: at most {number(size[name])}" for name in names
    )
    return Picture("How far updates moved the mean", note, to_svg(figure, "moves", alt + "."))


def scores(steps: Sequence[int], found: Sequence[Scores]) -> Picture:
    """Draw the CRPS by step in its two parts, with error and spread of the mean beside."""
    figure, axes = canvas(4.2, 2.5)
    at = np.array(steps)
    reliability = np.array([each.crps.reliability for each in found])
    potential = np.array([each.crps.potential for each in found])
    _stacked(axes, at, np.zeros(len(at)), potential, ("prior", "CRPS, potential part"))
    _stacked(axes, at, potential, reliability, ("compute", "CRPS, reliability part"))
    _line(axes, at, np.array([each.rmse for each in found]), "truth", "error of the mean")
    _line(axes, at, np.array([each.spread for each in found]), "posterior", "error to expect from the spread")
    axes.set_ylabel("in units of the errors of the data")
    top = max(max(each.rmse, each.spread, each.crps.score) for each in found)
    axes.set_ylim(0, 1.5 * top or 1)
    _legend(axes)
    _step_axis(axes, at)
    told = _told(at, reliability + potential)
    return Picture(
        "Errors against the truth", "", to_svg(figure, "crps", f"CRPS of the predictions. {told}.")
    )


def error_ratios(ratios: Mapping[str, float]) -> Picture | None:
    """Draw diagnosed over assumed standard deviations of the observations' errors, a dot a kind."""
    if not ratios:
        return None
    names = sorted(ratios, key=lambda name: -abs(np.log(max(ratios[name], 1e-3))))[:24]
    figure, axes = canvas(4.2, 0.9 + 0.24 * len(names))
    values = np.array([ratios[name] for name in names])
    rows = np.arange(len(names))
    axes.hlines(rows, 1, values, color=LIGHT["posterior"], linewidth=1.4)
    axes.plot(values, rows, "o", color=LIGHT["posterior"], markersize=5)
    axes.axvline(1, **REFERENCE)
    axes.set_yticks(rows, [legend_word(name).strip() for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1.15 * max(float(values.max()), 1.0))
    axes.set_xlabel("diagnosed / assumed standard deviation")
    axes.grid(visible=False, axis="y")
    note = f"{len(ratios) - len(names)} more are nearer to 1" if len(ratios) > len(names) else ""
    alt = "Errors of observations, diagnosed over assumed. " + _named(names, values)
    return Picture("Diagnosed over assumed errors", note, to_svg(figure, "ratios", alt))


def _noted(figures: Sequence[StepFigures], name: str) -> tuple[FloatArray, FloatArray]:
    there = [
        (each.step, each.figures[name]) for each in figures if np.isfinite(each.figures.get(name, np.nan))
    ]
    pairs = np.array(there, dtype=np.float64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _line(axes: Axes, steps: FloatArray, values: FloatArray, colour: str, label: str = "") -> None:
    marker = "o" if len(steps) <= MARKED else ""
    axes.plot(
        steps, values, color=LIGHT[colour], linewidth=1.4, marker=marker, markersize=4.5, label=label or None
    )


def _stacked(
    axes: Axes, at: FloatArray, below: FloatArray, height: FloatArray, named: tuple[str, str]
) -> None:
    colour, label = LIGHT[named[0]], named[1]
    if len(at) <= MARKED:
        axes.bar(at, height, 0.62, below, color=colour, alpha=0.8, label=label)
    else:
        axes.fill_between(at, below, below + height, color=colour, alpha=0.8, linewidth=0, label=label)


def _legend(axes: Axes) -> None:
    axes.legend(frameon=False, loc="best", fontsize=7.5)


def _step_axis(axes: Axes, steps: FloatArray) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(float(min(steps)) - 0.5, float(max(steps)) + 0.5)
    axes.set_xlabel("step")


def _from_zero_or_logarithmic(axes: Axes, values: FloatArray) -> None:
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > WIDE * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.4, high * 1.4)
        decimal_ticks(axes.yaxis, few=high / low > 300)
    else:
        axes.set_ylim(0, 1.12 * high)


def _told(steps: FloatArray, values: FloatArray) -> str:
    pairs = list(zip(steps, values, strict=True))
    shown = pairs if len(pairs) <= TOLD else [*pairs[: TOLD - 1], pairs[-1]]
    return ", ".join(f"step {step:g}: {number(float(value))}" for step, value in shown)


def _named(names: Sequence[str], values: FloatArray) -> str:
    return (
        "; ".join(f"{name}: {number(float(value))}" for name, value in zip(names, values, strict=True)) + "."
    )
