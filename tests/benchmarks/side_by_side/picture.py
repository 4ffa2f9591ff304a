"""The picture of the results: for each case, how long the limit and the peers take beside daflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from side_by_side.limits import GEMM

MET, MISSED, PEER, LIMIT = "#2a7f4f", "#c0392b", "#4c6a92", "#999999"


def compared(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the aims of a case that are ratios to somebody."""
    return [aim for aim in record["aims"] if aim["against"] is not None]


def draw(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw a row a comparison: daflow at 1, the other at how much longer it took, the aim as a tick."""
    lines = [(record, aim) for record in results.values() for aim in compared(record)]
    if not lines:
        return
    # No day and no random names in the file: the same results give the same picture.
    with mpl.rc_context({"svg.hashsalt": "daflow", "font.size": 8}):
        figure = Figure(figsize=(10, 0.6 + 0.26 * len(lines)), layout="constrained")
        axes = figure.subplots()
        for height, (_, aim) in enumerate(reversed(lines)):
            _line(axes, height, aim)
        axes.axvline(1.0, color="black", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_yticks(range(len(lines)), [_label(record, aim) for record, aim in reversed(lines)])
        axes.set_ylim(-0.7, len(lines) - 0.3)
        axes.set_xlabel("seconds of the other for a second of daflow; ticks: the aim, reached where green")
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None})


def _label(record: Mapping[str, Any], aim: Mapping[str, Any]) -> str:
    return f"{record['case']}: {aim['against']}"


def _line(axes: Axes, height: int, aim: Mapping[str, Any]) -> None:
    share = aim["sense"] == "at least"
    times = aim["value"] if share else 1.0 / aim["value"]
    colour = LIMIT if share or aim["against"] == GEMM else PEER
    axes.plot([1.0, times], [height, height], color=colour, linewidth=3, solid_capstyle="butt")
    axes.annotate(f" {times:.3g}x", (max(1.0, times), height), va="center", fontsize=7)
    if aim["met"] is not None:
        wanted = aim["bound"] if share else 1.0 / aim["bound"]
        axes.plot(
            [wanted], [height], "|", color=MET if aim["met"] else MISSED, markersize=9, markeredgewidth=2
        )
