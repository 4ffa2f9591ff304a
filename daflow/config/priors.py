"""Priors: what a variable is drawn from, or read from, before anything is observed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from math import inf
from typing import Annotated, Literal

from pydantic import Field

from daflow.config.grids import Axis
from daflow.config.section import InputPath, Positive, Problem, Section
from daflow.numerics.priors.variograms import ROUGHEST, SMOOTHEST

VariogramModel = Literal["spherical", "exponential", "gaussian", "matern"]
Row = Annotated[int, Field(ge=0)]
Bounds = tuple[float, float]
"""No value lies below the first or above the second."""


def out_of_order(**bounds: float | None) -> Iterator[Problem]:
    """Yield a problem for every bound that is not above the one before it; None: no bound there."""
    given = [(key, value) for key, value in bounds.items() if value is not None]
    for (low_key, low), (key, high) in pairwise(given):
        if not low < high:
            yield Problem(key, f"must be above {low_key}", high, f"above {low}")


def of_triangle(lower: float, mode: float, upper: float) -> Iterator[Problem]:
    """Yield what is wrong with the corners of a triangular distribution."""
    yield from out_of_order(lower=lower, upper=upper)
    if lower < upper and not lower <= mode <= upper:
        yield Problem("mode", "lies outside the bounds", mode, f"{lower} to {upper}")


class NormalPrior(Section):
    """A normal distribution, independent from number to number."""

    kind: Literal["normal"] = Field(default="normal", description="Normal.")
    mean: float = Field(description="The mean, in the variable's unit.")
    std: Positive = Field(description="The standard deviation, in the variable's unit.")

    @property
    def bounds(self) -> Bounds:
        """The smallest and the largest value that can be drawn."""
        return -inf, inf


class LognormalPrior(Section):
    """A variable whose natural logarithm is normal."""

    kind: Literal["lognormal"] = Field(default="lognormal", description="Its logarithm is normal.")
    mean_log: float = Field(description="The mean of the natural logarithm.")
    std_log: Positive = Field(description="The standard deviation of the natural logarithm.")

    @property
    def bounds(self) -> Bounds:
        """The smallest and the largest value that can be drawn."""
        return 0.0, inf


class UniformPrior(Section):
    """Every value between two bounds alike."""

    kind: Literal["uniform"] = Field(default="uniform", description="Uniform between bounds.")
    lower: float = Field(description="The smallest value, in the variable's unit.")
    upper: float = Field(description="The largest value, in the variable's unit.")

    @property
    def bounds(self) -> Bounds:
        """The smallest and the largest value that can be drawn."""
        return self.lower, self.upper

    def _problems(self) -> Iterable[Problem]:
        return out_of_order(lower=self.lower, upper=self.upper)


class TruncatedNormalPrior(Section):
    """A normal distribution of which only what lies between the bounds is drawn."""

    kind: Literal["truncated_normal"] = Field(
        default="truncated_normal", description="Normal, cut at bounds."
    )
    mean: float = Field(description="The mean before the cut, in the variable's unit.")
    std: Positive = Field(description="The standard deviation before the cut, in the variable's unit.")
    lower: float | None = Field(default=None, description="The lower bound, in that unit; null: none.")
    upper: float | None = Field(default=None, description="The upper bound, in that unit; null: none.")

    @property
    def bounds(self) -> Bounds:
        """The smallest and the largest value that can be drawn."""
        return -inf if self.lower is None else self.lower, inf if self.upper is None else self.upper

    def _problems(self) -> Iterator[Problem]:
        yield from out_of_order(lower=self.lower, upper=self.upper)
        lower, upper = self.bounds
        if (lower, upper) == (-inf, inf):
            yield Problem(
                "lower", "neither 'lower' nor 'upper' is given", None, "one of them, or kind: normal"
            )
        if lower > self.mean + 30 * self.std or upper < self.mean - 30 * self.std:
            yield Problem(
                "mean", "lies more than 30 std outside the bounds", self.mean, f"{lower} to {upper}"
            )


class TriangularPrior(Section):
    """A density that rises from the lower bound to the mode and falls to the upper bound."""

    kind: Literal["triangular"] = Field(default="triangular", description="Triangular.")
    lower: float = Field(description="The smallest value, in the variable's unit.")
    mode: float = Field(description="The likeliest value, in the variable's unit.")
    upper: float = Field(description="The largest value, in the variable's unit.")

    @property
    def bounds(self) -> Bounds:
        """The smallest and the largest value that can be drawn."""
        return self.lower, self.upper

    def _problems(self) -> Iterable[Problem]:
        return of_triangle(self.lower, self.mode, self.upper)


class ConstantPrior(Section):
    """The same value in every member: no observation changes it."""

    kind: Literal["constant"] = Field(default="constant", description="One value for all.")
    value: float = Field(description="The value, in the variable's unit.")

    @property
    def bounds(self) -> Bounds:
        """The smallest and the largest value that can be drawn."""
        return self.value, self.value


class GaussianFieldPrior(Section):
    """A stationary Gaussian random field on the variable's grid."""

    kind: Literal["gaussian_field"] = Field(default="gaussian_field", description="A Gaussian random field.")
    mean: float = Field(description="The mean, in the variable's unit.")
    std: Positive = Field(description="The standard deviation, in the variable's unit.")
    variogram: VariogramModel = Field(
        default="spherical", description="How the correlation falls with distance."
    )
    smoothness: float | None = Field(
        default=None,
        ge=ROUGHEST,
        le=SMOOTHEST,
        description="Of matern, which needs it: 0.5 is exponential, large is gaussian. No unit.",
    )
    lengths: Mapping[Axis, Positive] = Field(
        description="Range along each axis of the grid, in the grid's unit of length: where the correlation "
        "reaches 0 (spherical) or 0.05 (the others). Before the turn by 'angle'."
    )
    angle: float = Field(
        default=0.0, description="Degrees by which the range along x is turned from x towards y."
    )

    @property
    def bounds(self) -> Bounds:
        """The smallest and the largest value that can be drawn."""
        return -inf, inf

    def _problems(self) -> Iterable[Problem]:
        return [*angle_without_plane(self.lengths, self.angle), *self._smoothness_problems()]

    def _smoothness_problems(self) -> Iterator[Problem]:
        if self.variogram == "matern" and self.smoothness is None:
            yield Problem("smoothness", "matern needs it", None, f"{ROUGHEST} to {SMOOTHEST}")
        if self.variogram != "matern" and self.smoothness is not None:
            yield Problem("smoothness", f"{self.variogram} has none", self.smoothness, "null, or matern")


