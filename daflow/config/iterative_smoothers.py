"""Iterative ensemble smoothers: each member's own minimum, sought in the span of the prior's members."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from daflow.config.section import Positive, Problem, Section, kind_of_value

Share = Annotated[float, Field(gt=0, le=1)]
StepLength = Annotated[
    Annotated[Share, Tag("number")] | Annotated[tuple[Share, ...], Tag("list")],
    Discriminator(kind_of_value),
]
Damping = Annotated[
    Annotated[Literal["auto"], Tag("word")] | Annotated[Positive, Tag("number")],
    Discriminator(kind_of_value),
]


class IesSettings(Section):
    """Subspace iterative ensemble smoother (Evensen, Raanes, Stordal and Hove, 2019)."""

    kind: Literal["ies"] = Field(
        default="ies", description="Iterative ensemble smoother, Gauss-Newton in ensemble space."
    )
    steps: int = Field(default=6, ge=1, description="How many updates; there is one forecast more.")
    step_length: StepLength = Field(
        default=0.6,
        description="How far each step goes towards the minimum of the linearized problem, above 0, up to 1: "
        "a number, or a list, one a step. 1 solves a linear problem in one step; shorter ones are safer.",
    )

    def length(self, step: int) -> float:
        """Return how far a step goes."""
        return self.step_length[step] if isinstance(self.step_length, tuple) else self.step_length

    def _problems(self) -> Iterator[Problem]:
        if isinstance(self.step_length, tuple) and len(self.step_length) != self.steps:
            got = f"{len(self.step_length)} for {self.steps} steps"
            yield Problem("step_length", "one a step", got, self.steps)


class EnrmlSettings(Section):
    """Ensemble randomized maximum likelihood by Levenberg and Marquardt (Chen and Oliver, 2013)."""

    kind: Literal["enrml"] = Field(
        default="enrml",
        description="Ensemble randomized maximum likelihood, Levenberg-Marquardt with adapted damping.",
    )
    steps: int = Field(
        default=10, ge=1, description="How many updates at most; there is one forecast more than updates."
    )
    damping: Damping = Field(
        default="auto",
        description="The first damping, above 0: the prior counts one plus this as much as it should in the "
        "length of a step, not in where the steps end. auto: the prior's mean misfit per observation.",
    )
    factor: Annotated[float, Field(gt=1)] = Field(
        default=10.0,
        description="By what the damping is divided after a step that lowered the members' mean cost, and "
        "multiplied after one that did not, which is taken back.",
    )
    tolerance: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.01,
        description="The step after one that lowered the mean cost by less than this fraction is the last; "
        "0: only the number of steps ends it.",
    )
