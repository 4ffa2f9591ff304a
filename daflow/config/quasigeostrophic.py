"""Settings of the quasi-geostrophic double gyre."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from daflow.config.builtin_models import Count, Index
from daflow.config.section import Name, Positive, Problem, Section

GridPoints = Annotated[int, Field(ge=3)]
ONE_DAY = 24.0 * 80.0 / 176251.2
"""In the model's unit of time: that of a basin 1000 km wide in the setting of San and Iliescu (2015)."""


class QuasigeostrophicSettings(Section):
    """The wind-driven double gyre of a shallow ocean basin, one unit wide and two long."""

    kind: Literal["quasigeostrophic"] = Field(
        default="quasigeostrophic", description="The quasi-geostrophic double gyre."
    )
    variable: Name = Field(
        default="psi", description="The variable that is the initial streamfunction, of the shape 'shape'."
    )
    shape: tuple[GridPoints, GridPoints] = Field(
        default=(63, 31),
        description="Grid points inside the basin: [rows along y, columns along x]. Twice as many rows as "
        "columns, plus one, make square cells; 2^k - 1 of each are quickest: [63, 31], [127, 63]...",
    )
    reynolds: Positive = Field(default=450.0, description="The Reynolds number. No unit.")
    rossby: Positive = Field(default=0.0036, description="The Rossby number. No unit.")
    time_step: Positive = Field(
        default=ONE_DAY / 16,
        description="Of the Runge-Kutta scheme, in the model's unit of time; one day is 0.0108935. Default: "
        "a sixteenth of that; halve it with each doubling of the grid, or fast currents blow up.",
    )
    every_steps: Count = Field(default=16, description="Time steps between two times of observation.")
    n_times: Count = Field(default=1, description="How many times of observation there are.")
    observe: Literal["streamfunction", "speed"] = Field(
        default="streamfunction",
        description="What is observed: the streamfunction, or the speed of the flow (its gradient's length).",
    )
    observe_every: Count = Field(
        default=1, description="Observe rows and columns 0, observe_every, 2 observe_every...; in points."
    )
    points: tuple[tuple[Index, Index], ...] | None = Field(
        default=None, min_length=1, description="Or observe at these points: a list of [row, column], from 0."
    )

    def _problems(self) -> Iterator[Problem]:
        rows, columns = self.shape
        if self.points is None:
            return
        if self.observe_every != 1:
            yield Problem("observe_every", "give either 'observe_every' or 'points'", self.observe_every)
        if beyond := [list(point) for point in self.points if point[0] >= rows or point[1] >= columns]:
            allowed = f"rows 0 to {rows - 1}, columns 0 to {columns - 1}"
            yield Problem("points", "the grid has no such points", beyond, allowed)
        if len(set(self.points)) < len(self.points):
            yield Problem("points", "a point stands twice", allowed="each once")
