r"""Updates with perturbed observations, whole in memory or in factors that an out-of-core run applies.

Members are rows: prior X (n_members, n_state), predicted Y and perturbed observations D
(n_members, n_obs), all covariances over n_members - 1. The increment of member i is

.. math:: K (d_i - y_i), \qquad K = C_{xy} S^{-1}, \qquad S = \rho_{yy} \circ C_{yy} + \alpha R.

A state-obs taper goes on the covariance, :math:`(\rho \circ C_{xy}) S^{-1}`, or on the gain,
:math:`\rho \circ (C_{xy} S^{-1})`: two estimators, two names.

References
----------
Burgers, van Leeuwen & Evensen (1998), Monthly Weather Review 126, 1719. Emerick & Reynolds (2013),
Computers & Geosciences 55, 3 (alpha). Houtekamer & Mitchell (2001), Monthly Weather Review 129, 123 (tapers).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.numerics.arrays.ensembles import checked_members, ensemble_of
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.validation import FloatArray, finite_array, positive_number, symmetric_matrix
from daflow.numerics.inversion.blocked_factors import covariance_factors, gain_factors
from daflow.numerics.inversion.blocked_projection import PROJECTIONS
from daflow.numerics.inversion.innovation import (
    InnovationCovariance,
    PreparedInversion,
    quiet_overflow,
    still_finite,
)
from daflow.numerics.inversion.inversions import check_inversion, prepare_inversion
from daflow.numerics.inversion.tapered_product import checked_taper, is_sparse, tapered_increment
from daflow.numerics.obs_error.covariance import Covariance, as_covariance
from daflow.numerics.observations.blocks import BlockedObservations, blocks_of_arrays


@dataclass(frozen=True, slots=True, eq=False)
class InversionSettings:
    """How the innovation covariance is made and inverted.

    Parameters
    ----------
    alpha
        What multiplies the observation-error covariance, above 0.
    inversion
        One of `daflow.numerics.inversion.inversions.INVERSIONS`.
    truncation
        The fraction of the sum of singular values (``rescaled``: of eigenvalues) to keep, in (0, 1].
    obs_obs_taper : (n_obs, n_obs) or None
        Multiplies the covariance of the predictions element by element; symmetric.
    """

    alpha: float = 1.0
    inversion: str = "exact_cholesky"
    truncation: float = 1.0
    obs_obs_taper: ArrayLike | None = None


class TaperedFactors(NamedTuple):
    """What a tapered update of any slice of the state needs; see `tapered_increment`."""

    left: FloatArray
    """(n_members, n_obs), columns of mean zero: anomalies.T @ left is what the taper multiplies.

    With many observations both are the transposes of contiguous arrays (n_obs, n_members)."""
    right: FloatArray
    """(n_members, n_obs)"""


_DEFAULT = InversionSettings()
ENSEMBLE_SPACE: Final = ("exact_cholesky", "exact_woodbury")
"""Inversions that take the members' space where observations are more."""


def perturbed_observation_update(  # noqa: PLR0913 - a notebook's one call: four arrays and what can be chosen
    prior: ArrayLike,
    predicted: ArrayLike,
    perturbed_observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
    *,
    alpha: float = 1.0,
    inversion: str = "exact_cholesky",
    truncation: float = 1.0,
    state_obs_taper: Any = None,
    obs_obs_taper: ArrayLike | None = None,
) -> FloatArray:
    r"""Return the posterior ensemble of an update with perturbed observations.

    Laws: R to infinity gives the prior; without a taper it commutes with linear maps of the state; it
    commutes with permutations of the members; alpha and R count by their product only; units of
    the observations do not matter (but to ``subspace``, and truncation other than that of ``*rescaled``);
    a taper of ones is no taper; each slice of the state gives what the whole gives; constant predictions
    change nothing.

    Parameters
    ----------
    prior : (n_members, n_state)
    predicted : (n_members, n_obs)
        The predictions of the prior's members.
    perturbed_observations : (n_members, n_obs)
        The observations with a draw of N(0, alpha R) added for each member.
    obs_error
        R: a covariance, variances (n_obs,), or a matrix (n_obs, n_obs).
    alpha
        What multiplies R, above 0.
    inversion
        One of `daflow.numerics.inversion.inversions.INVERSIONS`.
    truncation
        The fraction of the sum of singular values (``rescaled``: of eigenvalues) to keep, in (0, 1].
    state_obs_taper : (n_state, n_obs) array, scipy sparse matrix or None
        Multiplies :math:`C_{xy}` element by element.
    obs_obs_taper : (n_obs, n_obs) or None
        Multiplies :math:`C_{yy}` element by element; symmetric.

    Returns
    -------
    (n_members, n_state)
        The posterior, a new array of float64.

    Raises
    ------
    DataError
        Arrays that are not finite or whose shapes disagree, fewer than two members, alpha not above 0.
    ConfigError, CombinationError
        An inversion that does not exist, or that cannot do what is asked of it; the message says why.
    """
    settings = InversionSettings(alpha, inversion, truncation, obs_obs_taper)
    given = _read(predicted, perturbed_observations, obs_error, settings)
    state = finite_array("prior", prior, (given.n_members, None))
    departures = anomalies_of(state)
    if state_obs_taper is None:
        increment = _centred_weights(blocks_of_arrays(*given), settings) @ departures
    else:
        taper = checked_taper("state-obs taper", state_obs_taper, (state.shape[1], given.n_obs))
        increment = tapered_increment(departures, taper, *_covariance_factors(given, settings))
    increment += state
    return increment


