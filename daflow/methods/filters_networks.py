"""Localization of a filter: what is observed, and from where, may change from cycle to cycle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from daflow.methods.locality import Locality
from daflow.numerics.localization.cells import LocalizationPlan
from daflow.ports import Arrays, SliceInput, SlicePoints, StoredArray


@dataclass(frozen=True, eq=False)
class Networks:
    """The localities of a filter, one for each network of observations that there is.

    Law: with one network it does what its locality does.

    Parameters
    ----------
    localities
        One a network.
    of_step
        The number of the network that each step has.
    """

    localities: tuple[Locality, ...]
    of_step: tuple[int, ...]

    @property
    def surveys(self) -> bool:
        """Whether the whole prior of a step has to be looked at before any slice is updated."""
        return any(each.surveys for each in self.localities)

    def at(self, step: int) -> Locality:
        """Return the locality of a step's observations."""
        return self.localities[self.of_step[step]]

    def plan(self, points: SlicePoints) -> Arrays:
        """Return what is known of a slice by where its points lie, for every network."""
        return {
            f"network_{number}_{name}": array
            for number, locality in enumerate(self.localities)
            for name, array in locality.plan(points).items()
        }

    def survey(self, given: SliceInput, slab: StoredArray) -> Arrays:
        """Return what `conclude` needs to know of a prior slice, which is left as it is."""
        return self.at(given.step).survey(self.placed(given), slab)

    def conclude(self, step: int, factors: Arrays, found: Iterable[Arrays]) -> Arrays:
        """Return what `apply` needs to know of all slices, to be added to the factors."""
        return self.at(step).conclude(factors, found)

    def apply(self, given: SliceInput, slab: StoredArray) -> None:
        """Turn a prior slice (n_members, n) into the posterior, in place."""
        self.at(given.step).apply(self.placed(given), slab)

    def which_hear(self, given: SliceInput) -> LocalizationPlan:
        """Return which observations of the step the points of a slice hear, of localities by distance."""
        return LocalizationPlan.from_arrays(self.placed(given).places)

    def placed(self, given: SliceInput) -> SliceInput:
        """Return what a slice is given, with what is known of it by the locality of its step alone."""
        prefix = f"network_{self.of_step[given.step]}_"
        mine = {
            name.removeprefix(prefix): array
            for name, array in given.places.items()
            if name.startswith(prefix)
        }
        return replace(given, places=mine)
