"""Localization as a method carries it: what a method asks of it, whichever it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np
from numpy.typing import ArrayLike

from daflow.numerics.inversion.updates import (
    InversionSettings,
    TaperedFactors,
    tapered_covariance_factors,
    tapered_gain_factors,
)
from daflow.numerics.localization.cells import LocalizationPlan
from daflow.numerics.localization.gathering import Slab
from daflow.numerics.localization.local_analysis import add_local_analysis, local_analysis_factors
from daflow.numerics.localization.localized_update import add_tapered_increment
from daflow.numerics.localization.weighing import Weighing
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


Update = Callable[[LocalizationPlan, Slab, ArrayLike, ArrayLike], None]
"""(plan, slab, left, right): the posterior takes the place of the prior."""

UPDATES: Final[Mapping[str, Update]] = MappingProxyType(
    {
        "gain": add_tapered_increment,
        "cross_covariance": add_tapered_increment,
        "observation_error": add_local_analysis,
    }
)
"""What a taper's weights multiply -> how a slice is updated whose weights are planned."""


@dataclass(frozen=True, eq=False)
class PlannedLocality(ABC):
    """A `Locality` that knows its weights from where points lie, before any step.

    Parameters
    ----------
    tapers
        What the weights multiply: a name in `UPDATES`.
    """

    tapers: str

    @property
    def surveys(self) -> bool:
        """Where points lie is known before any step."""
        return False

    def factors(
        self, predicted: FloatArray, observed: FloatArray, error: Covariance, settings: InversionSettings
    ) -> Arrays:
        """Return what an update of any slice needs of a step: two arrays (n_obs, n_members)."""
        return two_factors(self.tapers, predicted, observed, error, settings)

    @abstractmethod
    def plan(self, points: SlicePoints) -> Arrays:
        """Return which observations the points of a slice hear, and how loudly: a `LocalizationPlan`."""

    @abstractmethod
    def weighing(self) -> Weighing:
        """Return the same weights, of any pairs."""

    def survey(self, given: SliceInput, slab: StoredArray) -> Arrays:  # noqa: ARG002 - needs to know nothing
        """Return nothing."""
        return {}

    def conclude(self, factors: Arrays, found: Iterable[Arrays]) -> Arrays:  # noqa: ARG002 - the same
        """Return nothing."""
        return {}

    def apply(self, given: SliceInput, slab: StoredArray) -> None:
        """Turn a prior slice (n_members, n) into the posterior, in place."""
        plan = LocalizationPlan.from_arrays(given.places)
        UPDATES[self.tapers](plan, slab, given.factors["left"], given.factors["right"])

    @abstractmethod
    def check(self) -> None:
        """Look whether every observation has what its weights depend on."""


def told(concluded: Arrays) -> Prepared:
    """Return what a locality concluded, its single numbers as figures for the journal."""
    figures = {name: float(array) for name, array in concluded.items() if np.ndim(array) == 0}
    return Prepared(concluded, figures)
