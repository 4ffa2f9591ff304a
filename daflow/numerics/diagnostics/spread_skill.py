r"""Whether the spread of an ensemble tells how large the error of its mean is.

With a truth drawn like the members the squared error of the mean of n members is, on average, their variance
times (n + 1) / n. With many members that holds in every bin of the spread; with few, the spread itself is
known badly, and bins of small spread err by more than it, bins of large spread by less.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daflow.errors import ConfigError, DataError
from daflow.numerics.arrays.ensembles import ensemble_of, mean_of
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.validation import FloatArray, finite_array


def rmse(ensemble: ArrayLike, truth: ArrayLike) -> float:
    """Return the root of the mean squared error of the ensemble's mean.

    Parameters
    ----------
    ensemble : (n_members, n)
    truth : (n,)
    """
    members, observed = _cases(ensemble, truth)
    return float(np.sqrt(np.square(mean_of(members) - observed).mean()))


def rms_spread(ensemble: ArrayLike) -> float:
    """Return the root of the mean variance over the members, ddof 1: what `rmse` is to be compared with."""
    members = ensemble_of("ensemble", ensemble)
    return float(np.sqrt(np.square(anomalies_of(members)).sum(axis=0).mean() / (len(members) - 1)))


class SpreadSkill(NamedTuple):
    """Cases sorted by their spread and cut into bins of as equal size as can be."""

    spread: FloatArray
    """(n_bins,) root mean variance, times sqrt((n + 1) / n): the error to be expected."""
    error: FloatArray
    """(n_bins,) root mean squared error of the mean."""
    n_cases: NDArray[np.int64]
    """(n_bins,)"""

    @property
    def slope(self) -> float:
        """The slope of error over spread, least squares through the bins: 1 where spread tells the error."""
        departure = self.spread - np.average(self.spread, weights=self.n_cases)
        total = float((self.n_cases * departure) @ departure)
        return float((self.n_cases * departure) @ self.error) / total if total > 0 else float("nan")


def spread_skill(ensemble: ArrayLike, truth: ArrayLike, n_bins: int = 10) -> SpreadSkill:
    """Return errors against spreads, by bins of the spread.

    Laws: for a truth drawn like the members both agree over all, and in every bin if these are many; the
    bins' mean squares, weighed by cases, are those of the whole.

    Parameters
    ----------
    ensemble : (n_members, n)
    truth : (n,)
    n_bins
        From 1 to n.
    """
    members, observed = _cases(ensemble, truth)
    n_members, n = members.shape
    if not 1 <= n_bins <= n:
        raise ConfigError("the number of bins of spread and skill", got=n_bins, allowed=f"1 to {n}")
    variances = np.square(anomalies_of(members)).sum(axis=0) * (n_members + 1) / (n_members * (n_members - 1))
    errors = np.square(mean_of(members) - observed)
    parts = np.array_split(np.argsort(variances, kind="stable"), n_bins)
    return SpreadSkill(
        np.sqrt([variances[part].mean() for part in parts]),
        np.sqrt([errors[part].mean() for part in parts]),
        np.array([part.size for part in parts], dtype=np.int64),
    )


def _cases(ensemble: ArrayLike, truth: ArrayLike) -> tuple[FloatArray, FloatArray]:
    members = ensemble_of("ensemble", ensemble)
    observed = finite_array("truth", truth, (members.shape[1],))
    if observed.size == 0:
        raise DataError("there are no cases", got=members.shape, allowed="(n_members, 1 or more)")
    return members, observed
