"""Data match: observations against the prior and posterior ensemble's predictions, a panel a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from daflow.ports import FloatArray, ObservationTable
from daflow.report.contents import ReportContents, StepPredictions
from daflow.report.groups import Group, GroupMisfit
from daflow.report.style import LIGHT, Picture, canvas, to_svg
from daflow.report.wording import number

PANELS_SHOWN: Final = 12
POINTS_SHOWN: Final = 150
BY_RANK: Final = "observations, in rising order of value"
QUANTILES: Final = (0.05, 0.5, 0.95)


@dataclass(frozen=True, slots=True)
class _Axis:
    """Which rows of the table a panel shows, and where along x."""

    rows: NDArray[np.int64]
    x: NDArray[Any]
    label: str
    thinned: str


def match_panels(contents: ReportContents, misfits: Sequence[GroupMisfit]) -> list[Picture]:
    """Return a panel for each of the groups with the largest misfit, the worst first.

    A panel runs over time where its observations have times that differ, else over the observations in
    rising order of value. More than `POINTS_SHOWN` are thinned evenly, and the panel says so.
    """
    return [_panel(contents, each, f"match{i}") for i, each in enumerate(misfits[:PANELS_SHOWN])]


def _panel(contents: ReportContents, misfit: GroupMisfit, name: str) -> Picture:
    table, group = contents.observations, misfit.group
    axis = _along_time(table, group) or _along_rank(table, group)
    figure, axes = canvas(3.6, 2.2)
    _ensemble(axes, axis, contents.predictions[0], "prior")
    if misfit.posterior is not None:
        _ensemble(axes, axis, contents.predictions[-1], "posterior")
    if contents.truth is not None:
        axes.plot(
            axis.x, contents.truth[axis.rows], color=LIGHT["truth"], linewidth=1.1, linestyle=(0, (4, 2))
        )
    axes.errorbar(
        axis.x,
        table["value"][axis.rows],
        yerr=table["error_std"][axis.rows],
        fmt="o",
        markersize=2.4,
        elinewidth=0.8,
        color=LIGHT["ink"],
    )
    axes.set_xlabel(axis.label)
    if axis.label == BY_RANK:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    note = f"misfit {number(misfit.prior)}"
    if misfit.posterior is not None:
        note += f" → {number(misfit.posterior)}"
    alt = f"Data match of {group.label}: {len(group.rows)} observations, {note}."
    return Picture(group.label, note + axis.thinned, to_svg(figure, name, alt))


def _ensemble(axes: Axes, axis: _Axis, forecast: StepPredictions, name: str) -> None:
    low, middle, high = np.quantile(forecast.predicted[:, axis.rows], QUANTILES, axis=0)
    colour = LIGHT[name]
    if len(axis.x) < 3:  # a band through one or two points is hardly there: bars instead
        axes.vlines(axis.x, low, high, color=colour, linewidth=12 if name == "prior" else 6, alpha=0.45)
        axes.plot(axis.x, middle, color=colour, linestyle="none", marker="_", markersize=12)
        return
    axes.fill_between(axis.x, low, high, color=colour, alpha=0.32, linewidth=0)
    axes.plot(axis.x, middle, color=colour, linewidth=1.3)


def _along_time(table: ObservationTable, group: Group) -> _Axis | None:
    if "time" not in table:
        return None
    time = table["time"][group.rows]
    dated = time.dtype.kind == "M"
    if not dated and time.dtype.kind not in "iuf":
        return None
    if (np.isnat(time) if dated else ~np.isfinite(time)).any():
        return None
    order = np.argsort(time, kind="stable")
    time = time[order]
    if (time[1:] == time[:-1]).any():
        return None
    kept, thinned = _thinned(len(order))
    return _Axis(group.rows[order][kept], time[kept], "" if dated else "time", thinned)


def _along_rank(table: ObservationTable, group: Group) -> _Axis:
    order = np.argsort(table["value"][group.rows], kind="stable")
    kept, thinned = _thinned(len(order))
    return _Axis(group.rows[order][kept], kept.astype(np.float64) + 1, BY_RANK, thinned)


def _thinned(count: int) -> tuple[NDArray[np.int64], str]:
    if count <= POINTS_SHOWN:
        return np.arange(count), ""
    kept: FloatArray = np.linspace(0, count - 1, POINTS_SHOWN)
    return kept.round().astype(np.int64), f" · {POINTS_SHOWN} of {count:,} observations drawn"
