"""A pool without workers: for tests, and to look at a run step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from daflow.execution.pools.sending import Work, not_among
from daflow.names import Phase, Status
from daflow.ports import UnderWay
from daflow.records import Outcome, Task


class InlinePool:
    """Carries tasks out in this process, when their outcomes are asked for, in a shuffled order.

    Parameters
    ----------
    work
        What to do with tasks.
    slots
        How many groups it takes at once.
    seed
        Orders the groups; ``None`` leaves them in the order they came in.
    """

    def __init__(self, work: Work, slots: int = 1, seed: int | None = None) -> None:
        self._work, self._slots, self._waiting = work, slots, list[Sequence[Task]]()
        self._order = None if seed is None else Random(seed)  # noqa: S311 - no cryptography
        self._back: list[Task] = []
        self._cut: list[Outcome] = []

    @property
    def slots(self) -> int:
        """How many groups can run at once."""
        return self._slots

    @property
    def n_out(self) -> int:
        """How many groups wait to be carried out."""
        return len(self._waiting)

    def expect(self, n_waiting: int, phase: Phase | None = None) -> None:
        """Take no notice: there is nobody to bring."""

    def submit(self, tasks: Sequence[Task], seconds: float | None = None) -> None:  # noqa: ARG002
        """Take tasks, to be done together, however long they take: this process has no end of its own."""
        self._waiting.append(tasks)

    def wait(self, seconds: float) -> list[Outcome]:  # noqa: ARG002 - nothing here takes waiting
        """Carry out one of the groups and return its outcomes, with what was cut before."""
        cut, self._cut = self._cut, []
        if not self._waiting:
            return cut
        index = self._order.randrange(len(self._waiting)) if self._order else 0
        tasks = self._waiting.pop(index)
        outcomes = self._work(tasks)
        self._back += not_among(tasks, outcomes)
        return cut + outcomes

    def sent_back(self) -> list[Task]:
        """Return the tasks that were not done."""
        back, self._back = self._back, []
        return back

    def running(self) -> Mapping[Task, UnderWay]:
        """Return nothing: whoever asks is not at work."""
        return {}

    def cut(self, task: Task, reason: str) -> None:
        """Take a task out of those that wait; the others of its group are sent back."""
        for tasks in self._waiting:
            if task in tasks:
                self._waiting.remove(tasks)
                self._cut.append(Outcome(task, Status.CANCELLED, reason=reason))
                self._back += not_among(tasks, self._cut)
                return

    def avoid(self, host: str) -> None:
        """Take no notice: there is no other host."""

    def recall(self) -> None:
        """Take back everything: nothing begins before it is asked for."""
        self._back += [task for tasks in self._waiting for task in tasks]
        self._waiting.clear()

    def close(self) -> None:
        """Forget the tasks that were not carried out."""
        self._waiting.clear()
        self._cut.clear()
