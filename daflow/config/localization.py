"""Section ``localization``: how far an observation reaches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from math import isinf
from typing import Annotated, Literal, TypeVar

from pydantic import Discriminator, Field, Tag

from daflow.config.grids import Axis
from daflow.config.localization_weights import (
    UNSTABLE,
    WHAT_OBS_OBS,
    WHAT_TAPERS,
    CorrelationWeights,
    IndexWeights,
    ObsObs,
    PluginWeights,
    SamplingErrorWeights,
    Tapers,
)
from daflow.config.priors import angle_without_plane
from daflow.config.section import Positive, Problem, Section, kind_of_value
from daflow.numerics.localization.tapers import TAPERS

Family = Literal["gaspari_cohn", "exponential", "gaussian", "step", "cubic", "beta", "operational"]
Weights = TypeVar("Weights", bound=Section)
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

    def _problems(self) -> Iterable[Problem]:
        return angle_without_plane(self.lengths, self.angle)


Reach = Annotated[
    Annotated[Literal["none"], Tag("word")] | Annotated[ReachSettings, Tag("mapping")],
    Discriminator(kind_of_value),
]


class DistanceWeights(Section):
    """An observation's weight falls with its distance."""

    kind: Literal["distance"] = Field(default="distance", description="The weight falls with distance.")
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
    period: Mapping[Axis, Positive] = Field(
        default_factory=dict,
        description="Axis -> after how much the domain closes on itself there, in the grid's unit: a ring's "
        "length, 360 for degrees of longitude. Weights reach less than half way around. An axis that is not "
        "named has ends.",
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

    def _problems(self) -> Iterator[Problem]:
        yield from angle_without_plane(self.lengths, self.angle)
        if self.cutoff is not None and not isinf(TAPERS[self.family].reach):
            what = f"{self.family} ends by itself"
            yield Problem("cutoff", what, self.cutoff, "null, or family: exponential | gaussian")
        if self.exponent is not None and self.family != "beta":
            yield Problem("exponent", f"{self.family} has none", self.exponent, "null, or family: beta")


class DistanceLocalization(DistanceWeights):
    """An observation's weight falls with its distance."""

    tapers: Tapers = Field(
        default="gain",
        description="What the weights multiply: the gain, after the inversion; the covariance of state "
        "and predictions, before it; or the inverse of the observation-error covariance (R-localization), "
        "where each number makes an analysis of its own with the observations in its reach, as if the "
        "errors of far ones were larger. The second can overshoot where observations are many and accurate: "
        "observations that no longer reach a number still count among each other. The third cannot; it "
        "needs independent observation errors and method.inversion exact_cholesky, and costs some three "
        "times as much (ten without numba: pip install daflow[fast]).",
    )
    obs_obs: ObsObs = Field(
        default="none",
        description=WHAT_OBS_OBS + "Observations are then tapered with 'lengths', the same for all of them: "
        "'observations' must be empty. It is what keeps tapers: cross_covariance from overshooting.",
    )

    def _problems(self) -> Iterator[Problem]:
        yield from super()._problems()
        yield from of_obs_obs(self.obs_obs, self.tapers)
        yield from of_one_length(self, self.obs_obs, "")


class IndexLocalization(IndexWeights):
    """Weights by place in the order: see `IndexWeights`."""

    tapers: Tapers = Field(default="gain", description=WHAT_TAPERS)
    obs_obs: ObsObs = Field(
        default="none", description=f"{WHAT_OBS_OBS}EnsembleKalmanProcesses.jl has none. {UNSTABLE}"
    )

    def _problems(self) -> Iterator[Problem]:
        yield from super()._problems()
        yield from of_obs_obs(self.obs_obs, self.tapers)
        yield from _of_chance(self, self.obs_obs, "")


class SamplingErrorLocalization(SamplingErrorWeights):
    """Corrections of sampling errors: see `SamplingErrorWeights`."""

    tapers: Literal["gain", "cross_covariance"] = Field(
        default="cross_covariance",
        description="What the weights multiply: the covariance of state and predictions, as in the papers, "
        "or the gain, after the inversion.",
    )
    obs_obs: ObsObs = Field(
        default="same",
        description=f"{WHAT_OBS_OBS}EnsembleKalmanProcesses.jl has same for its SEC, SECFisher and SECNice. "
        f"{UNSTABLE}",
    )


class CorrelationLocalization(CorrelationWeights):
    """Weights of correlations: see `CorrelationWeights`."""

    tapers: Tapers = Field(
        default="gain",
        description=f"{WHAT_TAPERS} The third with family: threshold is each number's own solution with the "
        "observations that it keeps.",
    )
    obs_obs: ObsObs = Field(default="none", description=f"{WHAT_OBS_OBS}{UNSTABLE}")

    def _problems(self) -> Iterator[Problem]:
        yield from super()._problems()
        yield from of_obs_obs(self.obs_obs, self.tapers)
        yield from _of_chance(self, self.obs_obs, "")
        yield from _of_errors(self, self.tapers, "")


class PluginLocalization(PluginWeights):
    """Weights that a function of the user's returns: see `PluginWeights`."""

    tapers: Tapers = Field(default="gain", description=WHAT_TAPERS)


Part = Annotated[
    NoLocalization
    | DistanceWeights
    | IndexWeights
    | SamplingErrorWeights
    | CorrelationWeights
    | PluginWeights,
    Field(discriminator="kind"),
]


class ProductLocalization(Section):
    """Several localizations at once: their weights multiply."""

    kind: Literal["product"] = Field(default="product", description="The weights of several multiply.")
    of: Annotated[tuple[Part, ...], Field(min_length=1)] = Field(
        description="The localizations, each with its own settings, without 'tapers' and 'obs_obs'. One of "
        "distance makes the others cheap: they are asked only about what is in its reach (surveys of "
        "sampling_error nice and of shuffled noise still go over all pairs)."
    )
    tapers: Tapers = Field(default="gain", description=WHAT_TAPERS)
    obs_obs: ObsObs = Field(default="none", description=f"{WHAT_OBS_OBS}{UNSTABLE}")

    def _problems(self) -> Iterator[Problem]:
        yield from of_obs_obs(self.obs_obs, self.tapers)
        for number, part in enumerate(self.of):
            key = f"of.{number}."
            yield from _of_chance(part, self.obs_obs, key)
            yield from _of_errors(part, self.tapers, key)
            yield from of_one_length(part, self.obs_obs, key)


def of_obs_obs(obs_obs: str, tapers: str) -> Iterator[Problem]:
    """Yield what is wrong with weights among observations for what the weights multiply."""
    if obs_obs == "same" and tapers == "observation_error":
        what = "each number's own analysis weighs errors of observations, not their covariance"
        yield Problem("obs_obs", what, obs_obs, "none, or tapers: gain | cross_covariance")


def of_one_length(part: Section, obs_obs: str, key: str) -> Iterator[Problem]:
    """Yield what is wrong with lengths of their own where observations are tapered among themselves."""
    if obs_obs == "same" and isinstance(part, DistanceWeights) and part.observations:
        what = "tapers of several lengths among observations need not make a covariance"
        yield Problem(
            f"{key}observations", what, ", ".join(part.observations), "no entries, or obs_obs: none"
        )


def _of_chance(part: Section, obs_obs: str, key: str) -> Iterator[Problem]:
    if obs_obs == "none":
        return
    if isinstance(part, PluginWeights):
        yield Problem(f"{key}kind", "the function weighs numbers of the state", part.kind, "obs_obs: none")
    if isinstance(part, IndexWeights) and part.family == "dropout":
        what = "what chance leaves of a covariance is none"
        yield Problem(f"{key}family", what, part.family, "delta | radial, or obs_obs: none")
    if isinstance(part, CorrelationWeights) and part.noise == "shuffled":
        what = "its noise is that of numbers of the state"
        yield Problem(f"{key}noise", what, part.noise, "theory, a number, or obs_obs: none")


def _of_errors(part: Section, tapers: str, key: str) -> Iterator[Problem]:
    weighs_errors = isinstance(part, CorrelationWeights) and part.family == "exponential"
    if weighs_errors and tapers != "observation_error":
        yield Problem("tapers", "exponential weighs errors of observations", tapers, "observation_error")
    if isinstance(part, SamplingErrorWeights) and tapers == "observation_error":
        what = "a correction of covariances does not weigh errors of observations"
        yield Problem(f"{key}kind", what, part.kind, "tapers: gain | cross_covariance")


LocalizationSettings = Annotated[
    NoLocalization
    | DistanceLocalization
    | IndexLocalization
    | SamplingErrorLocalization
    | CorrelationLocalization
    | PluginLocalization
    | ProductLocalization,
    Field(discriminator="kind"),
]


def distances(localization: Section) -> Iterator[tuple[str, DistanceWeights]]:
    """Yield what a localization has of distance, each with its key in the workflow file."""
    if isinstance(localization, DistanceWeights):
        yield "localization", localization
    if isinstance(localization, ProductLocalization):
        for number, part in enumerate(localization.of):
            if isinstance(part, DistanceWeights):
                yield f"localization.of.{number}", part


def for_kinds(localization: LocalizationSettings, kinds: Collection[str]) -> LocalizationSettings:
    """Return a localization that says nothing of kinds of observations other than these."""
    if isinstance(localization, ProductLocalization):
        parts = tuple(_for_kinds(part, kinds) for part in localization.of)
        return localization.model_copy(update={"of": parts})
    return _for_kinds(localization, kinds)


def _for_kinds(part: Weights, kinds: Collection[str]) -> Weights:
    if not isinstance(part, DistanceWeights):
        return part
    own = {kind: reach for kind, reach in part.observations.items() if kind in kinds}
    return part.model_copy(update={"observations": own})
