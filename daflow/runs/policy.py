"""What follows when something fails: by how it ended, and how often it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from daflow.names import BLAMELESS, BY_OPERATOR, Status
from daflow.records import Outcome
from daflow.runs.stragglers import StragglerRule

RETRIES: Final[Mapping[Status, int]] = {
    Status.FAILED: 0,
    Status.INVALID: 2,
    Status.TIMED_OUT: 0,
    Status.CANCELLED: 0,
    Status.LOST: 10,
}
"""How many more attempts a task gets after the first that ended so."""
MOST_BLAMELESS: Final = 100
"""How often a task may be lost through nothing that it did: even that must end."""


def retries_of(settings: int | Mapping[Status, int]) -> dict[Status, int]:
    """Return how often what ended so is tried again, by what the workflow says.

    A number is for output that cannot be used, and for lost attempts where it is above their own.
    """
    if isinstance(settings, int):
        lost = max(settings, RETRIES[Status.LOST])
        return {**RETRIES, Status.INVALID: settings, Status.LOST: lost}
    return {**RETRIES, **settings}


@dataclass(frozen=True)
class Policy:
    """What follows when something fails."""

    retries: Mapping[Status, int] = field(default_factory=lambda: RETRIES)
    """End -> how many more attempts a task gets after the first that ended so, within a session (lost
    ones: within a chain of them)."""
    min_members: int = 2
    """With fewer, the run stops."""
    stop_on: frozenset[Status] = frozenset()
    """The ends that stop the run where a member is given up for one; else it goes on without the member."""
    node_failures: int | None = 3
    """So many different members that end badly on a node put it aside: `daflow.runs.nodes.at_fault`."""
    stragglers: StragglerRule | None = None
    """When members are cut off because nearly all others are done; ``None``: never."""

    def gives_up(self, outcomes: Sequence[Outcome]) -> Outcome | None:
        """Return the end for which a task is given up, of all of its bad ends so far; ``None``: it goes on.

        Laws: each end has a count of its own, and so have losses that nothing the task did could have
        brought about; a task that is given up stays so whatever else is told of it.
        """
        if not outcomes:
            return None
        counts: Counter[tuple[Status, bool]] = Counter()
        for outcome in outcomes:
            blameless = outcome.status is Status.LOST and bool(outcome.figures.get(BLAMELESS))
            counts[outcome.status, blameless] += 1
            most = MOST_BLAMELESS if blameless else self.retries.get(outcome.status, 0)
            if counts[outcome.status, blameless] > most:
                return outcome
        return None

    def stops(self, outcome: Outcome) -> bool:
        """Say whether the run stops because a member is given up for this end."""
        return outcome.status in self.stop_on and not outcome.figures.get(BY_OPERATOR)

    def first_stopping(self, given_up: Mapping[int, Outcome]) -> int | None:
        """Return the first member that stops the run by being given up; ``None``: none of them does."""
        return min((index for index, outcome in given_up.items() if self.stops(outcome)), default=None)
