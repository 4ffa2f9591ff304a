r"""Inversions by the singular modes of the anomalies, which truncation can cut (Evensen, 2021, section 4).

`WhitenedModes` works in units of the observation error, `GalerkinSubspace` in those of the observations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from daflow.errors import CombinationError
from daflow.numerics.arrays.linalg import Modes, cholesky, cholesky_solve, modes_of, n_keep
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.inversion.innovation import InnovationCovariance, still_finite


@dataclass(frozen=True, eq=False)
class WhitenedModes:
    r"""A prepared inversion by the modes of the whitened anomalies :math:`Z = V w U^T`.

    :math:`S^{+} = L^{-T} [(I - U U^T) + U_r (1 + w_r^2)^{-1} U_r^T] L^{-1}`: outside the span of the
    anomalies there is noise only, which is kept as it is, so that nothing is lost with any state-obs taper
    nor with more observations than members; the modes that truncation cuts are dropped.
    Cost: n_obs n_members^2 once (a singular value decomposition), n_obs n_members a row.
    """

    innovation: InnovationCovariance
    modes: Modes
    gains: FloatArray
    """(rank,) what is left of each mode: 1 / (1 + w^2), or 0 where it is cut."""

    @property
    def _loadings(self) -> FloatArray:
        scale = np.sqrt(self.innovation.n_members - 1)
        loadings: FloatArray = self.modes.members * (self.modes.values * self.gains * scale)
        return loadings

    def project(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ inv(S) @ Y.T``."""
        return (self.innovation.whiten(rows) @ self.modes.basis) @ self._loadings.T

    def gain_rows(self) -> FloatArray:
        """Return ``Y @ inv(S)``."""
        return self.innovation.whiten_adjoint(self._loadings @ self.modes.basis.T)

    def solve(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ inv(S)``."""
        whitened = self.innovation.whiten(rows)
        coefficients = whitened @ self.modes.basis
        change = (coefficients * (1 - self.gains)) @ self.modes.basis.T
        return self.innovation.whiten_adjoint(whitened - change)


def prepare_rescaled(innovation: InnovationCovariance, truncation: float) -> WhitenedModes:
    """Truncate by the eigenvalues of S in units of the observation error, the ones on each included.

    Without an obs-obs taper; with one, see
    `daflow.numerics.inversion.observation_space.prepare_tapered_rescaled`.
    """
    modes = modes_of(innovation.whitened_anomalies())
    eigenvalues = np.ones(innovation.n_obs + innovation.n_silent)
    eigenvalues[: modes.values.size] += modes.values**2
    return _whitened_modes(innovation, modes, n_keep(eigenvalues, truncation))


def prepare_subspace_rescaled(innovation: InnovationCovariance, truncation: float) -> WhitenedModes:
    """Truncate by the singular values of the whitened anomalies."""
    modes = modes_of(innovation.whitened_anomalies())
    return _whitened_modes(innovation, modes, n_keep(modes.values, truncation))


def _whitened_modes(innovation: InnovationCovariance, modes: Modes, kept: int) -> WhitenedModes:
    gains = 1 / (1 + still_finite(modes.values**2))
    gains[kept:] = 0.0
    return WhitenedModes(innovation, modes, gains)


@dataclass(frozen=True, eq=False)
class GalerkinSubspace:
    r"""A prepared inversion on the span of the leading modes of the anomalies :math:`Y = V w U^T`.

    :math:`S^{+} = U_r [w_r^2 / (n_{members} - 1) + \alpha U_r^T R U_r]^{-1} U_r^T`: the observation error is
    replaced by its projection. Exact if and only if the anomalies span all observations (rank n_obs, which
    needs n_obs < n_members) and none is cut.
    """

    modes: Modes
    """The leading ones only."""
    lower: FloatArray
    """The factor of the matrix in brackets (r, r)."""
    rank: int
    """How many modes there are before any is cut."""

    def project(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ inv(S) @ Y.T``."""
        return self._coefficients(rows) @ (self.modes.members * self.modes.values).T

    def gain_rows(self) -> FloatArray:
        """Return ``Y @ inv(S)``."""
        loadings = self.modes.members * self.modes.values
        return cholesky_solve(self.lower, loadings) @ self.modes.basis.T

    def solve(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ inv(S)``.

        Raises
        ------
        CombinationError
            The anomalies do not span all observations: what lies outside, observation error included, is
            lost, and only `project` and `gain_rows` do not ask for it.
        """
        n_obs = self.modes.basis.shape[0]
        if 0 < self.rank < n_obs:
            raise CombinationError(
                "inversion subspace with a state-obs taper: the observation error outside the span of the "
                "predictions is projected away, and a tapered covariance asks for it",
                got=f"predictions of rank {self.rank}, {n_obs} observations",
                allowed="rank equal to the number of observations",
                do="use inversion subspace_rescaled or exact_cholesky",
            )
        return self._coefficients(rows) @ self.modes.basis.T

    def _coefficients(self, rows: FloatArray) -> FloatArray:
        return cholesky_solve(self.lower, rows @ self.modes.basis)


def prepare_subspace(innovation: InnovationCovariance, truncation: float) -> GalerkinSubspace:
    """Truncate by the singular values of the anomalies."""
    every = modes_of(innovation.anomalies)
    kept = n_keep(every.values, truncation)
    modes = Modes(every.members[:, :kept], every.values[:kept], every.basis[:, :kept])
    inner = innovation.alpha * (innovation.obs_error.multiply(modes.basis.T) @ modes.basis)
    inner[np.diag_indices_from(inner)] += modes.values**2 / (innovation.n_members - 1)
    return GalerkinSubspace(modes, cholesky(still_finite(inner)), every.values.size)
