r"""The transform of many members by few observations: two factors, not a matrix of members by members.

:math:`T = I + W A^T` with weights :math:`W = (D - Y) S^{-1}` and anomalies
:math:`A = Y_c / (n_{members} - 1)`, both (n_members, n_obs). With 10,000 members T alone is
800 MB, and a column of the state costs :math:`2 n_{members}^2`; with the factors it is
:math:`4 n_{members} n_{obs}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.inversion.updates import (
    InversionSettings,
    tapered_covariance_factors,
    transform_by_blocks,
)
from daflow.numerics.observations.blocks import BlockedObservations

MATRIX: Final = "transform"
"""What the matrix T is called among named arrays."""
WEIGHTS: Final = "transform.weights"
ANOMALIES: Final = "transform.anomalies"

THIN_FROM: Final = 2048
"""Members from which on the factors are kept where they are thin: below that T is 32 MiB at most, and one
product with it is as fast as two with its factors."""

_DEFAULT: Final = InversionSettings()


@dataclass(frozen=True, slots=True, eq=False)
class ThinTransform:
    """T in two factors.

    Parameters
    ----------
    weights : (n_members, k)
    anomalies : (n_members, k)
        Columns of mean zero, so that the rows of T sum to one.
    """

    weights: FloatArray
    anomalies: FloatArray

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of T."""
        return (len(self.weights), len(self.weights))

    def matrix(self) -> FloatArray:
        """Return T (n_members, n_members)."""
        transform = self.weights @ self.anomalies.T
        transform[np.diag_indices_from(transform)] += 1.0
        return transform


def transform_arrays(
    source: BlockedObservations, settings: InversionSettings = _DEFAULT
) -> Mapping[str, NDArray[Any]]:
    """Return the transform of an update as named arrays: the matrix, or its factors where these are thin.

    Law: `transform_of` these is T as `daflow.numerics.inversion.updates.transform_by_blocks` returns it.

    Parameters
    ----------
    source
        The predicted and perturbed observations, and R.
    settings
        How the innovation covariance is made and inverted.

    Raises
    ------
    DataError, ConfigError, CombinationError
        As `daflow.numerics.inversion.updates.perturbed_observation_update`.
    """
    few = source.n_members >= THIN_FROM and 2 * source.n_obs <= source.n_members
    # Only this inversion stays in the space of the observations where they are few.
    if not few or settings.inversion != "exact_cholesky":
        return {MATRIX: transform_by_blocks(source, settings)}
    anomalies, weights = tapered_covariance_factors(*source.whole(), source.obs_error, settings)
    return {WEIGHTS: np.ascontiguousarray(weights), ANOMALIES: np.ascontiguousarray(anomalies)}


def is_transform(names: set[str]) -> bool:
    """Say whether arrays of these names are a transform, and no more."""
    return names in ({MATRIX}, {WEIGHTS, ANOMALIES})


def transform_of(arrays: Mapping[str, NDArray[Any]]) -> FloatArray | ThinTransform:
    """Return the transform that is among named arrays."""
    if WEIGHTS in arrays:
        return ThinTransform(arrays[WEIGHTS], arrays[ANOMALIES])
    return arrays[MATRIX]


def matrix_of(arrays: Mapping[str, NDArray[Any]]) -> FloatArray | None:
    """Return the transform among named arrays as (n_members, n_members); ``None`` if there is none."""
    if WEIGHTS in arrays:
        return ThinTransform(arrays[WEIGHTS], arrays[ANOMALIES]).matrix()
    return arrays.get(MATRIX)
