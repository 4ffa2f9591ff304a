"""Iterative ensemble smoothers: weights of the prior's members on each other, found step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from daflow.methods.steps_before import left_before
from daflow.numerics.diagnostics.information import gram_of
from daflow.numerics.diagnostics.misfit import spread
from daflow.numerics.inversion.global_update import transform_members
from daflow.numerics.observations.blocks import BlockedObservations
from daflow.numerics.observations.perturbations import Perturbations
from daflow.numerics.smoothers.iterative_smoothers import member_span, next_damping, no_weights
from daflow.numerics.smoothers.weight_steps import (
    PredictionSums,
    costs,
    gauss_newton,
    levenberg_marquardt,
    sums_of_predictions,
    survivors_weights,
    transform_of_weights,
)
from daflow.ports import Arrays, FloatArray, Prepared, SliceInput, SlicePoints, StepInput, StoredArray

BLOCK = 4096
"""Numbers of each member that are looked at together."""
SMALLEST_DAMPING = 1e-6
"""To begin with, where the prior explains the observations exactly."""


class WeightScheme(Protocol):
    """Finds the weights of the next step from the predictions of this one."""

    @property
    def n_steps(self) -> int:
        """How many steps there are at most."""
        ...

    def step(self, given: StepInput, sums: PredictionSums, span: FloatArray | None) -> Prepared:
        """Return ``weights`` (n_members, n_members), and what the next step has to know.

        Parameters
        ----------
        given
            The step.
        sums
            Of what the members predict.
        span : (n_members, rank) or None
            What the prior's members differ in, where that is less than the members.
        """
        ...


@dataclass(frozen=True, eq=False)
class IterativeSmoother:
    """Every step's ensemble is the prior's, mixed by weights: updates start from the prior.

    Every member has perturbed observations of its own, the same in all steps. What is found of the weights
    is carried in what a step prepares; the state is read and written once a step.

    Laws: a slice gives what the whole gives; no weights are the prior, to the bit; the perturbations are
    those of the first step of `daflow.methods.EsMda` with alpha 1. A member that is left behind takes its
    row and column of weights with it: the others go on by their own. Their predictions are of members that
    had a share of it, so the first step without it is off by that; what follows does not know it, and a
    linear problem ends where it ends for the others alone, one step later.

    Cost: that of an update of ES-MDA. Localization is not defined: weights are of whole members.

    Parameters
    ----------
    scheme
        How weights are found.
    source
        What was observed, R, and the random numbers that perturb.
    """

    scheme: WeightScheme
    source: Perturbations

    @property
    def n_steps(self) -> int:
        """How many updates the method makes at most."""
        return self.scheme.n_steps

    def base(self, step: int) -> int:  # noqa: ARG002 - whichever it is
        """Return from which step's members the update of a step starts: the prior."""
        return 0

    def prepare(self, given: StepInput) -> Prepared:
        """Return the transform of the prior; cost O(n_obs n_members^2), memory n_members^2 and blocks."""
        return self.stepped(given, None)

    def stepped(self, given: StepInput, span: FloatArray | None) -> Prepared:
        """Return what `prepare` returns, for a prior whose members differ in this only."""
        observations = BlockedObservations(
            len(given.members),
            self.source.obs_error,
            given.predicted,
            lambda: self.source.begin(0, given.members, 1.0),
        )
        sums = sums_of_predictions(observations)
        found = self.scheme.step(given, sums, span)
        arrays = {
            **found.arrays,
            "transform": transform_of_weights(found.arrays["weights"]),
            "members": np.asarray(given.members, dtype=np.int64),
        }
        misfit = float(sums.squares.mean()) / self.source.obs_error.n_obs
        return Prepared(arrays, {**found.figures, "misfit_mean": misfit}, found.last)

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:  # noqa: ARG002 - all hear all
        """Return nothing: every observation updates every number."""
        return {}

    def apply(self, given: SliceInput, slab: StoredArray) -> Arrays:
        """Turn a slice (n_members, n) of the prior into the step's ensemble, in place."""
        transform_members(given.factors["transform"], slab, slab)
        return {}


@dataclass(frozen=True, eq=False)
class SmallStateSmoother(IterativeSmoother):
    """An iterative smoother for members that are more than the numbers of each.

    What predictions differ in beyond what is linear in so small a state must not count (Raanes, Stordal &
    Evensen, 2019, Nonlinear Processes in Geophysics 26, 325): what the prior's members differ in is surveyed
    first.
    """

    def prepare(self, given: StepInput) -> Prepared:  # noqa: ARG002 - the survey comes first
        """Return nothing: a step needs to know what the members differ in."""
        return Prepared({})

    def survey(self, given: SliceInput, slab: StoredArray) -> Arrays:  # noqa: ARG002 - its numbers say all
        """Return the products of the members' anomalies (n_members, n_members), each number to scale."""
        gram = np.zeros((len(slab), len(slab)))
        for start in range(0, slab.shape[1], BLOCK):
            block = np.asarray(slab[:, start : start + BLOCK], dtype=np.float64)
            scales = spread(block)
            gram += gram_of(block[:, scales > 0], scales[scales > 0])
        return {"gram": gram}

    def conclude(self, given: StepInput, factors: Arrays, found: Iterable[Arrays]) -> Prepared:  # noqa: ARG002 - nothing was prepared
        """Return the transform of the prior."""
        return self.stepped(given, member_span(sum(one["gram"] for one in found)))


