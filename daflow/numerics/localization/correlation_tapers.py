r"""Tapers that look at correlations in the place of distances: weak ones are taken for chance.

Every family turns correlations (n, n_obs) between numbers and predictions into weights of the same shape, to
be used as a state-obs taper (and, of the predictions among themselves, as an obs-obs taper). Weights are
numbers in [0, 1]: multiplied with a covariance they keep its sign. A slice needs its own members and
the predictions only; the noise floor found by shuffling is a sum over slices.

====================== ============================================ =====================
family                 weight of a correlation r                    needs
====================== ============================================ =====================
`threshold_weights`    1 above the noise, else 0                    a noise level
`tempered_weights`     Gaspari-Cohn of (1 - abs(r)) / (1 - noise)   a noise level
`exponential_weights`  1, then falling smoothly to 1/64             nothing
====================== ============================================ =====================

Corrections of sampling errors, in `daflow.numerics.localization.sampling_error` and
`daflow.numerics.localization.nice_correction`, are weights of correlations as well.

References
----------
Luo, Bhakta & Naevdal (2018), SPE Journal 23, 396. Luo & Bhakta (2020), Journal of Petroleum Science and
Engineering 184, 106559.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import CombinationError, ConfigError, DataError
from daflow.numerics.arrays.ensembles import ensemble_of
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.validation import FloatArray, finite_array
from daflow.numerics.localization.tapers import gaspari_cohn


def correlations(ensemble: ArrayLike, predicted: ArrayLike) -> FloatArray:
    """Return sample correlations (n, n_obs), within [-1, 1]; 0 where members agree.

    Laws: units and shifts do not matter; a slice gives what the whole gives.

    Parameters
    ----------
    ensemble : (n_members, n)
    predicted : (n_members, n_obs)
    """
    members = ensemble_of("ensemble", ensemble)
    others = finite_array("predicted", predicted, (len(members), None))
    product: FloatArray = unit_anomalies(members).T @ unit_anomalies(others)
    return np.clip(product, -1.0, 1.0, out=product)


def theoretical_noise(n_members: int) -> float:
    r"""Return three standard deviations of the correlation of independent numbers, :math:`3 / \sqrt{n}`.

    Raises
    ------
    CombinationError
        With nine members or fewer it is 1 or more: no correlation can be told from chance.
    """
    if n_members <= 9:
        raise CombinationError(
            "a correlation cannot be told from chance with so few members",
            got=f"{n_members} members",
            allowed="10 or more",
            do="use more members, or a taper of distance",
        )
    return float(3 / np.sqrt(n_members))


@dataclass(frozen=True, slots=True, eq=False)
class ShuffledSquares:
    """Correlations of members with the predictions of others: pure chance. Slices add up."""

    squares: FloatArray
    """(n_obs,) sums of squares."""
    n_state: int
    """How many numbers of the state they come from."""

    def __add__(self, other: ShuffledSquares) -> ShuffledSquares:
        """Return the sums of two slices together."""
        return ShuffledSquares(self.squares + other.squares, self.n_state + other.n_state)


def shuffled_squares(ensemble: ArrayLike, predicted: ArrayLike, order: ArrayLike) -> ShuffledSquares:
    """Return sums of squared correlations with predictions in another order of the members.

    Parameters
    ----------
    ensemble : (n_members, n)
        A slice.
    predicted : (n_members, n_obs)
    order : (n_members,)
        A permutation that leaves no member in its place.

    Raises
    ------
    DataError
        The order is no such permutation.
    """
    members = ensemble_of("ensemble", ensemble)
    others = finite_array("predicted", predicted, (len(members), None))
    places = np.asarray(order)
    own = np.arange(len(members))
    if places.shape != own.shape or (np.sort(places) != own).any() or (places == own).any():
        raise DataError(
            "the shuffled order of the members is none",
            got=places.tolist(),
            allowed="each member once, none in its own place",
        )
    found = correlations(members, others[places])
    return ShuffledSquares(np.square(found).sum(axis=0), members.shape[1])


def shuffled_noise(total: ShuffledSquares) -> FloatArray:
    r"""Return a noise level (n_obs,) for each observation: what chance rarely exceeds among so many numbers.

    The universal threshold :math:`\sigma \sqrt{2 \ln n}` of Donoho & Johnstone (1994), Biometrika 81, 425,
    with sigma from all shuffled correlations; 1 at most, which lets nothing through.
    """
    sigma = np.sqrt(total.squares / total.n_state)
    return np.asarray(np.minimum(sigma * np.sqrt(2 * np.log(max(total.n_state, 2))), 1.0))


def threshold_weights(correlation: ArrayLike, noise: ArrayLike) -> FloatArray:
    """Return weights of 1 where correlations exceed the noise in size, of 0 elsewhere.

    Laws: the weight is 0 or 1, whatever the sign of the correlation; it does not depend on how the state is
    sliced.

    Parameters
    ----------
    correlation : (n, n_obs)
    noise
        One number, or one for each observation (n_obs,), in [0, 1].
    """
    values, level = _read(correlation, noise)
    return np.where(np.abs(values) > level, 1.0, 0.0)


def tempered_weights(correlation: ArrayLike, noise: ArrayLike) -> FloatArray:
    r"""Return Gaspari-Cohn weights of how far a correlation is from perfect, (1 - abs(r)) / (1 - noise).

    At the noise the weight is 5/24; a correlation of 0 keeps some weight if the noise is below 1/2. Source:
    Luo & Bhakta (2020). Laws: the weight is 1 for a perfect correlation and never rises as one
    weakens.

    Parameters
    ----------
    correlation, noise
        As for `threshold_weights`; a noise of 1 lets only perfect correlations through.
    """
    values, level = _read(correlation, noise)
    room = 1.0 - level
    distance = 1.0 - np.abs(values)
    return gaspari_cohn(np.divide(distance, room, out=np.where(distance > 0, 2.0, 0.0), where=room > 0))


def exponential_weights(
    correlation: ArrayLike, *, onset: float = 0.35, end: float = 0.7, factor: float = 8.0
) -> FloatArray:
    r"""Return weights by which an observation's precision is reduced, as its correlation weakens.

    With x = 1 - abs(r), its error's standard deviation is multiplied by 1 up to the onset, by
    :math:`E^{((x - onset) / (end - onset))^2}` from there to the end, and by E beyond; the weight is one over
    the square of that. It belongs on the inverse of R (each number of the state then has an update
    of its own), as with the LETKF.

    Laws: the weight is 1 for strong correlations, 1 / E^2 for weak ones, and never rises as one weakens.

    Parameters
    ----------
    correlation : (n, n_obs)
    onset, end
        In units of x: ``0 <= onset < end <= 1``.
    factor
        E, 1 or more.
    """
    if not (0 <= onset < end <= 1 and factor >= 1):
        raise ConfigError(
            "the exponential taper of correlations has a setting out of range",
            got=f"onset {onset}, end {end}, factor {factor}",
            allowed="0 <= onset < end <= 1, factor 1 or more",
        )
    values, _ = _read(correlation, 0.0)
    way = np.clip((1.0 - np.abs(values) - onset) / (end - onset), 0.0, 1.0)
    return np.asarray(factor ** (-2.0 * way**2))


def _read(correlation: ArrayLike, noise: ArrayLike) -> tuple[FloatArray, FloatArray]:
    values = finite_array("correlation", correlation, (None, None))
    level = finite_array("noise of correlations", noise, (values.shape[1],) if np.ndim(noise) else ())
    if values.size and np.abs(values).max() > 1 + 1e-12:
        raise DataError("a correlation exceeds 1", got=float(np.abs(values).max()), allowed="[-1, 1]")
    if (level < 0).any() or (level > 1).any():
        raise DataError("noise of correlations is out of range", got=level.tolist(), allowed="[0, 1]")
    return values, level


def unit_anomalies(ensemble: FloatArray) -> FloatArray:
    """Return the departures from the mean over the root of their squares' sum; 0 where members agree.

    The products of columns of two such arrays (n_members, n) are sample correlations, to rounding.
    """
    anomalies = anomalies_of(ensemble)
    norm = np.sqrt(np.square(anomalies).sum(axis=0))
    unit: FloatArray = np.divide(anomalies, norm, out=np.zeros_like(anomalies), where=norm > 0)
    return unit
