"""Ensemble Kalman inversion: steps in an artificial time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daflow.methods.perturbed_update import PerturbedScheme, PerturbedUpdate
from daflow.methods.step_lengths import StepLength, StepLengths, member_misfits
from daflow.numerics.filters.ensemble_transform import modes_by_blocks
from daflow.numerics.inversion.global_update import transform_members
from daflow.numerics.observations.blocks import BlockedInnovations, Perturb
from daflow.numerics.observations.perturbations import Perturbations
from daflow.numerics.smoothers.kalman_inversion import (
    equivalent_alpha,
    next_momentum,
    transform_of_modes,
)
from daflow.ports import Arrays, Prepared, SliceInput, SlicePoints, StepInput, StoredArray

Targets = Callable[[Perturbations, StepInput, float], Callable[[], Perturb]]
"""(source, step, 1 / time step) -> what begins to give the observations as each member is to see them."""


def raw_targets(source: Perturbations, given: StepInput, alpha: float) -> Callable[[], Perturb]:
    """Let every member see the observations with a draw of their errors of its own."""
    return lambda: source.begin(given.step, given.members, alpha)


def plain_targets(source: Perturbations, given: StepInput, alpha: float) -> Callable[[], Perturb]:  # noqa: ARG001 - as they are
    """Let every member see the observations as they are."""
    n_members = len(given.members)
    return lambda: lambda where, _: np.tile(source.values[where], (n_members, 1))


@dataclass(frozen=True, eq=False)
class Eki(PerturbedScheme):
    r"""Ensemble Kalman inversion (Iglesias, Law & Stuart, 2013, Inverse Problems 29, 045001).

    A step of length h updates the ensemble with R / h in the place of R and covariances over n_members.

    Laws: it is a step of `daflow.methods.EsMda` whose gain has alpha n_members / ((n_members - 1) h) and
    whose perturbations have 1 / h; with targets as they are, steps of a linear model never raise the
    misfit of the mean; a slice gives what the whole gives.

    Parameters
    ----------
    lengths
        How long each step is: 1 / h.
    update
        How one step's update is made.
    targets
        What each member sees of the observations.
    """

    lengths: StepLengths
    update: PerturbedUpdate
    targets: Targets = raw_targets

    @property
    def n_steps(self) -> int:
        """How many updates the method makes at most."""
        return self.lengths.n_steps

    def prepare(self, given: StepInput) -> Prepared:
        """Return the factors of a step; cost and memory are those of an update of ES-MDA."""
        length, figures = _step(self.lengths, given, self.update.source)
        alpha = equivalent_alpha(1.0 / length.alpha, len(given.members))
        targets = self.targets(self.update.source, given, length.alpha)
        factors = self.update.factors(given, alpha, targets)
        return Prepared({**factors, **length.arrays}, figures, length.last)


@dataclass(frozen=True, eq=False)
class AcceleratedEki(PerturbedScheme):
    r"""Ensemble Kalman inversion that runs the model ahead of where its steps led, by Nesterov's recursion.

    :math:`v_{k+1} = u_{k+1} + \theta_{k+1} (1 / \theta_k - 1) (u_{k+1} - u_k)`: v is what the model sees and
    the next step starts from, u what the steps give. Each slice carries its u to its next step; the last
    step ends with u. Source: Kovachki & Stuart (2019), Inverse Problems 35, 095005.

    Laws: the first step adds nothing; members that are left behind change nothing of what is added to the
    others; a slice gives what the whole gives. Cost: a store of u beside v, as large as the state.

    Parameters
    ----------
    inversion
        The steps; their targets should be as they are, for momentum adds up the noise of perturbed ones.
    """

    inversion: Eki

    @property
    def update(self) -> PerturbedUpdate:  # type: ignore[override]
        """How one step's update is made."""
        return self.inversion.update

    @property
    def n_steps(self) -> int:
        """How many updates the method makes at most."""
        return self.inversion.n_steps

    def prepare(self, given: StepInput) -> Prepared:
        """Return the factors of a step, and how far ahead of it the model is run."""
        prepared = self.inversion.prepare(given)
        last = prepared.last or given.step == self.n_steps - 1
        theta = float(given.before.get("theta", 1.0))
        following = next_momentum(theta)
        ahead = 0.0 if last else following * (1.0 / theta - 1.0)
        arrays = {"theta": np.array(following), "ahead": np.array(ahead)}
        return Prepared({**prepared.arrays, **arrays}, {**prepared.figures, "ahead": ahead}, prepared.last)

    def apply(self, given: SliceInput, slab: StoredArray) -> Arrays:
        """Turn what the model saw into what it is to see next; what the step gave is carried."""
        self.update.apply(given, slab)
        ahead = float(given.factors["ahead"])
        current = slab.copy()
        if ahead:
            slab -= _rows(given.carried, given.members)
            slab *= ahead
            slab += current
        return {"current": current, "members": np.asarray(given.members, dtype=np.int64)}


def _rows(carried: Arrays, members: Sequence[int]) -> NDArray[Any]:
    """Return what was carried of these members: those that are left."""
    current: NDArray[Any] = carried["current"]
    row = {member: index for index, member in enumerate(carried["members"].tolist())}
    return current if len(row) == len(members) else current[[row[member] for member in members]]


@dataclass(frozen=True, eq=False)
class Etki:
    r"""Ensemble transform Kalman inversion: nothing is perturbed.

    A step of length h is the ETKF with R / h. Source: Huang, Huang, Reich & Stuart (2022), Inverse Problems
    38, 125006.

    Laws: steps of a linear model whose lengths sum to 1 end at the ETKF's posterior, whatever they are;
    the mean is that of `Eki` with plain targets, but for n_members in the place of n_members - 1; a slice
    gives what the whole gives. Cost linear in n_obs.

    Parameters
    ----------
    lengths
        How long each step is: 1 / h.
    source
        What was observed, and R.
    """

    lengths: StepLengths
    source: Perturbations

    @property
    def n_steps(self) -> int:
        """How many updates the method makes at most."""
        return self.lengths.n_steps

    def base(self, step: int) -> int:
        """Return from which step's members the update of a step starts."""
        return step

    def prepare(self, given: StepInput) -> Prepared:
        """Return the transform of the ensemble; cost O(n_obs n_members^2), memory n_members^2 and blocks."""
        length, figures = _step(self.lengths, given, self.source)
        source = self.source
        blocks = BlockedInnovations(len(given.members), source.obs_error, given.predicted, source.values)
        change = transform_of_modes(modes_by_blocks(blocks), 1.0 / length.alpha).weights
        change -= change.mean(axis=1, keepdims=True)
        change[np.diag_indices_from(change)] += 1.0
        return Prepared({"transform": change, **length.arrays}, figures, length.last)

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:  # noqa: ARG002 - all hear all
        """Return nothing: every observation updates every number."""
        return {}

    def apply(self, given: SliceInput, slab: StoredArray) -> Arrays:
        """Turn a prior slice (n_members, n) into the posterior, in place; nothing is carried."""
        transform_members(given.factors["transform"], slab, slab)
        return {}


def _step(
    lengths: StepLengths, given: StepInput, source: Perturbations
) -> tuple[StepLength, dict[str, float]]:
    """Return how long a step is, and its figures: those of the length, with ``time_step`` for ``alpha``."""
    length = lengths.next(given, lambda: member_misfits(given, source), len(source.values))
    told = {name: value for name, value in length.figures.items() if name != "alpha"}
    return length, {"time_step": 1.0 / length.alpha, **told}
