"""How many tasks go to a worker together: enough to outweigh the sending, few enough to share them out."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from typing import Final

from daflow.names import BY_WALLTIME, Phase, Status
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
REMEMBERED: Final = 64
"""Of so many of the newest tasks it is remembered what they took."""
DEVIATIONS: Final = 3.0
"""A task takes hardly ever so many standard deviations more than the mean."""


def upper(seconds: Sequence[float]) -> float:
    """Return what a task takes at the upper end, by what others took.

    The smaller of the largest and of the mean and three standard deviations: one that hung among many that
    did not is no measure.

    Laws: between the mean and the largest; equal times give that time; it scales with the unit, and does not
    depend on the order.
    """
    largest, mean = max(seconds), sum(seconds) / len(seconds)
    spread = sqrt(sum((each - mean) ** 2 for each in seconds) / len(seconds))
    return min(largest, mean + DEVIATIONS * spread)


class Pace:
    """Seconds that a task of each phase takes, by those that came home: a running mean, and the upper end."""

    def __init__(self) -> None:
        self._seconds: dict[Phase, float] = {}
        self._newest: dict[Phase, deque[float]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        self._outlasted: dict[Phase, float] = {}

    def take(self, outcome: Outcome) -> None:
        """Take in how long an attempt took; one that nobody timed, or that was ended, tells nothing.

        One that a worker's walltime ended tells that tasks may take longer than that.
        """
        phase, seconds = outcome.task.phase, outcome.seconds
        if outcome.figures.get(BY_WALLTIME):
            self._outlasted[phase] = max(seconds, self._outlasted.get(phase, 0.0))
        if not outcome.started or outcome.status in {Status.LOST, Status.CANCELLED}:
            return
        if outcome.status is Status.OK:
            self._newest[phase].append(seconds)
        before = self._seconds.get(phase, seconds)
        self._seconds[phase] = before + NEWEST * (seconds - before)

    def of(self, phase: Phase) -> float | None:
        """Return what a task of a phase takes; ``None`` before the first one came home."""
        return self._seconds.get(phase)

    def most(self, phase: Phase) -> float | None:
        """Return what a task of a phase takes at the upper end; ``None``: nobody knows.

        As long as none has come home, it is longer than what workers had no time for.
        """
        newest = self._newest.get(phase)
        return upper(newest) if newest else self._outlasted.get(phase)


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
