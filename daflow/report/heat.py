"""Tables as pictures: a row a group of observations or a step, a column a step or a slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import FuncFormatter, MaxNLocator

from daflow.ports import FloatArray
from daflow.report.figures import legend_word
from daflow.report.steps import StepScores, StepUpdate
from daflow.report.style import Picture, canvas, to_svg
from daflow.report.wording import decimal, number

ROWS: Final = 24
WRITTEN: Final = 10
"""Up to so many columns, the numbers stand in their cells."""
LEAST_SLICES: Final = 4
"""Fewer slices are no picture: the variables say it all."""
MOST_COLUMNS: Final = 400
SMALL: Final = 0.1
"""Misfits below are as good: of single observations some happen to be next to 0."""
COLOURS: Final = "viridis"


def group_misfits(groups: Sequence[str], found: Sequence[StepScores]) -> Picture | None:
    """Draw the misfit of each group of observations at each step, the worst group on top.

    ``None`` before there are two steps to compare, or where there is only one group.
    """
    if len(groups) < 2 or len(found) < 2:
        return None
    table = np.stack([each.misfit for each in found], axis=1)
    # Of many steps each has observations of its own, and the last one says no more than any other.
    worst = np.array([(_mean if len(found) > WRITTEN else _last)(row) for row in table])
    order = np.argsort(-worst, kind="stable")[:ROWS]
    steps = [each.step for each in found]
    figure, axes = canvas(8.6 if len(steps) > WRITTEN else 5.2, 0.75 + 0.225 * len(order))
    shown = table[order]
    scale = LogNorm(*_positive_range(shown))
    _cells(axes, shown, scale, steps)
    axes.set_yticks(range(len(order)), [legend_word(groups[row]).strip() for row in order])
    if len(steps) <= WRITTEN:
        _write(axes, shown, scale)
        axes.set_xticks(range(len(steps)), [str(step) for step in steps])
    else:
        bar = figure.colorbar(axes.images[0], ax=axes, format=FuncFormatter(decimal), pad=0.01)
        bar.outline.set_visible(False)
    axes.set_xlabel("step")
    left = len(groups) - len(order)
    note = f"the {len(order)} worst of {len(groups)}" if left else ""
    alt = f"Misfit by group and step. The worst is {groups[order[0]]}: {number(float(worst[order[0]]))}."
    return Picture("Mean misfit per observation", note, to_svg(figure, "groups", alt))


def slice_moves(updates: Sequence[StepUpdate]) -> Picture | None:
    """Draw how far each update moved each slice of the state, a row an update.

    ``None`` where nobody noted it, and where there are so few slices that variables say it all.
    """
    noted = [each for each in updates if np.isfinite(each.by_slice).any()]
    if not noted or len(noted[0].by_slice) < LEAST_SLICES:
        return None
    n_slices = len(noted[0].by_slice)
    table = _thinned(np.stack([each.by_slice for each in noted]))
    figure, axes = canvas(8.6 if n_slices > 2 * WRITTEN else 5.2, 0.85 + min(0.24 * len(noted), 3.0))
    high = float(np.nanmax(table)) or 1.0
    image = axes.imshow(
        table,
        aspect="auto",
        interpolation="nearest",
        cmap=COLOURS,
        norm=Normalize(0, high),
        extent=(-0.5, n_slices - 0.5, len(noted) - 0.5, -0.5),
    )
    axes.grid(visible=False)
    if len(noted) <= ROWS:
        axes.set_yticks(range(len(noted)), [str(each.step) for each in noted])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("slice of the state")
    axes.set_ylabel("step")
    bar = figure.colorbar(image, ax=axes, pad=0.01, ticks=MaxNLocator(3))
    bar.outline.set_visible(False)
    note = f"{MOST_COLUMNS} stripes, each the furthest of its slices" if n_slices > MOST_COLUMNS else ""
    alt = f"How far updates moved slices: at most {number(high)} prior standard deviations."
    return Picture(
        "How far updates moved each slice, in prior standard deviations", note, to_svg(figure, "slices", alt)
    )


def _thinned(table: FloatArray) -> FloatArray:
    """Return the largest of each stripe of columns."""
    n = table.shape[1]
    if n <= MOST_COLUMNS:
        return table
    starts = np.linspace(0, n, MOST_COLUMNS, endpoint=False).astype(np.int64)
    stripes: FloatArray = np.fmax.reduceat(table, starts, axis=1)
    return stripes


def _last(row: FloatArray) -> float:
    there = row[np.isfinite(row)]
    return float(there[-1]) if there.size else 0.0


def _mean(row: FloatArray) -> float:
    there = row[np.isfinite(row)]
    return float(there.mean()) if there.size else 0.0


def _positive_range(table: FloatArray) -> tuple[float, float]:
    there = table[np.isfinite(table) & (table > 0)]
    low, high = (float(there.min()), float(there.max())) if there.size else (0.5, 2.0)
    return max(min(low, 0.8), SMALL), max(high, 1.25)


def _cells(axes: Axes, table: FloatArray, scale: Normalize, steps: Sequence[int]) -> None:
    low, high = scale.vmin or 0.0, scale.vmax or 1.0
    axes.imshow(np.clip(table, low, high), aspect="auto", interpolation="nearest", cmap=COLOURS, norm=scale)
    axes.grid(visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: _step_at(steps, place)))


def _step_at(steps: Sequence[int], place: float) -> str:
    return str(steps[round(place)]) if 0 <= round(place) < len(steps) else ""


def _write(axes: Axes, table: FloatArray, scale: Normalize) -> None:
    colours = mpl.colormaps[COLOURS](scale(np.clip(table, scale.vmin, scale.vmax)))
    light = colours[..., :3] @ (0.299, 0.587, 0.114) > 0.55
    for (row, column), value in np.ndenumerate(table):
        if np.isfinite(value):
            colour = "black" if light[row, column] else "white"
            axes.text(
                column, row, number(float(value), 2), color=colour, ha="center", va="center", fontsize=7.5
            )
