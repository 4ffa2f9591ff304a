r"""Inversion in ensemble space: for more observations than members, never a matrix (n_obs, n_obs).

With anomalies Z in units of the observation error (`InnovationCovariance.whitened_anomalies`),
:math:`Z S^{-1} = (I + Z Z^T)^{-1} Z` holds exactly and, unlike the Woodbury identity as it is usually
printed, subtracts nothing (Evensen, 2009, Data Assimilation, section 14; Hunt et al., 2007, eq. 21).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from daflow.numerics.arrays.linalg import cholesky, cholesky_solve
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.inversion.innovation import InnovationCovariance, error_is_hidden

LARGEST_SIGNAL: Final = 1e14
"""Variance of the predictions over that of their errors, summed: beyond it fewer than two digits are left
of what is as large as the errors."""


@dataclass(frozen=True, eq=False)
class EnsembleSpaceInversion:
    """A prepared inversion that holds a Cholesky factor (n_members, n_members).

    Cost: n_obs n_members^2 once, n_obs n_members a row; memory n_obs n_members.
    """

    innovation: InnovationCovariance
    whitened: FloatArray
    """Z (n_members, n_obs)."""
    lower: FloatArray
    """The factor of I + ZZ'."""

    def project(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ inv(S) @ Y.T``."""
        products = self.innovation.whiten(rows) @ self.whitened.T
        products *= np.sqrt(self.innovation.n_members - 1)
        return cholesky_solve(self.lower, products)

    def gain_rows(self) -> FloatArray:
        """Return ``Y @ inv(S)``."""
        scale = np.sqrt(self.innovation.n_members - 1)
        return self.innovation.whiten_adjoint(cholesky_solve(self.lower, scale * self.whitened.T).T)

    def solve(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ inv(S)``.

        What lies outside the span of the anomalies is left as it is; what lies within is damped in an
        orthonormal basis of it (thin QR), so that rank-deficient anomalies need no special care.
        """
        basis, triangle = np.linalg.qr(self.whitened.T)
        inner = np.eye(triangle.shape[0]) + triangle @ triangle.T
        whitened_rows = self.innovation.whiten(rows)
        within = whitened_rows @ basis
        damped = cholesky_solve(cholesky(inner), within)
        return self.innovation.whiten_adjoint(whitened_rows - (within - damped) @ basis.T)


def prepare_ensemble_space(innovation: InnovationCovariance, _truncation: float) -> EnsembleSpaceInversion:
    """Factorize I + ZZ' by Cholesky.

    Raises
    ------
    CombinationError
        ZZ' is so large that rounding hides the identity.
    """
    whitened = innovation.whitened_anomalies()
    return EnsembleSpaceInversion(innovation, whitened, factor_of_gram(whitened @ whitened.T))


def factor_of_gram(gram: FloatArray) -> FloatArray:
    """Return the lower Cholesky factor of I + ZZ', given ZZ' (n_members, n_members), which is changed.

    Raises
    ------
    CombinationError
        ZZ' is so large that rounding hides the identity.
    """
    if not gram.trace() < LARGEST_SIGNAL:
        raise error_is_hidden()
    gram[np.diag_indices_from(gram)] += 1.0
    return cholesky(gram)
