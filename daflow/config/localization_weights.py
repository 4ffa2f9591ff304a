"""Section ``localization``: weights of indices, of correlations, or of a function of the user's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag

from daflow.config.external_models import FunctionName
from daflow.config.section import InputPath, Positive, Problem, Section, kind_of_value

Tapers = Literal["gain", "cross_covariance", "observation_error"]
ObsObs = Literal["none", "same"]

WHAT_TAPERS: Final = (
    "What the weights multiply: the gain, after the inversion; the covariance of state and predictions, "
    "before it; or the inverse of the observation-error covariance, where each number makes an analysis of "
    "its own (independent observation errors and method.inversion exact_cholesky only)."
)
WHAT_OBS_OBS: Final = (
    "Whether the covariance of the predictions among themselves is weighed in the same way (same) or left as "
    "it is (none); same needs method.inversion exact_cholesky, naive, exact_lstsq or rescaled, and a matrix "
    "of observations by observations. "
)
UNSTABLE: Final = (
    "With tapers: cross_covariance, none is unstable where members are few: observations that no longer "
    "reach a number still count among each other, and gains grow."
)


class IndexWeights(Section):
    """A number of the state and an observation are as far apart as their places in the order."""

    kind: Literal["index"] = Field(default="index", description="Weights know places in the order only.")
    family: Literal["delta", "radial", "dropout"] = Field(
        description="delta: an observation reaches the number that it belongs to, and no other; radial: the "
        "weight falls as exp(-(i - j)^2 / (2 length^2)) of both indices; dropout: each pair is kept by "
        "chance, drawn anew at each step, and those of equal index always. For models without coordinates "
        "whose number i belongs to observation i; where there are coordinates, use kind: distance. As in "
        "EnsembleKalmanProcesses.jl (Delta, RBF, BernoulliDropout)."
    )
    length: Positive | None = Field(
        default=None, description="Of radial: its standard deviation, in steps of the index."
    )
    keep: float | None = Field(
        default=None, ge=0, le=1, description="Of dropout: the probability that a pair is kept."
    )
    belongs_to: str = Field(
        default="row",
        min_length=1,
        description="Which number of the state, counted from 0 along all variables, an observation belongs "
        "to: row, that of its row in the table of observations; else the table's column that says it.",
    )

    def _problems(self) -> Iterator[Problem]:
        yield from only_of("length", self.length, self.family, "radial", needed=True)
        yield from only_of("keep", self.keep, self.family, "dropout", needed=True)
        if self.family == "dropout" and self.belongs_to != "row":
            what = "chance keeps pairs by their rows"
            yield Problem("belongs_to", what, self.belongs_to, "row, or family: delta | radial")


class SamplingErrorWeights(Section):
    """Correlations are shrunk by how likely chance is to have made them."""

    kind: Literal["sampling_error"] = Field(
        default="sampling_error", description="Correlations shrunk by their sampling error."
    )
    family: Literal["power", "fisher", "nice"] = Field(
        description="power: |r|^power (Lee, 2021); fisher: Q^2 / (1 + Q^2), Q the ratio of a correlation r "
        "to its sampling error by Fisher's transform (Flowerdew, 2015), from 4 members on; nice: the largest "
        "even power whose correction stays within the sampling errors of all pairs together (Vishny et al., "
        "2024), for which the whole state is looked at once before each update. Nothing has to be known of "
        "where numbers and observations lie."
    )
    power: float | None = Field(
        default=None, ge=0, description="Of power: the exponent; null: 1. With 0 nothing is corrected."
    )
    cutoff: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Of power: corrected correlations |r|^(1 + power) up to this become 0; null: 0.",
    )
    tolerance: float | None = Field(
        default=None,
        ge=0,
        description="Of nice: how many times the norm of the sampling errors the correction may be; null: 1.",
    )
    obs_tolerance: float | None = Field(
        default=None,
        ge=0,
        description="Of nice: the same for the observations among themselves; null: as tolerance.",
    )
    std: Literal["asymptotic", "fisher", "ekp_v2"] | None = Field(
        default=None,
        description="Of nice: the standard deviation of a sample correlation r of n members. asymptotic "
        "(null), (1 - r^2) / sqrt(n - 1); fisher, by Fisher's transform, nearer to the truth where members "
        "are few, from 4 on; ekp_v2, (1 - r) / sqrt(n), as EnsembleKalmanProcesses.jl 2.7 has it, which is "
        "up to nine times too large for negative correlations: to compare with that code only.",
    )

    def _problems(self) -> Iterator[Problem]:
        for key in ("power", "cutoff"):
            yield from only_of(key, getattr(self, key), self.family, "power")
        for key in ("tolerance", "obs_tolerance", "std"):
            yield from only_of(key, getattr(self, key), self.family, "nice")


Noise = Annotated[
    Annotated[Literal["theory", "shuffled"], Tag("word")]
    | Annotated[Annotated[float, Field(ge=0, le=1)], Tag("number")],
    Discriminator(kind_of_value),
]


class CorrelationWeights(Section):
    """An observation reaches the numbers with which its predictions are correlated."""

    kind: Literal["correlation"] = Field(
        default="correlation", description="Weak sample correlations are taken for chance."
    )
    family: Literal["threshold", "tempered", "exponential"] = Field(
        description="threshold: 1 above the noise, else 0 (Luo et al., 2018); tempered: Gaspari-Cohn of "
        "(1 - |r|) / (1 - noise), 5/24 at the noise (Luo and Bhakta, 2020); exponential: with x = 1 - |r|, "
        "observation errors grow by factor^(((x - onset) / (end - onset))^2) between onset and end, and by "
        "factor beyond: it needs tapers: observation_error. For numbers without coordinates, and where an "
        "observation speaks of what is far from it; needs more members than distance does."
    )
    noise: Noise | None = Field(
        default=None,
        description="Of threshold and tempered: the size of correlations that chance makes. theory (null), "
        "3 / sqrt(members), from 10 members on; shuffled, found for each observation at each step from "
        "correlations with the predictions of other members, over the whole state; or a number from 0 to 1.",
    )
    onset: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Of exponential: 1 - |r| where errors begin to grow; null: 0.35.",
    )
    end: float | None = Field(
        default=None, gt=0, le=1, description="Of exponential: 1 - |r| where they end to; null: 0.7."
    )
    factor: float | None = Field(
        default=None, ge=1, description="Of exponential: by how much they grow at most; null: 8."
    )

    def _problems(self) -> Iterator[Problem]:
        if self.family == "exponential" and self.noise is not None:
            yield Problem("noise", "exponential needs none", self.noise, "null")
        for key in ("onset", "end", "factor"):
            yield from only_of(key, getattr(self, key), self.family, "exponential")
        onset, end = self.onset or 0.35 * (self.onset is None), 0.7 if self.end is None else self.end
        if onset >= end:
            yield Problem("end", "errors end to grow before they begin", end, f"above onset = {onset:g}")


class PluginWeights(Section):
    """Weights that a Python function of the user's returns: along rivers, across faults, by judgement."""

    kind: Literal["plugin"] = Field(default="plugin", description="A Python function of your own.")
    function: FunctionName = Field(
        description="'module:function', called as function(points, observations, **arguments) once a run, "
        "some hundred points at a time. points: columns variable (its name), number (its place in the "
        "variable's array), x, y, z; observations: the columns of their table, without values. Returns "
        "weights from 0 to 1 (points, observations)."
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="Passed to the function as keywords, in the function's own units."
    )
    folder: InputPath = Field(default=Path(), description="Where the module is looked for first.")


def only_of(key: str, value: object, family: str, of: str, *, needed: bool = False) -> Iterator[Problem]:
    """Yield what is wrong with a setting that only one family has, and maybe cannot do without."""
    if value is not None and family != of:
        yield Problem(key, f"{family} has none", value, f"null, or family: {of}")
    if value is None and family == of and needed:
        yield Problem(key, f"{of} needs one", "null", "a number")
