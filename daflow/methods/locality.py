"""Localization as a method carries it: what a method asks of it, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np

from daflow.numerics.inversion.updates import (
    InversionSettings,
    TaperedFactors,
    tapered_covariance_factors,
    tapered_gain_factors,
)
from daflow.numerics.localization.local_analysis import local_analysis_factors
from daflow.numerics.obs_error.covariance import Covariance
from daflow.ports import Arrays, FloatArray, Prepared, SliceInput, SlicePoints, StoredArray


class Locality(Protocol):
    """How far each observation reaches, and what that does to an update with a target for each member.

    A method calls `factors` where it prepares a step, `plan` where it localizes, and `apply` where it
    updates a slice. Where `surveys` is true it calls `survey` and `conclude` as well, between both, and adds
    what is concluded to the factors; where it is false these return nothing.
    """

    @property
    def surveys(self) -> bool:
        """Whether it has to look at the whole prior of a step before any slice is updated."""
        ...

    def factors(
        self, predicted: FloatArray, observed: FloatArray, error: Covariance, settings: InversionSettings
    ) -> Arrays:
        """Return what an update of any slice needs of a step.

        Parameters
        ----------
        predicted, observed : (n_members, n_obs)
            What each member predicts, and the observations as it is to see them.
        error
            R.
        settings
            How the innovation covariance is made and inverted.
        """
        ...

    def plan(self, points: SlicePoints) -> Arrays:
        """Return what is known of a slice by where its points lie: found once a run."""
        ...

    def survey(self, given: SliceInput, slab: StoredArray) -> Arrays:
        """Return what `conclude` needs to know of a prior slice (n_members, n), which is left as it is."""
        ...

    def conclude(self, factors: Arrays, found: Iterable[Arrays]) -> Arrays:
        """Return what `apply` needs to know of all slices, to be added to the factors."""
        ...

    def apply(self, given: SliceInput, slab: StoredArray) -> None:
        """Turn a prior slice (n_members, n) into the posterior, in place."""
        ...

    def check(self) -> None:
        """Look whether the observations are such that it can be done.

        Raises
        ------
        daflow.errors.DataError
            They are not; the message names one that is not.
        """
        ...


Factors = Callable[[FloatArray, FloatArray, Covariance, InversionSettings], TaperedFactors]
"""(predicted, observed, R, settings) -> left, right (n_members, n_obs)."""

FACTORS: Final[Mapping[str, Factors]] = MappingProxyType(
    {
        "gain": tapered_gain_factors,
        "cross_covariance": tapered_covariance_factors,
        "observation_error": local_analysis_factors,
    }
)
"""What a taper's weights multiply -> what such an update prepares once a step."""


def two_factors(
    tapers: str,
    predicted: FloatArray,
    observed: FloatArray,
    error: Covariance,
    settings: InversionSettings,
) -> dict[str, FloatArray]:
    """Return ``left`` and ``right`` (n_obs, n_members), on which every locality's update rests.

    ``tapers`` is a name in `FACTORS`, the others are those of `Locality.factors`.
    """
    left, right = FACTORS[tapers](predicted, observed, error, settings)
    # Observations first: a cell of points gathers those that it hears, whole rows of memory at a time.
    return {"left": np.ascontiguousarray(left.T), "right": np.ascontiguousarray(right.T)}


def told(concluded: Arrays) -> Prepared:
    """Return what a locality concluded, its single numbers as figures for the journal."""
    figures = {name: float(array) for name, array in concluded.items() if np.ndim(array) == 0}
    return Prepared(concluded, figures)
