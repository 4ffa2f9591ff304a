"""Ensemble smoother with multiple data assimilation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from daflow.methods.locality import Locality
from daflow.names import Purpose
from daflow.numerics.covariance import Covariance
from daflow.numerics.global_update import transform_members
from daflow.numerics.random import standard_normals
from daflow.numerics.updates import InversionSettings, global_transform
from daflow.ports import Arrays, BlockReader, FloatArray, SlicePoints


@dataclass(frozen=True, eq=False)
class EsMda:
    r"""ES-MDA (Emerick & Reynolds, 2013, Computers & Geosciences 55, 3, algorithm 1).

    At step l every member's observations are perturbed by :math:`\sqrt{\alpha_l} L z`, R = L L', with fresh
    z for each step and member, and the ensemble is updated with :math:`\alpha_l R` in the place of R.

    Laws: a linear-Gaussian problem ends at the posterior of one update with R; a member's perturbations do
    not depend on which other members there are; a slice gives what the whole gives.

    Parameters
    ----------
    alphas
        One a step; their inverses sum to one.
    values : (n_obs,)
        What was observed.
    error
        R.
    seed
        The run's.
    inversion, truncation
        As `daflow.numerics.updates.InversionSettings`.
    locality
        How far each observation reaches; ``None``: everywhere.
    """

    alphas: tuple[float, ...]
    values: FloatArray
    error: Covariance
    seed: int
    inversion: str = "exact_cholesky"
    truncation: float = 1.0
    locality: Locality | None = None

    @property
    def n_steps(self) -> int:
        """How many updates the method makes."""
        return len(self.alphas)

    def perturbed(self, step: int, members: Sequence[int]) -> FloatArray:
        """Return the observations as each member sees them (n_members, n_obs)."""
        n_obs = len(self.values)
        normals = np.empty((len(members), n_obs))
        for row, member in zip(normals, members, strict=True):
            row[:] = standard_normals(self.seed, Purpose.OBSERVATION_PERTURBATION, (step, member), 0, n_obs)
        return self.values + sqrt(self.alphas[step]) * self.error.colour(normals)

    def prepare(self, step: int, members: Sequence[int], read: BlockReader) -> Arrays:
        """Return the transform of the ensemble, or the two factors of a localized update.

        Cost O(n_obs n_members^2) with a diagonal R; memory O(n_obs n_members).
        """
        settings = InversionSettings(self.alphas[step], self.inversion, self.truncation)
        observed, predicted = self.perturbed(step, members), read(0, len(self.values))
        if self.locality is None:
            return {"transform": global_transform(predicted, observed, self.error, settings)}
        return self.locality.factors(predicted, observed, self.error, settings)

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:
        """Return which observations the points of a slice hear, and how loudly; empty if all hear all."""
        return {} if self.locality is None else self.locality.plan(locate())

    def apply(self, factors: Arrays, places: Arrays, slab: FloatArray) -> None:
        """Turn a prior slice (n_members, n) into the posterior, in place."""
        if self.locality is None:
            transform_members(factors["transform"], slab, slab)
        else:
            self.locality.apply(factors, places, slab)
