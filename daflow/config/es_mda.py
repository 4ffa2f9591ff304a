"""Ensemble smoothers, with one update or several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from daflow.config.inversions import InversionChoice, Truncation, of_truncation
from daflow.config.section import Positive, Problem, Section, kind_of_value

SUM_TOLERANCE: Final = 1e-8
"""How far the sum of 1/alpha may be from 1."""
MOST_STEPS: Final = 50
"""Updates at most, unless the file says how many, of a method that ends by itself."""
DISCREPANCY: Final = "discrepancy"


class GeometricAlphas(Section):
    """Each alpha is the one before it divided by the ratio; the sum of their inverses is 1."""

    ratio: Positive = Field(description="Above 1: cautious first. No unit.")


class RestrictionSettings(Section):
    """No step moves a number farther than so many standard deviations of the first prior."""

    largest_move: Positive = Field(
        default=2.0,
        description="How far a step may move any number of any member, in standard deviations of the first "
        "prior. Le, Emerick and Reynolds: 2.",
    )
    trials: int = Field(
        default=12,
        ge=1,
        le=40,
        description="How many alphas are tried in a step, each twice the one before, with perturbations of "
        "its own; the first that moves nothing too far is taken. Each is a product of matrices for every "
        "slice, and a place for the factors of an update.",
    )


class RestrictedAlphas(Section):
    """Alphas found on the way such that no step moves a number too far."""

    restricted: RestrictionSettings = Field(description="How far is too far; {}: the defaults.")


def _form_of_alphas(value: object) -> str:
    if isinstance(value, RestrictedAlphas) or (isinstance(value, Mapping) and "restricted" in value):
        return "restricted"
    return kind_of_value(value)


Alphas = Annotated[
    Annotated[Literal["constant", "discrepancy"], Tag("word")]
    | Annotated[GeometricAlphas, Tag("mapping")]
    | Annotated[RestrictedAlphas, Tag("restricted")]
    | Annotated[tuple[Positive, ...], Tag("list")],
    Discriminator(_form_of_alphas),
]


class EsSettings(Section):
    """Ensemble smoother: one update with all observations (van Leeuwen and Evensen, 1996)."""

    kind: Literal["es"] = Field(default="es", description="Ensemble smoother, one update.")
    inversion: InversionChoice = "exact_cholesky"
    truncation: Truncation = 1.0

    def _problems(self) -> Iterable[Problem]:
        return of_truncation(self.inversion, self.truncation)


class EsMdaSettings(Section):
    """Ensemble smoother with multiple data assimilation (Emerick and Reynolds, 2013)."""

    kind: Literal["es_mda"] = Field(
        default="es_mda", description="Ensemble smoother, multiple data assimilation."
    )
    steps: int = Field(
        default=4,
        ge=1,
        description="How many updates; there is one forecast more. Where alphas are found on the way it is "
        f"the most there may be ({MOST_STEPS} if the file does not say): the last one allowed takes all that "
        "is left, whatever it moves.",
    )
    alphas: Alphas = Field(
        default="constant",
        description="Factors on the observation-error covariance, the sum of whose inverses is 1: constant "
        "(all are the number of steps), {ratio: 1.2} (a geometric sequence), a list, one a step; or found on "
        "the way, until the sum is 1: discrepancy (from the mean and variance of the members' misfits; "
        "Iglesias and Yang, 2021), or {restricted: {}} (the smallest tried that moves no number farther than "
        "two prior standard deviations; Le, Emerick and Reynolds, 2016).",
    )
    normalise: bool = Field(
        default=False, description="Scale a list of alphas so that the sum of their inverses becomes 1."
    )
    inversion: InversionChoice = "exact_cholesky"
    truncation: Truncation = 1.0

    @property
    def searched(self) -> bool:
        """Whether alphas are found on the way, and the method ends by itself."""
        return _is_searched(self.alphas)

    @model_validator(mode="after")
    def _many_steps_where_they_are_searched(self) -> Self:
        if self.searched and "steps" not in self.model_fields_set:
            # Nobody has seen it yet. A default that follows alphas would have to come behind it, and the
            # order of the keys counts.
            object.__setattr__(self, "steps", MOST_STEPS)
        return self

    def _problems(self) -> Iterable[Problem]:
        return [*self._alpha_problems(), *of_truncation(self.inversion, self.truncation)]

    def _alpha_problems(self) -> Iterator[Problem]:
        if not isinstance(self.alphas, tuple):
            if self.normalise:
                yield Problem("normalise", "is for a list of alphas only", self.normalise, "false")
            return
        if len(self.alphas) != self.steps:
            yield Problem("alphas", "one a step", f"{len(self.alphas)} for {self.steps} steps", self.steps)
            return
        total = sum(1 / alpha for alpha in self.alphas)
        if not self.normalise and abs(total - 1) > SUM_TOLERANCE:
            got = f"{total:.10g}"
            yield Problem("alphas", "the sum of 1/alpha is not 1", got, "1 within 1e-8, or normalise: true")


def _is_searched(alphas: object) -> bool:
    return alphas == DISCREPANCY or _form_of_alphas(alphas) == "restricted"
