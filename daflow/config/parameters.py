"""Section ``parameters``: the variables that are estimated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from typing import Annotated, Literal

from pydantic import Field

from daflow.config.grids import Count
from daflow.config.priors import GaussianFieldPrior, NormalPrior, PriorSettings, of_triangle, out_of_order
from daflow.config.section import Name, Problem, Section
from daflow.numerics.priors.facies import SUM_TOLERANCE


class IdentityTransform(Section):
    """Updated as it is."""

    kind: Literal["identity"] = Field(default="identity", description="Updated as it is.")


class LogTransform(Section):
    """Updated as its natural logarithm: it stays above 0."""

    kind: Literal["log"] = Field(default="log", description="Updated as its natural logarithm.")


class LogitTransform(Section):
    """Updated as log((v - lower) / (upper - v)): it stays between the bounds."""

    kind: Literal["logit"] = Field(default="logit", description="Updated so that it stays between bounds.")
    lower: float = Field(description="The lower bound, in the variable's unit.")
    upper: float = Field(description="The upper bound, in the variable's unit.")

    def _problems(self) -> Iterable[Problem]:
        return out_of_order(lower=self.lower, upper=self.upper)


class TriangularTransform(Section):
    """Updated as the standard normal of its place in a triangular distribution."""

    kind: Literal["triangular"] = Field(
        default="triangular",
        description="Updated as the standard normal that has as much probability below it as the value has "
        "under a triangular distribution: it stays between the bounds, and keeps away from them.",
    )
    lower: float = Field(description="The lower bound, in the variable's unit.")
    mode: float = Field(description="The likeliest value, in the variable's unit.")
    upper: float = Field(description="The upper bound, in the variable's unit.")

    def _problems(self) -> Iterable[Problem]:
        return of_triangle(self.lower, self.mode, self.upper)


class NormalScoreTransform(Section):
    """Updated as the normal score of its rank among the members, number by number."""

    kind: Literal["normal_score"] = Field(default="normal_score", description="Updated as its normal score.")


TransformSettings = Annotated[
    IdentityTransform | LogTransform | LogitTransform | TriangularTransform | NormalScoreTransform,
    Field(discriminator="kind"),
]


class ClipSettings(Section):
    """After an update, values beyond a bound are set to it, and counted."""

    lower: float | None = Field(
        default=None, description="The lower bound, in the variable's unit; null: none."
    )
    upper: float | None = Field(
        default=None, description="The upper bound, in the variable's unit; null: none."
    )

    def _problems(self) -> Iterator[Problem]:
        if self.lower is None and self.upper is None:
            yield Problem("", "neither 'lower' nor 'upper' is given", None, "one of them, or clip: null")
        yield from out_of_order(lower=self.lower, upper=self.upper)


class Facies(Section):
    """A category that a model sees where a field lies in a part of its range."""

    value: float = Field(description="What the category is to the model: a code, or a property's value.")
    share: float = Field(gt=0, le=1, description="The share of the field that it has on average, 0 to 1.")


class ParameterSettings(Section):
    """A variable: its place, its prior, and how it is updated. Without grid and shape it is one number."""

    grid: str | None = Field(default=None, description="The grid that it lies on; null: none.")
    shape: tuple[Count, ...] | None = Field(
        default=None, min_length=1, description="Its shape, where it lies on no grid; null: one number."
    )
    dims: tuple[Name, ...] | None = Field(
        default=None, description="Names of the dimensions of 'shape'; null: NAME_0, NAME_1, ..."
    )
    prior: PriorSettings = Field(description="What it is drawn from, or read from.")
    transform: TransformSettings = Field(
        default=IdentityTransform(), description="The form in which it is updated; models see it as it is."
    )
    clip: ClipSettings | None = Field(
        default=None, description="Bounds to clip to after an update; null: none."
    )
    facies: tuple[Facies, ...] | None = Field(
        default=None,
        min_length=2,
        description="What models see in the place of a Gaussian field: the category of each part of its "
        "range, from low to high; the shares sum up to 1. The field itself is what is updated, and stays "
        "Gaussian. null: models see the variable itself.",
    )

    def _problems(self) -> Iterable[Problem]:
        return [*self._place_problems(), *self._transform_problems(), *self._facies_problems()]

    def _place_problems(self) -> Iterator[Problem]:
        if self.grid is not None and self.shape is not None:
            yield Problem("shape", "stands beside 'grid': give one of them", list(self.shape), "left out")
        if self.dims is not None and self.shape is None:
            yield Problem("dims", "names the dimensions of 'shape', which is not given", list(self.dims))
        elif self.dims is not None and self.shape is not None:
            if len(self.dims) != len(self.shape):
                yield Problem("dims", "one entry a dimension", list(self.dims), f"{len(self.shape)} names")
            if len(set(self.dims)) < len(self.dims):
                yield Problem("dims", "an entry stands twice", list(self.dims), "each once")
        if isinstance(self.prior, GaussianFieldPrior) and self.grid is None:
            yield Problem(
                "prior.kind", "a field needs a grid: set 'grid'", "gaussian_field", "the other kinds"
            )

    def _transform_problems(self) -> Iterator[Problem]:
        if isinstance(self.transform, LogTransform):
            lower, upper = 0.0, inf
        elif isinstance(self.transform, LogitTransform | TriangularTransform):
            lower, upper = self.transform.lower, self.transform.upper
        else:
            return
        # An array's values are not known here: they are checked when they are read.
        if self.prior.bounds is None:
            return
        smallest, largest = self.prior.bounds
        inside = lower < smallest and largest < upper
        # A bound of a distribution with a density has probability zero; that of a constant has one.
        touching = smallest < largest and lower <= smallest and largest <= upper
        if not (inside or touching):
            what = f"the prior can draw what {self.transform.kind!r} cannot take"
            got = f"{smallest:g} to {largest:g}"
            cure = f"a prior within {lower:g} to {upper:g}, or another transform"
            yield Problem("transform.kind", what, got, cure)

    def _facies_problems(self) -> Iterator[Problem]:
        if self.facies is None:
            return
        if not isinstance(self.prior, GaussianFieldPrior | NormalPrior):
            what = "are cut from a Gaussian prior's range"
            yield Problem("facies", what, self.prior.kind, "prior.kind: gaussian_field | normal")
        total = sum(each.share for each in self.facies)
        if abs(total - 1) > SUM_TOLERANCE:
            yield Problem("facies", "the shares do not sum up to 1", f"{total:.10g}", "1 within 1e-8")
