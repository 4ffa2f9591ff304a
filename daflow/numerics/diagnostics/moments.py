"""Mean and spread of each number of an ensemble, in one pass over a slab that may fill the memory."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daflow.errors import DataError
from daflow.numerics.arrays.validation import FloatArray

SPREAD_BLOCK: Final = 2048
"""Numbers of each member that are looked at together: they stay in the cache for the second look."""
CANCELLED: Final = {"float64": 1e-2, "float32": 1e-1}
"""What of a sum of squares has to be left when the mean's is taken away, for its digits to do."""


class Moments(NamedTuple):
    """Two rows, whatever the number of members."""

    mean: FloatArray
    """(n,)"""
    spread: FloatArray
    """(n,) standard deviations, ddof 1."""

    @property
    def total_spread(self) -> float:
        """The sum of the standard deviations; not finite where a number of the ensemble is not."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(self.spread.sum())


def moments_of(ensemble: NDArray[Any]) -> Moments:
    """Return mean and standard deviation over the members of an ensemble (n_members, n).

    Laws: the spread is that of `daflow.numerics.diagnostics.misfit.spread`, to 1e-12 for float64 and 1e-5
    for float32; the mean is right to as many of the larger of itself and the spread; the same numbers give
    the same moments, so that what was left alone has moved by exactly 0.

    Parameters
    ----------
    ensemble
        float64 or float32; read twice, block by block, with nothing of its size made.

    Raises
    ------
    daflow.errors.DataError
        Fewer than two members.

    Notes
    -----
    A block's squares are summed as they are; where more than `CANCELLED` of a sum would cancel with the
    mean's, or nothing is left, the block is centred first.
    """
    n_members, n = ensemble.shape
    if n_members < 2:
        raise DataError("The spread of an ensemble", got=ensemble.shape, allowed="two members or more")
    weights = np.full(n_members, 1.0 / n_members, dtype=ensemble.dtype)
    left = CANCELLED[ensemble.dtype.name]
    means, spreads = np.empty(n), np.empty(n)
    centred = np.empty((n_members, min(n, SPREAD_BLOCK)))  # memory that is used again is in the cache
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, n, SPREAD_BLOCK):
            here = slice(start, start + SPREAD_BLOCK)
            block = ensemble[:, here]
            mean = weights @ block
            squares = np.einsum("ij,ij->j", block, block)
            variation = squares - n_members * mean * mean
            if not (variation > left * squares).all():
                mean = block.mean(axis=0, dtype=np.float64)
                off = np.subtract(block, mean, out=centred[:, : block.shape[1]])
                variation = np.einsum("ij,ij->j", off, off)
            means[here] = mean
            np.sqrt(variation, out=spreads[here])
        spreads /= np.sqrt(n_members - 1)
    return Moments(means, spreads)
