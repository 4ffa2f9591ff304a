"""Ensemble smoother with multiple data assimilation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from daflow.methods.locality import Locality
from daflow.methods.perturbed_update import PerturbedScheme, PerturbedUpdate
from daflow.methods.step_lengths import DiscrepancyLengths, member_misfits
from daflow.numerics.obs_error.covariance import Covariance
from daflow.numerics.observations.blocks import Perturb
from daflow.numerics.observations.perturbations import Perturbations
from daflow.ports import FloatArray, Prepared, StepInput


@dataclass(frozen=True, eq=False)
class EsMda(PerturbedScheme):
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
    update: PerturbedUpdate = field(init=False, repr=False)

    def __post_init__(self) -> None:
        source = Perturbations(self.values, self.error, self.seed, self.numbers)
        update = PerturbedUpdate(source, self.inversion, self.truncation, self.locality)
        object.__setattr__(self, "update", update)

    @property
    def n_steps(self) -> int:
        """How many updates the method makes."""
        return len(self.alphas)

    def perturb(self, step: int, members: Sequence[int]) -> Perturb:
        """Return what draws the observations as each member sees them, part after part."""
        return self.update.source.begin(step, members, self.alphas[step])

    def perturbed(self, step: int, members: Sequence[int]) -> FloatArray:
        """Return the observations as each member sees them (n_members, n_obs)."""
        perturb = self.perturb(step, members)
        parts = self.error.parts(len(self.values))
        return np.concatenate([perturb(where, part) for where, part in parts], axis=1)

    def prepare(self, given: StepInput) -> Prepared:
        """Return the transform of the ensemble, or the factors of a localized update.

        Cost and memory: `daflow.methods.perturbed_update.PerturbedUpdate.factors`.
        """
        alpha = self.alphas[given.step]
        factors = self.update.factors(given, alpha, self.update.perturbed(given, alpha))
        # A branch may go on from here with alphas that are found on the way.
        return Prepared({**factors, "alphas": np.array(self.alphas[: given.step + 1])}, {"alpha": alpha})


@dataclass(frozen=True, eq=False)
class DiscrepancyEsMda(PerturbedScheme):
    r"""ES-MDA whose alphas follow from the members' misfits, and which ends by itself.

    Source: Iglesias & Yang (2021), Inverse Problems 37, 025008. Laws: the inverses of the alphas sum to 1;
    misfits that the errors explain already are used up in one step; else as `EsMda` with these alphas.

    Parameters
    ----------
    lengths
        How they follow, and how many steps there may be.
    update
        How one step's update is made.
    """

    lengths: DiscrepancyLengths
    update: PerturbedUpdate

    @property
    def n_steps(self) -> int:
        """How many updates the method makes at most."""
        return self.lengths.n_steps

    def prepare(self, given: StepInput) -> Prepared:
        """Return the factors of an update with the alpha that was found.

        Cost: that of `EsMda`, and one more pass over the predictions. The figures are those of
        `daflow.methods.step_lengths.found_length`.
        """
        source = self.update.source
        found = self.lengths.next(given, lambda: member_misfits(given, source), len(source.values))
        factors = self.update.factors(given, found.alpha, self.update.perturbed(given, found.alpha))
        return Prepared({**factors, **found.arrays}, found.figures, found.last)
