"""The iterative ensemble Kalman smoother: a cycle is forecast again from a start that was corrected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daflow.methods.filters_global import Rotate, not_rotated
from daflow.methods.observed import Observed
from daflow.methods.steps_before import left_before
from daflow.numerics.filters.ensemble_transform import EnsembleTransform
from daflow.numerics.filters.ienks import cost, iteration, no_transform
from daflow.numerics.inversion.global_update import transform_members
from daflow.ports import Arrays, FloatArray, Prepared, SliceInput, SlicePoints, StepInput

NOTHING_YET: Final = np.inf


@dataclass(frozen=True, eq=False)
class IterativeKalmanSmoother:
    r"""The transform variant with a lag of one cycle (Bocquet & Sakov, 2014, QJRMS 140, 1521).

    A cycle takes ``iterations + 1`` steps. Each of the first corrects the ensemble that the cycle *starts*
    from, always from that ensemble as it came (`base`), by one iteration of Gauss-Newton with what the
    ensemble corrected before predicts; the last forecasts the corrected one and goes on from where that ends.
    Where the iteration before has raised the cost, the last forecast is that of the best so far.

    Laws: with a linear model it is the transform filter, whatever the number of iterations; a slice gives
    what the whole gives; permuting the members permutes the posterior, unless it is rotated.

    Parameters
    ----------
    observed
        What is observed at a step; the same at all steps of a cycle.
    n_steps
        How many steps there are: those of all cycles.
    iterations
        How often the start of a cycle is corrected.
    rotate
        What is done to the anomalies at the end of a cycle: `not_rotated`, or a `RandomRotation`.

    Notes
    -----
    Cost of a step: n_obs n_members^2 and n_members^3. Memory: the predictions whole, n_members n_obs.
    Members that are lost amid a cycle leave it with their part in the weights shared out among the others;
    the iterations that follow go on from what these predict.
    """

    observed: Callable[[int], Observed]
    n_steps: int
    iterations: int
    rotate: Rotate = field(default=not_rotated)

    def _turn(self, step: int) -> int:
        return step % (self.iterations + 1)

    def base(self, step: int) -> int:
        """Return from which step's members the update of a step starts."""
        turn = self._turn(step)
        return step if turn == self.iterations else step - turn

    def prepare(self, given: StepInput) -> Prepared:
        """Return the next transform of the cycle's first ensemble; at its last step what ends the cycle.

        The figures are ``cost``, of the ensemble that was forecast, and ``change``, of the weights.
        """
        n_members, turn = len(given.members), self._turn(given.step)
        if turn == self.iterations:
            ended = self.rotate(given.step, no_transform(n_members))
            return Prepared({"transform": ended.matrix})
        observed = self.observed(given.step)
        predicted = given.predicted(0, len(observed.values))
        used, best, lowest = _before(given, turn)
        value = cost(used, predicted, observed.values, observed.error)
        found = iteration(used, predicted, observed.values, observed.error)
        following = found.transform
        if value <= lowest:
            best, lowest = used, value
        elif turn == self.iterations - 1:
            following = best
        kept = {**_named("used", following), **_named("best", best), "lowest": np.array(lowest)}
        kept |= {"members": np.array(given.members), "transform": following.matrix}
        return Prepared(kept, {"cost": value, "change": found.change})

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:  # noqa: ARG002 - no matter where
        """Return nothing."""
        return {}

    def apply(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Turn a slice (n_members, n) of the cycle's first, or last, ensemble into the next, in place."""
        transform_members(given.factors["transform"], slab, slab)
        return {}


def _named(what: str, transform: EnsembleTransform) -> dict[str, NDArray[Any]]:
    return {f"{what}_mean": transform.mean_weights, f"{what}_anomalies": transform.anomaly_transform}


def _before(given: StepInput, turn: int) -> tuple[EnsembleTransform, EnsembleTransform, float]:
    """Return the transform whose ensemble was forecast, the best one so far, and its cost."""
    first = no_transform(len(given.members))
    if turn == 0:
        return first, first, NOTHING_YET

    def left(name: str) -> NDArray[Any]:
        return left_before(given.before, name, given.step, "method.kind ienks")

    row = {member: index for index, member in enumerate(left("members").tolist())}
    rows = [row[member] for member in given.members]
    used, best = (
        survivors_transform(EnsembleTransform(left(f"{what}_mean"), left(f"{what}_anomalies")), rows)
        for what in ("used", "best")
    )
    # Costs of fewer members are those of another ensemble.
    return used, best, float(left("lowest")) if len(rows) == len(row) else NOTHING_YET


def survivors_transform(transform: EnsembleTransform, rows: list[int]) -> EnsembleTransform:
    """Return the transform of some of the members.

    What they had of the others is shared out equally. Laws: all kept changes nothing; the transform that does
    nothing still does nothing; columns keep their sum.
    """
    n_before, n_left = len(transform.mean_weights), len(rows)
    if n_left == n_before:
        return transform
    anomalies: FloatArray = transform.anomaly_transform[np.ix_(rows, rows)]
    columns = transform.anomaly_transform.sum(axis=0)[rows]
    anomalies = anomalies + (columns - anomalies.sum(axis=0)) / n_left
    mean = transform.mean_weights[rows]
    return EnsembleTransform(mean - mean.mean() + transform.mean_weights.mean(), anomalies)
