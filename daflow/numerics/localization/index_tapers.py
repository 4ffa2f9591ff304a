r"""Tapers that know numbers of the state and observations by their indices only, without coordinates.

Each gives rows ``start`` to ``stop`` of a taper (n_state, n_obs): a slice asks for its own. They are what
EnsembleKalmanProcesses.jl offers, and make sense where number i of the state belongs to observation i. That
code tapers the covariance of state and predictions alone, which is unstable where members are few: give the
matching obs-obs taper, which is the same function of (n_obs, n_obs), as well.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from daflow.errors import ConfigError, DataError
from daflow.numerics.arrays.validation import FloatArray, finite_array, positive_number

IntArray = NDArray[np.int64]
Range = tuple[int, int]
"""Rows ``start`` to ``stop``."""


def delta_taper(rows: Range, n_obs: int) -> FloatArray:
    """Return 1 where both indices agree, 0 elsewhere (stop - start, n_obs)."""
    return delta_weights(np.arange(*_checked(rows)), np.arange(n_obs))


def radial_taper(rows: Range, n_obs: int, length: float) -> FloatArray:
    r"""Return :math:`\exp(-(i - j)^2 / (2 l^2))` (stop - start, n_obs).

    Laws: the shorter the length, the closer to `delta_taper`; the longer, the closer to ones.

    Parameters
    ----------
    rows
        Of the state.
    n_obs
        How many observations.
    length
        l, in steps of the index, above 0.
    """
    return radial_weights(np.arange(*_checked(rows)), np.arange(n_obs), length)


def delta_weights(numbers: IntArray, belongs: IntArray) -> FloatArray:
    """Return 1 where an observation belongs to a number, 0 elsewhere (p, q).

    ``numbers`` (p,) are numbers along the state, ``belongs`` (q,) to which of them observations belong.
    """
    return np.equal.outer(numbers, belongs).astype(np.float64)


def radial_weights(numbers: IntArray, belongs: IntArray, length: float) -> FloatArray:
    """Return `radial_taper` for any numbers (p,) and those that observations belong to (q,): (p, q)."""
    scale = positive_number("length of a radial taper", length)
    distance = np.subtract.outer(numbers, belongs) / scale
    return np.exp(-0.5 * np.minimum(np.square(distance), 1e3))


def dropout_taper(
    rows: Range, shape: tuple[int, int], keep: float, uniforms: Callable[[IntArray], FloatArray]
) -> FloatArray:
    """Return 1 on the diagonal and, with a probability, elsewhere; else 0 (stop - start, n_obs).

    Where it is square it is symmetric. Laws: rows of slices are those of the whole; a probability of 1 gives
    ones, one of 0 gives `delta_taper`. Draw anew for each update.

    Parameters
    ----------
    rows
        Of the state.
    shape : (n_state, n_obs)
        Of the whole.
    keep
        The probability of keeping a pair, in [0, 1].
    uniforms
        Numbers of a sequence in [0, 1) at any places of it: always the same for one update.

    Raises
    ------
    ConfigError
        The probability is out of range.
    DataError
        The rows are not of that shape, or the sequence gives other lengths than asked for.
    """
    return dropout_weights(np.arange(*_checked(rows)), np.arange(shape[1]), shape, keep, uniforms)


def dropout_weights(
    numbers: IntArray,
    obs: IntArray,
    shape: tuple[int, int],
    keep: float,
    uniforms: Callable[[IntArray], FloatArray],
) -> FloatArray:
    """Return `dropout_taper` for any numbers of the state (p,) and observations (q,): (p, q)."""
    if not 0 <= keep <= 1:
        raise ConfigError("the probability of keeping a pair is out of range", got=keep, allowed="[0, 1]")
    if numbers.size and int(numbers.max()) >= shape[0]:
        raise DataError(
            "the rows of a slice are not of the state",
            got=int(numbers.max()),
            allowed=f"up to {shape[0] - 1}",
        )
    # The sequence runs row by row along the longer side, below the diagonal.
    number, observation = numbers[:, np.newaxis], obs[np.newaxis]
    high, low = np.maximum(number, observation), np.minimum(number, observation)
    narrow = min(shape)
    wide = np.maximum(high - narrow, 0)
    square = high - wide
    places = square * (square - 1) // 2 + wide * narrow + low
    off = high > low
    draws = finite_array("uniform numbers", uniforms(places[off]), (int(off.sum()),))
    weights = np.ones(off.shape)
    weights[off] = draws < keep
    return weights


def _checked(rows: Range) -> Range:
    start, stop = rows
    if not 0 <= start <= stop:
        raise DataError("the rows of a slice are out of order", got=rows, allowed="0 <= start <= stop")
    return start, stop
