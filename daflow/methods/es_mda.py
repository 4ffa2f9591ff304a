"""Ensemble smoother with multiple data assimilation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daflow.methods.locality import Locality
from daflow.numerics.inversion.global_update import transform_members
from daflow.numerics.inversion.updates import InversionSettings, transform_by_blocks
from daflow.numerics.obs_error.covariance import Covariance
from daflow.numerics.observations.blocks import BlockedObservations, Perturb
from daflow.numerics.observations.perturbations import Perturbations
from daflow.ports import Arrays, FloatArray, Prepared, SliceInput, SlicePoints, StepInput


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
        As `daflow.numerics.inversion.updates.InversionSettings`.
    locality
        How far each observation reaches; ``None``: everywhere.
    numbers : (n_obs,)
        As `daflow.numerics.observations.perturbations.Perturbations`.
    """

    alphas: tuple[float, ...]
    values: FloatArray
    error: Covariance
    seed: int
    inversion: str = "exact_cholesky"
    truncation: float = 1.0
    locality: Locality | None = None
    numbers: NDArray[np.int64] | None = None

    @property
    def n_steps(self) -> int:
        """How many updates the method makes."""
        return len(self.alphas)

    def perturb(self, step: int, members: Sequence[int]) -> Perturb:
        """Return what draws the observations as each member sees them, part after part."""
        source = Perturbations(self.values, self.error, self.seed, self.numbers)
        return source.begin(step, members, self.alphas[step])

    def perturbed(self, step: int, members: Sequence[int]) -> FloatArray:
        """Return the observations as each member sees them (n_members, n_obs)."""
        perturb = self.perturb(step, members)
        parts = self.error.parts(len(self.values))
        return np.concatenate([perturb(where, part) for where, part in parts], axis=1)

    def base(self, step: int) -> int:
        """Return from which step's members the update of a step starts."""
        return step

    def prepare(self, given: StepInput) -> Prepared:
        """Return the transform of the ensemble, or the two factors of a localized update.

        Cost O(n_obs n_members^2), and that of R. Memory: n_members^2 and blocks of the observations; where
        it is localized, a few arrays (n_members, n_obs).
        """
        alpha, members = self.alphas[given.step], given.members
        settings = InversionSettings(alpha, self.inversion, self.truncation)
        observations = BlockedObservations(
            len(members), self.error, given.predicted, lambda: self.perturb(given.step, members)
        )
        figures = {"alpha": alpha}
        if self.locality is None:
            return Prepared({"transform": transform_by_blocks(observations, settings)}, figures)
        return Prepared(self.locality.factors(*observations.whole(), self.error, settings), figures)

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:
        """Return which observations the points of a slice hear, and how loudly; empty if all hear all."""
        return {} if self.locality is None else self.locality.plan(locate())

    def apply(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Turn a prior slice (n_members, n) into the posterior, in place; nothing is carried."""
        if self.locality is None:
            transform_members(given.factors["transform"], slab, slab)
        else:
            self.locality.apply(given, slab)
        return {}
