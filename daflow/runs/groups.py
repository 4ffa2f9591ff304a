"""How many tasks go to a worker together: enough to outweigh the sending, few enough to share them out."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Final

from daflow.names import Phase
from daflow.records import Outcome

TARGET_SECONDS: Final = 0.5
"""What a group takes: sending it costs 1 % of that, and so much is done again if its worker is killed."""
LEAST_SECONDS: Final = 0.04
"""A group that takes less costs more to send than another worker gains by having a part of it."""
SHORT_SECONDS: Final = 5.0
"""A worker whose group takes less has the next one waiting, so that it never waits for the driver."""
AHEAD_SECONDS: Final = 0.1
"""What waits at a worker should last so long: shorter groups are sent several at a time, which costs half."""
MOST_AHEAD: Final = 8
"""How many groups wait at a worker at most."""
AT_ONCE: Final[Mapping[Phase, int]] = {Phase.UPDATE: 8, Phase.SMOOTH: 8}
"""How many tasks a worker wants at least, where there are many: slices are read ahead and written behind."""
NEWEST: Final = 0.2
"""The share of the newest task in the running mean of what tasks take."""


class Pace:
    """Seconds that a task of each phase takes: a running mean of those that came home, the newest first."""

    def __init__(self) -> None:
        self._seconds: dict[Phase, float] = {}

    def take(self, outcome: Outcome) -> None:
        """Take in how long an attempt took; one that nobody timed tells nothing."""
        if not outcome.started:
            return
        phase, seconds = outcome.task.phase, outcome.seconds
        before = self._seconds.get(phase, seconds)
        self._seconds[phase] = before + NEWEST * (seconds - before)

    def of(self, phase: Phase) -> float | None:
        """Return what a task of a phase takes; ``None`` before the first one came home."""
        return self._seconds.get(phase)


def group_size(asked: int | None, seconds: float | None, n_waiting: int, slots: int, at_once: int = 1) -> int:
    """Return how many of the tasks that wait go into the next group.

    Laws: at least one and at most all of them; what was asked for is done. Else one, or ``at_once``, until it
    is known what a task takes, and one where a task takes `TARGET_SECONDS` or more; a group that is longer
    than `LEAST_SECONDS` leaves every slot another one of its size; longer tasks never make larger groups.

    Parameters
    ----------
    asked
        What the user asked for; ``None``: what is best.
    seconds
        What a task takes; ``None``: nobody knows yet.
    n_waiting
        How many tasks wait to be sent, at least 1.
    slots
        How many groups can run at once.
    at_once
        How many tasks a worker does better together, whatever they take.
    """
    if asked is not None:
        return min(asked, n_waiting)
    # Halving what is left, slot by slot: the last groups are small, and all slots end together.
    fair = ceil(n_waiting / (2 * max(slots, 1)))
    together = min(at_once, fair)
    if seconds is None or seconds >= TARGET_SECONDS:
        return together
    wanted, least = (int(limit / max(seconds, 1e-6)) for limit in (TARGET_SECONDS, LEAST_SECONDS))
    return min(max(min(wanted, fair), least, together, 1), n_waiting)


def groups_ahead(size: int, seconds: float | None, slots: int) -> int:
    """Return how many groups may be out beyond those that run: a few a slot if they are short, else none.

    What waits behind another task is bound to that worker: where tasks take long, it had better wait here.
    """
    if seconds is None or size * seconds >= SHORT_SECONDS:
        return 0
    return slots * min(max(ceil(AHEAD_SECONDS / max(size * seconds, 1e-6)), 1), MOST_AHEAD)


def worth_sending(room: int, ahead: int) -> bool:
    """Say whether it is time to send groups, with room for so many out of so many that may be out ahead.

    Laws: always where nothing waits at the workers; not for every single group where several may wait.
    """
    return room > ahead // 2
