r"""The continuous ranked probability score, of ensembles against truths or observations, and its parts.

:math:`\int (F(x) - 1[x \ge y])^2 dx` with the distribution F of the members: in the unit of what is
predicted, 0 for a perfect certain ensemble, the absolute error of an ensemble of one. Score many numbers
together: they are cases.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import DataError
from daflow.numerics.arrays.validation import FloatArray, finite_array


def crps(ensemble: ArrayLike, truth: ArrayLike) -> FloatArray:
    r"""Return the score of each case (n,), :math:`\overline{|x_i - y|} - \frac12 \overline{|x_i - x_j|}`.

    Laws: 0 or more; for one member the absolute error; shifts do not matter; it scales with the unit. Cost: a
    sort of the members.

    Parameters
    ----------
    ensemble : (n_members, n)
    truth : (n,)

    Raises
    ------
    DataError
        Arrays that are not finite or whose shapes disagree, or no member.
    """
    return _score(ensemble, truth, 0)


def fair_crps(ensemble: ArrayLike, truth: ArrayLike) -> FloatArray:
    """Return the score (n,) that an infinite ensemble of the same kind would have in the mean.

    Differences of members are averaged over n (n - 1) pairs. Source: Ferro (2014), Q. J. R. Meteorol. Soc.
    140, 1917. Laws: its mean over draws does not depend on the number of members; needs two.
    """
    return _score(ensemble, truth, 1)


class CrpsParts(NamedTuple):
    """The mean score of a set of cases, taken apart: ``score = reliability + potential``."""

    score: float
    reliability: float
    """How far forecast probabilities are from observed frequencies: 0 where a rank histogram is flat."""
    potential: float
    """What would be left were the ensemble reliable: the sharper it is, the less."""
    uncertainty: float
    """The score of the climatology of the cases, which `potential` is to be compared with."""


def crps_parts(ensemble: ArrayLike, truth: ArrayLike) -> CrpsParts:
    """Return the mean score of cases and its decomposition.

    Source: Hersbach (2000), Weather and Forecasting 15, 559. Laws: reliability and potential add
    up to the mean of `crps`; a reliable ensemble has next to no reliability part; the potential of one
    that knows nothing is the uncertainty.

    Parameters
    ----------
    ensemble : (n_members, n)
    truth : (n,)
    """
    members, observed = _cases(ensemble, truth, 1)
    n_members, n_cases = members.shape
    ordered = np.sort(members, axis=0)
    # Lengths of each gap between members below and above the truth; outside, only what the truth is beyond.
    edges = np.vstack([np.minimum(observed, ordered[:1]), ordered, np.maximum(observed, ordered[-1:])])
    low, high = edges[:-1], edges[1:]
    inside = np.clip(observed, low, high)
    below, above = (inside - low).mean(axis=1), (high - inside).mean(axis=1)
    frequency = np.empty(n_members + 1)
    width = below + above
    frequency[0] = np.count_nonzero(observed < ordered[0]) / n_cases
    frequency[-1] = np.count_nonzero(observed < ordered[-1]) / n_cases
    inner = slice(1, n_members)
    frequency[inner] = np.divide(
        above[inner], width[inner], out=np.zeros(n_members - 1), where=width[inner] > 0
    )
    outliers = np.array([frequency[0], 1 - frequency[-1]])
    width[[0, -1]] = np.divide(width[[0, -1]], outliers, out=np.zeros(2), where=outliers > 0)
    probability = np.arange(n_members + 1) / n_members
    reliability = float(width @ (frequency - probability) ** 2)
    potential = float(width @ (frequency * (1 - frequency)))
    # The truths of all cases as one ensemble for each: half the mean difference between two of them.
    climatology = 0.5 * _mean_difference(observed[:, np.newaxis], n_cases**2)
    return CrpsParts(reliability + potential, reliability, potential, float(climatology[0]))


def _score(ensemble: ArrayLike, truth: ArrayLike, fewer: int) -> FloatArray:
    members, observed = _cases(ensemble, truth, 1 + fewer)
    distance: FloatArray = np.abs(members - observed).mean(axis=0)
    n = len(members)
    return distance - 0.5 * _mean_difference(members, n * (n - fewer))


def _mean_difference(members: FloatArray, n_pairs: int) -> FloatArray:
    """Return the sum over ordered pairs of members of their distance, over a number of pairs."""
    ordered = np.sort(members - members[0], axis=0)
    n = len(members)
    ranks = 2 * np.arange(n) - n + 1
    return np.asarray(2 * (ranks @ ordered) / n_pairs)


def _cases(ensemble: ArrayLike, truth: ArrayLike, fewest: int) -> tuple[FloatArray, FloatArray]:
    members = finite_array("ensemble", ensemble, (None, None))
    observed = finite_array("truth", truth, (members.shape[1],))
    if len(members) < fewest or observed.size == 0:
        allowed = f"({fewest} or more, 1 or more)"
        raise DataError("an ensemble cannot be scored", got=members.shape, allowed=allowed)
    return members, observed
