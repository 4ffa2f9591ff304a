"""Two pools as one: one for the forecasts of members, one for everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from daflow.names import Phase
from daflow.ports import Pool, UnderWay
from daflow.records import Outcome, Task

MODEL_PHASES: Final = frozenset({Phase.TRUTH, Phase.FORECAST})
"""What runs the model: the truth of a twin experiment as well."""


class MembersApart:
    """Sends what runs the model to a pool of its own, and all other tasks to the ordinary workers.

    Law: what holds for each of the two holds for both together.

    Parameters
    ----------
    members
        Where the model runs.
    others
        Where all other tasks go.
    """

    def __init__(self, members: Pool, others: Pool) -> None:
        self._members, self._others = members, others
        self._phase: Phase | None = None

    def _of(self, phase: Phase | None) -> Pool:
        return self._members if phase in MODEL_PHASES else self._others

    @property
    def slots(self) -> int:
        """How many groups can run at once now, of the phase that was last heard of."""
        return self._of(self._phase).slots

    @property
    def n_out(self) -> int:
        """How many groups are out."""
        return self._members.n_out + self._others.n_out

    def expect(self, n_waiting: int, phase: Phase | None = None) -> None:
        """Hear how many tasks wait to be submitted, and of which phase."""
        self._phase = phase or self._phase
        for pool in (self._members, self._others):
            # Workers that have nothing to do while jobs run the model need not be brought.
            pool.expect(n_waiting if pool is self._of(self._phase) else 0, phase)

    def submit(self, tasks: Sequence[Task], seconds: float | None = None) -> None:
        """Send tasks of one stage to one worker or job, together."""
        self._phase = tasks[0].phase
        self._of(self._phase).submit(tasks, seconds)

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the outcomes that came home, waiting at most so long for the first thing that comes home.

        It is waited for where something is out; both pools look after their own at every call.
        """
        waits, looks = self._members, self._others
        if not waits.n_out:
            waits, looks = looks, waits
        outcomes = looks.wait(0.0)
        return outcomes + waits.wait(0.0 if outcomes else seconds)

    def sent_back(self) -> list[Task]:
        """Return the tasks that came home as they went."""
        return [*self._members.sent_back(), *self._others.sent_back()]

    def running(self) -> Mapping[Task, UnderWay]:
        """Return what is under way, as far as it is known."""
        return {**self._members.running(), **self._others.running()}

    def cut(self, task: Task, reason: str) -> None:
        """End a task that is out."""
        self._of(task.phase).cut(task, reason)

    def avoid(self, host: str) -> None:
        """Send nothing more to a host, as long as there are others."""
        self._members.avoid(host)
        self._others.avoid(host)

    def recall(self) -> None:
        """Take back what is out and has not begun."""
        self._members.recall()
        self._others.recall()

    def close(self) -> None:
        """Let workers go, and jobs as they were asked for."""
        try:
            self._members.close()
        finally:
            self._others.close()
