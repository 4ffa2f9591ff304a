r"""Filters that take one observation after the other: cheap, free of inverses, and easily tapered.

Errors of the observations are independent: where they are not, whiten predictions and observations (`whiten`
of a covariance) and give variances of 1; tapers of whitened observations mean little. Each observation
changes the predictions of itself (`ensrf_increments`, `eakf_increments`: the same numbers by two formulas),
and what it changes there is regressed on everything else,

.. math:: x_i \leftarrow x_i + \rho \circ \frac{cov(x, h)}{var(h)} \Delta h_i ,

the predictions of the observations still to come included. So the whole sequence can be worked out once
among the predictions (`serial_factors`) and replayed on any slice of the state (`apply_serial`).

Without tapers mean and covariance are those of the ETKF, though not member by member, and the order of the
observations does not matter; with tapers it does.

References
----------
Whitaker & Hamill (2002), Monthly Weather Review 130, 1913. Anderson (2001), the same journal 129, 2884;
(2003), 131, 634 (the two steps).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from daflow.errors import ConfigError, DataError
from daflow.numerics.arrays.ensembles import checked_members, ensemble_of
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.validation import FloatArray, finite_array, positive_vector
from daflow.numerics.filters.ensemble_transform import EnsembleTransform
from daflow.numerics.inversion.innovation import quiet_overflow, still_finite
from daflow.numerics.inversion.tapered_product import is_sparse
from daflow.numerics.observations.blocks import BlockedInnovations

Increments = Callable[[FloatArray, float, float], FloatArray]
"""From predictions (n_members,), the value observed and its error variance to changes (n_members,)."""


SparseRows = sparse.csr_array[Any, tuple[int, int]]
IntArray = NDArray[np.integer[Any]]
Heard = Callable[[int], tuple[slice | IntArray, FloatArray | None]]
"""From an observation to those after it that hear it, and the weights; None: they hear it in full."""


class SerialFactors(NamedTuple):
    """What a sequence of observations does, ready to be replayed on any slice of the state."""

    regressors: FloatArray
    """(n_obs, n_members): each observation's predicted anomalies, when its turn comes, over
    (n_members - 1) times their variance; zero where the predictions agree."""
    increments: FloatArray
    """(n_obs, n_members): by how much each observation changes its own predictions."""


def ensrf_increments(predicted: FloatArray, value: float, variance: float) -> FloatArray:
    r"""Return the changes of predictions h by the square-root filter of Whitaker & Hamill.

    The mean moves with the gain k = v / (v + r), the anomalies with :math:`k / (1 + \sqrt{r / (v + r)})`.

    Parameters
    ----------
    predicted : (n_members,)
    value
        What was observed.
    variance
        r, of the observation's error, above 0.
    """
    anomalies = anomalies_of(predicted)
    spread = float(anomalies @ anomalies) / (len(predicted) - 1)
    gain = spread / (spread + variance)
    reduced = gain / (1 + np.sqrt(variance / (spread + variance)))
    change: FloatArray = gain * (value - (predicted[0] - anomalies[0])) - reduced * anomalies
    return change


def eakf_increments(predicted: FloatArray, value: float, variance: float) -> FloatArray:
    r"""Return the changes of predictions h by the adjustment filter of Anderson.

    The posterior of h is the product of two Gaussians; anomalies are scaled by the ratio of the standard
    deviations. Predictions that agree are not changed. Parameters as for `ensrf_increments`.
    """
    anomalies = anomalies_of(predicted)
    spread = float(anomalies @ anomalies) / (len(predicted) - 1)
    if spread == 0.0:
        return np.zeros_like(predicted)
    mean = predicted[0] - anomalies[0]
    posterior = 1 / (1 / spread + 1 / variance)
    posterior_mean = posterior * (mean / spread + value / variance)
    change: FloatArray = posterior_mean - mean + (np.sqrt(posterior / spread) - 1) * anomalies
    return change


SERIAL_FILTERS: Final[Mapping[str, Increments]] = MappingProxyType(
    {"ensrf": ensrf_increments, "eakf": eakf_increments}
)
"""The filters by name."""


def serial_factors(
    predicted: ArrayLike,
    observations: ArrayLike,
    variances: ArrayLike,
    *,
    scheme: str = "ensrf",
    obs_obs_taper: Any = None,
) -> SerialFactors:
    """Return what the observations, taken in the order in which they stand, do to an ensemble.

    Cost: n_obs^2 n_members; with a sparse taper, n_members for each pair that it holds.

    Parameters
    ----------
    predicted : (n_members, n_obs)
    observations, variances : (n_obs,)
        What was observed, and the variances of the errors.
    scheme
        One of `SERIAL_FILTERS`.
    obs_obs_taper : (n_obs, n_obs) array, scipy sparse array or None
        Row j weighs by how much observation j changes the predictions of the others.

    Raises
    ------
    DataError
        Arrays that are not finite or whose shapes disagree, fewer than two members.
    ConfigError
        No scheme has that name.
    """
    increments_of = _scheme(scheme)
    errors = positive_vector("observation-error variances", variances)
    n_obs = errors.size
    # Columns are what is picked, and they lie together in memory.
    ensemble = np.array(ensemble_of("predicted", predicted, n_obs), order="F")
    values = finite_array("observations", observations, (n_obs,))
    heard = _heard_after(obs_obs_taper, n_obs)
    factors = SerialFactors(np.empty((n_obs, len(ensemble))), np.empty((n_obs, len(ensemble))))
    with quiet_overflow():
        for j in range(n_obs):
            factors.increments[j] = increments_of(ensemble[:, j], float(values[j]), float(errors[j]))
            factors.regressors[j] = _regressor(ensemble[:, j])
            later, weights = heard(j)
            changed = ensemble[:, later]
            _regress(changed, factors.regressors[j], factors.increments[j], weights)
            if not isinstance(later, slice):
                ensemble[:, later] = changed
    return SerialFactors(still_finite(factors.regressors), still_finite(factors.increments))


def serial_transform_by_blocks(source: BlockedInnovations, scheme: str = "ensrf") -> EnsembleTransform:
    """Return an untapered sequence as one transform, of observations that are read by blocks.

    Instead of the predictions of the observations to come it is the transform so far that each observation
    changes. Where errors depend on each other, the observations are whitened first, by the lower Cholesky
    factor of each block of R; where they share patterns, whole.

    Laws: equals `serial_transform` of the factors of the whole; the size of the blocks does not matter.
    Cost: 4 n_obs n_members^2. Memory: n_members^2 and a window of observations, or n_members n_obs where
    errors are shared.

    Parameters
    ----------
    source
        Predictions, what was observed, and R.
    scheme
        One of `SERIAL_FILTERS`.

    Raises
    ------
    DataError
        Predictions that are not finite, fewer than two members, numbers that overflow.
    ConfigError
        No scheme has that name.
    """
    increments_of = _scheme(scheme)
    n_members = checked_members(source.n_members)
    transform = np.eye(n_members)
    with quiet_overflow():
        for _, departures, values in source.departures():
            for before, value in zip(np.ascontiguousarray(departures.T), values, strict=True):
                predicted = transform @ before
                increments = increments_of(predicted, float(value), 1.0)
                _regress(transform, _regressor(predicted), increments, None)
    return _split(still_finite(transform))


def apply_serial(
    factors: SerialFactors, prior: ArrayLike, state_obs_taper: ArrayLike | None = None
) -> FloatArray:
    """Return the posterior (n_members, n_state) of any slice of the state.

    Laws: each slice gives what the whole gives; a taper of ones is no taper; where the taper is zero, an
    observation does nothing. Cost: n_obs n_members n_state.

    Parameters
    ----------
    factors
        Of `serial_factors`.
    prior : (n_members, n_state)
    state_obs_taper : (n_state, n_obs) or None
        Weighs the regression of each number of the state on each observation.
    """
    n_obs, n_members = factors.regressors.shape
    state = finite_array("prior", prior, (n_members, None)).copy()
    shape = (state.shape[1], n_obs)
    taper = None if state_obs_taper is None else finite_array("state-obs taper", state_obs_taper, shape)
    for j in range(n_obs):
        weights = None if taper is None else taper[:, j]
        _regress(state, factors.regressors[j], factors.increments[j], weights)
    return state


def serial_transform(factors: SerialFactors) -> EnsembleTransform:
    """Return an untapered sequence as one transform of the ensemble.

    Law: it does to every slice what `apply_serial` does. Cost: n_obs n_members^2.
    """
    return _split(apply_serial(factors, np.eye(factors.regressors.shape[1])))


def _split(whole: FloatArray) -> EnsembleTransform:
    mean_weights = whole.mean(axis=0) - 1.0 / len(whole)
    return EnsembleTransform(mean_weights, whole - mean_weights)


def _scheme(name: str) -> Increments:
    if name not in SERIAL_FILTERS:
        raise ConfigError("no serial filter has this name", got=name, allowed=", ".join(SERIAL_FILTERS))
    return SERIAL_FILTERS[name]


def _heard_after(taper: Any, n_obs: int) -> Heard:
    """Return what says which observations after one hear it, and how loudly."""
    if taper is None:
        return lambda j: (slice(j + 1, None), None)
    if not is_sparse(taper):
        weights = finite_array("obs-obs taper", taper, (n_obs, n_obs))
        return lambda j: (slice(j + 1, None), weights[j, j + 1 :])
    rows: SparseRows = taper.tocsr()
    if rows.shape != (n_obs, n_obs):
        raise DataError("obs-obs taper has the wrong shape", got=rows.shape, allowed=(n_obs, n_obs))

    def of_row(j: int) -> tuple[IntArray, FloatArray]:
        where = slice(rows.indptr[j], rows.indptr[j + 1])
        after = rows.indices[where] > j
        return rows.indices[where][after], np.asarray(rows.data[where][after], np.float64)

    return of_row


def _regressor(predicted: FloatArray) -> FloatArray:
    anomalies = anomalies_of(predicted)
    total = float(still_finite(np.asarray(anomalies @ anomalies)))
    return anomalies if total == 0.0 else anomalies / total


def _regress(
    state: FloatArray, regressor: FloatArray, increments: FloatArray, weights: FloatArray | None
) -> None:
    """Add to a state (n_members, n), in place, what increments of a prediction say about it."""
    # The first member is taken off, since the regressor sums to zero only to rounding.
    slopes = regressor @ (state - state[0])
    if weights is not None:
        slopes *= weights
    state += np.multiply.outer(increments, slopes)
