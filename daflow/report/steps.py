"""What a report tells of steps: what preparations noted, how far updates moved, how good predictions are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from daflow.numerics.diagnostics.scores import Scores
from daflow.ports import FloatArray


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What the preparation of a step's update noted: chi-square, degrees of freedom, the method's own."""

    step: int
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class StepUpdate:
    """How a step's update changed the ensemble.

    Parameters
    ----------
    before, after
        Variable -> standard deviation over the members, mean over the variable's numbers, in its unit.
    moved, moved_in_spread
        Variable -> root mean square, over its numbers, of how far the ensemble's mean went: in its unit, and
        in units of each number's standard deviation before. Empty for runs that did not note it.
    by_slice
        (n_slices,) the latter over all numbers of each slice; NaN where it was not noted.
    localized_away
        The share of pairs of a number and an observation that the localization leaves out, if it is known.
    """

    step: int
    before: Mapping[str, float]
    after: Mapping[str, float]
    moved: Mapping[str, float]
    moved_in_spread: Mapping[str, float]
    by_slice: FloatArray
    localized_away: float | None = None


@dataclass(frozen=True, slots=True)
class StepScores:
    """How good a step's predictions are."""

    step: int
    misfit: FloatArray
    """(n_groups,) mean misfit per observation of each group; NaN where the step has none of it."""
    overall: float = float("nan")
    """The same of all its observations."""
    truth: Scores | None = None
    """Against the truth of a twin experiment."""


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """What tells whether the answer is any good; nothing here need be complete.

    Parameters
    ----------
    groups
        Labels of the groups of observations, in the order of `StepScores.misfit`.
    figures, updates, scores
        One a step, in the order of steps; steps may be missing.
    error_ratios
        Kind of observation -> diagnosed over assumed standard deviation of its errors.
    """

    groups: Sequence[str] = ()
    figures: Sequence[StepFigures] = ()
    updates: Sequence[StepUpdate] = ()
    scores: Sequence[StepScores] = ()
    error_ratios: Mapping[str, float] = field(default_factory=dict)
