r"""What innovations and predictions say of an ensemble, in one pass over blocks of the observations.

With predicted anomalies Z (n_members, n_obs), over :math:`\sqrt{n_{members} - 1}`, and the innovation d of
the mean, all in units of the observation errors, everything follows from :math:`Z Z^T`, :math:`Z d` and
:math:`d^T d`, which add up over the blocks: cost n_obs n_members^2, memory n_members^2 and a block. Where
errors share patterns a QR factorization is carried along instead (Demmel, Grigori, Hoemmen & Langou, 2012,
SIAM J. Sci. Comput. 34, A206): sums would lose what a strong pattern leaves. Where observations are fewer
than members, :math:`Z^T Z` does as well: nothing is as large as the square of the members.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.numerics.arrays.linalg import extended_triangle
from daflow.numerics.arrays.validation import FloatArray, finite_array
from daflow.numerics.diagnostics.information import effective_rank
from daflow.numerics.inversion.innovation import still_finite
from daflow.numerics.obs_error.covariance import Covariance, LowRankPlusDiagonalCovariance
from daflow.numerics.observations.blocks import BlockedPredictions, Reader

HIDDEN: Final = 1e-4
"""A figure of which rounding may be more than this share is not told."""


class InnovationFigures(NamedTuple):
    """Whether an ensemble and the errors of its observations can both be right."""

    chi_square: float
    r"""A degree of freedom: :math:`d^T (\frac{n+1}{n} Z^T Z + I)^{-1} d / n_{obs}`, n the members; as
    `daflow.numerics.diagnostics.information.innovation_chi_square`. NaN where rounding hides it: where errors
    are a millionth of innovations."""
    signal: float
    """Degrees of freedom for signal, as `daflow.numerics.diagnostics.information`; NaN where rounding hides
    it."""
    rank: float
    """How many directions the predictions have, in units of the errors: their `effective_rank`."""
    misfit: float
    """The members' mean of r' inv(R) r / n_obs with their residuals r: for independent errors the mean of
    `daflow.numerics.diagnostics.misfit.normalized_misfit`."""


def innovation_figures(
    n_members: int, predicted: Reader, values: ArrayLike, obs_error: Covariance
) -> InnovationFigures:
    """Return what can be said before an update.

    Laws: each is that of the plain formula, for every form of R and blocks of every size; the order of the
    observations and their units do not matter.

    Parameters
    ----------
    n_members
        Two or more.
    predicted
        Reads predicted observations: (start, stop) -> (n_members, stop - start).
    values : (n_obs,)
        What was observed, not perturbed.
    obs_error
        R.

    Raises
    ------
    daflow.errors.DataError
        Numbers that are not finite, of the wrong shape, or that overflow in units of the errors.
    """
    observed = finite_array("values", values, (obs_error.n_obs,))
    source = BlockedPredictions(n_members, obs_error, predicted)
    rows_of = _rows_by_triangle if source.n_patterns else _rows_of_few
    with np.errstate(over="ignore", invalid="ignore"):
        if obs_error.n_obs < n_members:
            return _of_rows(still_finite(rows_of(source, observed)), n_members)
        products = _by_triangle(source, observed) if source.n_patterns else _by_sums(source, observed)
    return _of_products(still_finite(products), n_members, obs_error.n_obs)


def _by_sums(source: BlockedPredictions, observed: FloatArray) -> FloatArray:
    """Return products (n_members + 1, n_members + 1) of anomalies and innovation with each other."""
    products = np.zeros((source.n_members + 1,) * 2)
    for where, part, predicted in source.predictions():
        rows = part.whiten(_rows(predicted, observed[where]))
        products += rows @ rows.T
    return products


def _by_triangle(source: BlockedPredictions, observed: FloatArray) -> FloatArray:
    """Return the same where blocks share errors."""
    rows = _rows_by_triangle(source, observed)
    return np.asarray(rows @ rows.T)


def _rows_by_triangle(source: BlockedPredictions, observed: FloatArray) -> FloatArray:
    """Return anomalies and innovation in units of the errors, rotated into few observations."""
    n, patterns = source.n_members + 1, source.obs_error.patterns
    triangle = np.empty((0, n + source.n_patterns))
    for where, part, predicted in source.predictions():
        rows = np.concatenate([_rows(predicted, observed[where]), patterns[where].T])
        triangle = extended_triangle(triangle, part.whiten(rows))
    few = still_finite(triangle.T)
    return LowRankPlusDiagonalCovariance(few[n:].T, np.ones(few.shape[1])).whiten(few[:n])


def _rows_of_few(source: BlockedPredictions, observed: FloatArray) -> FloatArray:
    """Return anomalies and innovation in units of the errors (n_members + 1, n_obs)."""
    read = source.predictions()
    return np.hstack([part.whiten(_rows(some, observed[where])) for where, part, some in read])


def _rows(predicted: FloatArray, observed: FloatArray) -> FloatArray:
    """Return the anomalies of the members, and the innovation of their mean, in one array."""
    rows = np.empty((len(predicted) + 1, predicted.shape[1]))
    # The first member is taken off before the mean is, as `anomalies_of` does it.
    anomalies = np.subtract(predicted, predicted[0], out=rows[:-1])
    offset = anomalies.mean(axis=0)
    anomalies -= offset
    rows[-1] = observed - (predicted[0] + offset)
    return rows


def _of_products(products: FloatArray, n_members: int, n_obs: int) -> InnovationFigures:
    """Return the figures by the members' space."""
    gram = products[:-1, :-1] / (n_members - 1)
    strengths, members = np.linalg.eigh(gram)
    along = members.T @ products[:-1, -1] / np.sqrt(n_members - 1)
    return _figures(gram, np.maximum(strengths, 0.0), along, float(products[-1, -1]), (n_members, n_obs))


def _of_rows(rows: FloatArray, n_members: int) -> InnovationFigures:
    """Return the figures by the space of the observations, where these are fewer than members."""
    gram = rows[:-1].T @ rows[:-1] / (n_members - 1)
    strengths, directions = np.linalg.eigh(gram)
    strengths = np.maximum(strengths, 0.0)
    along = np.sqrt(strengths) * (directions.T @ rows[-1])
    return _figures(gram, strengths, along, float(rows[-1] @ rows[-1]), (n_members, rows.shape[1]))


def _figures(
    gram: FloatArray, strengths: FloatArray, along: FloatArray, square: float, shape: tuple[int, int]
) -> InnovationFigures:
    """Return the figures from the squared singular values of Z, and Z d along its modes."""
    n_members, n_obs = shape
    widened = (n_members + 1) / n_members
    left = square - widened * float((along**2 / (1 + widened * strengths)).sum())
    rounding = n_members * np.finfo(np.float64).eps
    told = rounding * strengths[-1] <= HIDDEN
    return InnovationFigures(
        chi_square=left / n_obs if told and rounding * square <= HIDDEN * left else float("nan"),
        signal=float((strengths / (1 + strengths)).sum()) if told else float("nan"),
        rank=effective_rank(gram),
        misfit=(square + float(np.trace(gram)) * (n_members - 1) / n_members) / n_obs,
    )
