"""What a queue says of a job, in words that are the same for all queues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

JobPhase = Literal["pending", "running", "ended", "unknown"]

COMPLETED: Final = "COMPLETED"
FAILED: Final = "FAILED"
CANCELLED: Final = "CANCELLED"
TIMEOUT: Final = "TIMEOUT"
OUT_OF_MEMORY: Final = "OUT_OF_MEMORY"
NODE_FAIL: Final = "NODE_FAIL"
PREEMPTED: Final = "PREEMPTED"

BLAMELESS: Final = frozenset({CANCELLED, TIMEOUT, NODE_FAIL, PREEMPTED})
"""Ends that would have come whatever the job was doing."""


@dataclass(frozen=True, slots=True)
class JobState:
    """Where a job stands."""

    phase: JobPhase
    """``unknown``: the queue does not know the job, or no more."""
    reason: str = ""
    """Of one that ended: ``COMPLETED``, ``FAILED``, ``CANCELLED``, ``TIMEOUT``, ``OUT_OF_MEMORY``,
    ``NODE_FAIL`` or ``PREEMPTED``, nothing where the queue does not tell; of one that waits: why, in the
    queue's words."""
    host: str = ""
    """The nodes that it has, or had, in the queue's words."""

    @property
    def gone(self) -> bool:
        """Whether nothing of it can still be running."""
        return self.phase in {"ended", "unknown"}


UNKNOWN: Final = JobState("unknown")


def together(states: Iterable[JobState]) -> JobState:
    """Return where an array stands as a whole: it runs as long as an element does.

    One that has ended, ended as the first element did that did not complete.
    """
    found = list(states)
    for phase in ("running", "pending"):
        for state in found:
            if state.phase == phase:
                return state
    ended = [state for state in found if state.phase == "ended"]
    bad = [state for state in ended if state.reason != COMPLETED]
    return (bad or ended or [UNKNOWN])[0]


def of_those_asked(
    ids: Iterable[str], found: Mapping[str, JobState], array_of: Mapping[str, str]
) -> dict[str, JobState]:
    """Return the state of each job that was asked for, `UNKNOWN` where nothing was found of it.

    Parameters
    ----------
    ids
        Jobs, elements of arrays, or whole arrays.
    found
        The state of each job and element that the queue told of.
    array_of
        The array that each element found is of.
    """
    elements: dict[str, list[JobState]] = {}
    for element, array in array_of.items():
        elements.setdefault(array, []).append(found[element])
    return {
        job: found[job] if job in found else together(elements[job]) if job in elements else UNKNOWN
        for job in ids
    }
