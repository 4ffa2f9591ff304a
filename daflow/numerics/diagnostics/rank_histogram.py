r"""Rank histograms: where among its members the truth lies. Flat, where the truth might be one of them.

A U shows too little spread, a dome too much, a slope a bias.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daflow.errors import ConfigError, DataError
from daflow.numerics.arrays.validation import FloatArray, finite_array

IntArray = NDArray[np.int64]


def ranks(ensemble: ArrayLike, truth: ArrayLike) -> IntArray:
    """Return how many members lie strictly below the truth (n,), from 0 to n_members.

    Laws: monotone maps of both change nothing; for a truth drawn like the members all ranks are as likely.
    Members that equal the truth count as above it; see `shared_rank_histogram` where that is frequent: rain.

    Parameters
    ----------
    ensemble : (n_members, n)
    truth : (n,)
    """
    members = finite_array("ensemble", ensemble, (None, None))
    observed = finite_array("truth", truth, (members.shape[1],))
    return np.asarray(np.count_nonzero(members < observed, axis=0), dtype=np.int64)


def rank_histogram(ensemble: ArrayLike, truth: ArrayLike) -> IntArray:
    """Return how many cases have each rank (n_members + 1,). Histograms of parts add up."""
    found = ranks(ensemble, truth)
    return np.bincount(found, minlength=len(np.asarray(ensemble)) + 1)


def shared_rank_histogram(ensemble: ArrayLike, truth: ArrayLike) -> FloatArray:
    """Return the histogram (n_members + 1,) that drawing among members that equal the truth has in the mean.

    A case of which k members equal the truth adds 1 / (k + 1) to each of the ranks that it could have.
    Laws: without equal members it is `rank_histogram`; its sum is n; histograms of parts add up.

    Parameters
    ----------
    ensemble : (n_members, n)
    truth : (n,)
    """
    members = finite_array("ensemble", ensemble, (None, None))
    below = ranks(members, truth)
    equal = np.count_nonzero(members == np.asarray(truth), axis=0)
    steps = np.zeros(len(members) + 2)
    share = 1.0 / (equal + 1)
    np.add.at(steps, below, share)
    np.add.at(steps, below + equal + 1, -share)
    # What is left of a sum that should be 0 is rounding.
    return np.maximum(np.cumsum(steps)[:-1], 0.0)


def divergence_from_uniform(counts: ArrayLike, *, added: float = 0.0) -> float:
    r"""Return the Kullback-Leibler divergence of a histogram from the uniform.

    It is :math:`\sum_k p_k \ln(p_k / q_k)`, p uniform and q the histogram: 0 or more, 0 for a flat one,
    infinite if a bin is empty.

    Parameters
    ----------
    counts : (n_members + 1,)
        0 or more.
    added
        To each count, against empty bins; 0.5 is usual. Say what was added beside the result.

    Raises
    ------
    DataError
        A count is negative, or all of them are 0.
    ConfigError
        What is added is negative.
    """
    if not added >= 0:
        raise ConfigError("what is added to the counts of a histogram", got=added, allowed="0 or more")
    filled = finite_array("counts of a rank histogram", counts, (None,)) + added
    if filled.size == 0 or (filled < 0).any() or filled.sum() == 0:
        raise DataError("the counts of a rank histogram", got=filled.tolist(), allowed="0 or more, not all 0")
    if (filled == 0).any():
        return float(np.inf)
    logarithms: FloatArray = np.log(filled / filled.sum() * filled.size)
    return float(-logarithms.mean())
