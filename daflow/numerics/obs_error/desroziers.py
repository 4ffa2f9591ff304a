r"""What departures from forecast and analysis say about the errors that the analysis assumed.

With innovations :math:`d_b = y - H x_b` and residuals :math:`d_a = y - H x_a` of a linear analysis with the
right weights, :math:`E[d_a d_b^T]` is R in the mean over many analyses. If the assumed errors were wrong, so
is this, but less; used again and again it improves. Source: Desroziers, Berre, Chapnik & Poli (2005),
Q. J. R. Meteorol. Soc. 131, 3385.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daflow.errors import DataError
from daflow.numerics.arrays.validation import FloatArray, finite_array, positive_vector


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
