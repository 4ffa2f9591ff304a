r"""Inflation of the whole forecast, estimated from its departures from the observations.

The factor lambda multiplies forecast *variances*. With innovations d of the mean and the covariance of the
predictions :math:`C_{yy}`, :math:`E[d d^T] = \lambda C_{yy} + R`, and so a scalar product of d with itself
tells lambda. One analysis tells it badly: `combined_inflation` remembers.

References
----------
Wang & Bishop (2003), Journal of the Atmospheric Sciences 60, 1140. Li, Kalnay & Miyoshi (2009), Q. J. R.
Meteorol. Soc. 135, 523. Miyoshi (2011), Monthly Weather Review 139, 1519.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from daflow.errors import DataError
from daflow.numerics.arrays.linalg import cholesky, forward_solve
from daflow.numerics.arrays.validation import positive_number
from daflow.numerics.observations.blocks import BlockedInnovations


class InflationEstimate(NamedTuple):
    """A factor on forecast variances, and how well it is known."""

    factor: float
    """Not bounded: chance may put it below 1, and even below 0."""
    variance: float
    """Of the factor."""


def inflation_by_blocks(source: BlockedInnovations) -> InflationEstimate | None:
    r"""Return what the innovations tell, :math:`(d^T R^{-1} d - n) / tr(C_{yy} R^{-1})`.

    With errors R = D + F F' the two sums over the inverse of R are those over the inverse of D, less what
    the patterns F take away (Woodbury). Source: Wang & Bishop (2003); the variance is that which a sum of
    n_obs squares has (Miyoshi, 2011).

    Laws: unbiased, where the errors are as assumed; its variance falls as 1 / n_obs; units of the
    observations and the size of the blocks do not matter; None where no prediction has any spread.

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
    factor = (squares - source.n_obs) / trace
    variance = 2 / source.n_obs * ((max(factor, 0.0) * trace + source.n_obs) / trace) ** 2
    return InflationEstimate(factor, variance)


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
