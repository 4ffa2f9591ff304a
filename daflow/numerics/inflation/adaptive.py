r"""Inflation of the whole forecast, estimated from its departures from the observations.

The factor lambda multiplies forecast *variances*. With innovations d of the mean and the covariance of the
predictions :math:`C_{yy}`, :math:`E[d d^T] = \lambda C_{yy} + R`, and so a scalar product of d with itself or
with the analysis increment tells lambda. One analysis tells it badly: `combined_inflation` remembers.

References
----------
Wang & Bishop (2003), Journal of the Atmospheric Sciences 60, 1140. Desroziers, Berre, Chapnik & Poli (2005),
Q. J. R. Meteorol. Soc. 131, 3385. Li, Kalnay & Miyoshi (2009), the same journal 135, 523. Miyoshi (2011),
Monthly Weather Review 139, 1519.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import DataError
from daflow.numerics.arrays.ensembles import ensemble_of, mean_of
from daflow.numerics.arrays.linalg import anomalies_of, cholesky, forward_solve
from daflow.numerics.arrays.validation import finite_array, positive_number
from daflow.numerics.obs_error.covariance import Covariance, as_covariance
from daflow.numerics.observations.blocks import BlockedInnovations, innovations_of_arrays


class InflationEstimate(NamedTuple):
    """A factor on forecast variances, and how well it is known."""

    factor: float
    """Not bounded: chance may put it below 1, and even below 0."""
    variance: float
    """Of the factor."""


def inflation_of_innovations(
    predicted: ArrayLike, observations: ArrayLike, obs_error: Covariance | ArrayLike
) -> InflationEstimate:
    r"""Return what the innovations tell, :math:`(d^T R^{-1} d - n) / tr(C_{yy} R^{-1})`.

    Source: Wang & Bishop (2003). Laws: unbiased, where the errors are as assumed; its variance falls
    as 1 / n_obs; units of the observations do not matter.

    Parameters
    ----------
    predicted : (n_members, n_obs)
        Forecasts of the observations, not inflated.
    observations : (n_obs,)
    obs_error
        R: a covariance, variances (n_obs,), or a matrix (n_obs, n_obs).

    Raises
    ------
    DataError
        Arrays that cannot be used, or predictions without any spread.
    """
    found = inflation_by_blocks(innovations_of_arrays(predicted, observations, as_covariance(obs_error)))
    if found is None:
        raise _without_spread()
    return found


def inflation_by_blocks(source: BlockedInnovations) -> InflationEstimate | None:
    r"""Return what the innovations tell, from observations that are read by blocks.

    With errors R = D + F F' the two sums over the inverse of R are those over the inverse of D, less what
    the patterns F take away (Woodbury).

    Laws: it is `inflation_of_innovations` of the whole arrays; None where no prediction has any spread.

    Parameters
    ----------
    source
        What the members predict, not inflated, what was observed, and R.

    Raises
    ------
    DataError
        A prediction is not finite.

    Notes
    -----
    Cost n_obs (n_members + k) for k patterns; memory: blocks of the observations.
    """
    n_members, k = source.n_members, source.n_patterns
    squares, trace = 0.0, 0.0
    among, distances, signals = np.zeros((k, k)), np.zeros(k), np.zeros((k, n_members))
    for _, rows in source.whitened():
        anomalies, patterns, innovation = rows[:n_members], rows[n_members:-1], rows[-1]
        squares += float(innovation @ innovation)
        trace += float(np.square(anomalies).sum())
        among += patterns @ patterns.T
        distances += patterns @ innovation
        signals += patterns @ anomalies.T
    if trace == 0:
        return None
    if k:
        lower = cholesky(among + np.eye(k))
        squares -= float(np.square(forward_solve(lower, distances)).sum())
        trace -= float(np.square(forward_solve(lower, signals.T)).sum())
    trace /= n_members - 1
    return _estimate((squares - source.n_obs) / trace, trace, source.n_obs)


def inflation_of_increments(
    predicted: ArrayLike,
    posterior_predicted: ArrayLike,
    observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
) -> InflationEstimate:
    r"""Return what innovations and increments tell together, :math:`d_{ab}^T R^{-1} d / tr(C_{yy} R^{-1})`.

    Of the two this one is exact only if the analysis was made with the right weights, but it is less noisy.
    Source: Desroziers et al. (2005); Li et al. (2009).

    Laws: where :math:`d d^T` is as assumed in the mean, so is the factor 1.

    Parameters
    ----------
    predicted, posterior_predicted : (n_members, n_obs)
        Predictions of the forecast, not inflated, and of the analysis.
    observations, obs_error
        As for `inflation_of_innovations`.
    """
    covariance = as_covariance(obs_error)
    before = ensemble_of("predicted", predicted, covariance.n_obs)
    innovation = finite_array("observations", observations, (covariance.n_obs,)) - mean_of(before)
    after = ensemble_of("posterior_predicted", posterior_predicted, covariance.n_obs)
    trace = float(np.square(covariance.whiten(anomalies_of(before))).sum()) / (len(before) - 1)
    if trace == 0:
        raise _without_spread()
    increment = mean_of(after) - mean_of(before)
    return _estimate(float(increment @ covariance.solve(innovation)) / trace, trace, covariance.n_obs)


def combined_inflation(
    before: InflationEstimate, now: InflationEstimate, *, growth: float = 1.03
) -> InflationEstimate:
    """Return the mean of an estimate so far and a new one, each weighed by how well it is known.

    A scalar Kalman filter whose forecast is the estimate so far, with its variance multiplied by ``growth``.
    Source: Li et al. (2009); Miyoshi (2011). Laws: the factor lies between both; the
    variance is below the smaller of both.

    Raises
    ------
    DataError
        Growth below 1, or variances that are not positive.
    """
    if not growth >= 1:
        raise DataError("growth of the variance of an inflation", got=growth, allowed="1 or more")
    old = growth * positive_number("variance of the inflation so far", before.variance)
    new = positive_number("variance of the new inflation", now.variance)
    weight = old / (old + new)
    return InflationEstimate(before.factor + weight * (now.factor - before.factor), weight * new)


def _without_spread() -> DataError:
    return DataError(
        "predictions without spread tell nothing of an inflation",
        got="members that all predict the same",
        do="leave the inflation as it was",
    )


def _estimate(factor: float, trace: float, n_obs: int) -> InflationEstimate:
    """Attach the variance that a sum of n_obs squares has (Miyoshi, 2011)."""
    variance = 2 / n_obs * ((max(factor, 0.0) * trace + n_obs) / trace) ** 2
    return InflationEstimate(factor, variance)
