"""Sections ``ensemble`` and ``grids``: how many members, and where cells lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from daflow.config.section import Name, Positive, Problem, Section
from daflow.records import Grid

Axis = Literal["x", "y", "z"]
AXES: Final[tuple[Axis, ...]] = ("x", "y", "z")
USUAL_DIMS: Final = ("layer", "row", "column")
USUAL_AXES: Final[tuple[Axis, ...]] = ("z", "y", "x")
Count = Annotated[int, Field(ge=1)]


class EnsembleSettings(Section):
    """How many members there are."""

    size: int = Field(default=100, ge=2, description="How many members, those excluded included.")
    exclude: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(), description="Numbers (from 0) of members that are left out from the start."
    )

    @property
    def members(self) -> tuple[int, ...]:
        """The numbers of the members that take part."""
        left_out = set(self.exclude)
        return tuple(member for member in range(self.size) if member not in left_out)

    def _problems(self) -> Iterator[Problem]:
        if beyond := [member for member in self.exclude if member >= self.size]:
            yield Problem("exclude", "there is no such member", beyond, f"0 to {self.size - 1}")
        if twice := [member for member, count in Counter(self.exclude).items() if count > 1]:
            yield Problem("exclude", "a member is named twice", twice)
        if len(self.members) < 2:
            yield Problem("exclude", "fewer than 2 members are left", len(self.members), "at least 2")


def _usual_dims(data: dict[str, Any]) -> tuple[str, ...]:
    return USUAL_DIMS[-len(data["shape"]) :]


def _usual_axes(data: dict[str, Any]) -> tuple[Axis, ...]:
    return USUAL_AXES[-len(data["shape"]) :]


class GridSettings(Section):
    """A regular grid of cells; lists run over its dimensions, the last one fastest in memory."""

    shape: tuple[Count, ...] = Field(
        min_length=1, max_length=3, description="How many cells there are along each dimension."
    )
    dims: tuple[Name, ...] = Field(
        default_factory=_usual_dims,
        description="The dimensions' names; default: the last of [layer, row, column].",
    )
    axes: tuple[Axis, ...] = Field(
        default_factory=_usual_axes,
        description="The axis along which each dimension lies; default: the last of [z, y, x].",
    )
    spacing: tuple[Positive, ...] = Field(
        default_factory=lambda data: (1.0,) * len(data["shape"]),
        description="The size of a cell along each dimension, in your unit of length; default: 1.",
    )
    origin: tuple[float, ...] = Field(
        default_factory=lambda data: tuple(size / 2 for size in data["spacing"]),
        description="The centre of the first cell, in the same unit; default: half a cell's size.",
    )

    def record(self) -> Grid:
        """Return the grid as the record that variables carry."""
        return Grid(self.dims, self.shape, self.axes, self.spacing, self.origin)

    def _problems(self) -> Iterator[Problem]:
        n_dims = len(self.shape)
        for key in ("dims", "axes", "spacing", "origin"):
            values: tuple[object, ...] = getattr(self, key)
            if len(values) != n_dims:
                yield Problem(
                    key, "one entry a dimension", f"{len(values)} for {n_dims}", f"{n_dims} entries"
                )
            if key in {"dims", "axes"} and len(set(values)) < len(values):
                yield Problem(key, "an entry stands twice", list(values), "each once")
        for dim, axis in zip(self.dims, self.axes, strict=False):
            if dim in AXES and dim != axis:
                yield Problem(
                    "dims", f"dimension {dim!r} lies along axis {axis!r}", dim, "its own axis's name"
                )
