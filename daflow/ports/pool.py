"""A `Pool` runs tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from daflow.records import Outcome, Task


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

    def submit(self, tasks: Sequence[Task]) -> None:
        """Send tasks of one stage to one worker, together; their outcomes come from `wait`."""
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

    def close(self) -> None:
        """Let the workers go; what they have not finished is left unfinished."""
        ...
