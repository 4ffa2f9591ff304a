"""Analyses of the same forecast side by side: what a run's branches made of it, in one picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from daflow.report.style import LIGHT, REFERENCE, Picture, canvas, drawing, to_svg
from daflow.report.wording import number

VARIABLES_DRAWN: Final = 4
_COLOURS: Final = (("posterior", "o"), ("compute", "D"), ("write", "s"), ("truth", "^"))
_LONGEST_NAME: Final = 30


@dataclass(frozen=True, slots=True)
class AnalysisFigures:
    """What an analysis made of a forecast; what is not known is left out or None."""

    name: str
    """Of the branch; of the run that it branched off from."""
    step: int
    state: str
    """``analysed``, ``finished``, ``interrupted``: as `daflow.runs.status.RunStatus`."""
    changed: Mapping[str, Any] = field(default_factory=dict)
    """The settings that differ from the run's: dotted key -> value."""
    misfit_before: float | None = None
    """The members' mean misfit per observation: about 1 where they explain them as well as errors allow."""
    misfit_linear: float | None = None
    """The same of the posterior were the model linear: where one transform of the members is the update."""
    misfit_after: float | None = None
    """The same of the posterior's forecast, where there is one."""
    chi_square: float | None = None
    """Of the innovations, per observation: 1 where spread and errors explain them."""
    dfs: float | None = None
    """Degrees of freedom for signal: how many numbers the observations determine."""
    spread_reduction: Mapping[str, float] = field(default_factory=dict)
    """Variable -> the share of its mean standard deviation that the update took away."""
    moved: Mapping[str, float] = field(default_factory=dict)
    """Variable -> how far the mean moved, in prior standard deviations: root mean square over its numbers."""
    crps_before: Mapping[str, float] = field(default_factory=dict)
    crps: Mapping[str, float] = field(default_factory=dict)
    """Variable -> continuous ranked probability score against a twin's truth, in its unit: 0 is perfect."""
    seconds: float | None = None
    """What the tasks of the analysis took, summed up."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


Values = Callable[[AnalysisFigures], Mapping[str, float | None]]


@dataclass(frozen=True, slots=True)
class _Panel:
    """One axis: what is drawn of each analysis, a colour each."""

    title: str
    label: str
    values: Values
    target: float | None = None
    """Where one wants to be."""


_PANELS: Final = (
    _Panel(
        "Misfit",
        "misfit per observation",
        lambda row: {
            "before": row.misfit_before,
            "after, if linear": row.misfit_linear,
            "after, forecast": row.misfit_after,
        },
        1.0,
    ),
    _Panel("Signal", "degrees of freedom for signal", lambda row: {"dfs": row.dfs}),
    _Panel(
        "Spread",
        "spread taken away, %",
        lambda row: {name: 100 * each for name, each in row.spread_reduction.items()},
    ),
    _Panel("Update of the mean", "move of the mean, prior spreads", lambda row: row.moved),
    _Panel(
        "CRPS",
        "CRPS against the truth, % of the prior's",
        lambda row: {
            name: 100 * after / row.crps_before[name]
            for name, after in row.crps.items()
            if row.crps_before.get(name)
        },
    ),
    _Panel("Time", "seconds of tasks", lambda row: {"seconds": row.seconds}),
)


def comparison_pictures(rows: Sequence[AnalysisFigures]) -> list[Picture]:
    """Return the pictures of analyses for a page, one for each thing that is known of any."""
    return [_picture(panel, rows, f"analyses{i}") for i, panel in enumerate(_panels(rows))]


def _picture(panel: _Panel, rows: Sequence[AnalysisFigures], name: str) -> Picture:
    figure, axes = canvas(4.2, 0.9 + 0.2 * len(rows))
    _draw(axes, panel, rows)
    told = "; ".join(
        f"{row.name}, step {row.step}: {what} {number(value)}"
        for row in rows
        for what, value in _known(panel.values(row)).items()
    )
    return Picture(panel.title, "", to_svg(figure, name, f"{panel.title}. {told}."))


def save_comparison(rows: Sequence[AnalysisFigures], stem: Path) -> list[Path]:
    """Draw analyses into two files beside each other, ``.png`` and ``.svg``; return where they are."""
    paths = [stem.with_suffix(suffix) for suffix in (".png", ".svg")]
    with drawing(), mpl.rc_context({"svg.hashsalt": stem.name}):
        figure = _drawn(rows)
        for path in paths:
            figure.savefig(
                path, facecolor="white", dpi=150, metadata={"Date": None} if path.suffix == ".svg" else {}
            )
    return paths


def _drawn(rows: Sequence[AnalysisFigures]) -> Figure:
    panels = _panels(rows)
    n_columns = min(3, max(1, len(panels)))
    n_lines = max(1, -(-len(panels) // n_columns))
    figure = Figure(figsize=(1.6 + 2.7 * n_columns, n_lines * (1.1 + 0.24 * len(rows))), layout="constrained")
    grid = figure.subplots(n_lines, n_columns, squeeze=False, sharey=True)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw(axes, panel, rows)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    return figure


def _panels(rows: Sequence[AnalysisFigures]) -> list[_Panel]:
    return [panel for panel in _PANELS if any(_known(panel.values(row)) for row in rows)]


def _draw(axes: Axes, panel: _Panel, rows: Sequence[AnalysisFigures]) -> None:
    several = len({row.step for row in rows}) > 1
    names = list(dict.fromkeys(name for row in rows for name in _known(panel.values(row))))
    for name, (colour, marker) in zip(names[:VARIABLES_DRAWN], _COLOURS, strict=False):
        found = [(_known(panel.values(row)).get(name), i) for i, row in enumerate(rows)]
        drawn = [(value, i) for value, i in found if value is not None]
        axes.plot(
            *zip(*drawn, strict=True),
            color=LIGHT[colour],
            linestyle="none",
            marker=marker,
            markersize=5,
            label=f" {name}",
        )
    if panel.target is not None:
        axes.axvline(panel.target, **REFERENCE)
    axes.set_xlabel(panel.label)
    axes.set_yticks(range(len(rows)), [_label(row, with_step=several) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.0), max(high, 0.0))
    if len(names) > 1:
        axes.legend(frameon=False, fontsize=7, ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.0))


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def _label(row: AnalysisFigures, *, with_step: bool) -> str:
    told = f"{row.name} @{row.step}" if with_step else row.name
    # Of a sweep the ends differ.
    return told if len(told) <= _LONGEST_NAME else f"…{told[1 - _LONGEST_NAME :]}"
