"""Section ``policy``: what follows when a member fails, is lost or takes too long."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from daflow.config.quality import MissingPredictions, of_missing
from daflow.config.section import Positive, Section, refuse


class PolicySettings(Section):
    """What follows when a member fails, is lost or takes too long."""

    retries: int = Field(default=2, ge=0, description="How many more attempts a member gets after the first.")
    timeout: Positive | None = Field(
        default=None, description="Seconds that one forecast of a member may take; null: any."
    )
    min_members: int = Field(default=2, ge=2, description="With fewer members left the run stops.")
    on_failure: Literal["drop", "stop"] = Field(
        default="drop", description="When a member has failed for good: go on without it, or stop the run."
    )
    missing_predictions: MissingPredictions = Field(
        default="invalid",
        description="What follows where a model returns NaN for some observations. invalid: the output is "
        "taken for broken, and the member tried again; drop_observations: observations that some member does "
        "not predict are left out, for this step and all later ones; drop_members: a member that misses any "
        "is given up at once; {share: 0.1}: one that misses more than that share is, then observations are "
        "left out. Numbers depend on it: it cannot change once a run is made.",
    )

    @model_validator(mode="after")
    def _can_be_kept_to(self) -> Self:
        refuse(of_missing(self.missing_predictions, self.on_failure))
        return self
