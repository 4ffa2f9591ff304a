r"""Tapers that know numbers of the state and observations by their indices only, without coordinates.

Each gives rows ``start`` to ``stop`` of a taper (n_state, n_obs): a slice asks for its own. They are what
EnsembleKalmanProcesses.jl offers, and make sense where number i of the state belongs to observation i. That
code tapers the covariance of state and predictions alone, which is unstable where members are few: give the
matching obs-obs taper, which is the same function of (n_obs, n_obs), as well.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from daflow.errors import ConfigError, DataError
from daflow.numerics.arrays.validation import FloatArray, finite_array, positive_number

Range = tuple[int, int]
"""Rows ``start`` to ``stop``."""


def delta_taper(rows: Range, n_obs: int) -> FloatArray:
    """Return 1 where both indices agree, 0 elsewhere (stop - start, n_obs)."""
    return np.equal.outer(np.arange(*_checked(rows)), np.arange(n_obs)).astype(np.float64)


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
    scale = positive_number("length of a radial taper", length)
    distance = np.subtract.outer(np.arange(*_checked(rows)), np.arange(n_obs)) / scale
    return np.exp(-0.5 * np.minimum(np.square(distance), 1e3))


def dropout_taper(
    rows: Range, shape: tuple[int, int], keep: float, uniforms: Callable[[int, int], FloatArray]
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
        Numbers ``start`` to ``stop`` of a sequence in [0, 1): always the same for one update.

    Raises
    ------
    ConfigError
        The probability is out of range.
    DataError
        The rows are not of that shape, or the sequence has other lengths than asked for.
    """
    if not 0 <= keep <= 1:
        raise ConfigError("the probability of keeping a pair is out of range", got=keep, allowed="[0, 1]")
    (start, stop), (n_state, n_obs) = _checked(rows), shape
    if stop > n_state:
        raise DataError("the rows of a slice are not of the state", got=rows, allowed=f"up to {n_state}")
    if n_state < n_obs:
        # The sequence runs along the longer side.
        return dropout_taper((0, n_obs), (n_obs, n_state), keep, uniforms)[:, start:stop].T
    square = _lower(0, n_obs, n_obs, keep, uniforms)
    whole = square + square.T + np.eye(n_obs)
    below = _lower(max(start, n_obs), max(stop, n_obs), n_obs, keep, uniforms)
    return np.vstack([whole[start:stop], below])


def _lower(
    start: int, stop: int, n_obs: int, keep: float, uniforms: Callable[[int, int], FloatArray]
) -> FloatArray:
    """Return what is kept below the diagonal of rows ``start`` to ``stop``."""
    before = np.minimum(np.arange(stop + 1), n_obs)
    first = np.concatenate([[0], np.cumsum(before)])
    low, high = int(first[start]), int(first[stop])
    draws = finite_array("uniform numbers", uniforms(low, high), (high - low,))
    taper = np.zeros((stop - start, n_obs))
    taper[np.arange(n_obs) < before[start:stop, np.newaxis]] = draws < keep
    return taper


def _checked(rows: Range) -> Range:
    start, stop = rows
    if not 0 <= start <= stop:
        raise DataError("the rows of a slice are out of order", got=rows, allowed="0 <= start <= stop")
    return start, stop
