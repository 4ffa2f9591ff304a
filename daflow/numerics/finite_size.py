r"""The finite-size ensemble Kalman filter: an ensemble that knows that its covariance is only a sample.

The prior of the weights is not Gaussian but what follows from mean and covariance being estimated from
n members (hyperprior of Jeffreys). Its mode minimises

.. math:: J(w) = \tfrac12 |d - Y^T w|^2_{R^{-1}} + \tfrac{n + 1}{2} \ln(\epsilon + w^T w), \;
    \epsilon = 1 + 1/n,

with anomalies Y that are not divided by anything. The dual is a function of one number, the precision zeta,
whose stationary points fulfil :math:`\zeta (\epsilon + w(\zeta)^T w(\zeta)) = n + 1`. Where the innovation is
larger than the ensemble believes, zeta falls below n - 1: that is an inflation, found and not tuned.

References
----------
Bocquet (2011), Nonlinear Processes in Geophysics 18, 735. Bocquet & Sakov (2012), the same journal 19, 383
(the dual and its Hessian).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from daflow.numerics.covariance import Covariance
from daflow.numerics.ensemble_transform import EnsembleTransform, InnovationModes, innovation_modes
from daflow.numerics.validation import FloatArray

_GRID: Final = 200


class FiniteSizeAnalysis(NamedTuple):
    """An analysis of the finite-size filter."""

    transform: EnsembleTransform
    precision: float
    """Zeta: n_members - 1 is what the ETKF assumes."""
    inflation: float
    """sqrt((n_members - 1) / zeta): the factor on the forecast's anomalies that gives the same mean."""


def finite_size_enkf(
    predicted: ArrayLike, observations: ArrayLike, obs_error: Covariance | ArrayLike
) -> FiniteSizeAnalysis:
    r"""Return the analysis of the EnKF-N.

    Even where nothing is learnt, zeta is n and not n - 1: the sample's own doubt. The anomalies are the
    symmetric root of the inverse Hessian of J at its minimum,
    :math:`Y R^{-1} Y^T + \zeta I - 2 \zeta^2 / (n + 1)\, w w^T`.

    Laws: the gradient of J is zero at the weights; the mean is that of the ETKF of a forecast whose
    anomalies are multiplied by ``inflation``; a larger innovation never gives a smaller inflation; units of
    the observations do not matter.

    Parameters
    ----------
    predicted : (n_members, n_obs)
    observations : (n_obs,)
    obs_error
        R: a covariance, variances (n_obs,), or a matrix (n_obs, n_obs).

    Raises
    ------
    DataError
        As `daflow.numerics.ensemble_transform.innovation_modes`.
    """
    found = innovation_modes(predicted, observations, obs_error)
    n = found.n_members
    signal = (n - 1) * found.modes.values**2
    zeta = _precision(signal, found.innovation, n)
    coordinates = np.sqrt(signal) / (signal + zeta) * found.innovation
    hessian = np.diag(signal + zeta) - 2 * zeta**2 / (n + 1) * np.outer(coordinates, coordinates)
    # Outside the span of the predictions the Hessian is zeta times the identity.
    outside = np.sqrt((n - 1) / zeta)
    transform = outside * np.eye(n) + _within(found, hessian, outside)
    return FiniteSizeAnalysis(EnsembleTransform(found.combine(coordinates), transform), zeta, float(outside))


def _within(found: InnovationModes, hessian: FloatArray, outside: float) -> FloatArray:
    """Return by how much the root differs, within the span of the predictions, from the one outside."""
    eigenvalues, vectors = np.linalg.eigh(hessian)
    # At a minimum of J no eigenvalue is below zero; at a flat one it may be zero, or rounding.
    floor = np.finfo(np.float64).eps * eigenvalues.max(initial=1.0)
    root = np.sqrt((found.n_members - 1) / np.maximum(eigenvalues, floor))
    basis = found.modes.members @ vectors
    change: FloatArray = (basis * (root - outside)) @ basis.T
    return change


def _precision(signal: FloatArray, innovation: FloatArray, n: int) -> float:
    """Return the zeta of the lowest minimum of the dual.

    All stationary points lie in a bracket; as the dual may have several minima, a grid finds the lowest
    before its stationarity is solved for to rounding.
    """
    epsilon = 1 + 1 / n
    squares = innovation**2

    def slope(logarithm: float) -> float:
        zeta = np.exp(logarithm)
        return float(zeta * (epsilon + (signal * squares / (signal + zeta) ** 2).sum()) - (n + 1))

    high = (n + 1) / epsilon
    low = (n + 1) / (epsilon + float((squares / signal).sum()))
    # Widened, so that the slope is below zero at the lower end and above at the upper one.
    grid = np.linspace(np.log(low) - 0.01, np.log(high) + 0.01, _GRID)
    zetas = np.exp(grid)[:, np.newaxis]
    dual = (squares * zetas / (signal + zetas)).sum(axis=1) + epsilon * zetas[:, 0] - (n + 1) * grid
    falls = np.array([slope(point) < 0 for point in grid])
    valleys = np.flatnonzero(falls[:-1] & ~falls[1:])
    lowest = int(valleys[np.argmin(dual[valleys])])
    return float(np.exp(brentq(slope, grid[lowest], grid[lowest + 1], xtol=1e-14, rtol=1e-14)))
