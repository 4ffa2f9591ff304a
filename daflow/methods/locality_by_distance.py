"""Localization by distance: where observations lie, and how far each reaches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from daflow.methods.locality import two_factors
from daflow.numerics.inversion.updates import InversionSettings
from daflow.numerics.localization.cell_planning import plan_localization
from daflow.numerics.localization.cells import LocalizationPlan
from daflow.numerics.localization.distance import (
    DistanceTaper,
    IntArray,
    Rules,
    obs_obs_taper,
    state_obs_taper,
)
from daflow.numerics.localization.gathering import Slab
from daflow.numerics.localization.local_analysis import add_local_analysis
from daflow.numerics.localization.localized_update import add_tapered_increment
from daflow.numerics.localization.weighing import Weighing, by_distance
from daflow.numerics.obs_error.covariance import Covariance
from daflow.ports import Arrays, FloatArray, SliceInput, SlicePoints, StoredArray


@dataclass(frozen=True, eq=False)
class DistanceLocality:
    """How far each observation reaches.

    Parameters
    ----------
    tapers
        What the weights multiply: a name in `UPDATES`.
    obs_points : (n_obs, 3)
        x, y, z of the observations; NaN along axes that do not count.
    kind_codes : (n_obs,)
        The number of each observation's kind.
    rules
        (variable, kind) -> taper.
    among
        The taper of observations among themselves; ``None``: their covariance is as the members have it.
    """

    tapers: str
    obs_points: FloatArray
    kind_codes: IntArray
    rules: Rules
    among: DistanceTaper | None = None

    @property
    def surveys(self) -> bool:
        """Where points lie is known before any step."""
        return False

    def factors(
        self, predicted: FloatArray, observed: FloatArray, error: Covariance, settings: InversionSettings
    ) -> Arrays:
        """Return what an update of any slice needs of a step: two arrays (n_obs, n_members)."""
        if self.among is not None:
            settings = replace(settings, obs_obs_taper=self._among(self.among))
        return two_factors(self.tapers, predicted, observed, error, settings)

    def plan(self, points: SlicePoints) -> Arrays:
        """Return which observations the points of a slice hear, and how loudly."""
        given = (points.coordinates, points.variable, self.obs_points, self.kind_codes, self.rules)
        return plan_localization(*given).to_arrays()

    def weighing(self) -> Weighing:
        """Return the same weights, of any pairs."""
        own = self.among
        if own is None:
            return by_distance(self.obs_points, self.kind_codes, self.rules)
        return by_distance(
            self.obs_points,
            self.kind_codes,
            self.rules,
            lambda: self._among(own),
        )

    def _among(self, taper: DistanceTaper) -> FloatArray:
        weights: FloatArray = obs_obs_taper(self.obs_points, taper).toarray()
        return weights

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

    def check(self) -> None:
        """Look whether every observation has the coordinates that its tapers count.

        Raises
        ------
        daflow.errors.DataError
            One has not; the message names it.
        """
        for (_, kind), taper in self.rules.items():
            if taper is not None:
                state_obs_taper(np.zeros((1, 3)), self.obs_points[self.kind_codes == kind], taper)
        if self.among is not None:
            state_obs_taper(np.zeros((1, 3)), self.obs_points, self.among)


Update = Callable[[LocalizationPlan, Slab, ArrayLike, ArrayLike], None]
"""(plan, slab, left, right): the posterior takes the place of the prior."""

UPDATES: Final[Mapping[str, Update]] = MappingProxyType(
    {
        "gain": add_tapered_increment,
        "cross_covariance": add_tapered_increment,
        "observation_error": add_local_analysis,
    }
)
"""What a taper's weights multiply -> how a slice is updated."""
