"""Pictures of predictions against the truth: rank histograms, and whether spread tells the error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes

from daflow.numerics.diagnostics.rank_histogram import divergence_from_uniform
from daflow.numerics.diagnostics.scores import ADDED, Scores
from daflow.ports import FloatArray
from daflow.report.figures import decimal_ticks
from daflow.report.style import LIGHT, REFERENCE, Picture, canvas, to_svg
from daflow.report.wording import count, number

BARS: Final = 12
"""Bars of a rank histogram: ranks are put together until a bar can be expected to have `CASES`."""
CASES: Final = 5
RANGE: Final = 300.0
"""A spread and an error of so much less than the largest are drawn at the edge."""
CHANCE: Final = 1.645
"""Standard deviations that hold nine in ten."""


def rank_panels(found: Mapping[str, Sequence[Scores]]) -> list[Picture]:
    """Return a rank histogram for each entry, whose scores are put together; all on one scale.

    ``found`` is name -> scores; a name in the palette is drawn in its colour.
    """
    counts = {name: _together([each.ranks for each in scores]) for name, scores in found.items()}
    bars = {name: _bars(each) for name, each in counts.items()}
    top = max(2.0, *(1.1 * float(np.max(ratio)) for ratio, _ in bars.values()))
    return [_histogram(name, counts[name], *bars[name], top) for name in found]


def _together(counts: Sequence[FloatArray]) -> FloatArray:
    """Add up histograms of equally many ranks, those that have the most cases: members may be lost."""
    cases: dict[int, float] = {}
    for each in counts:
        cases[len(each)] = cases.get(len(each), 0.0) + float(each.sum())
    size = max(cases, key=lambda length: cases[length])
    return np.asarray(np.sum([each for each in counts if len(each) == size], axis=0))


def _bars(counts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return count over expectation of each bar, and each bar's share of the ranks."""
    total = round(float(counts.sum()))
    n_bars = max(2, min(BARS, len(counts), total // CASES))
    parts = np.array_split(counts, n_bars)
    shares = np.array([len(part) for part in parts]) / len(counts)
    sums = np.array([part.sum() for part in parts])
    return sums / (shares * total), shares


def _histogram(name: str, counts: FloatArray, ratio: FloatArray, shares: FloatArray, top: float) -> Picture:
    total = round(float(counts.sum()))
    edges = np.append(0.0, np.cumsum(shares))
    figure, axes = canvas(4.2, 2.5)
    chance = CHANCE * np.sqrt((1 - shares) / (shares * total))
    axes.bar(
        edges[:-1], ratio, 0.94 * shares, align="edge", color=LIGHT.get(name, LIGHT["posterior"]), alpha=0.8
    )
    axes.stairs(
        1 + chance, edges, baseline=np.maximum(1 - chance, 0), fill=True, color=LIGHT["muted"], alpha=0.18
    )
    axes.axhline(1, **REFERENCE)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, top)
    axes.set_xticks([0, 1], ["lowest", "highest"])
    lowest, highest = axes.get_xticklabels()
    lowest.set_horizontalalignment("left")
    highest.set_horizontalalignment("right")
    axes.set_xlabel("rank of the truth among the members")
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("count / expected")
    divergence = number(divergence_from_uniform(counts, added=ADDED), 2)
    note = f"{count(total, 'observation')}, divergence {divergence}"
    told = ", ".join(number(float(each), 2) for each in ratio)
    alt = f"Rank histogram, {name}: counts over expected ones, from low ranks to high: {told}."
    return Picture(f"Ranks of the truth, {name}", note, to_svg(figure, f"rank-{name.replace(' ', '-')}", alt))


def spread_skill_panel(found: Mapping[str, Sequence[Scores]]) -> Picture:
    """Draw the error of the mean prediction against the error to be expected, by bins of the spread.

    ``found`` is as for `rank_panels`: many scores are one point each, few ones a point a bin.
    """
    clouds = {name: _points(scores) for name, scores in found.items()}
    there = np.concatenate([part for cloud in clouds.values() for part in cloud])
    high = float(there.max()) or 1.0
    low = max(float(there.min()), high / RANGE)
    figure, axes = canvas(4.2, 2.5)
    told, n_beyond = [], 0
    for name, (expected, error) in clouds.items():
        colour = LIGHT.get(name, LIGHT["posterior"])
        whole = _root_mean_square(found[name])
        axes.plot(
            np.maximum(expected, low), np.maximum(error, low), "o", color=colour, markersize=4, alpha=0.7
        )
        axes.plot([whole[0]], [whole[1]], "D", color=colour, markersize=7, markerfacecolor="none")
        n_beyond += int(np.count_nonzero((expected < low) | (error < low)))
        told.append(f"{name}: spread {number(whole[0])}, error {number(whole[1])}")
    _equal_axes(axes, low, high)
    axes.set_xlabel("error to expect from the spread")
    axes.set_ylabel("error of the mean")
    note = "diamonds: all together" + (f"; {n_beyond} at the edge are smaller" if n_beyond else "")
    alt = f"Spread and error: {'; '.join(told)}."
    return Picture("Spread and error", note, to_svg(figure, "skill", alt))


def _points(scores: Sequence[Scores]) -> tuple[FloatArray, FloatArray]:
    if len(scores) == 1:
        return scores[0].skill.spread, scores[0].skill.error
    return np.array([each.spread for each in scores]), np.array([each.rmse for each in scores])


def _root_mean_square(scores: Sequence[Scores]) -> tuple[float, float]:
    """Return spread and error over all, each observation counted once."""
    weights = [each.skill.n_cases.sum() for each in scores]
    spread, error = (
        float(np.sqrt(np.average(np.square(values), weights=weights)))
        for values in ([each.spread for each in scores], [each.rmse for each in scores])
    )
    return spread, error


def _equal_axes(axes: Axes, low: float, high: float) -> None:
    ends = (low / 1.3, high * 1.3)
    axes.plot(ends, ends, **REFERENCE)
    if high > 5 * low:
        axes.set_xscale("log")
        axes.set_yscale("log")
        decimal_ticks(axes.xaxis, few=high / low > 30)
        decimal_ticks(axes.yaxis, few=high / low > 300)
    axes.set_xlim(ends)
    axes.set_ylim(ends)
