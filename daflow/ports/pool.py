"""A `Pool` runs tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from daflow.names import Phase
from daflow.records import Outcome, Task


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A task that a worker has begun."""

    host: str
    """Where; empty where nobody knows."""
    seconds: float
    """How long ago it began, as far as it was seen."""


class Pool(Protocol):
    """Workers."""

    @property
    def slots(self) -> int:
        """How many groups of tasks can run at once now."""
        ...

    @property
    def n_out(self) -> int:
        """How many groups are out: running, or waiting at a worker."""
        ...

    def expect(self, n_waiting: int, phase: Phase | None = None) -> None:
        """Hear how many tasks wait to be submitted, and of which phase they are.

        Who brings workers wants to know; and `slots` are those for this phase, where phases differ.
        """
        ...

    def submit(self, tasks: Sequence[Task], seconds: float | None = None) -> None:
        """Send tasks of one stage to one worker, together; their outcomes come from `wait`.

        Parameters
        ----------
        tasks
            At least one.
        seconds
            What one of them may take, at the upper end; ``None``: nobody knows. A worker whose time is over
            before that begins none of them: they are `sent_back`.
        """
        ...

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the outcomes that came home, waiting at most so long for the first thing that comes home."""
        ...

    def sent_back(self) -> list[Task]:
        """Return the tasks that came home as they went: not begun, or not kept, and nobody's fault.

        Each is returned once. Laws: every task that was submitted comes home once, with its outcome or here;
        the death of a worker is held against the one task that was under way there.
        """
        ...

    def running(self) -> Mapping[Task, UnderWay]:
        """Return what is under way, as far as it is known: short tasks may be over before they are seen."""
        ...

    def cut(self, task: Task, reason: str) -> None:
        """End a task that is out: it comes home as cancelled, for this reason.

        Laws: what was sent together with it comes home unharmed, or is `sent_back`; a task that is not out
        is none of the pool's.
        """
        ...

    def avoid(self, host: str) -> None:
        """Send nothing more to a host, as long as there are others."""
        ...

    def recall(self) -> None:
        """Take back what is out and has not begun, as far as that is known: it is `sent_back`.

        Law: what is under way is not touched.
        """
        ...

    def close(self) -> None:
        """Let the workers go; what they have not finished is left unfinished."""
        ...
