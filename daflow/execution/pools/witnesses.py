"""Who knows what became of tasks whose worker died."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from daflow.records import Outcome, Task


class Witness(Protocol):
    """Who knows what workers are at, and what became of tasks whose worker died."""

    def begun(self, tasks: Sequence[Task]) -> Task | None:
        """Return which one of these was under way; ``None``: none of them alone. It is told once."""
        ...

    def under_way(self, groups: Iterable[Sequence[Task]]) -> list[Task]:
        """Return the tasks of these groups that are under way now, at most one a group."""
        ...

    def word(self, tasks: Sequence[Task], begun: Task | None) -> list[Outcome]:
        """Return the outcomes of those of which the worker left word."""
        ...


class Unwatched:
    """Nobody keeps marks: what was sent first is taken to have been under way, and no word is left."""

    def begun(self, tasks: Sequence[Task]) -> Task | None:
        """Return the first task."""
        return tasks[0]

    def under_way(self, groups: Iterable[Sequence[Task]]) -> list[Task]:
        """Return the first task of each group."""
        return [tasks[0] for tasks in groups]

    def word(self, tasks: Sequence[Task], begun: Task | None) -> list[Outcome]:  # noqa: ARG002
        """Return nothing."""
        return []
