"""The local transform filter with weights that are found when a slice is updated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np

from daflow.methods.filters_local import LocalFilter
from daflow.methods.locality import told
from daflow.methods.locality_by_weights import WeighedLocality
from daflow.numerics.localization.letkf import letkf_factors_by_blocks
from daflow.numerics.localization.weighed_update import WeighedFactors, add_weighed_letkf
from daflow.ports import Arrays, Prepared, SliceInput, StepInput, StoredArray


@dataclass(frozen=True, eq=False)
class WeighedTransformFilter(LocalFilter):
    """The LETKF (Hunt, Kostelich & Szunyogh, 2007, Physica D 230, 112) whose weights no distance gives alone.

    Laws: a slice gives what the whole gives; with weights of distance it is
    `daflow.methods.filters_local.LocalTransformFilter`; where every weight is one it is the ETKF. Its
    networks are localities by weights.
    """

    def prepare(self, given: StepInput) -> Prepared:
        """Return anomalies and innovation in units of the errors, and unit anomalies, observations first.

        Raises
        ------
        daflow.errors.CombinationError
            Errors that depend on each other.
        """
        anomalies, innovation = letkf_factors_by_blocks(self.observed(given.step).innovations(given))
        norm = np.sqrt(np.square(anomalies).sum(axis=1, keepdims=True))
        unit = np.divide(anomalies, norm, out=np.zeros_like(anomalies), where=norm > 0)
        return Prepared({"anomalies": anomalies, "innovation": innovation, "unit": unit})

    def survey(self, given: SliceInput, slab: StoredArray) -> Arrays:
        """Return what the localization needs to know of a prior slice."""
        return self.networks.survey(given, slab)

    def conclude(self, given: StepInput, factors: Arrays, found: Iterable[Arrays]) -> Prepared:
        """Return what the localization needs to know of all slices."""
        return told(self.networks.conclude(given.step, factors, found))

    def apply(self, given: SliceInput, slab: StoredArray) -> Arrays:
        """Turn a prior slice (n_members, n) into the posterior, in place; nothing is carried."""
        locality, placed = cast("WeighedLocality", self.networks.at(given.step)), self.networks.placed(given)
        anomalies = given.factors["anomalies"]
        innovation = np.broadcast_to(given.factors["innovation"][:, np.newaxis], anomalies.shape)
        factors = WeighedFactors(anomalies, innovation, given.factors["unit"])
        plan = locality.heard(placed, len(anomalies))
        add_weighed_letkf(plan, slab, factors, locality.weights(placed))
        return {}
