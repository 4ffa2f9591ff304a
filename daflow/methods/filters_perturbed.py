"""Filters that update each member with observations of its own: stochastic, inflated in the gain, halfway."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from daflow.methods.filters_networks import Networks
from daflow.methods.locality import told
from daflow.methods.observed import Observed
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.filters.ensemble_transform import modes_by_blocks
from daflow.numerics.filters.filter_transforms import denkf_of, recentred
from daflow.numerics.inversion.global_update import transform_members
from daflow.numerics.inversion.thin_transform import MATRIX, transform_arrays, transform_of
from daflow.numerics.inversion.updates import InversionSettings
from daflow.numerics.obs_error.covariance import ErrorPart
from daflow.numerics.observations.blocks import BlockedObservations, Perturb
from daflow.numerics.observations.perturbations import Perturbations
from daflow.ports import Arrays, FloatArray, Prepared, SliceInput, SlicePoints, StepInput

Draws = Callable[[FloatArray], FloatArray]
"""From draws of the errors (n_members, n) to what is added to the observations."""


def raw(draws: FloatArray) -> FloatArray:
    """Return draws as they are."""
    return draws


CENTRINGS: Final[Mapping[str, Draws]] = {"raw": raw, "recentred": recentred}
"""What becomes of the draws of the errors."""


class Targets(Protocol):
    """What each member is to see of the observations."""

    def transform(self, observed: Observed, given: StepInput, settings: InversionSettings) -> Arrays:
        """Return the transform of an update without localization."""
        ...

    def whole(self, observed: Observed, given: StepInput) -> tuple[FloatArray, FloatArray]:
        """Return what the members predict and what they are to see (n_members, n_obs)."""
        ...


@dataclass(frozen=True, slots=True)
class Perturbed:
    """Each member sees the observations with a draw of their errors added.

    Law: the draws of a step and member are always the same; raw, whatever the other members are.

    Parameters
    ----------
    seed
        The run's.
    centring
        One of `CENTRINGS`.
    """

    seed: int
    centring: str

    def transform(self, observed: Observed, given: StepInput, settings: InversionSettings) -> Arrays:
        """Return the transform of an update without localization."""
        return transform_arrays(self._blocks(observed, given), settings)

    def whole(self, observed: Observed, given: StepInput) -> tuple[FloatArray, FloatArray]:
        """Return what the members predict and what they are to see (n_members, n_obs)."""
        return self._blocks(observed, given).whole()

    def _blocks(self, observed: Observed, given: StepInput) -> BlockedObservations:
        centre, values = CENTRINGS[self.centring], observed.values
        # Around zero, so that values that are large cost a draw no digits.
        source = Perturbations(np.zeros_like(values), observed.error, self.seed, observed.numbers)

        def begin() -> Perturb:
            draw = source.begin(given.step, given.members, 1.0)

            def perturb(where: slice, part: ErrorPart) -> FloatArray:
                return centre(draw(where, part)) + values[where]

            return perturb

        return BlockedObservations(len(given.members), observed.error, given.predicted, begin)


@dataclass(frozen=True, slots=True)
class Halfway:
    r"""Each member sees the observations, and half of its own anomaly added: the deterministic EnKF.

    With targets :math:`y + (y_j - \bar y) / 2` the mean moves with the gain and the anomalies with half of
    it, :math:`K (y + (y_j - \bar y) / 2 - y_j) = K d - K (y_j - \bar y) / 2`.
    """

    def transform(self, observed: Observed, given: StepInput, settings: InversionSettings) -> Arrays:  # noqa: ARG002 - has an inversion of its own
        """Return the transform of an update without localization."""
        return {MATRIX: denkf_of(modes_by_blocks(observed.innovations(given))).matrix}

    def whole(self, observed: Observed, given: StepInput) -> tuple[FloatArray, FloatArray]:
        """Return what the members predict and what they are to see (n_members, n_obs)."""
        predicted = observed.innovations(given).whole()
        targets = anomalies_of(predicted)
        targets *= 0.5
        targets += observed.values
        return predicted, targets


@dataclass(frozen=True, eq=False)
class PerturbedFilter:
    r"""A filter that is one update with targets for each member, with any localization or none.

    Laws: a slice gives what the whole gives; permuting the members permutes the posterior, but for the draws
    that are each member's own; with the settings' alpha 1 / (1 + zeta) only the gain is inflated, and zeta 0
    is the filter without.

    Parameters
    ----------
    observed
        What is observed at a step.
    n_steps
        How many steps there are: cycles, or one.
    targets
        `Perturbed` or `Halfway`.
    settings
        How the innovation covariance is made and inverted; its alpha multiplies R there, and there only.
    networks
        How far each observation reaches; ``None``: everywhere.
    figures
        For the journal.
    """

    observed: Callable[[int], Observed]
    n_steps: int
    targets: Targets
    settings: InversionSettings = field(default_factory=InversionSettings)
    networks: Networks | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    def base(self, step: int) -> int:
        """Return from which step's members the update of a step starts."""
        return step

    def prepare(self, given: StepInput) -> Prepared:
        """Return the transform of the ensemble, or the factors of a localized update.

        Cost and memory as `daflow.methods.es_mda.EsMda.prepare`.
        """
        observed = self.observed(given.step)
        if self.networks is None:
            transform = self.targets.transform(observed, given, self.settings)
            return Prepared(transform, self.figures)
        whole = self.targets.whole(observed, given)
        factors = self.networks.at(given.step).factors(*whole, observed.error, self.settings)
        return Prepared(factors, self.figures)

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:
        """Return what is known of a slice by where its points lie; empty if all hear all."""
        return {} if self.networks is None else self.networks.plan(locate())

    def survey(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Return what the localization needs to know of a prior slice."""
        return {} if self.networks is None else self.networks.survey(given, slab)

    def conclude(self, given: StepInput, factors: Arrays, found: Iterable[Arrays]) -> Prepared:
        """Return what the localization needs to know of all slices."""
        if self.networks is None:
            return Prepared({})
        return told(self.networks.conclude(given.step, factors, found))

    def apply(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Turn a prior slice (n_members, n) into the posterior, in place; nothing is carried."""
        if self.networks is None:
            transform_members(transform_of(given.factors), slab, slab)
        else:
            self.networks.apply(given, slab)
        return {}
