"""The inflations of `daflow.numerics.inflation.fixed` on a slice where it lies, block by block.

A slice is float64 or float32 and may be as large as memory allows: what is computed is float64, a few columns
at a time, and nothing of the slice's size is made. Each column depends on itself alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.precision import store_into
from daflow.numerics.arrays.validation import FloatArray

Slab = NDArray[Any]
"""(n_members, n), float64 or float32."""

BLOCK_NUMBERS: Final = 2**17
"""Numbers of a block, 1 MiB of float64: a few temporaries of that size stay in the cache."""


def blocks_of(slab: Slab) -> Iterator[slice]:
    """Yield the columns of a slice, a block after the other."""
    size = max(64, BLOCK_NUMBERS // len(slab))
    return (slice(start, min(start + size, slab.shape[1])) for start in range(0, slab.shape[1], size))


def widen(slab: Slab, factor: float | FloatArray) -> None:
    """Multiply the anomalies of a slice; see `daflow.numerics.inflation.fixed.inflate_anomalies`.

    Laws: as there; what has a factor of 1 keeps its bits.

    Parameters
    ----------
    slab
        Changed in place.
    factor
        One number, or one for each column (n,).

    Raises
    ------
    daflow.errors.DataError
        A number becomes too large for the slice's type.
    """
    excess = np.asarray(factor, dtype=np.float64) - 1.0
    if not excess.any():
        return
    for columns in blocks_of(slab):
        own = excess[columns] if excess.ndim else excess
        _add(slab[:, columns], own * _anomalies(slab[:, columns]))


def deviations_of(slab: Slab) -> FloatArray:
    """Return the standard deviation of each column (n,), with n_members in the denominator."""
    deviations = np.empty(slab.shape[1])
    for columns in blocks_of(slab):
        deviations[columns] = _anomalies(slab[:, columns]).std(axis=0)
    return deviations


def relax_to_deviations(slab: Slab, before: FloatArray, strength: float) -> None:
    """Relax the standard deviations of a posterior slice to what they were.

    See `daflow.numerics.inflation.fixed.relax_to_spread`; laws as there. Memory beside the slice: n numbers.

    Parameters
    ----------
    slab
        The posterior, changed in place.
    before : (n,)
        `deviations_of` the prior.
    strength
        0 or more.
    """
    after = deviations_of(slab)
    ratio = np.divide(before - after, after, out=np.zeros_like(after), where=after > 0.0)
    widen(slab, 1.0 + strength * ratio)


def mix_anomalies(slab: Slab, prior: Slab, strength: float) -> None:
    """Mix the anomalies of a posterior slice with the prior's.

    See `daflow.numerics.inflation.fixed.relax_to_anomalies`; laws as there.

    Parameters
    ----------
    slab
        The posterior, changed in place.
    prior
        Of the same shape.
    strength
        0 to 1.
    """
    if strength == 0.0:
        return
    for columns in blocks_of(slab):
        change = _anomalies(prior[:, columns]) - _anomalies(slab[:, columns])
        _add(slab[:, columns], strength * change)


def add_draws(slab: Slab, deviation: float, draw: Callable[[int], FloatArray]) -> None:
    """Add noise to a slice, less its mean over the members.

    Laws: the mean stays; a deviation of 0 keeps the bits; what a column gets depends on its own draws alone.

    Parameters
    ----------
    slab
        Changed in place.
    deviation
        The standard deviation of the noise, 0 or more.
    draw
        Returns the standard normals of the next so many columns (n_members, n), a new array.
    """
    if deviation == 0.0:
        return
    for columns in blocks_of(slab):
        noise = draw(columns.stop - columns.start)
        noise -= noise.mean(axis=0)
        noise *= deviation
        _add(slab[:, columns], noise)


def _anomalies(block: Slab) -> FloatArray:
    # What is not finite stays so, for whoever looks at the posterior.
    with np.errstate(over="ignore", invalid="ignore"):
        return anomalies_of(np.asarray(block, dtype=np.float64))


def _add(block: Slab, change: FloatArray) -> None:
    """Add to a block what is to be changed in it, rounded once; what is not to be keeps its bits."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = block + change
    # The sum of -0.0 and 0.0 is another 0.0 than was there.
    np.copyto(total, block, where=change == 0.0)
    store_into(block, total)
