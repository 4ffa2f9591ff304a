"""Ensemble Kalman inversion: steps in an artificial time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag

from daflow.config.es_mda import DISCREPANCY, MOST_STEPS
from daflow.config.inversions import InversionChoice, Truncation, of_truncation
from daflow.config.section import Positive, Problem, Section, kind_of_value

FEW_STEPS: Final = 10
"""Steps of a given length, unless the file says how many."""

TimeStep = Annotated[
    Annotated[Literal["discrepancy"], Tag("word")] | Annotated[Positive, Tag("number")],
    Discriminator(kind_of_value),
]
STEPS_DESCRIPTION: Final = (
    f"How many updates; there is one forecast more. With time_step discrepancy the most there may be "
    f"({MOST_STEPS} if the file does not say): the last one allowed takes all that is left of the time until "
    f"1; with a number, just so many ({FEW_STEPS} if the file does not say)."
)
TIME_STEP_DESCRIPTION: Final = (
    "How long each step is, no unit: observations count as if their error covariance were divided by it. "
    "Steps that sum to 1 end near the posterior, longer times near the least misfit. discrepancy: found on "
    "the way from the members' misfits, until the sum is 1 (Iglesias and Yang, 2021)."
)


def _steps(said: dict[str, Any]) -> int:
    return MOST_STEPS if said.get("time_step") == DISCREPANCY else FEW_STEPS


class EkiSettings(Section):
    """Ensemble Kalman inversion (Iglesias, Law and Stuart, 2013)."""

    kind: Literal["eki"] = Field(default="eki", description="Ensemble Kalman inversion.")
    time_step: TimeStep = Field(default="discrepancy", description=TIME_STEP_DESCRIPTION)
    steps: int = Field(default_factory=_steps, ge=1, description=STEPS_DESCRIPTION)
    perturbed: Literal["raw", "none"] = Field(
        default="raw",
        description="What each member sees of the observations: raw, with a draw of their errors of its own, "
        "which keeps the ensemble about as wide as the posterior; none, as they are, which draws the members "
        "together, for who wants the best fit only.",
    )
    acceleration: Literal["none", "nesterov"] = Field(
        default="none",
        description="nesterov: the model is run somewhat ahead of where the steps led, by Nesterov's "
        "recursion (Kovachki and Stuart, 2019), and fits in fewer steps; only with perturbed: none. The "
        "ensemble without acceleration is kept beside, as large as the state; the last step ends with it.",
    )
    inversion: InversionChoice = "exact_cholesky"
    truncation: Truncation = 1.0

    def _problems(self) -> Iterable[Problem]:
        return [*self._acceleration_problems(), *of_truncation(self.inversion, self.truncation)]

    def _acceleration_problems(self) -> Iterator[Problem]:
        if self.acceleration == "nesterov" and self.perturbed != "none":
            what = "momentum adds up the noise of perturbed observations"
            yield Problem("perturbed", what, self.perturbed, "none, or acceleration: none")


class EtkiSettings(Section):
    """Ensemble transform Kalman inversion (Huang, Huang, Reich and Stuart, 2022)."""

    kind: Literal["etki"] = Field(
        default="etki", description="Ensemble transform Kalman inversion: nothing is perturbed."
    )
    time_step: TimeStep = Field(default="discrepancy", description=TIME_STEP_DESCRIPTION)
    steps: int = Field(default_factory=_steps, ge=1, description=STEPS_DESCRIPTION)
