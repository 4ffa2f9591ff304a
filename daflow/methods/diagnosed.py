"""Diagnostics around any method: what a step's predictions and observations say of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Final, cast

import numpy as np

from daflow.methods.observed import Observed
from daflow.names import LOCALIZED_AWAY
from daflow.numerics.diagnostics.innovations import innovation_figures
from daflow.numerics.localization.cells import LocalizationPlan
from daflow.ports import (
    Arrays,
    FloatArray,
    Method,
    Prepared,
    SliceInput,
    SlicePoints,
    StepInput,
    Surveying,
)

CHI_SQUARE: Final = "chi_square"
SIGNAL: Final = "dfs"
RANK: Final = "effective_rank"
MISFIT: Final = "misfit"
UNDIAGNOSED: Final = "undiagnosed"
"""Figures of a preparation, in the order of `daflow.numerics.diagnostics.innovations.InnovationFigures`;
the last one, 1, where something kept the others from being found."""

_PLAN: Final = frozenset(part.name for part in fields(LocalizationPlan))


def diagnosed(method: Method, observed: Callable[[int], Observed]) -> Method:
    """Return a method that tells more figures of each step, and surveys where the method does.

    Parameters
    ----------
    method
        The method.
    observed
        What is observed at a step: all that was predicted, whatever the method makes of it.
    """
    return (DiagnosedSurvey if hasattr(method, "survey") else Diagnosed)(method, observed)


@dataclass(frozen=True, eq=False)
class Diagnosed:
    """A method whose preparations have figures of the innovations, and its places one of the localization.

    Cost: another pass over the predictions, n_obs n_members^2; R is made and factored again.

    Laws: the update has the same bits; the method's own figures are all there, and where names are the same
    they are the method's; whatever goes wrong, the preparation is the method's.
    """

    method: Method
    observed: Callable[[int], Observed]

    @property
    def n_steps(self) -> int:
        """How many updates the method makes at most."""
        return self.method.n_steps

    def base(self, step: int) -> int:
        """Return from which step's members the update of a step starts."""
        return self.method.base(step)

    def prepare(self, given: StepInput) -> Prepared:
        """Return what the method prepares, with figures of how well predictions and observations agree."""
        prepared = self.method.prepare(given)
        try:
            found = self._figures(given)
        except Exception:  # noqa: BLE001 - the update is prepared: nothing that is told of it may cost it
            found = {UNDIAGNOSED: 1.0}
        return replace(prepared, figures={**found, **prepared.figures})

    def _figures(self, given: StepInput) -> dict[str, float]:
        observed = self.observed(given.step)
        found = innovation_figures(len(given.members), given.predicted, observed.values, observed.error)
        named = zip((CHI_SQUARE, SIGNAL, RANK, MISFIT), found, strict=True)
        return {name: value for name, value in named if np.isfinite(value)}

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:
        """Return what the method makes of where a slice lies, and what share of its pairs it leaves out."""
        places = self.method.localize(locate)
        if not places.keys() >= _PLAN:
            return places
        return {**places, LOCALIZED_AWAY: np.array(localized_away(LocalizationPlan.from_arrays(places)))}

    def apply(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Turn a prior slice (n_members, n) into the posterior, in place."""
        return self.method.apply(_for_method(given), slab)


@dataclass(frozen=True, eq=False)
class DiagnosedSurvey(Diagnosed):
    """The same of a method that surveys."""

    def survey(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Return what `conclude` needs to know of a prior slice (n_members, n), which is left as it is."""
        return self._surveying.survey(_for_method(given), slab)

    def conclude(self, given: StepInput, factors: Arrays, found: Iterable[Arrays]) -> Prepared:
        """Return what `apply` needs to know of all slices."""
        return self._surveying.conclude(given, factors, found)

    @property
    def _surveying(self) -> Surveying:
        return cast("Surveying", self.method)


def _for_method(given: SliceInput) -> SliceInput:
    """Return a slice's input as the method knows it."""
    if LOCALIZED_AWAY not in given.places:
        return given
    places = {name: array for name, array in given.places.items() if name != LOCALIZED_AWAY}
    return replace(given, places=places)


def localized_away(plan: LocalizationPlan) -> float:
    """Return the share of pairs of a number of the state and an observation that do not hear each other.

    Laws: from 0, where all hear all, to 1; the weights that are 0 are counted.
    """
    n_pairs = plan.n_state * plan.n_obs
    if n_pairs == 0:
        return 0.0
    heard = int(np.count_nonzero(plan.weights))
    for group in plan.groups():
        if group.untapered is not None:
            points, obs, _ = group.untapered
            heard += obs.size * (points.size + sum(cell[0].size for cell in group.tapered))
    return 1.0 - heard / n_pairs
