r"""Schedules of ES-MDA that are found on the way: each alpha from the misfits of the ensemble in hand.

Both controllers here end with :math:`\sum_l 1 / \alpha_l = 1`, as ES-MDA asks. What is *spent* is the sum
over the steps already taken; a schedule is complete when nothing to speak of is left (`is_complete`):
without that tolerance a sum that ends one rounding below 1 would cost a whole forecast more, for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import DataError
from daflow.numerics.arrays.validation import FloatArray, finite_array

COMPLETE: Final = 1e-12
"""What may be missing from the sum of 1 / alpha."""

LARGEST_MOVE: Final = 2.0
"""How many prior standard deviations a restricted step may move a number."""

_MOST_TRIALS: Final = 200


def spent(alphas: ArrayLike) -> float:
    """Return the sum of 1 / alpha over the steps taken (n,), 0 where there are none."""
    values = finite_array("alphas", alphas, (None,))
    if not (values > 0).all():
        raise DataError("alphas must be positive", got=values.tolist(), allowed="above 0")
    return float((1 / values).sum())


def is_complete(alphas: ArrayLike) -> bool:
    """Return whether the steps taken have used up the data: their 1 / alpha sum to 1, but for rounding."""
    return 1.0 - spent(alphas) <= COMPLETE


def still_left(taken: ArrayLike) -> float:
    """Return one less the sum of 1 / alpha over the steps taken (n,).

    Raises
    ------
    DataError
        Nothing to speak of is left.
    """
    left = 1.0 - spent(taken)
    if left <= COMPLETE:
        raise DataError(
            "the schedule is complete: nothing is left for another step",
            got=f"1/alpha sums to {1.0 - left:.12g}",
            allowed="below 1",
            do="stop, as is_complete says",
        )
    return left


def discrepancy_alpha(misfits: ArrayLike, n_obs: int, taken: ArrayLike) -> float:
    r"""Return the next alpha of the data-misfit controller.

    .. math:: 1/\alpha = \min\{\max[\tfrac{n}{2 \bar\Phi}, \sqrt{\tfrac{n}{2 var(\Phi)}}],\; 1 - t\}

    with n observations, the members' misfits Phi and t spent. Source: Iglesias & Yang (2021), Inverse
    Problems 37, 025008.

    Laws: the schedule ends with a sum of 1; larger misfits never give a smaller alpha; misfits that are all
    zero, or all the same, spend what is left.

    Parameters
    ----------
    misfits : (n_members,)
        `daflow.numerics.diagnostics.misfit.data_misfit` of each member, with R and not with alpha R; two or
        more.
    n_obs
        How many observations.
    taken : (n,)
        The alphas of the steps before, not complete.

    Raises
    ------
    DataError
        Misfits that are not finite or below 0, fewer than two, or a schedule that is complete.
    """
    values, left = _misfits(misfits, 2), still_left(taken)
    mean, variance = float(values.mean()), float(values.var(ddof=1))
    with np.errstate(divide="ignore", over="ignore"):
        share = max(n_obs / (2 * np.float64(mean)), np.sqrt(n_obs / (2 * np.float64(variance))))
    return float(1.0 / min(share, left))


class Trial(NamedTuple):
    """A step that may be taken."""

    alpha: float
    draw: int = 0
    """Which draw of the step's perturbations: trials that moved too far are drawn anew."""
    closing: bool = False
    """Whether it spends what is left and so is taken whatever it moves."""


def first_trial(misfits: ArrayLike, n_obs: int, taken: ArrayLike) -> Trial:
    """Return the first trial of a restricted step: a quarter of the mean misfit per observation.

    Source: Le, Emerick & Reynolds (2016), SPE Journal 21, 2195.

    Parameters
    ----------
    misfits : (n_members,)
        As for `discrepancy_alpha`; one member is enough.
    n_obs
        How many observations.
    taken : (n,)
        The alphas of the steps before, not complete.
    """
    values, left = _misfits(misfits, 1), still_left(taken)
    alpha = 0.25 * float(values.mean()) / n_obs
    return Trial(alpha if alpha > 0 else 1.0 / left)


