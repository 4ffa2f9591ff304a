r"""The innovation covariance :math:`S = \rho \circ C_{yy} + \alpha R`, kept in its parts.

Every inversion is a way to apply :math:`S^{-1}`; what they share, whitening above all, is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from daflow.errors import CombinationError, DataError
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.obs_error.covariance import Covariance

MOST_OBS_SQUARED: Final = 20_000
"""Observations up to which a matrix of their square is formed: 3.2 GB, and a few of them are needed."""


@dataclass(frozen=True, eq=False)
class InnovationCovariance:
    r"""The parts of S: predicted anomalies, observation error, its inflation, a taper.

    Parameters
    ----------
    anomalies : (n_members, n_obs)
        Predicted observations less their mean.
    obs_error
        R, of n_obs observations.
    alpha
        What multiplies R.
    obs_obs_taper : (n_obs, n_obs) or None
        What multiplies :math:`C_{yy}` element by element.
    n_silent
        How many observations more there were, in which members do not differ: `n_obs` is without them.
    """

    anomalies: FloatArray
    obs_error: Covariance
    alpha: float = 1.0
    obs_obs_taper: FloatArray | None = None
    n_silent: int = 0

    @property
    def n_members(self) -> int:
        """How many members."""
        return int(self.anomalies.shape[0])

    @property
    def n_obs(self) -> int:
        """How many observations."""
        return int(self.anomalies.shape[1])

    def dense(self) -> FloatArray:
        """Return S as a matrix (n_obs, n_obs).

        Raises
        ------
        CombinationError
            There are too many observations for that.
        """
        matrix = self.signal()
        matrix += self.alpha * self.obs_error.dense()
        return still_finite(matrix)

    def signal(self) -> FloatArray:
        """Return the tapered covariance of the predictions (n_obs, n_obs)."""
        if self.n_obs > MOST_OBS_SQUARED:
            raise CombinationError(
                "this inversion forms matrices of observations by observations, and there are too many",
                got=f"{self.n_obs:,} observations: {8e-9 * self.n_obs**2:,.1f} GB a matrix",
                allowed=f"up to {MOST_OBS_SQUARED:,} observations",
                do="use inversion exact_cholesky or subspace_rescaled, without an obs-obs taper",
            )
        matrix: FloatArray = self.anomalies.T @ self.anomalies
        matrix /= self.n_members - 1
        if self.obs_obs_taper is not None:
            matrix *= self.obs_obs_taper
        return matrix

    def whiten(self, rows: FloatArray) -> FloatArray:
        r"""Return rows (k, n_obs) in units of the inflated observation error.

        With :math:`\alpha R = L L^T`, :math:`L^{-1}` is applied to each row.
        """
        whitened = self.obs_error.whiten(rows)
        whitened /= np.sqrt(self.alpha)
        return whitened

    def whiten_adjoint(self, rows: FloatArray) -> FloatArray:
        """Return rows (k, n_obs), the transpose of that matrix applied to each."""
        result = self.obs_error.whiten_adjoint(rows)
        result /= np.sqrt(self.alpha)
        return result

    def whitened_anomalies(self) -> FloatArray:
        """Return Z (n_members, n_obs), so that S is I + Z'Z in units of the observation error.

        The taper is not in it.
        """
        whitened = self.whiten(self.anomalies)
        whitened /= np.sqrt(self.n_members - 1)
        return still_finite(whitened)


class PreparedInversion(Protocol):
    r"""An inversion made ready for one innovation covariance S of anomalies Y."""

    def solve(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ inv(S)`` (k, n_obs) for rows (k, n_obs)."""
        ...

    def project(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ inv(S) @ Y.T`` (k, n_members) for rows (k, n_obs)."""
        ...

    def gain_rows(self) -> FloatArray:
        """Return ``Y @ inv(S)`` (n_members, n_obs)."""
        ...


def not_positive(innovation: InnovationCovariance) -> CombinationError:
    """Return the error of an innovation covariance that is not positive definite."""
    if innovation.obs_obs_taper is None:
        return error_is_hidden()
    return CombinationError(
        "the tapered innovation covariance is not positive definite",
        got=f"smallest eigenvalue {float(np.linalg.eigvalsh(innovation.dense())[0]):.6g}",
        allowed="an obs-obs taper that is positive semidefinite: Gaspari-Cohn, exponential, Gaussian",
        do="use such a taper with one length for all observations",
    )


def error_is_hidden() -> CombinationError:
    """Return the error of predictions that differ so much that nothing is left of the observation error."""
    return CombinationError(
        "rounding hides the observation error: the spread of the predictions dwarfs it",
        got="an innovation covariance that is singular in float64",
        do="use inversion subspace_rescaled; check the units of the observation errors",
    )


def quiet_overflow() -> np.errstate:
    """Keep numpy's warnings back where `still_finite` looks at what comes out."""
    return np.errstate(over="ignore", invalid="ignore")


def still_finite(array: FloatArray) -> FloatArray:
    """Return an array that came out of finite numbers, if its own are finite.

    Raises
    ------
    DataError
        They are not.
    """
    if not np.isfinite(array).all():
        raise DataError(
            "the update overflows",
            got="numbers that are not finite out of finite input",
            do="check the units of alpha, observation errors and predictions: they differ by too much",
        )
    return array
