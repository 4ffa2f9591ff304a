r"""The normal-score transform of an ensemble, all state elements at once.

For each state element the members' values are sorted, :math:`x_1 \le \dots \le x_N`, and the k-th gets the
score :math:`z_k = \Phi^{-1}((k - 1/2) / N)`; equal values share the score of their average rank. Between the
members the map is piecewise linear through the points :math:`(x_k, z_k)`; beyond the smallest and the largest
member the last piece goes on straight. Where members are equal the way back is flat: their common value is an
atom, and a constant element stays constant.

Source: Deutsch & Journel (1998), GSLIB, 2nd ed., V.2 (the scores); Zhou, Gomez-Hernandez, Hendricks Franssen
& Li (2011), Adv. Water Resour. 34, 844-864 (in the ensemble Kalman filter).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from daflow.errors import DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LARGEST: Final = 1e150
"""Values and scores beyond this could overflow on the straight pieces."""

FARTHEST: Final = 38.0
"""No score lies farther out: the probability beyond is 0 in double precision."""

BLOCK: Final = 512
"""State elements at once: enough to keep loops out of the way, few enough for the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class FittedNormalScore:
    """The normal-score map of one prior slice; make it with `fit_normal_score`."""

    ordered: FloatArray
    """(n_members, n) the prior values of each state element in ascending order."""
    scores: FloatArray
    """(n_members,) their scores."""

    def forward(self, values: ArrayLike) -> FloatArray:
        """Return the scores of values (k, n).

        A prior member's value gets the score of its rank, at most 38 in size. Beyond a tail that is flat,
        where no score leads to the value, it is the tail's own.

        Raises
        ------
        daflow.errors.DataError
            Values that are not finite or do not match the prior's n.

        Notes
        -----
        Costs O(k n log n_members).

        Laws: the scores of the prior depend on ranks only: any increasing map of the values leaves them as
        they are; members in another order have their scores in that order.
        """
        values = self._checked(values)
        result = np.empty_like(values)
        for part in _parts(values.shape[1]):
            result[:, part] = self._scores_of(self.ordered[:, part], values[:, part])
        return result

    def inverse(self, transformed: ArrayLike) -> FloatArray:
        """Return the values (k, n) that belong to scores (k, n).

        Raises
        ------
        daflow.errors.DataError
            Scores that are not finite or do not match the prior's n.

        Notes
        -----
        Costs O(k n log n_members).

        Laws: undoes `forward` on the prior exactly; a state element that is constant stays so.
        """
        z = self._checked(transformed)
        result = np.empty_like(z)
        for part in _parts(z.shape[1]):
            result[:, part] = self._values_at(self.ordered[:, part], z[:, part])
        return result

    def _values_at(self, ordered: FloatArray, z: FloatArray) -> FloatArray:
        right = np.clip(np.searchsorted(self.scores, z), 1, len(self.scores) - 1)
        along = (z - self.scores[right - 1]) / (self.scores[right] - self.scores[right - 1])
        low, high = _at(ordered, right - 1), _at(ordered, right)
        # From the nearer end, so that a score that belongs to a member gives its very value.
        return np.where(along <= 0.5, low + along * (high - low), high - (1.0 - along) * (high - low))

    def _scores_of(self, ordered: FloatArray, values: FloatArray) -> FloatArray:
        n_members = len(ordered)
        below = _count(ordered, values, np.less)
        upto = below + (_at(ordered, np.minimum(below, n_members - 1)) == values)
        if ((_at(ordered, np.minimum(upto, n_members - 1)) == values) & (upto < n_members)).any():
            # Only where members are equal is a second search worth it.
            upto = _count(ordered, values, np.less_equal)
        right = np.clip(below, 1, n_members - 1)
        low, high = _at(ordered, right - 1), _at(ordered, right)
        width = np.where(high > low, high - low, np.inf)
        from_low = np.where(high > low, values - low, 0.0)
        slope = self.scores[right] - self.scores[right - 1]
        with np.errstate(over="ignore", under="ignore"):
            between = self.scores[right - 1] + slope * (from_low / width)
        # Beyond a flat tail the score is the tail's end, whichever piece it was reckoned on.
        between = np.where((below == n_members) & (high == low), self.scores[-1], between)
        shared = ndtri((below + upto) / (2.0 * n_members))
        return np.clip(np.where(upto > below, shared, between), -FARTHEST, FARTHEST)

    def _checked(self, values: ArrayLike) -> FloatArray:
        array = _bounded(values)
        if array.shape[1] != self.ordered.shape[1]:
            allowed = f"(any, {self.ordered.shape[1]})"
            raise DataError("Values do not match the fitted normal score", got=array.shape, allowed=allowed)
        return array


def fit_normal_score(prior: ArrayLike) -> FittedNormalScore:
    """Return the normal-score map of a prior slice.

    Parameters
    ----------
    prior
        (n_members, n), finite, at least two members; not kept.

    Raises
    ------
    daflow.errors.DataError
        Fewer than two members, or a value that is not finite.

    Notes
    -----
    Costs O(n n_members log n_members) and the memory of the prior.
    """
    values = _bounded(prior)
    if len(values) < 2:
        raise DataError("A normal score needs ranks", got=f"{len(values)} members", allowed="2 or more")
    return FittedNormalScore(np.sort(values, axis=0), ndtri((np.arange(len(values)) + 0.5) / len(values)))


def _count(ordered: FloatArray, values: FloatArray, compare: Callable[..., NDArray[np.bool_]]) -> IntArray:
    """Return how many of each column's ordered numbers compare true to each value, by halving."""
    last = len(ordered) - 1
    low, high = np.zeros(values.shape, np.int64), np.full(values.shape, len(ordered), np.int64)
    for _ in range(len(ordered).bit_length()):
        middle = (low + high) // 2
        holds = compare(_at(ordered, np.minimum(middle, last)), values) & (low < high)
        np.copyto(high, middle, where=~holds)
        np.copyto(low, middle + 1, where=holds)
    return low


def _at(ordered: FloatArray, rank: NDArray[np.integer]) -> FloatArray:
    n = ordered.shape[1]
    flat: FloatArray = ordered.ravel().take(rank * n + np.arange(n))
    return flat


def _parts(n: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, n, BLOCK))


def _bounded(values: ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2:
        raise DataError("Values under a normal score have the wrong shape", got=array.shape, allowed="2-D")
    bad = ~(np.abs(array) <= LARGEST)
    if bad.any():
        first = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
        raise DataError(
            f"A value under a normal score cannot be used: at {first} (members first), "
            f"{int(bad.sum())} such in all",
            got=float(array[first]),
            allowed=f"finite, at most {LARGEST:g} in size",
        )
    return array
