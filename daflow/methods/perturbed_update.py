"""An update in which every member has observations of its own: what perturbed schemes share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from daflow.methods.locality import Locality, told
from daflow.numerics.inversion.global_update import transform_members
from daflow.numerics.inversion.thin_transform import transform_arrays, transform_of
from daflow.numerics.inversion.updates import InversionSettings
from daflow.numerics.observations.blocks import BlockedObservations, Perturb
from daflow.numerics.observations.perturbations import Perturbations
from daflow.ports import Arrays, Prepared, SliceInput, SlicePoints, StepInput, StoredArray


@dataclass(frozen=True, eq=False)
class PerturbedUpdate:
    """How an update with targets for each member is made, and what of it a slice needs.

    Parameters
    ----------
    source
        What was observed, R, and the random numbers that perturb.
    inversion, truncation
        As `daflow.numerics.inversion.updates.InversionSettings`.
    locality
        How far each observation reaches; ``None``: everywhere.
    """

    source: Perturbations
    inversion: str = "exact_cholesky"
    truncation: float = 1.0
    locality: Locality | None = None

    def factors(self, given: StepInput, alpha: float, targets: Callable[[], Perturb]) -> Arrays:
        """Return the transform of the ensemble, or what a localized update of any slice needs.

        Cost O(n_obs n_members^2), and that of R. Memory: n_members^2 and blocks of the observations; where
        it is localized, a few arrays (n_members, n_obs).

        Parameters
        ----------
        given
            The step: its members and what they predict.
        alpha
            What multiplies R in the gain, above 0.
        targets
            Begins to draw the observations as each member is to see them.
        """
        settings = InversionSettings(alpha, self.inversion, self.truncation)
        error = self.source.obs_error
        observations = BlockedObservations(len(given.members), error, given.predicted, targets)
        if self.locality is None:
            return transform_arrays(observations, settings)
        return self.locality.factors(*observations.whole(), error, settings)

    def perturbed(self, given: StepInput, alpha: float, draw: int = 0) -> Callable[[], Perturb]:
        """Return what begins to draw observations with errors of covariance alpha R, anew for each draw."""
        return lambda: self.source.begin(given.step, given.members, alpha, draw)

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:
        """Return which observations the points of a slice hear, and how loudly; empty if all hear all."""
        return {} if self.locality is None else self.locality.plan(locate())

    def survey(self, given: SliceInput, slab: StoredArray) -> Arrays:
        """Return what the localization needs to know of a prior slice, where it asks for that."""
        return {} if self.locality is None else self.locality.survey(given, slab)

    def conclude(self, factors: Arrays, found: Iterable[Arrays]) -> Arrays:
        """Return what the localization makes of its surveys."""
        return {} if self.locality is None else self.locality.conclude(factors, found)

    def apply(self, given: SliceInput, slab: StoredArray) -> None:
        """Turn a prior slice (n_members, n) into the posterior, in place."""
        if self.locality is None:
            transform_members(transform_of(given.factors), slab, slab)
        else:
            self.locality.apply(given, slab)


class PerturbedScheme:
    """What schemes do alike whose slices need the factors of one perturbed update."""

    update: PerturbedUpdate

    def base(self, step: int) -> int:
        """Return from which step's members the update of a step starts."""
        return step

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:
        """Return which observations the points of a slice hear, and how loudly; empty if all hear all."""
        return self.update.localize(locate)

    def survey(self, given: SliceInput, slab: StoredArray) -> Arrays:
        """Return what the localization needs to know of a prior slice; mostly nothing."""
        return self.update.survey(given, slab)

    def conclude(self, given: StepInput, factors: Arrays, found: Iterable[Arrays]) -> Prepared:  # noqa: ARG002 - factors say all
        """Return what the localization makes of its surveys; mostly nothing."""
        return told(self.update.conclude(factors, found))

    def apply(self, given: SliceInput, slab: StoredArray) -> Arrays:
        """Turn a prior slice (n_members, n) into the posterior, in place; nothing is carried."""
        self.update.apply(given, slab)
        return {}
