"""The pictures of the run as a whole: misfit, spread and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from daflow.ports import FloatArray
from daflow.report.contents import PhaseTiming, StepSpread
from daflow.report.style import LIGHT, REFERENCE, Picture, canvas, to_svg
from daflow.report.wording import decimal, duration, number

BARS_SHOWN: Final = 24
VARIABLES_SHOWN: Final = 4
LONGEST_NAME: Final = 28
SHARES: Final = ("read", "model", "compute", "write")
LINES: Final = ("posterior", "compute", "write", "truth")
_LABELLED_STEPS: Final = 12


def misfit_by_step(steps: Sequence[int], misfits: Sequence[FloatArray]) -> Picture:
    """Draw each step's misfit over its members: 10, 50 and 90 % quantiles and the mean.

    Parameters
    ----------
    steps, misfits
        The steps, and of each the members' misfit per observation (n_members,).
    """
    quantiles = np.array([np.quantile(each, (0.1, 0.5, 0.9)) for each in misfits])
    means = np.array([each.mean() for each in misfits])
    figure, axes = canvas(4.2, 2.7)
    colour = LIGHT["posterior"]
    axes.fill_between(steps, quantiles[:, 0], quantiles[:, 2], color=colour, alpha=0.18, linewidth=0)
    axes.vlines(steps, quantiles[:, 0], quantiles[:, 2], color=colour, linewidth=1.4, alpha=0.7)
    axes.plot(steps, quantiles[:, 1], color=colour, linestyle="none", marker="_", markersize=10)
    axes.plot(steps, means, color=colour, linewidth=1.4, marker="o", markersize=4.5)
    _misfit_scale(axes, np.append(quantiles.ravel(), means))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(min(steps) - 0.4, max(steps) + 0.4)
    axes.set_xlabel("step (0: the prior)")
    told = ", ".join(f"step {step}: {number(mean)}" for step, mean in zip(steps, means, strict=True))
    return Picture("Misfit by step", "", to_svg(figure, "misfit", f"Mean misfit per observation. {told}."))


def misfit_against_spread(means: Sequence[float], spread: Sequence[StepSpread]) -> Picture | None:
    """Draw a path from prior to posterior, one point a step: spread left (x) against mean misfit (y).

    ``means`` and ``spread`` run over the same steps. A variable without prior spread is left out;
    ``None`` where that leaves nothing.
    """
    start = spread[0].mean_std if spread else {}
    drawn = [
        name
        for name, std in start.items()
        if std > 0 and all(np.isfinite(s.mean_std.get(name, np.nan)) for s in spread)
    ]
    if not drawn:
        return None
    figure, axes = canvas(4.2, 2.7)
    widest = 100.0
    for name, colour in zip(drawn[:VARIABLES_SHOWN], LINES, strict=False):
        shares = [100 * each.mean_std[name] / start[name] for each in spread]
        widest = max(widest, *shares)
        axes.plot(
            shares,
            means,
            color=LIGHT[colour],
            linewidth=1.4,
            marker="o",
            markersize=4.5,
            label=legend_word(name),
        )
        for each, share, mean in list(zip(spread, shares, means, strict=True))[:_LABELLED_STEPS]:
            axes.annotate(
                str(each.step), (share, mean), (5, -9), textcoords="offset points", color=LIGHT["muted"]
            )
    _misfit_scale(axes, np.array(means))
    axes.set_xlim(0, 1.06 * widest)
    axes.set_xlabel("spread left, % of the prior's")
    axes.legend(frameon=False, loc="best")
    beyond = len(drawn) - VARIABLES_SHOWN
    note = f"{beyond} more variables are in the table below" if beyond > 0 else ""
    told = ", ".join(f"{name} {number(100 * spread[-1].mean_std[name] / start[name])} %" for name in drawn)
    return Picture("Misfit against spread", note, to_svg(figure, "spread", f"Spread left: {told}."))


def wall_time(timings: Sequence[PhaseTiming]) -> Picture:
    """Draw the wall time of each phase and step as a bar."""
    labels, walls = _labels(timings), [each.wall_seconds for each in timings]
    figure, axes = canvas(4.2, 0.7 + 0.2 * len(labels))
    axes.barh(range(len(labels)), walls, color=LIGHT["posterior"], height=0.66)
    for row, wall in enumerate(walls):
        axes.annotate(duration(wall), (wall, row), (4, 0), textcoords="offset points", va="center")
    _bar_axes(axes, labels, "wall time, seconds")
    axes.set_xlim(0, 1.2 * max(walls) or 1)
    told = ", ".join(f"{label} {duration(wall)}" for label, wall in zip(labels, walls, strict=True))
    return Picture("Wall time", "", to_svg(figure, "wall", f"Wall time: {told}."))


def busy_shares(timings: Sequence[PhaseTiming]) -> Picture | None:
    """Draw what the tasks of each phase and step were busy with; ``None`` where nobody measured it."""
    measured = [
        each
        for each in timings
        if each.busy_seconds > 0 and any(f"{s}_seconds" in each.figures for s in SHARES)
    ]
    if not measured:
        return None
    labels = _labels(measured)
    figure, axes = canvas(4.2, 0.7 + 0.2 * len(labels))
    left = np.zeros(len(measured))
    for name in (*SHARES, "other"):
        widths = np.array([busy_split(each)[name] for each in measured])
        axes.barh(range(len(labels)), widths, left=left, color=LIGHT[name], height=0.66)
        left += widths
    _bar_axes(axes, labels, "share of busy time, %")
    axes.set_xlim(0, 100)
    told = "; ".join(
        f"{label}: " + ", ".join(f"{name} {share:.0f} %" for name, share in busy_split(each).items())
        for label, each in zip(labels, measured, strict=True)
    )
    return Picture("Busy with", "", to_svg(figure, "busy", f"Shares of busy time. {told}."))


def busy_split(timing: PhaseTiming) -> dict[str, float]:
    """Return the percentages of busy time that went into reading, the model, computing, writing and the rest.

    Laws: they sum to 100, none is negative.
    """
    parts = {name: max(timing.figures.get(f"{name}_seconds", 0.0), 0.0) for name in SHARES}
    # Clocks of parts and whole are read apart: the parts may come out a little longer.
    whole = max(timing.busy_seconds, sum(parts.values()))
    split = {name: 100 * seconds / whole if whole else 0.0 for name, seconds in parts.items()}
    return split | {"other": max(100 - sum(split.values()), 0.0)}


def shown_timings(timings: Sequence[PhaseTiming]) -> tuple[Sequence[PhaseTiming], str]:
    """Return the timings as they are, or summed by phase where they are too many, and what was done."""
    if len(timings) <= BARS_SHOWN:
        return timings, ""
    phases = list(dict.fromkeys(each.phase for each in timings))
    sums = [_summed([each for each in timings if each.phase == phase]) for phase in phases]
    return sums, f"{len(timings)} phases of steps are summed over the steps here."


def _summed(timings: Sequence[PhaseTiming]) -> PhaseTiming:
    names = sorted({name for each in timings for name in each.figures})
    return PhaseTiming(
        timings[0].phase,
        -1,
        sum(each.tasks for each in timings),
        sum(each.wall_seconds for each in timings),
        sum(each.busy_seconds for each in timings),
        {name: sum(each.figures.get(name, 0.0) for each in timings) for name in names},
    )


def timing_label(timing: PhaseTiming) -> str:
    """Return the words for a phase of a step; step -1 stands for all of them."""
    return f"{timing.phase}, all steps" if timing.step < 0 else f"{timing.phase} {timing.step}"


def _labels(timings: Sequence[PhaseTiming]) -> list[str]:
    return [timing_label(each) for each in timings]


def _bar_axes(axes: Axes, rows: Sequence[str], label: str) -> None:
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label)


def _misfit_scale(axes: Axes, values: FloatArray) -> None:
    axes.set_ylabel("misfit per observation")
    low, high = float(min(values.min(), 1)), float(max(values.max(), 1))
    if low > 0:  # a perfect fit has no place on a logarithmic axis
        axes.set_yscale("log")
        axes.set_ylim(low / 1.5, high * 1.5)
        decimal_ticks(axes.yaxis, few=high / low > 300)
    axes.axhline(1, **REFERENCE)


def decimal_ticks(axis: Axis, *, few: bool) -> None:
    """Write the ticks of a logarithmic axis as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1,) if few else (1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(decimal))


def legend_word(name: str) -> str:
    """Return a name as a legend may show it."""
    shown = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
    return f" {shown}"  # matplotlib leaves out what begins with an underscore
