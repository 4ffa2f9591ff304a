"""Section ``localization``: how far an observation reaches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isinf
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from daflow.config.grids import Axis
from daflow.config.priors import angle_without_plane
from daflow.config.section import Positive, Problem, Section, kind_of_value, refuse
from daflow.numerics.localization.tapers import TAPERS

Family = Literal["gaspari_cohn", "exponential", "gaussian", "step", "cubic", "beta", "operational"]
Lengths = Annotated[Mapping[Axis, Positive], Field(min_length=1)]


class NoLocalization(Section):
    """Every observation updates every number."""

    kind: Literal["none"] = Field(default="none", description="Every observation updates every number.")


class ReachSettings(Section):
    """Lengths of their own for a variable or a kind of observation."""

    lengths: Lengths = Field(
        description="Length along each axis, in the grid's unit; an axis without one does not count."
    )
    angle: float = Field(default=0.0, description="Degrees by which lengths are turned from x to y.")

    @model_validator(mode="after")
    def _a_turn_needs_a_plane(self) -> Self:
        refuse(angle_without_plane(self.lengths, self.angle))
        return self


Reach = Annotated[
    Annotated[Literal["none"], Tag("word")] | Annotated[ReachSettings, Tag("mapping")],
    Discriminator(kind_of_value),
]


class DistanceLocalization(Section):
    """An observation's weight falls with its distance."""

    kind: Literal["distance"] = Field(default="distance", description="The weight falls with distance.")
    tapers: Literal["gain", "cross_covariance", "observation_error"] = Field(
        default="gain",
        description="What the weights multiply: the gain, after the inversion; the covariance of state "
        "and predictions, before it; or the inverse of the observation-error covariance (R-localization), "
        "where each number makes an analysis of its own with the observations in its reach, as if the "
        "errors of far ones were larger. The second can overshoot where observations are many and accurate: "
        "observations that no longer reach a number still count among each other. The third cannot; it "
        "needs independent observation errors and method.inversion exact_cholesky, and costs some three "
        "times as much (ten without numba: pip install daflow[fast]).",
    )
    family: Family = Field(
        default="gaspari_cohn",
        description="How the weight falls. What one length means differs: gaspari_cohn, half the distance at "
        "which it reaches 0; exponential, where it is 1/e; gaussian and cubic, one standard deviation; step "
        "and operational, up to where it is 1; beta, where it reaches 0.",
    )
    lengths: Lengths = Field(
        description="Length along each axis, in the grid's unit; an axis without one does not count."
    )
    angle: float = Field(default=0.0, description="Degrees by which lengths are turned from x to y.")
    cutoff: Positive | None = Field(
        default=None,
        description="How many lengths away the weight becomes 0; only for exponential and gaussian, which "
        "never end without it (null): every pair of number and observation then costs time.",
    )
    exponent: Positive | None = Field(
        default=None, description="How steeply the family beta falls; null: 3. No other family has one."
    )
    variables: Mapping[str, Reach] = Field(
        default_factory=dict,
        description="Variable -> lengths of its own, or none: every observation updates it in full.",
    )
    observations: Mapping[str, Reach] = Field(
        default_factory=dict,
        description="Kind of observation -> lengths of its own, or none: it updates every number in full. "
        "Lengths given here come before those in 'variables'.",
    )

    def reach(self, variable: str, obs_kind: str | None = None) -> ReachSettings | None:
        """Return the lengths that count between a variable and a kind of observation; None: no taper.

        None of both comes first, then what ``observations`` says, then ``variables``, then the rest.
        """
        by_variable = self.variables.get(variable)
        by_kind = None if obs_kind is None else self.observations.get(obs_kind)
        if "none" in (by_variable, by_kind):
            return None
        for own in (by_kind, by_variable):
            if isinstance(own, ReachSettings):
                return own
        return ReachSettings(lengths=self.lengths, angle=self.angle)

    @model_validator(mode="after")
    def _can_be_right(self) -> Self:
        refuse(self._problems())
        return self

    def _problems(self) -> Iterator[Problem]:
        yield from angle_without_plane(self.lengths, self.angle)
        if self.cutoff is not None and not isinf(TAPERS[self.family].reach):
            what = f"{self.family} ends by itself"
            yield Problem("cutoff", what, self.cutoff, "null, or family: exponential | gaussian")
        if self.exponent is not None and self.family != "beta":
            yield Problem("exponent", f"{self.family} has none", self.exponent, "null, or family: beta")


LocalizationSettings = Annotated[NoLocalization | DistanceLocalization, Field(discriminator="kind")]
