"""Localization as a method carries it: where the observations lie, and what their tapers do to an update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from daflow.numerics.inversion.updates import (
    InversionSettings,
    tapered_covariance_factors,
    tapered_gain_factors,
)
from daflow.numerics.localization.cell_planning import plan_localization
from daflow.numerics.localization.cells import LocalizationPlan
from daflow.numerics.localization.distance import IntArray, Rules, state_obs_taper
from daflow.numerics.localization.gathering import Slab
from daflow.numerics.localization.local_analysis import add_local_analysis, local_analysis_factors
from daflow.numerics.localization.localized_update import add_tapered_increment
from daflow.numerics.obs_error.covariance import Covariance
from daflow.ports import Arrays, FloatArray, SlicePoints


@dataclass(frozen=True, eq=False)
class Locality:
    """How far each observation reaches.

    Parameters
    ----------
    tapers
        What the weights multiply: a name in `SCHEMES`.
    obs_points : (n_obs, 3)
        x, y, z of the observations; NaN along axes that do not count.
    kind_codes : (n_obs,)
        The number of each observation's kind.
    rules
        (variable, kind) -> taper.
    """

    tapers: str
    obs_points: FloatArray
    kind_codes: IntArray
    rules: Rules

    def factors(
        self, predicted: FloatArray, observed: FloatArray, error: Covariance, settings: InversionSettings
    ) -> Arrays:
        """Return what an update of any slice needs of a step: two arrays (n_obs, n_members).

        Parameters
        ----------
        predicted, observed : (n_members, n_obs)
            What each member predicts, and the observations as it sees them.
        error
            R.
        settings
            How the innovation covariance is made and inverted.
        """
        left, right = SCHEMES[self.tapers].factors(predicted, observed, error, settings)
        # Observations first: a cell of points gathers those that it hears, whole rows of memory at a time.
        return {"left": np.ascontiguousarray(left.T), "right": np.ascontiguousarray(right.T)}

    def plan(self, points: SlicePoints) -> Arrays:
        """Return which observations the points of a slice hear, and how loudly."""
        given = (points.coordinates, points.variable, self.obs_points, self.kind_codes, self.rules)
        return plan_localization(*given).to_arrays()

    def apply(self, factors: Arrays, plan: Arrays, slab: Slab) -> None:
        """Turn a prior slice (n_members, n) into the posterior, in place."""
        made = LocalizationPlan.from_arrays(plan)
        SCHEMES[self.tapers].apply(made, slab, factors["left"], factors["right"])

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


@dataclass(frozen=True, slots=True)
class Scheme:
    """What a localized update prepares once a step, and what it does to a slice with it."""

    factors: Callable[[FloatArray, FloatArray, Covariance, InversionSettings], tuple[FloatArray, FloatArray]]
    apply: Callable[[LocalizationPlan, Slab, ArrayLike, ArrayLike], None]


SCHEMES: Final[Mapping[str, Scheme]] = MappingProxyType(
    {
        "gain": Scheme(tapered_gain_factors, add_tapered_increment),
        "cross_covariance": Scheme(tapered_covariance_factors, add_tapered_increment),
        "observation_error": Scheme(local_analysis_factors, add_local_analysis),
    }
)
"""What a taper's weights multiply -> how."""
