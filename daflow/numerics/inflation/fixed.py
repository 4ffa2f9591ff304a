r"""Inflation with given numbers: ways to widen an ensemble that has become too sure of itself.

Every function keeps the ensemble's mean. A factor f on anomalies is one of f^2 on variances.

===================== ===========================================================================
what                  does
===================== ===========================================================================
`widen`               multiplies anomalies, of a forecast or an analysis
`relax_to_deviations` RTPS: pulls the analysis' standard deviations towards the forecast's
`mix_anomalies`       RTPP: mixes the analysis' anomalies with the forecast's
`add_draws`           adds draws of noise, centred, to the members
===================== ===========================================================================

An inflated *forecast* needs inflated predictions as well: call the same function on both.

A slice is float64 or float32 and may be as large as memory allows: it is changed where it lies, what is
computed is float64, a few columns at a time, and nothing of the slice's size is made. Each column depends on
itself alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daflow.errors import DataError
from daflow.numerics.arrays.ensembles import ensemble_of
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.precision import store_into
from daflow.numerics.arrays.validation import FloatArray, finite_array

Slab = NDArray[Any]
"""(n_members, n), float64 or float32."""

BLOCK_NUMBERS: Final = 2**17
"""Numbers of a block, 1 MiB of float64: a few temporaries of that size stay in the cache."""


def blocks_of(slab: Slab) -> Iterator[slice]:
    """Yield the columns of a slice, a block after the other."""
    size = max(64, BLOCK_NUMBERS // len(slab))
    return (slice(start, min(start + size, slab.shape[1])) for start in range(0, slab.shape[1], size))


def widen(slab: Slab, factor: float | FloatArray) -> None:
    """Multiply the anomalies of a slice.

    Laws: the covariance is multiplied by the factors of both numbers; what has a factor of 1 keeps its bits.

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


def inflate_anomalies(ensemble: ArrayLike, factor: ArrayLike) -> FloatArray:
    """Return a new ensemble (n_members, n) whose anomalies are multiplied; laws as those of `widen`.

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
    members = ensemble_of("ensemble", ensemble)
    factors = finite_array("inflation factor", factor, members.shape[1:] if np.ndim(factor) else ())
    if (factors < 0).any():
        raise DataError("inflation factor is negative", got=float(factors.min()), allowed="0 or more")
    return members + (factors - 1.0) * anomalies_of(members)


def deviations_of(slab: Slab) -> FloatArray:
    """Return the standard deviation of each column (n,), with n_members in the denominator."""
    deviations = np.empty(slab.shape[1])
    for columns in blocks_of(slab):
        deviations[columns] = _anomalies(slab[:, columns]).std(axis=0)
    return deviations


def relax_to_deviations(slab: Slab, before: FloatArray, strength: float) -> None:
    r"""Relax the standard deviations of a posterior slice to what they were (RTPS).

    Anomalies are multiplied by :math:`1 + \alpha (\sigma_f - \sigma_a) / \sigma_a`, number by number. Source:
    Whitaker & Hamill (2012), Monthly Weather Review 140, 3078. Memory beside the slice: n numbers.

    Laws: a strength of 0 is nothing; at 1 the standard deviations are the prior's; a number without posterior
    spread stays.

    Parameters
    ----------
    slab
        The posterior, changed in place.
    before : (n,)
        `deviations_of` the prior.
    strength
        Alpha, 0 or more; above 1 the spread exceeds the prior's.
    """
    after = deviations_of(slab)
    ratio = np.divide(before - after, after, out=np.zeros_like(after), where=after > 0.0)
    widen(slab, 1.0 + strength * ratio)


def mix_anomalies(slab: Slab, prior: Slab, strength: float) -> None:
    r"""Mix the anomalies of a posterior slice with the prior's (RTPP).

    They become :math:`(1-\alpha) A_a + \alpha A_f`. Source: Zhang, Snyder & Sun (2004), Monthly Weather
    Review 132, 1238. Laws: a strength of 0 is nothing; at 1 the anomalies are the prior's.

    Parameters
    ----------
    slab
        The posterior, changed in place.
    prior
        Of the same shape.
    strength
        Alpha, 0 to 1.
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
