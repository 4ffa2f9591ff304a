"""Section ``inflation``: spread given back to an ensemble that has become too sure of itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from daflow.config.section import Positive, Problem, Section, kind_of_value, nearest, refuse

NotNegative = Annotated[float, Field(ge=0)]


class MultiplicativeInflation(Section):
    """The departures from the mean are multiplied by a number (Anderson and Anderson, 1999)."""

    kind: Literal["multiplicative"] = Field(description="The departures from the mean are multiplied.")
    factor: Positive = Field(
        description="What they are multiplied by; 1 is nothing, 1.01 to 1.1 is usual. No unit."
    )
    on: Literal["prior", "posterior"] = Field(
        default="prior",
        description="prior: before each update, of the members and of their predictions alike, so that "
        "the observations get more weight; posterior: after it.",
    )
    of: Literal["anomalies", "variance"] = Field(
        default="anomalies",
        description="What the factor is of: papers mean either. A factor of f on the anomalies is one of "
        "f^2 on the variance.",
    )


class RelaxationInflation(Section):
    """After an update the ensemble is drawn back towards its spread before it, most where most was lost."""

    kind: Literal["relaxation"] = Field(description="The posterior is drawn back towards the prior's spread.")
    to: Literal["prior_spread", "prior_perturbations"] = Field(
        description="prior_spread (RTPS: Whitaker and Hamill, 2012): each number's standard deviation is, "
        "its anomalies keep their shape; prior_perturbations (RTPP: Zhang, Snyder and Sun, 2004): the "
        "anomalies themselves are mixed with the prior's, which holds a second slice in memory.",
    )
    strength: NotNegative = Field(
        description="0 is nothing; at 1 spread or anomalies are the prior's again. Usual: 0.5 to 0.95 for "
        "prior_spread (above 1 the spread exceeds the prior's), 0.5 to 0.8 for prior_perturbations (1 at "
        "most). No unit."
    )

    def _problems(self) -> Iterator[Problem]:
        if self.to == "prior_perturbations" and self.strength > 1:
            what = "anomalies are mixed with the prior's: more than all of these there is not"
            yield Problem("strength", what, self.strength, "0 to 1, or to: prior_spread")


class AdditiveInflation(Section):
    """After an update each member gets a draw of noise, as errors of the model would have added."""

    kind: Literal["additive"] = Field(description="Each member gets a draw of noise after an update.")
    std: Mapping[str, NotNegative] = Field(
        min_length=1,
        description="Variable -> the standard deviation of the noise, in the variable's unit, or where it is "
        "transformed in that of its transform (log: of the logarithm); variables that are not named get "
        "none. The draws are independent from number to number, and their mean over the members is taken "
        "off. Begin with a few percent of the variable's prior spread. Mitchell and Houtekamer (2000).",
    )


class AdaptiveInflation(Section):
    """One factor on the prior's variance, found from how far the observations are from what was predicted."""

    kind: Literal["adaptive"] = Field(description="One factor, found from the innovations of each step.")
    initial: Positive = Field(
        default=1.0, description="The factor on the variance that is expected at first. No unit."
    )
    std: Positive = Field(
        default=1.0,
        description="The standard deviation of that expectation: a small one trusts 'initial' for long.",
    )
    forgetting: float = Field(
        default=1.03,
        ge=1,
        description="What the variance of the estimate so far is multiplied by at each step; 1 forgets "
        "nothing, 1.03 (Miyoshi, 2011) follows slow changes, larger ones follow faster and are noisier.",
    )
    lower: Positive = Field(default=1.0, description="The factor is never below. Below 1 narrows the prior.")
    upper: Positive = Field(default=10.0, description="The factor is never above. No unit.")

    def _problems(self) -> Iterable[Problem]:
        return _of_bounds(self.lower, self.initial, self.upper)


