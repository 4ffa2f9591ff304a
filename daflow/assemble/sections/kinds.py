"""What a run has to know of a kind of method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from daflow.config.localization import NoLocalization
from daflow.config.schema import Workflow
from daflow.errors import CombinationError
from daflow.ports import Method, Observations

NO_LOCALIZATION: Final = frozenset({"none"})
EVERY_LOCALIZATION: Final = frozenset({"none", "gain", "cross_covariance", "observation_error"})
"""Of each member's own observations: what weights can multiply."""
BY_DISTANCE: Final = frozenset({"distance"})
EVERY_WEIGHT: Final = frozenset({"distance", "index", "sampling_error", "correlation", "plugin", "product"})
"""The kinds of localization that there are."""


def inversion_of(workflow: Workflow) -> str | None:
    """Return how the method inverts the covariance of the predictions; None: it has a way of its own."""
    found: str | None = getattr(workflow.method, "inversion", None)
    return found


def _never(workflow: Workflow) -> bool:  # noqa: ARG001 - whatever the workflow says
    return False


def _accept(workflow: Workflow) -> None:  # noqa: ARG001 - whatever the workflow says
    return


def _nothing(workflow: Workflow) -> str:  # noqa: ARG001 - whatever the workflow says
    return ""


@dataclass(frozen=True, slots=True)
class Kind:
    """How a method is made, and what a run has to know before it is."""

    make: Callable[[Workflow, Observations], Method]
    """Returns the method, fitted to the observations."""
    n_steps: Callable[[Workflow], int]
    """How many updates it makes, at most."""
    surveys: Callable[[Workflow], bool] = _never
    """Whether it looks at the whole prior before it updates any slice."""
    localizations: frozenset[str] = NO_LOCALIZATION
    """What the weights of a localization may multiply (``localization.tapers``); ``none``: there is none."""
    weights: frozenset[str] = EVERY_WEIGHT
    """Which kinds of localization these may be of."""
    ends_by_itself: Callable[[Workflow], bool] = _never
    """Whether it may make fewer updates than `n_steps`."""
    about: Callable[[Workflow], str] = _nothing
    """Says in a few words what there is to say beside kind, steps and inversion."""
    starts_from_prior: bool = False
    """Whether every update starts from the prior's members, not from those of the step before."""
    one_transform: bool = False
    """Whether its whole update is one transform of the members where it is not localized."""
    check: Callable[[Workflow], None] = _accept
    """Looks whether the other sections go with the method; raises `daflow.errors.CombinationError`."""

    def summary(self, workflow: Workflow) -> str:
        """Return in a line what the method is, for reports."""
        n_steps = self.n_steps(workflow)
        steps = f"{'at most ' if self.ends_by_itself(workflow) else ''}{n_steps} step{'s' * (n_steps > 1)}"
        parts = (workflow.method.kind, steps, inversion_of(workflow), self.about(workflow))
        return ", ".join(part for part in parts if part)


def localization_of(workflow: Workflow) -> str:
    """Return what the weights of the localization multiply; ``none`` where there is none."""
    settings = workflow.localization
    return "none" if isinstance(settings, NoLocalization) else str(getattr(settings, "tapers", "gain"))


def check_localization(kind: Kind, workflow: Workflow) -> None:
    """See that the method takes the localization.

    Raises
    ------
    daflow.errors.CombinationError
        It does not; the message names what it takes.
    """
    asked, sort = localization_of(workflow), workflow.localization.kind
    if asked in kind.localizations and (asked == "none" or sort in kind.weights):
        return
    taken = [name for name in sorted(EVERY_LOCALIZATION - NO_LOCALIZATION) if name in kind.localizations]
    said = [*(["localization.kind: none"] if "none" in kind.localizations else [])]
    sorts = (
        f"localization.kind: {' | '.join(sorted(kind.weights))} with " if kind.weights < EVERY_WEIGHT else ""
    )
    said += [f"{sorts}localization.tapers: {' | '.join(taken)}"] if taken else []
    name, got = workflow.method.kind, f"localization.kind: {sort}"
    raise CombinationError(
        f"method.kind {name} cannot be localized so" if taken else f"method.kind {name} cannot be localized",
        got=got if asked == "none" else f"{got}, localization.tapers: {asked}",
        allowed=", or ".join(said),
        do="change the section localization, or choose a method that takes it: es, es_mda and eki take all",
    )
