"""Localization as a method carries it: where the observations lie and what each pair's taper is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from daflow.numerics.cells import LocalizationPlan, plan_localization
from daflow.numerics.localization import IntArray, Rules, state_obs_taper
from daflow.ports import FloatArray, SlicePoints


@dataclass(frozen=True, eq=False)
class Locality:
    """How far each observation reaches.

    Parameters
    ----------
    tapers_gain
        Whether the weights multiply the gain; else they multiply the state-obs covariance.
    obs_points : (n_obs, 3)
        x, y, z of the observations; NaN along axes that do not count.
    kind_codes : (n_obs,)
        The number of each observation's kind.
    rules
        (variable, kind) -> taper.
    """

    tapers_gain: bool
    obs_points: FloatArray
    kind_codes: IntArray
    rules: Rules

    def plan(self, points: SlicePoints) -> LocalizationPlan:
        """Return which observations the points of a slice hear, and how loudly."""
        return plan_localization(
            points.coordinates, points.variable, self.obs_points, self.kind_codes, self.rules
        )

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