def next_trial(trial: Trial, move: float, taken: ArrayLike, largest: float = LARGEST_MOVE) -> Trial:
    """Return the trial that follows one whose largest move is known; the same one if it is to be taken.

    A trial that moved some number by ``largest`` prior standard deviations or more is repeated with twice
    the alpha and fresh perturbations. One that did not is taken, unless it would spend more than is left:
    then a closing step follows, which spends what is left, with the same standard normals, and is taken
    whatever it moves.
    """
    if trial.closing:
        return trial
    if not move < largest:
        return Trial(2.0 * trial.alpha, trial.draw + 1)
    left = still_left(taken)
    return Trial(1.0 / left, trial.draw, closing=True) if 1.0 / trial.alpha >= left else trial


def largest_move(increment: ArrayLike, deviations: ArrayLike) -> float:
    """Return by how many prior standard deviations an update moves what it moves most.

    Laws: the largest over the slices is that of the whole; a number without spread that stays counts for
    nothing, one that moves counts as infinitely far.

    Parameters
    ----------
    increment : (n_members, n_state)
        Posterior less prior.
    deviations : (n_state,)
        Standard deviations of the prior of the whole schedule, 0 or more.
    """
    change = finite_array("increment", increment, (None, None))
    scale = finite_array("deviations", deviations, (change.shape[1],))
    if (scale < 0).any():
        raise DataError("standard deviations are negative", got=float(scale.min()), allowed="0 or more")
    farthest = np.abs(change).max(axis=0, initial=0.0)
    moves = np.divide(farthest, scale, out=np.where(farthest > 0, np.inf, 0.0), where=scale > 0)
    return float(moves.max(initial=0.0))


class RestrictedStep(NamedTuple):
    """A restricted step that was taken."""

    posterior: FloatArray
    """(n_members, n_state)"""
    trial: Trial


def restricted_step(
    update: Callable[[float, int], FloatArray],
    prior: ArrayLike,
    deviations: ArrayLike,
    trial: Trial,
    taken: ArrayLike,
) -> RestrictedStep:
    """Return the first step, in order of trials, that moves nothing too far.

    Laws: the schedule ends with a sum of 1; no step but the closing one moves a number by `LARGEST_MOVE`
    prior standard deviations.

    Parameters
    ----------
    update
        The posterior (n_members, n_state) for an alpha and the number of a draw of the perturbations.
    prior : (n_members, n_state)
        What is updated.
    deviations : (n_state,)
        As for `largest_move`.
    trial
        The first, of `first_trial`.
    taken : (n,)
        The alphas of the steps before.

    Raises
    ------
    DataError
        No alpha is large enough: the update does not shrink as it should.
    """
    before = finite_array("prior", prior, (None, None))
    for _ in range(_MOST_TRIALS):
        posterior = update(trial.alpha, trial.draw)
        following = next_trial(trial, largest_move(posterior - before, deviations), taken)
        if following is trial:
            return RestrictedStep(posterior, trial)
        trial = following
    raise DataError(
        "a restricted step moves the ensemble too far, whatever the alpha",
        got=f"alpha {trial.alpha:.3g} after {_MOST_TRIALS} trials",
        do="check that the update uses the alpha it is given, and the prior standard deviations",
    )


def _misfits(misfits: ArrayLike, fewest: int) -> FloatArray:
    values = finite_array("misfits", misfits, (None,))
    if values.size < fewest or (values < 0).any():
        raise DataError(
            "the misfits of an ensemble cannot be used",
            got=f"{values.size} of them, the smallest {values.min(initial=np.inf):.6g}",
            allowed=f"{fewest} or more, each 0 or above",
        )
    return values
