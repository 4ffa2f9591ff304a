r"""Covariance shrinkage: how much to trust an ensemble's covariance, and how much a target's.

The forecast covariance becomes :math:`(1 - \gamma) P + \gamma \mu \mathcal{P}` with the ensemble's P and a
target :math:`\mathcal{P}` from a climatology. With the singular values of the ensemble's anomalies in units
of the target, :math:`\mu` makes both equally large, and :math:`\gamma` follows from how far from equal these
values are, given the number of members.

Where this departs from Popov, Sandu, Nino-Ruiz & Evensen (2021), Tellus A 73, 1, which it follows otherwise:
a mean estimated from the sample leaves n_members - 1 degrees of freedom, which are used in eq. 2.16; gamma
is clipped at 0 as well as at 1; and for a target of rank r below the size n of the state the dimension is r
unless another is asked for (with n, as there, the scale mu is r / n of what it should be).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import DataError
from daflow.numerics.arrays.ensembles import ensemble_of
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.validation import FloatArray, finite_array, positive_vector, symmetric_matrix


@dataclass(frozen=True, slots=True, eq=False)
class ShrinkageTarget:
    r"""A target covariance by its eigenvectors and eigenvalues, :math:`U \Lambda U^T`.

    Parameters
    ----------
    basis : (n_state, rank)
        Orthonormal columns; a slice holds its own rows.
    eigenvalues : (rank,)
        Above 0, in the squared unit of the state.
    """

    basis: FloatArray
    eigenvalues: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "eigenvalues", positive_vector("eigenvalues of the target", self.eigenvalues)
        )
        basis = finite_array("basis of the target", self.basis, (None, self.eigenvalues.size))
        object.__setattr__(self, "basis", basis)

    @property
    def rank(self) -> int:
        """How many directions the target knows."""
        return int(self.eigenvalues.size)

    def project(self, ensemble: ArrayLike) -> FloatArray:
        r"""Return anomalies of a slice in the target's units, :math:`X_c U \Lambda^{-1/2}` (n_members, rank).

        Those of slices add up to those of the whole.
        """
        members = ensemble_of("ensemble", ensemble, self.basis.shape[0])
        projected: FloatArray = anomalies_of(members) @ (self.basis / np.sqrt(self.eigenvalues))
        return projected

    def synthetic(self, mean: ArrayLike, scale: float, draws: ArrayLike) -> FloatArray:
        r"""Return synthetic members (n_synthetic, n_state).

        They are :math:`\bar x + \sqrt\mu\, \xi \Lambda^{1/2} U^T`. Laws: each slice of the state gives what
        the whole gives; many draws have the covariance :math:`\mu \mathcal{P}`.

        Parameters
        ----------
        mean : (n_state,)
            Of the forecast.
        scale
            mu, of `MatchedScale`.
        draws : (n_synthetic, rank)
            Independent, with mean 0 and variance 1: normals, or `laplace_draws`.
        """
        centre = finite_array("mean", mean, (self.basis.shape[0],))
        numbers = finite_array("draws", draws, (None, self.rank))
        departures: FloatArray = (numbers * np.sqrt(scale * self.eigenvalues)) @ self.basis.T
        return centre + departures


def target_of(covariance: ArrayLike, rank: int | None = None) -> ShrinkageTarget:
    """Return the target of a covariance matrix (n, n), its leading directions only if a rank is given.

    Raises
    ------
    DataError
        No symmetric matrix, or fewer positive eigenvalues than the rank asks for.
    """
    eigenvalues, basis = np.linalg.eigh(symmetric_matrix("target covariance", covariance))
    noise = eigenvalues.size * np.finfo(np.float64).eps * np.abs(eigenvalues).max()
    n_positive = int(np.count_nonzero(eigenvalues > noise))
    wanted = n_positive if rank is None else rank
    if not 1 <= wanted <= n_positive:
        raise DataError(
            "the target covariance has not that many directions",
            got=f"rank {wanted}, {n_positive} eigenvalues above rounding",
            allowed=f"1 to {n_positive}",
        )
    leading = slice(None, -wanted - 1, -1)
    return ShrinkageTarget(basis[:, leading], eigenvalues[leading])


@dataclass(frozen=True, slots=True)
class MatchedScale:
    """How an ensemble compares with a target."""

    scale: float
    """mu: the target times this has the ensemble's trace, in the target's units."""
    sphericity: float
    """U, from 0 (the ensemble's covariance is a multiple of the target's) to 1 (it has rank one)."""
    dimension: int
    n_members: int


def matched_scale(projected: ArrayLike, dimension: int | None = None) -> MatchedScale:
    """Return scale and sphericity of an ensemble (Popov et al., 2021, section 2).

    Parameters
    ----------
    projected : (n_members, rank)
        Of `ShrinkageTarget.project`, all slices together, inflated as the forecast is.
    dimension
        2 or more; the rank where not given.

    Raises
    ------
    DataError
        Fewer than three members, a dimension below 2, or an ensemble without spread.
    """
    anomalies = ensemble_of("projected anomalies", projected)
    n_members, n = len(anomalies), anomalies.shape[1] if dimension is None else dimension
    variances = np.linalg.svd(anomalies, compute_uv=False) ** 2 / (n_members - 1)
    trace = float(variances.sum())
    if n_members < 3 or n < 2 or trace == 0:
        raise DataError(
            "an ensemble cannot be compared with a target",
            got=f"{n_members} members, dimension {n}, trace {trace:.6g}",
            allowed="three members, dimension 2, a trace above 0, or more",
        )
    sphericity = (n * float((variances**2).sum()) / trace**2 - 1) / (n - 1)
    return MatchedScale(trace / n, sphericity, n, n_members)


def rblw_gamma(found: MatchedScale) -> float:
    """Return the Rao-Blackwell Ledoit-Wolf weight of the target (Popov et al., 2021, eq. 2.16), in [0, 1].

    Source: Chen, Wiesel, Eldar & Hero (2010), IEEE Transactions on Signal Processing 58, 5016. Law: it falls
    as the ensemble looks less like the target.
    """
    n, freedom = found.dimension, found.n_members - 1
    if found.sphericity <= 0:
        return 1.0
    gamma = (freedom - 2) / (freedom * (freedom + 2)) + ((n + 1) * freedom - 2) / (
        found.sphericity * freedom * (freedom + 2) * (n - 1)
    )
    return float(np.clip(gamma, 0.0, 1.0))


def ledoit_wolf_gamma(ensemble: ArrayLike, target: ShrinkageTarget) -> float:
    r"""Return the weight of the target by Ledoit & Wolf's argument (Popov et al., 2021, eq. 2.14), in [0, 1].

    .. math:: \frac{n^{-2} \sum_i |x_i|^4 - n^{-1} |\tilde\Sigma|_F^2}{|\tilde\Sigma - \mathcal{P}|_F^2}

    As printed there: the target is not scaled by mu, the covariance is over n_members - 1 while the numerator
    divides by the square of n_members, and units of the state matter. Source: Stoica, Li, Zhu & Guerci
    (2008), IEEE Transactions on Signal Processing 56, 2611. Cost: n_state n_members (n_members + rank), no
    matrix of the state's size squared.

    Parameters
    ----------
    ensemble : (n_members, n_state)
        Not inflated; the whole state.
    target
        Of the whole state.
    """
    members = ensemble_of("ensemble", ensemble, target.basis.shape[0])
    anomalies = anomalies_of(members)
    scaled = target.project(members) * target.eigenvalues
    return ledoit_wolf_gamma_of_products(anomalies @ anomalies.T, scaled, np.diag(target.eigenvalues))


def ledoit_wolf_gamma_of_products(own: FloatArray, cross: FloatArray, gram: FloatArray) -> float:
    r"""Return `ledoit_wolf_gamma` from products of anomalies, which slices of the state add up.

    Parameters
    ----------
    own : (n_members, n_members)
        Of the ensemble's anomalies with each other.
    cross : (n_members, k)
        Of the ensemble's with those of any k states C of which the target is :math:`C^T C`.
    gram : (k, k)
        Of the latter with each other.
    """
    n, freedom = len(own), len(own) - 1
    size = float((own**2).sum()) / freedom**2
    apart = size - 2 * float((cross**2).sum()) / freedom + float((gram**2).sum())
    noise = float((np.diagonal(own) ** 2).sum()) / n**2 - size / n
    return 1.0 if apart <= 0 else float(np.clip(noise / apart, 0.0, 1.0))


def laplace_draws(standard_normals: ArrayLike, exponentials: ArrayLike) -> FloatArray:
    r"""Return draws (n_synthetic, rank) of the symmetric multivariate Laplace distribution.

    :math:`\sqrt{w}\, z` with normals z and one exponential w of mean 1 for each synthetic member: mean 0,
    covariance I, heavier tails. Source: Kozubowski, Podgorski & Rychlik (2013), Journal of Multivariate
    Analysis 113, 59.

    Parameters
    ----------
    standard_normals : (n_synthetic, rank)
    exponentials : (n_synthetic,)
    """
    normals = finite_array("standard_normals", standard_normals, (None, None))
    lengths = finite_array("exponentials", exponentials, (len(normals),))
    if (lengths < 0).any():
        raise DataError("an exponential draw is negative", got=float(lengths.min()), allowed="0 or more")
    return np.sqrt(lengths)[:, np.newaxis] * normals