class SpatialInflation(Section):
    """A factor on the prior's variance for each number of the state, learnt from step to step."""

    kind: Literal["spatial"] = Field(
        description="A factor of its own for each number, by Bayes, from step to step."
    )
    density: Literal["inverse_gamma", "gaussian"] = Field(
        default="inverse_gamma",
        description="What is known of a factor: inverse_gamma (El Gharamti, 2018), which keeps it above 0, "
        "or gaussian (Anderson, 2009).",
    )
    initial: Positive = Field(
        default=1.0, description="The factor on the variance at the first step. No unit."
    )
    std: Positive = Field(
        default=0.6,
        description="The standard deviation of that expectation, and the most that it may become. No unit.",
    )
    least_std: Positive = Field(
        default=0.6,
        description="The standard deviation never becomes less: as large as 'std', the default, it stays, "
        "which keeps the factors able to follow. No unit.",
    )
    lower: Positive = Field(default=1.0, description="No factor is below. Below 1 narrows the prior.")
    upper: Positive = Field(default=50.0, description="No factor is above. No unit.")
    damping: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="Before each step a factor f becomes 1 + damping (f - 1): where observations come no "
        "more it goes back to 1. 1 keeps it. No unit.",
    )

    def _problems(self) -> Iterator[Problem]:
        if self.least_std > self.std:
            yield Problem("least_std", "is above 'std'", self.least_std, f"at most {self.std:g}")
        yield from _of_bounds(self.lower, self.initial, self.upper)


def _of_bounds(lower: float, initial: float, upper: float) -> Iterator[Problem]:
    if lower > upper:
        yield Problem("lower", "is above 'upper'", lower, f"at most {upper:g}")
    elif not lower <= initial <= upper:
        yield Problem("initial", "is not between 'lower' and 'upper'", initial, f"{lower:g} to {upper:g}")


OneInflation = Annotated[
    MultiplicativeInflation | RelaxationInflation | AdditiveInflation | AdaptiveInflation | SpatialInflation,
    Field(discriminator="kind"),
]


def acts_before(one: OneInflation) -> bool:
    """Say whether an inflation is of the prior, before the update."""
    if isinstance(one, MultiplicativeInflation):
        return one.on == "prior"
    return isinstance(one, AdaptiveInflation | SpatialInflation)


def _in_a_list(many: tuple[OneInflation, ...]) -> tuple[OneInflation, ...]:
    refuse(_of_list(many))
    return many


def _of_list(many: Sequence[OneInflation]) -> Iterator[Problem]:
    before = [acts_before(one) for one in many]
    if before != sorted(before, reverse=True):
        what = "they act in the order of the list, and what inflates the prior acts before the update"
        yield Problem("", what, _kinds(many), "first those of the prior, then those of the posterior")
    if sum(before) > 1:
        what = "the prior is inflated twice: one would undo or repeat what the other found"
        got = _kinds([one for one in many if acts_before(one)])
        yield Problem("", what, got, "one of adaptive, spatial, and multiplicative on the prior")
    after = [one.kind for one in many if not acts_before(one)]
    for kind in dict.fromkeys(kind for kind in after if after.count(kind) > 1):
        yield Problem("", f"two of kind {kind} act after the update: say it once", _kinds(many), "one a kind")


def _kinds(many: Sequence[OneInflation]) -> str:
    return ", ".join(one.kind for one in many)


InflationSettings = Annotated[
    Annotated[Literal["none"], Tag("word")]
    | Annotated[OneInflation, Tag("mapping")]
    | Annotated[tuple[OneInflation, ...], AfterValidator(_in_a_list), Tag("list")],
    Discriminator(kind_of_value),
]
"""None, one, or several that act in the order of the list."""

DESCRIPTION: Final = (
    "Spread given back to an ensemble that is too sure of itself: none, one, or a list that acts in its "
    "order. Without it small ensembles stop listening to observations."
)


def inflations_of(settings: InflationSettings) -> tuple[OneInflation, ...]:
    """Return the inflations of the section, in the order in which they act; none: empty."""
    if settings == "none":
        return ()
    return settings if isinstance(settings, tuple) else (settings,)


def of_inflation(settings: InflationSettings, variables: Sequence[str]) -> Iterator[Problem]:
    """Yield what is wrong with the variables that inflations name."""
    for one in inflations_of(settings):
        if isinstance(one, AdditiveInflation):
            for name in one.std:
                if name not in variables:
                    near = nearest(name, variables)
                    meant = "" if near is None else f" (did you mean {near!r}?)"
                    key, known = "inflation.std", ", ".join(variables)
                    yield Problem(key, f"there is no such variable{meant}", name, known)
