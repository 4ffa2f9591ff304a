r"""Inflation with given numbers: ways to widen an ensemble that has become too sure of itself.

Every function keeps the ensemble's mean, and returns a new ensemble; those of
`daflow.numerics.inflation.in_place` change it where it lies. What a factor multiplies is in the name: a
factor f on anomalies is one of f^2 on variances.

==================== ==========================================================================
what                 does
==================== ==========================================================================
`inflate_anomalies`  multiplies anomalies, of a forecast or an analysis
`inflate_variance`   multiplies variances, of a forecast or an analysis
`relax_to_spread`    RTPS: pulls the analysis' standard deviations towards the forecast's
`relax_to_anomalies` RTPP: mixes the analysis' anomalies with the forecast's
`add_noise`          adds draws, centred, to the members
==================== ==========================================================================

An inflated *forecast* needs inflated predictions as well: call the same function on both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import DataError
from daflow.numerics.arrays.ensembles import ensemble_of
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.validation import FloatArray, finite_array
from daflow.numerics.filters.ensemble_transform import EnsembleTransform
from daflow.numerics.inflation.in_place import deviations_of, mix_anomalies, relax_to_deviations, widen


def inflate_anomalies(ensemble: ArrayLike, factor: ArrayLike) -> FloatArray:
    """Return an ensemble (n_members, n) whose anomalies are multiplied.

    Laws: the mean stays; the covariance is multiplied by the factors of both numbers; a factor of 1 is
    nothing, to the bit.

    Parameters
    ----------
    ensemble : (n_members, n)
    factor
        0 or more; one number, or one for each number of the state (n,).

    Raises
    ------
    DataError
        Fewer than two members, numbers that are not finite, a factor below 0.
    """
    members = ensemble_of("ensemble", ensemble).copy()
    widen(members, _factors(factor, members.shape[1]))
    return members


def inflate_variance(ensemble: ArrayLike, factor: ArrayLike) -> FloatArray:
    """Return an ensemble (n_members, n) whose variances are multiplied.

    Law: it is `inflate_anomalies` with the square root of the factor. Parameters as there.
    """
    members = ensemble_of("ensemble", ensemble)
    return inflate_anomalies(members, np.sqrt(_factors(factor, members.shape[1])))


def relax_to_spread(prior: ArrayLike, posterior: ArrayLike, strength: float) -> FloatArray:
    r"""Return a posterior whose standard deviations are relaxed to the prior's (RTPS).

    Anomalies are multiplied by :math:`1 + \alpha (\sigma_f - \sigma_a) / \sigma_a`, number by number. Source:
    Whitaker & Hamill (2012), Monthly Weather Review 140, 3078.

    Laws: a strength of 0 is nothing; at 1 the standard deviations are the prior's; a number without posterior
    spread stays.

    Parameters
    ----------
    prior, posterior : (n_members, n)
        Before and after the update.
    strength
        Alpha, 0 or more; above 1 the spread exceeds the prior's.
    """
    before, relaxed, alpha = _pair(prior, posterior, strength)
    relax_to_deviations(relaxed, deviations_of(before), alpha)
    return relaxed


def relax_to_anomalies(prior: ArrayLike, posterior: ArrayLike, strength: float) -> FloatArray:
    r"""Return a posterior whose anomalies are relaxed to the prior's (RTPP).

    They are :math:`(1-\alpha) A_a + \alpha A_f`. Source: Zhang, Snyder & Sun (2004), Monthly Weather Review
    132, 1238. Laws: a strength of 0 is nothing; at 1 the anomalies are the prior's.

    Parameters
    ----------
    prior, posterior, strength
        As for `relax_to_spread`.
    """
    before, relaxed, alpha = _pair(prior, posterior, strength)
    mix_anomalies(relaxed, before, alpha)
    return relaxed


def relaxed_transform(transform: EnsembleTransform, strength: float) -> EnsembleTransform:
    """Return a transform whose analysis has its anomalies relaxed to the prior's.

    Law: it does to a slice what `relax_to_anomalies` does afterwards.
    """
    alpha = _strength(strength)
    mixed = (1.0 - alpha) * transform.anomaly_transform
    mixed[np.diag_indices_from(mixed)] += alpha
    return EnsembleTransform(transform.mean_weights, mixed)


def add_noise(ensemble: ArrayLike, noise: ArrayLike) -> FloatArray:
    """Return an ensemble with a draw of noise added to each member, less the mean of the draws.

    Laws: the mean stays; noise that is the same for all members adds nothing.

    Parameters
    ----------
    ensemble, noise : (n_members, n)
        The noise from a covariance of the user's choice: model errors, or a part of the climatology.
    """
    members = ensemble_of("ensemble", ensemble)
    return members + anomalies_of(finite_array("noise", noise, members.shape))


def _factors(factor: ArrayLike, n: int) -> FloatArray:
    factors = np.asarray(finite_array("inflation factor", factor, (n,) if np.ndim(factor) else ()))
    if (factors < 0).any():
        raise DataError("inflation factor is negative", got=float(factors.min()), allowed="0 or more")
    return factors


def _strength(strength: float) -> float:
    alpha = float(finite_array("strength of relaxation", strength, ()))
    if alpha < 0:
        raise DataError("strength of relaxation is negative", got=alpha, allowed="0 or more")
    return alpha


def _pair(prior: ArrayLike, posterior: ArrayLike, strength: float) -> tuple[FloatArray, FloatArray, float]:
    """Return the prior, a copy of the posterior, and the strength."""
    before = ensemble_of("prior", prior)
    return before, finite_array("posterior", posterior, before.shape).copy(), _strength(strength)