def tapered_gain_update(
    prior: ArrayLike,
    predicted: ArrayLike,
    perturbed_observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
    state_obs_taper: Any,
    settings: InversionSettings = _DEFAULT,
) -> FloatArray:
    r"""Return the posterior of an update whose gain is tapered, :math:`\rho \circ (C_{xy} S^{-1})`.

    Laws: a taper of ones is no taper; where it is zero, an observation has no influence at all (a tapered
    covariance lets it act through other observations).

    Parameters, what is returned and what is raised are those of `perturbed_observation_update`, but the taper
    multiplies the gain element by element.
    """
    given = _read(predicted, perturbed_observations, obs_error, settings)
    state = finite_array("prior", prior, (given.n_members, None))
    taper = checked_taper("state-obs taper", state_obs_taper, (state.shape[1], given.n_obs))
    increment = tapered_increment(anomalies_of(state), taper, *_gain_factors(given, settings))
    increment += state
    return increment


def global_transform(
    predicted: ArrayLike,
    perturbed_observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
    settings: InversionSettings = _DEFAULT,
) -> FloatArray:
    r"""Return T (n_members, n_members): the untapered posterior of any slice is ``T @ prior``.

    :math:`T = I + W (I - 1 1^T / n_{members})`. Laws: its rows sum to one; ``T @ prior`` is what
    `perturbed_observation_update` gives; R to infinity gives the identity. Cost n_obs n_members^2 with a
    diagonal R; where the prior's mean dwarfs its spread, ``prior + (T - I) @ anomalies`` keeps more digits.

    Parameters
    ----------
    predicted, perturbed_observations : (n_members, n_obs)
    obs_error
        R: a covariance, variances (n_obs,), or a matrix (n_obs, n_obs).
    settings
        How the innovation covariance is made and inverted.

    Raises
    ------
    DataError, ConfigError, CombinationError
        As `perturbed_observation_update`.
    """
    given = _read(predicted, perturbed_observations, obs_error, settings)
    return transform_by_blocks(blocks_of_arrays(*given), settings)


def tapered_covariance_factors(
    predicted: ArrayLike,
    perturbed_observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
    settings: InversionSettings = _DEFAULT,
) -> TaperedFactors:
    r"""Return the factors of an update whose state-obs covariance is tapered.

    :math:`left = Y_c / (n_{members} - 1)`, :math:`right = (D - Y) S^{-1}`; the increment of a slice of the
    state is ``right @ (taper * (prior.T @ left)).T``, see `tapered_increment`.

    Parameters, and what is raised, are those of `global_transform`.
    """
    return _covariance_factors(_read(predicted, perturbed_observations, obs_error, settings), settings)


def tapered_gain_factors(
    predicted: ArrayLike,
    perturbed_observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
    settings: InversionSettings = _DEFAULT,
) -> TaperedFactors:
    r"""Return the factors of an update whose gain is tapered.

    :math:`left = Y_c S^{-1} / (n_{members} - 1)`, :math:`right = D - Y`; the rest as
    `tapered_covariance_factors`.
    """
    return _gain_factors(_read(predicted, perturbed_observations, obs_error, settings), settings)


def transform_by_blocks(source: BlockedObservations, settings: InversionSettings = _DEFAULT) -> FloatArray:
    r"""Return T (n_members, n_members) as `global_transform`, of observations that are read by blocks.

    Laws: equals `global_transform` of the whole arrays; the size of the blocks does not matter.

    Parameters
    ----------
    source
        The predicted and perturbed observations, and R.
    settings
        How the innovation covariance is made and inverted.

    Raises
    ------
    DataError, ConfigError, CombinationError
        As `perturbed_observation_update`.

    Notes
    -----
    Cost 3 n_obs n_members^2, about ten times that where modes are cut or errors shared; one pass, but
    two for inversion ``subspace``. Memory: n_members^2, a window of 64 MiB and some blocks of 2 MiB. The
    inversions that form matrices (n_obs, n_obs), and an obs-obs taper, need the arrays whole.
    """
    transform = _centred_weights(source, settings)
    transform[np.diag_indices_from(transform)] += 1.0
    return transform


