"""Localization by distance: where observations lie, and how far each reaches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from daflow.methods.locality import PlannedLocality
from daflow.numerics.inversion.updates import InversionSettings
from daflow.numerics.localization.cell_planning import plan_localization
from daflow.numerics.localization.distance import (
    DistanceTaper,
    IntArray,
    Rules,
    obs_obs_taper,
    state_obs_taper,
)
from daflow.numerics.localization.weighing import Weighing, by_distance
from daflow.numerics.obs_error.covariance import Covariance
from daflow.ports import Arrays, FloatArray, SlicePoints


@dataclass(frozen=True, eq=False)
class DistanceLocality(PlannedLocality):
    """How far each observation reaches.

    Parameters
    ----------
    obs_points : (n_obs, 3)
        x, y, z of the observations; NaN along axes that do not count.
    kind_codes : (n_obs,)
        The number of each observation's kind.
    rules
        (variable, kind) -> taper.
    among
        The taper of observations among themselves; ``None``: their covariance is as the members have it.
    """

    obs_points: FloatArray
    kind_codes: IntArray
    rules: Rules
    among: DistanceTaper | None = None

    def factors(
        self, predicted: FloatArray, observed: FloatArray, error: Covariance, settings: InversionSettings
    ) -> Arrays:
        """Return what an update of any slice needs of a step: two arrays (n_obs, n_members)."""
        if self.among is not None:
            settings = replace(settings, obs_obs_taper=self._among(self.among))
        return super().factors(predicted, observed, error, settings)

    def plan(self, points: SlicePoints) -> Arrays:
        """Return which observations the points of a slice hear, and how loudly."""
        given = (points.coordinates, points.variable, self.obs_points, self.kind_codes, self.rules)
        return plan_localization(*given).to_arrays()

    def weighing(self) -> Weighing:
        """Return the same weights, of any pairs."""
        own = self.among
        among = None if own is None else lambda: self._among(own)
        return by_distance(self.obs_points, self.kind_codes, self.rules, among)

    def _among(self, taper: DistanceTaper) -> FloatArray:
        weights: FloatArray = obs_obs_taper(self.obs_points, taper).toarray()
        return weights

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
