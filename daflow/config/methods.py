"""Section ``method``: how the ensemble is updated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from daflow.config.section import Positive, Problem, Section, kind_of_value, refuse

Inversion = Literal[
    "naive",
    "exact_cholesky",
    "exact_lstsq",
    "exact_woodbury",
    "rescaled",
    "subspace",
    "subspace_rescaled",
]
TRUNCATING: Final[tuple[Inversion, ...]] = ("rescaled", "subspace", "subspace_rescaled")
"""The inversions that can leave something out."""
SUM_TOLERANCE: Final = 1e-8
"""How far the sum of 1/alpha may be from 1."""


class GeometricAlphas(Section):
    """Each alpha is the one before it divided by the ratio; the sum of their inverses is 1."""

    ratio: Positive = Field(description="Above 1: cautious first. No unit.")


Alphas = Annotated[
    Annotated[Literal["constant"], Tag("word")]
    | Annotated[GeometricAlphas, Tag("mapping")]
    | Annotated[tuple[Positive, ...], Tag("list")],
    Discriminator(kind_of_value),
]


class EsMdaSettings(Section):
    """Ensemble smoother with multiple data assimilation (Emerick and Reynolds, 2013)."""

    kind: Literal["es_mda"] = Field(
        default="es_mda", description="Ensemble smoother, multiple data assimilation."
    )
    steps: int = Field(default=4, ge=1, description="How many updates; there is one forecast more.")
    alphas: Alphas = Field(
        default="constant",
        description="Factors on the observation-error covariance, the sum of whose inverses is 1: constant "
        "(all are the number of steps), {ratio: 1.2} (a geometric sequence), or a list, one a step.",
    )
    normalise: bool = Field(
        default=False, description="Scale a list of alphas so that the sum of their inverses becomes 1."
    )
    inversion: Inversion = Field(
        default="exact_cholesky",
        description="How the covariance of the predictions is inverted; rescaled, subspace and "
        "subspace_rescaled can leave out what 'truncation' says; naive and exact_lstsq take up to 20,000 "
        "observations.",
    )
    truncation: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="The fraction kept of the sum of singular values or eigenvalues; 1: nothing is left out.",
    )

    @model_validator(mode="after")
    def _can_be_right(self) -> Self:
        refuse([*self._alpha_problems(), *self._truncation_problems()])
        return self

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

    def _truncation_problems(self) -> Iterator[Problem]:
        if self.truncation < 1 and self.inversion not in TRUNCATING:
            what = f"inversion {self.inversion!r} leaves nothing out"
            yield Problem("truncation", what, self.truncation, f"1.0, or inversion: {' | '.join(TRUNCATING)}")


MethodSettings = EsMdaSettings
"""The methods there are, told apart by ``kind``."""