class _Given(NamedTuple):
    """Arguments that were looked at."""

    predicted: FloatArray
    perturbed: FloatArray
    obs_error: Covariance

    @property
    def n_members(self) -> int:
        return int(self.predicted.shape[0])

    @property
    def n_obs(self) -> int:
        return int(self.predicted.shape[1])

    def prepare(self, settings: InversionSettings) -> tuple[FloatArray, PreparedInversion]:
        """Return the anomalies of the predictions, and the inversion made ready."""
        taper = _read_obs_obs_taper(settings.obs_obs_taper, self.n_obs)
        anomalies = anomalies_of(self.predicted)
        innovation = InnovationCovariance(anomalies, self.obs_error, float(settings.alpha), taper)
        return anomalies, prepare_inversion(settings.inversion, innovation, settings.truncation)


def _read(
    predicted: ArrayLike,
    perturbed_observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
    settings: InversionSettings,
) -> _Given:
    _check_settings(settings)
    covariance = as_covariance(obs_error)
    y = ensemble_of("predicted", predicted, covariance.n_obs)
    d = finite_array("perturbed_observations", perturbed_observations, y.shape)
    return _Given(y, d, covariance)


def _check_settings(settings: InversionSettings) -> None:
    check_inversion(settings.inversion, settings.truncation, obs_obs_taper=settings.obs_obs_taper is not None)
    positive_number("alpha", settings.alpha)


def _read_obs_obs_taper(taper: Any, n_obs: int) -> FloatArray | None:
    if taper is None:
        return None
    dense = taper.toarray() if is_sparse(taper) else taper
    return symmetric_matrix("obs-obs taper", finite_array("obs-obs taper", dense, (n_obs, n_obs)))


def _centred_weights(source: BlockedObservations, settings: InversionSettings) -> FloatArray:
    """Return W (n_members, n_members), rows of sum zero: the increment is ``W @ anomalies``."""
    _check_settings(settings)
    checked_members(source.n_members)
    with quiet_overflow():
        weights = _project(source, settings)
        weights /= source.n_members - 1
        weights -= weights.mean(axis=1, keepdims=True)
    return still_finite(weights)


def _project(source: BlockedObservations, settings: InversionSettings) -> FloatArray:
    """Return (D - Y) inv(S) Y' (n_members, n_members)."""
    project = PROJECTIONS.get(settings.inversion)
    # With few observations their own space is the thinner one.
    whole = settings.inversion == "exact_cholesky" and source.n_obs <= source.n_members
    if project is not None and settings.obs_obs_taper is None and not whole:
        return project(source, float(settings.alpha), settings.truncation)
    given = _Given(*source.whole(), source.obs_error)
    _, prepared = given.prepare(settings)
    return prepared.project(given.perturbed - given.predicted)


def _read_by_blocks(given: _Given, settings: InversionSettings) -> bool:
    """Say whether blocks of observations give the factors: in ensemble space, where no errors are shared."""
    return (
        settings.inversion in ENSEMBLE_SPACE
        and settings.obs_obs_taper is None
        and given.n_obs > given.n_members
        and given.obs_error.patterns.shape[1] == 0
    )


def _covariance_factors(given: _Given, settings: InversionSettings) -> TaperedFactors:
    if _read_by_blocks(given, settings):
        with quiet_overflow():
            factors = covariance_factors(blocks_of_arrays(*given), float(settings.alpha))
        if factors is not None:
            return TaperedFactors(*factors)
    left, prepared = given.prepare(settings)
    with quiet_overflow():
        right = prepared.solve(given.perturbed - given.predicted)
    return TaperedFactors(left / (given.n_members - 1), still_finite(right))


def _gain_factors(given: _Given, settings: InversionSettings) -> TaperedFactors:
    if _read_by_blocks(given, settings):
        with quiet_overflow():
            return TaperedFactors(*gain_factors(blocks_of_arrays(*given), float(settings.alpha)))
    _, prepared = given.prepare(settings)
    with quiet_overflow():
        left = prepared.gain_rows()
        left /= given.n_members - 1
        left -= left.mean(axis=0)
    return TaperedFactors(still_finite(left), given.perturbed - given.predicted)
