"""How much the observations count at each step: given beforehand, or found from the members' misfits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from daflow.methods.steps_before import left_before
from daflow.numerics.observations.blocks import BlockedInnovations
from daflow.numerics.observations.perturbations import Perturbations
from daflow.numerics.smoothers.adaptive_alphas import discrepancy_alpha, is_complete, spent
from daflow.ports import Arrays, FloatArray, StepInput


@dataclass(frozen=True, slots=True, eq=False)
class StepLength:
    """How much the observations count at one step."""

    alpha: float
    """What multiplies R; the length of a step in time is its inverse."""
    last: bool = False
    """Whether nothing is left after it, before the most steps there may be."""
    arrays: Arrays = field(default_factory=dict)
    """What the next step has to know of the steps so far."""
    figures: Mapping[str, float] = field(default_factory=dict)


class StepLengths(Protocol):
    """How much the observations count at each step."""

    @property
    def n_steps(self) -> int:
        """How many steps there are at most."""
        ...

    def next(self, given: StepInput, misfits: Callable[[], FloatArray], n_obs: int) -> StepLength:
        """Return the length of a step.

        Parameters
        ----------
        given
            The step.
        misfits
            Finds each member's misfit (n_members,): it costs a pass over the predictions.
        n_obs
            How many observations.
        """
        ...


@dataclass(frozen=True, slots=True)
class GivenLengths:
    """Alphas that are known beforehand, one a step."""

    alphas: tuple[float, ...]

    @property
    def n_steps(self) -> int:
        """How many steps there are."""
        return len(self.alphas)

    def next(self, given: StepInput, misfits: Callable[[], FloatArray], n_obs: int) -> StepLength:  # noqa: ARG002 - nothing is looked at
        """Return the length of a step."""
        return StepLength(self.alphas[given.step], arrays={"alphas": np.array(self.alphas[: given.step + 1])})


@dataclass(frozen=True, slots=True)
class DiscrepancyLengths:
    r"""The data-misfit controller, until :math:`\sum 1 / \alpha = 1`.

    Source: Iglesias & Yang (2021), Inverse Problems 37, 025008. Laws: the inverses of the alphas sum to 1,
    however few steps there may be; the last one that is allowed takes what is left.

    Parameters
    ----------
    n_steps
        How many steps there may be.
    """

    n_steps: int

    def next(self, given: StepInput, misfits: Callable[[], FloatArray], n_obs: int) -> StepLength:
        """Return the length of a step, from the misfits of the members as they are."""
        taken, found = taken_before(given), misfits()
        closing = given.step == self.n_steps - 1
        alpha = closing_alpha(taken) if closing else discrepancy_alpha(found, n_obs, taken)
        return found_length(alpha, taken, found, n_obs)


def taken_before(given: StepInput) -> FloatArray:
    """Return the alphas (n,) of the steps before.

    Raises
    ------
    daflow.errors.CombinationError
        They were another method's, which has none.
    """
    if given.step == 0:
        return np.empty(0)
    what = "a method whose steps are found on the way"
    return np.asarray(left_before(given.before, "alphas", given.step, what), dtype=np.float64)


def closing_alpha(taken: FloatArray) -> float:
    """Return the alpha that takes what is left."""
    return 1.0 / (1.0 - spent(taken))


def found_length(alpha: float, taken: FloatArray, misfits: FloatArray, n_obs: int) -> StepLength:
    """Return a length that was found, and what there is to tell of it.

    Its figures: ``alpha``; ``misfit_mean``, the members' mean misfit per observation before the step, about
    1 where they explain the observations; ``left``, what is left of the sum of 1 / alpha after it.
    """
    alphas = np.append(taken, alpha)
    figures = {
        "alpha": alpha,
        "misfit_mean": 2.0 * float(misfits.mean()) / n_obs,
        "left": max(1.0 - spent(alphas), 0.0),
    }
    return StepLength(alpha, is_complete(alphas), {"alphas": alphas}, figures)


def member_misfits(given: StepInput, source: Perturbations) -> FloatArray:
    r"""Return :math:`\tfrac12 |y - g|^2_{R^{-1}}` of each member (n_members,), the observations as they are.

    Cost O(n_obs n_members) and that of R; the predictions are read once, by blocks, whole where all errors
    depend on each other.
    """
    blocks = BlockedInnovations(len(given.members), source.obs_error, given.predicted, source.values)
    misfits = np.zeros(len(given.members))
    for _, predicted, values in blocks.departures():
        misfits += 0.5 * np.square(values - predicted).sum(axis=1)
    return misfits
