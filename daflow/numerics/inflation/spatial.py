r"""Inflation that differs from place to place and learns from each observation, by Bayes.

Each number of the state has a factor lambda on its forecast variance, with a density of its own. An
observation at a distance D from the mean of its predictions, whose correlation with the number is
:math:`\gamma` (times a taper), has the likelihood :math:`N(D; 0, \theta^2)`,

.. math:: \theta^2 = [1 + \gamma (\sqrt\lambda - 1)]^2 \sigma_p^2 + \sigma_o^2 ,

which is made linear in lambda about the present value to find the posterior's mode; what the density becomes
in width is fitted to the exact posterior one standard deviation above the mode. All observations see
the same forecast, so the update of a slice needs nothing of other slices.

References
----------
Anderson (2009), Tellus A 61, 72 (Gaussian density). El Gharamti (2018), Monthly Weather Review 146, 623
(inverse gamma density, which keeps the factor above 0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from daflow.errors import ConfigError, DataError
from daflow.numerics.arrays.ensembles import ensemble_of, mean_of
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.validation import FloatArray, finite_array, positive_vector

SparseTaper = sparse.csr_array[np.float64, tuple[int, int]]
Numbers = slice | NDArray[np.integer[Any]]

_GROWTH: Final = 1.05
_FARTHEST: Final = 1e6
_MOST_STEPS: Final = 50
_SETTLED: Final = 1e-13


class InflationField(NamedTuple):
    """What is known of the inflation of each number of the state."""

    factor: FloatArray
    """(n_state,) on forecast variances: the mode of its density."""
    deviation: FloatArray
    """(n_state,) the standard deviation of its density."""


class _Departure(NamedTuple):
    """One observation as a number of the state sees it: what makes the likelihood."""

    squared: float
    """D^2."""
    predicted_variance: float
    error_variance: float
    correlation: FloatArray
    """gamma (n_state,) in [0, 1]."""

    def variance(self, factor: FloatArray) -> FloatArray:
        """Return theta^2 for factors on the forecast variance."""
        stretch = 1 + self.correlation * (np.sqrt(factor) - 1)
        return np.asarray(stretch**2 * self.predicted_variance + self.error_variance)

    def log_likelihood(self, factor: FloatArray) -> FloatArray:
        variance = self.variance(factor)
        return np.asarray(-0.5 * (np.log(variance) + self.squared / variance))

    def slope(self, factor: FloatArray) -> FloatArray:
        """Return the derivative of the logarithm of the likelihood."""
        variance, root = self.variance(factor), np.sqrt(factor)
        stretch = 1 + self.correlation * (root - 1)
        change = self.predicted_variance * self.correlation * stretch / root
        return np.asarray(0.5 * (self.squared / variance - 1) * change / variance)


def update_gaussian(field: InflationField, departure: _Departure) -> InflationField:
    r"""Return the field after one observation, its densities Gaussian (Anderson, 2009).

    The mode solves :math:`x^2 + x / r - \sigma^2 = 0` with the slope r of the log-likelihood, written so that
    it is exact for any r; a factor is kept above 1e-3, where the Gaussian would let it fall below 0.
    """
    slope, square = departure.slope(field.factor), field.deviation**2
    moved = field.factor + 2 * square * slope / (1 + np.sqrt(1 + 4 * square * slope**2))
    mode = np.maximum(moved, 1e-3)
    beyond = mode + field.deviation
    fall = (
        departure.log_likelihood(mode)
        - departure.log_likelihood(beyond)
        + 0.5 * ((beyond - field.factor) ** 2 - (mode - field.factor) ** 2) / square
    )
    # A Gaussian one of its deviations s from the mode has fallen by s^2 / (2 new variance).
    narrower = np.where(fall > 0.5, field.deviation / np.sqrt(2 * np.maximum(fall, 0.5)), field.deviation)
    return InflationField(mode, narrower)


def update_inverse_gamma(field: InflationField, departure: _Departure) -> InflationField:
    r"""Return the field after one observation, its densities inverse gamma (El Gharamti, 2018).

    With the shape a and the slope r, the mode :math:`\lambda + x` solves
    :math:`a r x^2 + (a + 1 - 2 r \lambda) x - r \lambda^2 = 0`; it never falls to 0. An observation
    far off may widen this density, but by no more than 5 %.
    """
    shape, slope, factor = shape_of(field), departure.slope(field.factor), field.factor
    middle = shape + 1 - 2 * slope * factor
    root = np.sqrt(middle**2 + 4 * shape * (slope * factor) ** 2)
    # Either form of the root of a quadratic cancels on one side.
    safe = np.where(middle < 0, slope, 1.0)
    moved = np.where(
        middle < 0, (root - middle) / (2 * shape * safe), 2 * slope * factor**2 / (np.abs(middle) + root)
    )
    mode = factor + moved
    stretch = 1 + field.deviation / mode
    beyond = mode * stretch
    rate = (shape + 1) * factor
    fall = (
        departure.log_likelihood(mode)
        - departure.log_likelihood(beyond)
        + (shape + 1) * np.log(stretch)
        + rate * (1 / beyond - 1 / mode)
    )
    sharper = fall / (np.log(stretch) + 1 / stretch - 1) - 1
    return InflationField(mode, np.minimum(_deviation_of(mode, sharper), _GROWTH * field.deviation))


class Departures(NamedTuple):
    """Observations as all slices of the state see them."""

    directions: FloatArray
    """(n_members, n_obs) anomalies of the predictions, of norm one; zero where members agree."""
    squared: FloatArray
    """(n_obs,) squared distances of the observations from the mean of their predictions."""
    predicted_variance: FloatArray
    """(n_obs,)"""
    error_variance: FloatArray
    """(n_obs,)"""


DENSITIES: Final[Mapping[str, Callable[[InflationField, _Departure], InflationField]]] = MappingProxyType(
    {"gaussian": update_gaussian, "inverse_gamma": update_inverse_gamma}
)
"""The densities of a factor, by name."""


def update_inflation(
    field: InflationField,
    prior: ArrayLike,
    predicted: ArrayLike,
    observations: tuple[ArrayLike, ArrayLike],
    *,
    density: str = "inverse_gamma",
    state_obs_taper: ArrayLike | None = None,
) -> InflationField:
    """Return the inflation of a slice of the state after all observations of one analysis.

    Laws: an observation whose squared distance is what was expected changes no factor, a farther one raises
    and a nearer one lowers it; what is uncorrelated or tapered away does not change; Gaussian deviations
    never grow, others by 5 % an observation at most; factors stay above 0, however far off an observation
    is; each slice gives what the whole gives; units do not matter. Cost: n_obs n_members n_state.

    Parameters
    ----------
    field
        Before, for each number of the slice.
    prior : (n_members, n_state)
        The forecast, not inflated.
    predicted : (n_members, n_obs)
        Its predictions.
    observations : ((n_obs,), (n_obs,))
        Values and variances of their errors.
    density
        One of `DENSITIES`.
    state_obs_taper : (n_state, n_obs) or None
        Multiplies the correlations.

    Raises
    ------
    DataError
        Arrays that cannot be used.
    ConfigError
        No density has that name.
    """
    errors = positive_vector("observation-error variances", observations[1])
    values = finite_array("observations", observations[0], errors.shape)
    state = ensemble_of("prior", prior)
    ensemble = finite_array("predicted", predicted, (len(state), errors.size))
    now = _read_field(field, state.shape[1])
    shape = (state.shape[1], errors.size)
    taper = None if state_obs_taper is None else finite_array("state-obs taper", state_obs_taper, shape)
    return learn(now, state, departures_of(ensemble, values, errors), density=density, state_obs_taper=taper)


def departures_of(predicted: FloatArray, values: FloatArray, variances: FloatArray) -> Departures:
    """Return how far observations (n_obs,) are from what the members (n_members, n_obs) predict.

    Parameters
    ----------
    predicted
        Not inflated.
    values, variances
        Of the observations, and of their errors.
    """
    spreads, distances = anomalies_of(predicted).var(axis=0, ddof=1), np.square(values - mean_of(predicted))
    # Beyond any reason one distance is like another, but for its square, which overflows.
    nearest = np.minimum(distances, _FARTHEST**2 * (spreads + variances))
    return Departures(_standardized(predicted), nearest, spreads, variances)


def learn(
    field: InflationField,
    prior: FloatArray,
    departures: Departures,
    *,
    density: str,
    state_obs_taper: FloatArray | SparseTaper | None = None,
) -> InflationField:
    """Return the inflation of a slice of the state after all observations of one analysis.

    What `update_inflation` does, its observations made ready once for all slices. Where the taper is sparse,
    a number that an observation does not reach costs nothing and keeps its bits.

    Parameters
    ----------
    field
        Before, for each number of the slice.
    prior : (n_members, n_state)
        The forecast, not inflated.
    departures
        Of the observations.
    density
        One of `DENSITIES`.
    state_obs_taper : (n_state, n_obs), array, sparse array or None
        Multiplies the correlations.

    Raises
    ------
    ConfigError
        No density has that name.
    """
    if density not in DENSITIES:
        raise ConfigError("no density of inflation has this name", got=density, allowed=", ".join(DENSITIES))
    update, units = DENSITIES[density], _standardized(prior)
    factor, deviation = np.array(field.factor), np.array(field.deviation)
    reach = _columns(state_obs_taper)
    for j in np.flatnonzero(departures.predicted_variance > 0):
        numbers, weights = reach(int(j))
        correlation = np.minimum(np.abs(departures.directions[:, j] @ units[:, numbers]), 1.0) * weights
        seen = _Departure(
            float(departures.squared[j]),
            float(departures.predicted_variance[j]),
            float(departures.error_variance[j]),
            correlation,
        )
        now = update(InflationField(factor[numbers], deviation[numbers]), seen)
        factor[numbers], deviation[numbers] = now
    return InflationField(factor, deviation)


def _columns(taper: FloatArray | SparseTaper | None) -> Callable[[int], tuple[Numbers, FloatArray | float]]:
    """Return what tells which numbers an observation reaches, and how strongly."""
    if taper is None:
        return lambda _: (slice(None), 1.0)
    if isinstance(taper, np.ndarray):
        return lambda j: (slice(None), taper[:, j])
    columns = sparse.csc_array(taper)

    def column(j: int) -> tuple[Numbers, FloatArray | float]:
        stored = slice(columns.indptr[j], columns.indptr[j + 1])
        return columns.indices[stored], columns.data[stored]

    return column


def shape_of(field: InflationField) -> FloatArray:
    r"""Return the shapes a (n_state,), above 2, of inverse gamma densities.

    The mode is ``factor`` and :math:`(a + 1)^2 \lambda^2 / [(a - 1)^2 (a - 2)]` the variance.
    """
    square = (field.deviation / field.factor) ** 2
    # Newton's method on the logarithm of a - 2, where the logarithm of the variance is nearly linear.
    excess = np.log(1 / square + 1 / np.sqrt(square))
    for _ in range(_MOST_STEPS):
        a = 2 + np.exp(excess)
        miss = 2 * np.log((a + 1) / (a - 1)) - excess - np.log(square)
        step = miss / (4 / (a**2 - 1) * (a - 2) + 1)
        excess += step
        if np.abs(step).max(initial=0.0) < _SETTLED:
            break
    return np.asarray(2 + np.exp(excess))


def _deviation_of(mode: FloatArray, shape: FloatArray) -> FloatArray:
    """Return the standard deviations of inverse gamma densities, infinite where the shape is 2 or less."""
    enough = np.where(shape > 2, shape, 3.0)
    finite = (enough + 1) * mode / ((enough - 1) * np.sqrt(enough - 2))
    return np.asarray(np.where(shape > 2, finite, np.inf))


def _standardized(ensemble: FloatArray) -> FloatArray:
    """Return anomalies of norm one, zero where members agree."""
    anomalies = anomalies_of(ensemble)
    norm = np.sqrt(np.square(anomalies).sum(axis=0))
    unit: FloatArray = np.divide(anomalies, norm, out=np.zeros_like(anomalies), where=norm > 0)
    return unit


def _read_field(field: InflationField, n_state: int) -> InflationField:
    factor = positive_vector("inflation factors", field.factor)
    deviation = positive_vector("standard deviations of inflation", field.deviation)
    if factor.shape != (n_state,) or deviation.shape != (n_state,):
        raise DataError(
            "the inflation does not fit the state",
            got=f"factors {factor.shape}, deviations {deviation.shape}",
            allowed=f"({n_state},) both",
        )
    return InflationField(factor, deviation)
