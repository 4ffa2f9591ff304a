r"""Fewer observations: one out of many that say the same, or their average.

Errors of observations close to each other are rarely as independent as R says. Thinning takes one observation
from each box of a grid; super-observations take the average of a box, weighed by precision, as a linear
map: values, predictions and R go through the same map, so R may be any covariance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from daflow.errors import DataError
from daflow.numerics.arrays.validation import FloatArray, finite_array, positive_vector
from daflow.numerics.obs_error.covariance import Covariance, DiagonalCovariance
from daflow.numerics.obs_error.dense_covariance import DenseCovariance

IntArray = NDArray[np.int64]


def boxes_of(coordinates: ArrayLike, size: ArrayLike) -> IntArray:
    """Return the number of the box that each observation lies in (n_obs,), from 0 on without gaps.

    Boxes are numbered as they are met. Law: units of the coordinates do not matter.

    Parameters
    ----------
    coordinates : (n_obs, n_axes)
    size
        Of a box: one number, or one for each axis (n_axes,), in the unit of the coordinates, above 0.

    Raises
    ------
    DataError
        Coordinates that are not finite, or a size that is not positive.
    """
    places = finite_array("coordinates of observations", coordinates, (None, None))
    sizes = positive_vector("sizes of boxes", np.broadcast_to(np.asarray(size), places.shape[1:]))
    corners = np.floor(places / sizes)
    _, first, inverse = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return np.asarray(rank[inverse.ravel()], dtype=np.int64)


def thinned(boxes: ArrayLike, variances: ArrayLike) -> IntArray:
    """Return the indices of the observations to keep, in increasing order: the most precise of each box.

    Among equals it is the first. Laws: one is left of each box; thinning what is thinned changes nothing.

    Parameters
    ----------
    boxes : (n_obs,)
        Of `boxes_of`.
    variances : (n_obs,)
        Of the errors.
    """
    errors = positive_vector("observation-error variances", variances)
    numbers = _boxes(boxes, errors.size)
    order = np.lexsort((np.arange(errors.size), errors, numbers))
    _, first = np.unique(numbers[order], return_index=True)
    return np.sort(order[first])


class SuperObservations(NamedTuple):
    """Averages of boxes: a map from observations to fewer ones."""

    weights: sparse.csr_array[np.float64, tuple[int, int]]
    """(n_super, n_obs), rows that sum to one."""

    def average(self, rows: ArrayLike) -> FloatArray:
        """Return averages (k, n_super) of rows (k, n_obs), or of one: values, predictions, coordinates."""
        array = np.asarray(rows, dtype=np.float64)
        if array.ndim not in (1, 2) or array.shape[-1] != self.weights.shape[1]:
            allowed = f"(k, {self.weights.shape[1]}) or ({self.weights.shape[1]},)"
            raise DataError(
                "what is averaged does not fit the observations", got=array.shape, allowed=allowed
            )
        return np.asarray((self.weights @ array.T).T)

    def error(self, obs_error: Covariance) -> Covariance:
        """Return the covariance of the averages' errors; diagonal if that of the observations is."""
        if isinstance(obs_error, DiagonalCovariance):
            return DiagonalCovariance(np.asarray(self.weights.power(2) @ obs_error.variances))
        return DenseCovariance(self.average(np.asarray(self.weights @ obs_error.dense())))


def super_observations(boxes: ArrayLike, variances: ArrayLike) -> SuperObservations:
    r"""Return the averages of boxes, each observation weighed by one over its variance.

    Laws: with independent errors the precision of an average is the sum of those in its box, and a
    linear-Gaussian analysis of averages is that of the observations where all in a box predict the same.

    Parameters
    ----------
    boxes, variances : (n_obs,)
        As for `thinned`.
    """
    errors = positive_vector("observation-error variances", variances)
    numbers = _boxes(boxes, errors.size)
    totals = np.bincount(numbers, weights=1 / errors)
    weights = 1 / (errors * totals[numbers])
    shape = (totals.size, errors.size)
    return SuperObservations(sparse.csr_array((weights, (numbers, np.arange(errors.size))), shape=shape))


def _boxes(boxes: ArrayLike, n_obs: int) -> IntArray:
    numbers = np.asarray(boxes)
    if numbers.shape != (n_obs,) or numbers.dtype.kind not in "iu":
        raise DataError("the boxes of observations", got=numbers.shape, allowed=f"({n_obs},) whole numbers")
    if set(np.unique(numbers).tolist()) != set(range(int(numbers.max()) + 1)):
        raise DataError("the numbers of boxes have gaps", got=numbers.tolist(), allowed="0, 1, 2, ...")
    return numbers.astype(np.int64)