def angle_without_plane(lengths: Mapping[Axis, float], angle: float) -> Iterator[Problem]:
    """Yield a problem where an angle is given but not the two lengths that it turns."""
    if angle and not {"x", "y"} <= set(lengths):
        yield Problem("angle", "turns the lengths along x and y: both must be given", angle, "0")


class ArrayPrior(Section):
    """Realizations from a file, one a member along the array's first axis."""

    kind: Literal["array"] = Field(default="array", description="Realizations from a file.")
    file: InputPath = Field(description="A .npz, .npy, netCDF (.nc) or zarr (.zarr) file or folder.")
    array: str | None = Field(
        default=None, min_length=1, description="The array's name in the file; null: the variable's name."
    )
    first: Row = Field(
        default=0, description="The row (from 0) of member 0; the others follow. Not with 'members'."
    )
    members: tuple[Row, ...] | None = Field(
        default=None,
        description="The row (from 0) of each member, those excluded included; null: from 'first'.",
    )
    truth: Row | None = Field(
        default=None, description="The row (from 0) that is the truth of a twin experiment; null: none."
    )
    scale: Literal["linear", "log"] = Field(
        default="linear",
        description="linear: the variable is what the file holds; log: its natural logarithm.",
    )

    @property
    def bounds(self) -> Bounds | None:
        """Not known before the file is read."""
        return None

    def rows(self, n_members: int) -> tuple[int, ...]:
        """Return the row of each member."""
        return tuple(range(self.first, self.first + n_members)) if self.members is None else self.members

    def _problems(self) -> Iterator[Problem]:
        if self.members is not None and self.first:
            yield Problem("first", "stands beside 'members': give one of them", self.first, "left out")


class ClimatologyPrior(Section):
    """States of a long run, or of a record: drawn, or combined."""

    kind: Literal["climatology"] = Field(default="climatology", description="From snapshots in a file.")
    file: InputPath = Field(
        description="A .npz, .npy, netCDF (.nc) or zarr (.zarr) file or folder with one snapshot along the "
        "array's first axis."
    )
    array: str | None = Field(
        default=None, min_length=1, description="The array's name in the file; null: the variable's name."
    )
    draw: Literal["snapshots", "gaussian"] = Field(
        default="gaussian",
        description="snapshots: each member is one of them, each once at most; gaussian: their mean and "
        "a random combination of their departures, which has their covariance. Variables that are drawn "
        "alike are of the same moment, or have the same weights: what is between them stays.",
    )
    scale: Positive = Field(
        default=1.0, description="What the departures from the mean are multiplied by. No unit."
    )

    @property
    def bounds(self) -> Bounds | None:
        """Not known before the file is read."""
        return None

    def _problems(self) -> Iterator[Problem]:
        if self.draw == "snapshots" and self.scale != 1.0:
            yield Problem("scale", "is for draw: gaussian only", self.scale, "1.0")


class DesignPrior(Section):
    """A design matrix: a table with a column a variable and a row a member."""

    kind: Literal["design"] = Field(default="design", description="A column of a table, one row a member.")
    file: InputPath = Field(description="A .csv, netCDF (.nc) or zarr (.zarr) table; a csv has a header.")
    column: str | None = Field(
        default=None, min_length=1, description="The column's name; null: the variable's name."
    )

    @property
    def bounds(self) -> Bounds | None:
        """Not known before the file is read."""
        return None


PriorSettings = Annotated[
    NormalPrior
    | LognormalPrior
    | UniformPrior
    | TruncatedNormalPrior
    | TriangularPrior
    | ConstantPrior
    | GaussianFieldPrior
    | ArrayPrior
    | ClimatologyPrior
    | DesignPrior,
    Field(discriminator="kind"),
]
