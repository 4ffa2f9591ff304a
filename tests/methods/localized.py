"""A localization and the one update that it makes, as the smallest method there can be."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from daflow.methods.locality import Locality
from daflow.numerics.inversion.updates import InversionSettings
from daflow.numerics.obs_error.covariance import Covariance
from daflow.ports import Prepared, SlicePoints
from tests.methods.in_slices import InSlices


@dataclass(frozen=True)
class Localized:
    """An update with given targets, localized."""

    locality: Locality
    observed: np.ndarray
    error: Covariance
    settings: InversionSettings = field(default_factory=InversionSettings)
    n_steps: int = 9

    def base(self, step):
        return step

    def prepare(self, given):
        predicted = given.predicted(0, self.observed.shape[1])
        return Prepared(self.locality.factors(predicted, self.observed, self.error, self.settings))

    def localize(self, locate):
        return self.locality.plan(locate())

    def survey(self, given, slab):
        prior = slab.copy()
        found = self.locality.survey(given, slab)
        np.testing.assert_array_equal(slab, prior)
        return found

    def conclude(self, given, factors, found):
        return Prepared(self.locality.conclude(factors, found))

    def apply(self, given, slab):
        self.locality.apply(given, slab)
        return {}


def update(method, prior, predicted, cuts=(), step=0, points=None):
    """Return the posterior of a prior that is cut into slices, and the factors that it was made with."""
    n_state = prior.shape[1]
    places = points or SlicePoints(np.zeros(n_state, np.int64), np.full((n_state, 3), np.nan))
    slices = InSlices(method, places, cuts)
    posterior, _ = slices.step(step, prior, predicted)
    return posterior, slices.before
