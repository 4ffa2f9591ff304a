r"""The finite-size ensemble Kalman filter: an ensemble that knows that its covariance is only a sample.

The prior of the weights is not Gaussian but what follows from mean and covariance being estimated from
n members (hyperprior of Jeffreys). Its mode minimises

.. math:: J(w) = \tfrac12 |d - Y^T w|^2_{R^{-1}} + \tfrac{n + 1}{2} \ln(\epsilon + w^T w), \;
    \epsilon = 1 + 1/n,

with anomalies Y that are not divided by anything. The dual is a function of one number, the precision zeta,
whose stationary points fulfil :math:`\zeta (\epsilon + w(\zeta)^T w(\zeta)) = n + 1`. Where the innovation is
larger than the ensemble believes, zeta falls below n - 1: that is an inflation, found and not tuned.

Forecasts of a smooth model are no random sample, and this prior doubts them too much or too little. What
stands for epsilon and for n + 1, the exponent, is a `Hyperprior`: that of Jeffreys, or `mode_corrected`.

References
----------
Bocquet (2011), Nonlinear Processes in Geophysics 18, 735. Bocquet & Sakov (2012), the same journal 19, 383
(the dual and its Hessian). Bocquet, Raanes & Hannart (2015), the same journal 22, 645 (the correction of the
mode, eq. 36). Raanes, Bocquet & Carrassi (2019), Q. J. R. Meteorol. Soc. 145, 53 (certainty).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import ConfigError
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.filters.ensemble_transform import EnsembleTransform, InnovationModes, innovation_modes
from daflow.numerics.obs_error.covariance import Covariance

_GRID: Final = 200


class Hyperprior(NamedTuple):
    """What is believed of the forecast's true mean and covariance.

    The prior's part of the cost is exponent / 2 ln(epsilon + w'w).
    """

    epsilon: float
    exponent: float


HyperpriorOf = Callable[[int, FloatArray], Hyperprior]
"""From the number of members and the signal, squared anomalies of the predictions over R in each direction
(rank,), to a hyperprior."""


def jeffreys(n_members: int, _signal: FloatArray) -> Hyperprior:
    """Return the hyperprior of Jeffreys, which knows nothing: epsilon 1 + 1/n, exponent n + 1."""
    return Hyperprior(1 + 1 / n_members, n_members + 1.0)


def mode_corrected(certainty: float = 1.0) -> HyperpriorOf:
    r"""Return a hyperprior that leaves the forecast as it is where observations say nothing.

    It starts from epsilon 1 + 1/n and exponent n and shifts both so that the most likely inflation is the
    nearer to 1 the less the observations reduce the variance; then it multiplies both by the certainty. With
    `root` ``inflated`` it is the EnKF-N of DAPPER 1.7, where the certainty is called xN.

    Laws: where nothing is learnt zeta is n - 1, the ETKF's; the greater the certainty, the less the
    innovation changes zeta.

    Parameters
    ----------
    certainty
        Above 0. 1 for members like draws; 2 or so for those of a smooth, nearly linear model.

    Raises
    ------
    ConfigError
        It is not.
    """
    if not 0 < certainty < np.inf:
        raise ConfigError("the certainty of a hyperprior", got=certainty, allowed="above 0, finite")

    def hyperprior(n_members: int, signal: FloatArray) -> Hyperprior:
        freedom = n_members - 1
        left = (n_members - signal.size + (freedom / (freedom + signal)).sum()) / n_members
        mode = (1 + 1 / n_members) * freedom / n_members
        correction = np.sqrt(mode) ** left
        return Hyperprior(
            float(certainty * (1 + 1 / n_members) / correction), float(certainty * n_members * correction)
        )

    return hyperprior


def _hessian_root(curvature: FloatArray, coordinates: FloatArray, pull: float) -> FloatArray:
    return np.diag(curvature) - pull * np.outer(coordinates, coordinates)


def _inflated_root(curvature: FloatArray, _coordinates: FloatArray, _pull: float) -> FloatArray:
    return np.diag(curvature)


ROOTS: Final[Mapping[str, Callable[[FloatArray, FloatArray, float], FloatArray]]] = MappingProxyType(
    {"hessian": _hessian_root, "inflated": _inflated_root}
)
"""Whose inverse root the anomalies are: the Hessian of J, or that of the ETKF of the inflated forecast."""


class FiniteSizeAnalysis(NamedTuple):
    """An analysis of the finite-size filter."""

    transform: EnsembleTransform
    precision: float
    """Zeta: n_members - 1 is what the ETKF assumes."""
    inflation: float
    """sqrt((n_members - 1) / zeta): the factor on the forecast's anomalies that gives the same mean."""


