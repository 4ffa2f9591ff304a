r"""Two other roots of an analysis with a shrunk forecast covariance, which look at the whole state.

Both need the products of dynamic and synthetic anomalies with each other, `shrinkage_gram`, which slices add
up: one pass over the state, and a matrix (n_members + n_synthetic) squared.

Where this departs from Popov, Sandu, Nino-Ruiz & Evensen (2021), Tellus A 73, 1:

- `low_rank_root`: eq. 3.12-3.13, read with singular values in their usual order, keep the directions that no
  observation sees; where all is observed, the ensemble collapses. Here the leading singular vectors of the
  *analysis* anomalies are kept, which is the best approximation of its rank.
- `dynamic_root`: eq. A.5 subtracts a term that eq. A.3 has already taken away. Without it the identity that
  it is derived from holds (where the members span the state); with it, half the eigenvalues may be
  negative. The mean is the plain one, not that of eq. A.6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.numerics.arrays.ensembles import ensemble_of
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.validation import FloatArray, finite_array
from daflow.numerics.filters.ensemble_transform import mean_free_basis
from daflow.numerics.filters.shrinkage import ShrinkageTransform, ShrunkModes


def shrinkage_gram(prior: ArrayLike, synthetic: ArrayLike) -> FloatArray:
    """Return the products of anomalies of a slice with each other, (n_members + n_synthetic) squared.

    Law: those of slices add up to those of the whole.

    Parameters
    ----------
    prior : (n_members, n_state)
    synthetic : (n_synthetic, n_state)
    """
    members = ensemble_of("prior", prior)
    others = ensemble_of("synthetic", synthetic, members.shape[1])
    stacked = np.vstack([anomalies_of(members), anomalies_of(others)])
    product: FloatArray = stacked @ stacked.T
    return product


class LowRankRoot(NamedTuple):
    """An analysis cut to as many directions as the members can have."""

    transform: ShrinkageTransform
    kept: float
    """Which share of the analysis' total variance is left, in (0, 1]."""


def low_rank_root(found: ShrunkModes, gram: ArrayLike) -> LowRankRoot:
    r"""Return the analysis whose covariance is the shrunk one's best approximation by n_members.

    What it cuts is lost: a filter that repeats it loses spread at each analysis, since the target's scale
    follows the ensemble's, and ends with none. Multiply the posterior's anomalies by the inverse root of
    what is kept. Of all roots it is the one that moves the members least. Laws: the covariance is that of
    the whole analysis, cut to its n_members - 1 leading directions, and ``kept`` is their share of its
    trace; the mean is that of `daflow.numerics.filters.shrinkage.shrinkage_etkf`; gamma 0 gives the ETKF's
    mean and covariance.

    Parameters
    ----------
    found
        Of `daflow.numerics.filters.shrinkage.shrunk_modes`.
    gram
        Of `shrinkage_gram`, over all slices.
    """
    n, products = found.n_members, _products(found, gram)
    root = _extended_root(found)
    scaled = products * np.multiply.outer(found.scales, found.scales)
    eigenvalues, vectors = np.linalg.eigh(root @ scaled @ root)
    directions = (root @ vectors[:, :-n:-1]) * found.scales[:, np.newaxis]
    # Among the orthonormal, mean-free rows that mix the directions: those that keep members near themselves.
    basis = mean_free_basis(n)
    left, _, right = np.linalg.svd(basis.T @ products[:n] @ directions)
    weights: FloatArray = np.sqrt(n - 1) * (basis @ left @ right) @ directions.T
    weights[:, :n] -= np.eye(n)
    total = float(eigenvalues.sum())
    kept = float(eigenvalues[:-n:-1].sum()) / total if total > 0 else 1.0
    return LowRankRoot(found.combine(weights), kept)


class DynamicRoot(NamedTuple):
    """An analysis whose anomalies are combinations of dynamic ones alone."""

    transform: ShrinkageTransform
    smallest_eigenvalue: float
    """Of the matrix whose root is taken; where it is below 0, it was taken for 0."""


def dynamic_root(found: ShrunkModes, gram: ArrayLike) -> DynamicRoot:
    r"""Return the analysis of appendix A, corrected: the members' anomalies are mixed with each other only.

    .. math::
        T T^T = I - (1 - \gamma) Z^T S^{-1} Z - \gamma [A^+ \mathcal{A} \mathcal{Z}^T S^{-1} Z + (\cdot)^T]

    Laws: gamma 0 is the ETKF; the mean is that of `daflow.numerics.filters.shrinkage.shrinkage_etkf`;
    anomalies have mean zero; where the members span the state, the covariance of the whole is met.

    Parameters
    ----------
    found, gram
        As for `low_rank_root`.
    """
    n, products = found.n_members, _products(found, gram)
    n_synthetic = len(products) - n
    values = found.modes.values
    damped = found.member_rows * (values**2 / (1 + values**2))
    seen = np.linalg.pinv(products[:n, :n], rcond=1e-12, hermitian=True) @ products[:n, n:]
    seen *= np.sqrt(found.gamma * (n - 1) / (n_synthetic - 1))
    shared = seen @ (found.modes.members[n:] @ damped.T)
    square = np.eye(n) - (1 - found.gamma) * (damped @ found.member_rows.T) - shared - shared.T
    eigenvalues, vectors = np.linalg.eigh(square)
    weights = np.zeros((n, len(products)))
    weights[:, :n] = (vectors * np.sqrt(np.maximum(eigenvalues, 0.0))) @ vectors.T - np.eye(n)
    return DynamicRoot(found.combine(weights), float(eigenvalues[0]))


def _products(found: ShrunkModes, gram: ArrayLike) -> FloatArray:
    size = found.scales.size
    return finite_array("products of dynamic and synthetic anomalies", gram, (size, size))


def _extended_root(found: ShrunkModes) -> FloatArray:
    """Return the symmetric root of the extended ensemble, (n_members + n_synthetic) squared."""
    values, members = found.modes.values, found.modes.members
    root = np.sqrt(1 + values**2)
    matrix: FloatArray = (members * (-(values**2) / (root * (1 + root)))) @ members.T
    matrix[np.diag_indices_from(matrix)] += 1.0
    return matrix
