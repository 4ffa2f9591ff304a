r"""What departures from forecast and analysis say about the errors that the analysis assumed.

With innovations :math:`d_b = y - H x_b` and residuals :math:`d_a = y - H x_a` of a linear analysis with the
right weights, in the mean over many analyses,

=============================  ==================================
:math:`E[d_a d_b^T]`           R, of the observations
:math:`E[(d_b - d_a) d_b^T]`   :math:`H B H^T`, of the forecast
:math:`E[(d_b - d_a) d_a^T]`   :math:`H A H^T`, of the analysis
:math:`E[d_b d_b^T]`           :math:`H B H^T + R`
=============================  ==================================

If the assumed errors were wrong, so are these, but less; used again and again they improve. Source:
Desroziers, Berre, Chapnik & Poli (2005), Q. J. R. Meteorol. Soc. 131, 3385.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daflow.errors import DataError
from daflow.numerics.arrays.validation import FloatArray, finite_array, positive_vector


@dataclass(frozen=True, slots=True, eq=False)
class DesroziersSums:
    """Sums over analyses; those of different times, or runs, add up. Memory n_obs^2."""

    n_analyses: int
    innovations: FloatArray
    """(n_obs, n_obs) of products of innovations with each other."""
    residuals: FloatArray
    """(n_obs, n_obs) of products of residuals (rows) with innovations (columns)."""
    squares: FloatArray
    """(n_obs, n_obs) of products of residuals with each other."""
    means: FloatArray
    """(2, n_obs) of innovations and of residuals."""

    def __add__(self, other: DesroziersSums) -> DesroziersSums:
        """Return the sums over both."""
        return DesroziersSums(
            self.n_analyses + other.n_analyses,
            self.innovations + other.innovations,
            self.residuals + other.residuals,
            self.squares + other.squares,
            self.means + other.means,
        )

    @property
    def obs_error(self) -> FloatArray:
        """R (n_obs, n_obs) as the departures have it, symmetric but not always positive definite."""
        return self._symmetric(self.residuals)

    @property
    def forecast_error(self) -> FloatArray:
        """The covariance of the forecast's errors (n_obs, n_obs), where it is observed."""
        return self._symmetric(self.innovations - self.residuals)

    @property
    def analysis_error(self) -> FloatArray:
        """The covariance of the analysis' errors (n_obs, n_obs), where it is observed."""
        return self._symmetric(self.residuals.T - self.squares)

    @property
    def bias(self) -> FloatArray:
        """Mean innovations (n_obs,): near 0 where nothing is biased."""
        return np.asarray(self.means[0] / self.n_analyses)

    def std_ratio(self, variances: ArrayLike) -> FloatArray:
        """Return diagnosed over assumed standard deviations of the observations' errors (n_obs,).

        1 where they agree; 0 where the diagnosed variance is negative, which chance makes of small ones.
        """
        assumed = finite_array("observation-error variances", variances, self.bias.shape)
        if not (assumed > 0).all():
            raise DataError("a variance is not positive", got=float(assumed.min()), allowed="above 0")
        return np.sqrt(np.maximum(np.diagonal(self.obs_error), 0.0) / assumed)

    def _symmetric(self, total: FloatArray) -> FloatArray:
        return (total + total.T) / (2 * self.n_analyses)


def desroziers_sums(innovations: ArrayLike, residuals: ArrayLike) -> DesroziersSums:
    """Return the sums over a number of analyses of the same observations.

    Laws: in a linear-Gaussian problem with the right errors the diagnosed ones approach them; sums over parts
    are those over the whole.

    Parameters
    ----------
    innovations, residuals : (n_analyses, n_obs)
        Observations less the means of forecast and analysis.
    """
    before = finite_array("innovations", innovations, (None, None))
    after = finite_array("residuals", residuals, before.shape)
    if before.size == 0:
        raise DataError("there are no departures", got=before.shape, allowed="one analysis or more")
    means = np.stack([before.sum(axis=0), after.sum(axis=0)])
    return DesroziersSums(len(before), before.T @ before, after.T @ before, after.T @ after, means)


class GroupRatios(NamedTuple):
    """What departures say of the errors of groups of observations."""

    n_obs: NDArray[np.int64]
    """(n_groups,) how many observations."""
    assumed: FloatArray
    """(n_groups,) the root of the mean assumed variance."""
    ratio: FloatArray
    """(n_groups,) diagnosed over assumed standard deviation; 0 where the diagnosed variance is negative."""


def desroziers_by_group(
    innovations: ArrayLike, residuals: ArrayLike, variances: ArrayLike, groups: ArrayLike
) -> GroupRatios:
    """Return diagnosed over assumed standard deviations of groups, from one analysis: cost O(n_obs).

    The mean over a group takes the place of that over many analyses, each product in units of its variance.
    Laws: units do not matter, also not those of observations within a group; where all variances of a group
    are wrong by one factor, and innovations and residuals are what the right ones make of them, its root.

    Parameters
    ----------
    innovations, residuals, variances : (n_obs,)
        Observations less the means of forecast and analysis; the assumed variances of their errors.
    groups : (n_obs,)
        Whole numbers from 0 on without gaps.
    """
    before = finite_array("innovations", innovations, (None,))
    after = finite_array("residuals", residuals, before.shape)
    assumed = positive_vector("observation-error variances", variances)
    which = np.asarray(groups, dtype=np.int64)
    counts = np.bincount(which, minlength=1)
    if before.size == 0 or assumed.shape != before.shape or which.shape != before.shape or not counts.all():
        raise DataError(
            "departures, variances and groups do not fit together",
            got=f"{before.shape}, {assumed.shape}, {which.shape}",
            allowed="three of one length above 0, groups numbered without gaps",
        )
    square = np.bincount(which, weights=after * before / assumed) / counts
    mean = np.bincount(which, weights=assumed) / counts
    return GroupRatios(counts, np.sqrt(mean), np.sqrt(np.maximum(square, 0.0)))