def finite_size_enkf(
    predicted: ArrayLike,
    observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
    *,
    hyperprior: HyperpriorOf = jeffreys,
    root: str = "hessian",
) -> FiniteSizeAnalysis:
    r"""Return the analysis of the EnKF-N.

    With the hyperprior of Jeffreys zeta is n and not n - 1 even where nothing is learnt: the sample's own
    doubt. The anomalies are the symmetric root of the inverse Hessian of J at its minimum,
    :math:`Y R^{-1} Y^T + \zeta I - 2 \zeta^2 / (n + 1)\, w w^T`, or, with root ``inflated``, of the same
    without its last term.

    Laws: the gradient of J is zero at the weights; the mean is that of the ETKF of a forecast whose
    anomalies are multiplied by ``inflation``; a larger innovation never gives a smaller inflation; units of
    the observations do not matter.

    Parameters
    ----------
    predicted : (n_members, n_obs)
    observations : (n_obs,)
    obs_error
        R: a covariance, variances (n_obs,), or a matrix (n_obs, n_obs).
    hyperprior
        `jeffreys`, or of `mode_corrected`.
    root
        One of `ROOTS`.

    Raises
    ------
    DataError
        As `daflow.numerics.filters.ensemble_transform.innovation_modes`.
    ConfigError
        There is no such root.
    """
    found = innovation_modes(predicted, observations, obs_error)
    return finite_size_of(found, hyperprior=hyperprior, root=root)


def finite_size_of(
    found: InnovationModes, *, hyperprior: HyperpriorOf = jeffreys, root: str = "hessian"
) -> FiniteSizeAnalysis:
    """Return the analysis of `finite_size_enkf`, given the modes of the predictions."""
    if root not in ROOTS:
        raise ConfigError(
            "no root of the finite-size filter has this name", got=root, allowed=", ".join(ROOTS)
        )
    n = found.n_members
    signal = (n - 1) * found.modes.values**2
    prior = hyperprior(n, signal)
    zeta = _precision(signal, found.innovation, prior)
    coordinates = np.sqrt(signal) / (signal + zeta) * found.innovation
    hessian = ROOTS[root](signal + zeta, coordinates, 2 * zeta**2 / prior.exponent)
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


def _precision(signal: FloatArray, innovation: FloatArray, prior: Hyperprior) -> float:
    """Return the zeta of the lowest minimum of the dual.

    All stationary points lie in a bracket; as the dual may have several minima, a grid finds the lowest
    before its stationarity is solved for to rounding.
    """
    epsilon, exponent = prior
    squares = innovation**2

    from scipy.optimize import brentq  # noqa: PLC0415 - every process would wait for what few ask for

    def slope(logarithm: float) -> float:
        zeta = np.exp(logarithm)
        return float(zeta * (epsilon + (signal * squares / (signal + zeta) ** 2).sum()) - exponent)

    high = exponent / epsilon
    low = exponent / (epsilon + float((squares / signal).sum()))
    # Widened, so that the slope is below zero at the lower end and above at the upper one.
    grid = np.linspace(np.log(low) - 0.01, np.log(high) + 0.01, _GRID)
    zetas = np.exp(grid)[:, np.newaxis]
    dual = (squares * zetas / (signal + zetas)).sum(axis=1) + epsilon * zetas[:, 0] - exponent * grid
    falls = np.array([slope(point) < 0 for point in grid])
    valleys = np.flatnonzero(falls[:-1] & ~falls[1:])
    lowest = int(valleys[np.argmin(dual[valleys])])
    return float(np.exp(brentq(slope, grid[lowest], grid[lowest + 1], xtol=1e-14, rtol=1e-14)))