@dataclass(frozen=True, slots=True)
class GaussNewton:
    """Steps of Gauss-Newton (Evensen, Raanes, Stordal & Hove, 2019, Front. Appl. Math. Stat. 5, 47).

    Laws: with linear predictions a step of length 1 ends at the ensemble smoother, from any weights.

    Parameters
    ----------
    lengths
        How far each step goes, above 0, up to 1.
    """

    lengths: tuple[float, ...]

    @property
    def n_steps(self) -> int:
        """How many steps there are."""
        return len(self.lengths)

    def step(self, given: StepInput, sums: PredictionSums, span: FloatArray | None) -> Prepared:
        """Return the weights of the next step; figures: ``step_length``, and ``cost``, the members' mean."""
        now, length = _weights(given, "weights"), self.lengths[given.step]
        figures = {"step_length": length, "cost": float(costs(now, sums).mean())}
        return Prepared({"weights": gauss_newton(now, sums, length, span)}, figures)


@dataclass(frozen=True, slots=True)
class LevenbergMarquardt:
    r"""Steps of Levenberg and Marquardt, LM-EnRML (Chen & Oliver, 2013, Computational Geosciences 17, 689).

    A step that lowered the members' mean cost is kept and the damping divided by ``factor``; one that did not
    is taken back: the next one starts from the best ensemble so far, with the damping multiplied. What that
    ensemble predicted is remembered by matrices of members by members, so a rejected step costs its
    forecasts and nothing else. Where the step before the last one allowed is rejected, the last one restores
    the best ensemble: nobody could test another. After a member was left behind, the first ensemble of the
    others alone is kept, whatever it costs: what is known of those before it had a share of that member.

    Laws: the mean cost of the ensembles that are kept falls; with linear predictions they come to the
    ensemble smoother's; the same whatever became of rejected steps.

    Parameters
    ----------
    n_steps
        How many steps there may be.
    n_obs
        How many observations.
    damping
        The first one, above 0; ``None``: the prior's mean misfit per observation.
    factor
        By what it changes, above 1.
    tolerance
        The step after one that lowered the mean cost by less than this fraction is the last; 0: it is not.
    """

    n_steps: int
    n_obs: int
    damping: float | None = None
    factor: float = 10.0
    tolerance: float = 0.01

    def step(self, given: StepInput, sums: PredictionSums, span: FloatArray | None) -> Prepared:
        """Return the weights of the next step.

        Figures: ``damping`` of the step; ``accepted``, whether the ensemble in hand is better than the best
        before it; ``cost``, the members' mean of the best.
        """
        best = _Best(_weights(given, "weights"), sums)
        damping, accepted, last = self._first_damping(sums), True, False
        if given.step > 0:
            before, damping = _Best.kept(given), float(_before(given, "damping"))
            if not _before(given, "incomparable"):
                damping = next_damping(damping, before.costs, best.costs, factor=self.factor)
                accepted = best.cost < before.cost
                last = accepted and before.cost - best.cost < self.tolerance * before.cost
            best = best if accepted else before
        restored = not accepted and given.step == self.n_steps - 1
        found = best.weights if restored else levenberg_marquardt(best.weights, best.sums, damping, span)
        arrays = {"weights": found, "damping": np.array(damping), **best.arrays()}
        arrays["incomparable"] = np.array(_lost_some(given))
        figures = {"damping": damping, "accepted": float(accepted), "cost": best.cost}
        return Prepared(arrays, figures, last)

    def _first_damping(self, sums: PredictionSums) -> float:
        if self.damping is not None:
            return self.damping
        return max(0.5 * float(sums.squares.mean()) / self.n_obs, SMALLEST_DAMPING)


@dataclass(frozen=True, slots=True, eq=False)
class _Best:
    """An ensemble: its weights, and what it predicts."""

    weights: FloatArray
    sums: PredictionSums

    @classmethod
    def kept(cls, given: StepInput) -> _Best:
        """Return the best ensemble of the steps before, of the members that are left."""
        sums = PredictionSums(*(_before(given, f"best_{name}") for name in PredictionSums._fields))
        return cls(_weights(given, "best_weights"), sums.of(_rows(given)))

    @property
    def costs(self) -> FloatArray:
        """What each member costs (n_members,)."""
        return costs(self.weights, self.sums)

    @property
    def cost(self) -> float:
        """Their mean."""
        return float(self.costs.mean())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `kept` reads."""
        return {
            f"best_{name}": array for name, array in {"weights": self.weights, **self.sums._asdict()}.items()
        }


def _lost_some(given: StepInput) -> bool:
    """Say whether members of the step before were left behind."""
    return given.step > 0 and len(given.members) < len(_before(given, "members"))


def _rows(given: StepInput) -> Sequence[int]:
    """Return which of the step before's members are left."""
    row = {member: index for index, member in enumerate(_before(given, "members").tolist())}
    return [row[member] for member in given.members]


def _weights(given: StepInput, name: str) -> FloatArray:
    """Return weights of the step before, of the members that are left; none at the first step."""
    if given.step == 0:
        return no_weights(len(given.members))
    return survivors_weights(np.asarray(_before(given, name), dtype=np.float64), _rows(given))


def _before(given: StepInput, name: str) -> NDArray[Any]:
    return left_before(given.before, name, given.step, "method.kind ies | enrml")
