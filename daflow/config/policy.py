"""Section ``policy``: what follows when a member fails, is lost or takes too long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from daflow.config.quality import MissingPredictions, of_missing
from daflow.config.section import Positive, Problem, Section, kind_of_value

Times = Annotated[int, Field(ge=0)]
Consequence = Literal["drop", "stop"]


class RetrySettings(Section):
    """How many more attempts a member gets after the first: a count of its own for each end."""

    failed: Times = Field(
        default=0, description="After the model said no; the same input would end the same way."
    )
    invalid: Times = Field(default=2, description="After the output could not be used.")
    timed_out: Times = Field(
        default=0, description="After it took longer than `timeout`, or than its command may take."
    )
    cancelled: Times = Field(default=0, description="After it was cut off by `stragglers`.")
    lost: Times = Field(
        default=10,
        description="After its worker died. What would have ended any task (a job that was cancelled or out "
        "of walltime, a node that went) is not counted, up to 100 times.",
    )


class OnFailureSettings(Section):
    """What follows when a member is given up, by the end that it is given up for."""

    failed: Consequence = Field(default="drop", description="The model said no.")
    invalid: Consequence = Field(default="drop", description="Its output could not be used.")
    timed_out: Consequence = Field(default="drop", description="It took longer than it may.")
    cancelled: Consequence = Field(
        default="drop", description="It was cut off; one that the operator drops never stops the run."
    )
    lost: Consequence = Field(default="drop", description="Its workers died.")


class StragglerSettings(Section):
    """Members that still run when nearly all others are done are cut off, and left behind."""

    factor: Annotated[float, Field(gt=1)] = Field(
        default=3.0,
        description="A member is cut off that has run for so many times the median of those of its stage "
        "that are done. No unit.",
    )
    least: Annotated[
        Annotated[Literal["min_members"], Tag("word")] | Annotated[float, Field(gt=0, le=1), Tag("number")],
        Discriminator(kind_of_value),
    ] = Field(
        default=0.75,
        description="Which share of the stage's members is done before any is cut off; min_members: as "
        "many as the run cannot do without, which it is never less than. No unit.",
    )


Retries = Annotated[
    Annotated[Times, Tag("number")] | Annotated[RetrySettings, Tag("mapping")], Discriminator(kind_of_value)
]
OnFailure = Annotated[
    Annotated[Consequence, Tag("word")] | Annotated[OnFailureSettings, Tag("mapping")],
    Discriminator(kind_of_value),
]


class PolicySettings(Section):
    """What follows when a member fails, is lost or takes too long."""

    retries: Retries = Field(
        default=2,
        description="How many more attempts a member gets after the first. A number is for output that "
        "cannot be used (and for lost workers, where it is above their 10); {failed: 0, invalid: 2, "
        "timed_out: 0, cancelled: 0, lost: 10} says it end by end.",
    )
    timeout: Positive | None = Field(
        default=None, description="Seconds that one forecast of a member may take; null: any."
    )
    min_members: int = Field(default=2, ge=2, description="With fewer members left the run stops.")
    on_failure: OnFailure = Field(
        default="drop",
        description="When a member is given up: go on without it, or stop the run; {failed: drop, lost: "
        "stop} says it end by end.",
    )
    node_failures: Annotated[int, Field(ge=2)] | None = Field(
        default=3,
        description="A node is put aside where so many different members have ended badly, while elsewhere "
        "they do better than by chance; what befell them there is not held against them. null: never.",
    )
    stragglers: StragglerSettings | None = Field(
        default=None,
        description="Members that hang or crawl are cut off; forecasts are then sent one by one, whatever "
        "execution.group says, so that nobody waits behind one that hangs. null: they are waited for.",
    )
    missing_predictions: MissingPredictions = Field(
        default="invalid",
        description="What follows where a model returns NaN for some observations. invalid: the output is "
        "taken for broken, and the member tried again; drop_observations: observations that some member does "
        "not predict are left out, for this step and all later ones; drop_members: a member that misses any "
        "is given up at once; {share: 0.1}: one that misses more than that share is, then observations are "
        "left out. Numbers depend on it: it cannot change once a run is made.",
    )

    def consequence(self, end: str) -> Consequence:
        """Return what follows when a member is given up for this end: a field of `OnFailureSettings`."""
        if isinstance(self.on_failure, str):
            return self.on_failure
        found: Consequence = getattr(self.on_failure, end)
        return found

    def _problems(self) -> Iterable[Problem]:
        return [*of_missing(self.missing_predictions, self.consequence("failed")), *self._of_stragglers()]

    def _of_stragglers(self) -> Iterator[Problem]:
        """Yield what is wrong with members that are to be cut off while none may be missing."""
        if self.stragglers is not None and self.consequence("cancelled") == "stop":
            what = "cuts members off, while on_failure stops the run when one is"
            yield Problem("stragglers", what, allowed="null, or on_failure: {cancelled: drop}")
