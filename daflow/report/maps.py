"""Maps of a field's mean and spread, prior and posterior side by side on shared colour scales."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from daflow.ports import FloatArray
from daflow.report.contents import FieldMaps, Moments
from daflow.report.style import LIGHT, Picture, canvas, to_svg
from daflow.report.wording import number

MAPS_SHOWN: Final = 12
NAMES_SHOWN: Final = 15
_LONGEST_SIDE: Final = 6.0
"""A field longer than this many times its width is stretched, and its panel says so."""
_WIDTH: Final = 4.0


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    colours: str


def map_panels(maps: FieldMaps, name: str) -> list[Picture]:
    """Return the panels of a field: mean and spread before and after, and the truth where it is known.

    Laws: panels of one kind share one colour scale; a field of a single row or column is drawn as a
    profile with its spread as a band.
    """
    if 1 in maps.prior.mean.shape:
        return [_profile(maps, name)]
    posterior = maps.posterior
    means = [maps.prior.mean] + ([] if posterior is None else [posterior.mean])
    spreads = [maps.prior.std] + ([] if posterior is None else [posterior.std])
    mean_scale = _scale([*means, *([] if maps.truth is None else [maps.truth])], "viridis")
    spread_scale = _scale([*spreads, np.zeros(1)], "magma")
    panels = [
        _map(maps, values, scale, (f"{when} {what}", f"{name}-{what}-{when}"))
        for what, fields, scale in (("mean", means, mean_scale), ("spread", spreads, spread_scale))
        for when, values in zip(("prior", "posterior"), fields, strict=False)
    ]
    if maps.truth is not None:
        panels.append(_map(maps, maps.truth, mean_scale, ("truth", f"{name}-truth")))
    return panels


def _map(maps: FieldMaps, values: FloatArray, scale: _Scale, titles: tuple[str, str]) -> Picture:
    title, name = titles
    x_first, x_last, y_first, y_last = maps.extent
    ratio = abs((y_last - y_first) / (x_last - x_first))
    stretched = not 1 / _LONGEST_SIDE <= ratio <= _LONGEST_SIDE
    height = (_WIDTH - 1) * (0.4 if stretched else min(ratio, 1.1)) + 0.4
    figure, axes = canvas(_WIDTH, height)
    image = axes.imshow(
        values,
        origin="lower",
        extent=maps.extent,
        aspect="auto" if stretched else "equal",
        vmin=scale.low,
        vmax=scale.high,
        cmap=scale.colours,
    )
    axes.grid(visible=False)
    axes.locator_params(nbins=5)
    _points(axes, maps)
    bar = figure.colorbar(image, cax=axes.inset_axes((1.03, 0, 0.035, 1)), ticks=MaxNLocator(5))
    bar.outline.set_visible(False)
    alt = f"Map of {maps.label}, {title}: {_range(values)}."
    note = "axes not to the same scale" if stretched else ""
    return Picture(title.capitalize(), note, to_svg(figure, name, alt))


def _points(axes: Axes, maps: FieldMaps) -> None:
    if not maps.points:
        return
    x, y = np.array(list(maps.points.values()), dtype=np.float64).T
    axes.plot(
        x, y, "o", markersize=4.5, markerfacecolor="white", markeredgecolor="black", markeredgewidth=0.9
    )
    if len(x) > NAMES_SHOWN:
        return
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.75, "linewidth": 0}
    middle = sum(maps.extent[:2]) / 2
    for name, (at_x, at_y) in maps.points.items():
        inward = (at_x > middle) != (maps.extent[1] < maps.extent[0])
        axes.annotate(
            name[:12],
            (at_x, at_y),
            (-5 if inward else 5, 0),
            textcoords="offset points",
            horizontalalignment="right" if inward else "left",
            verticalalignment="center",
            color="black",
            fontsize=6.5,
            bbox=box,
        )


def _profile(maps: FieldMaps, name: str) -> Picture:
    along_x = maps.prior.mean.shape[0] == 1
    first, last = maps.extent[:2] if along_x else maps.extent[2:]
    size = maps.prior.mean.size
    x = first + (np.arange(size) + 0.5) * (last - first) / size
    figure, axes = canvas(4.2, 2.5)
    _profile_band(axes, x, maps.prior, "prior")
    if maps.posterior is not None:
        _profile_band(axes, x, maps.posterior, "posterior")
    if maps.truth is not None:
        axes.plot(x, maps.truth.ravel(), color=LIGHT["truth"], linewidth=1.1, linestyle=(0, (4, 2)))
    axes.set_xlabel("x" if along_x else "y")
    alt = f"Profile of {maps.label}: prior mean {_range(maps.prior.mean)}."
    note = "mean, and one spread to either side: prior grey, posterior blue, truth dashed"
    return Picture("Profile", note, to_svg(figure, name, alt))


def _profile_band(axes: Axes, x: FloatArray, moments: Moments, name: str) -> None:
    mean, std = moments.mean.ravel(), moments.std.ravel()
    axes.fill_between(x, mean - std, mean + std, color=LIGHT[name], alpha=0.3, linewidth=0)
    axes.plot(x, mean, color=LIGHT[name], linewidth=1.3, marker="o" if len(x) < 3 else "")


def _scale(fields: Iterable[FloatArray], colours: str) -> _Scale:
    finite = np.concatenate([each[np.isfinite(each)] for each in fields])
    if not finite.size:
        return _Scale(0, 1, colours)
    low, high = float(finite.min()), float(finite.max())
    if low == high:  # a constant field still needs a scale to stand on
        pad = abs(low) / 10 or 1.0
        return _Scale(low, low + pad, colours)
    return _Scale(low, high, colours)


def _range(values: FloatArray) -> str:
    finite = values[np.isfinite(values)]
    return (
        f"from {number(float(finite.min()))} to {number(float(finite.max()))}" if finite.size else "no values"
    )
