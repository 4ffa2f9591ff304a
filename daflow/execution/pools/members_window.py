"""Forecasts that take more than a thread: workers get only as many at once as they can carry."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from daflow.execution.pools.members_apart import MODEL_PHASES
from daflow.names import Phase, Status
from daflow.ports import Pool, UnderWay
from daflow.records import Outcome, Task


class MembersWindow:
    """Holds what runs the model back until workers carry another one; all other tasks pass.

    A scheduler would give such tasks to workers whose cores are taken and let them wait there (tasks with
    resources are never queued at the scheduler): so they wait here, where they are bound to nobody.

    Law: never more groups of forecasts are at the workers than these carry.

    Parameters
    ----------
    pool
        The workers.
    at_once
        Returns how many groups of forecasts they carry now.
    """

    def __init__(self, pool: Pool, at_once: Callable[[], int]) -> None:
        self._pool, self._at_once = pool, at_once
        self._held: deque[tuple[Sequence[Task], float | None]] = deque()
        self._group_of: dict[Task, int] = {}
        self._sizes: Counter[int] = Counter()
        self._number = 0
        self._phase: Phase | None = None
        self._cut: list[Outcome] = []
        self._back: list[Task] = []

    @property
    def slots(self) -> int:
        """How many groups can run at once now, of the phase that was last heard of."""
        slots = self._pool.slots
        return min(slots, self._at_once()) if slots and self._phase in MODEL_PHASES else slots

    @property
    def n_out(self) -> int:
        """How many groups are out: running, waiting at a worker, or held here."""
        return self._pool.n_out + len(self._held)

    def expect(self, n_waiting: int, phase: Phase | None = None) -> None:
        """Hear how many tasks wait to be submitted, and of which phase."""
        self._phase = phase or self._phase
        self._pool.expect(n_waiting + len(self._held), phase)

    def submit(self, tasks: Sequence[Task], seconds: float | None = None) -> None:
        """Send tasks of one stage to one worker, together, as soon as there is room for them."""
        self._phase = tasks[0].phase
        if self._phase in MODEL_PHASES:
            self._held.append((tasks, seconds))
        else:
            self._pool.submit(tasks, seconds)

    def _send(self) -> None:
        if not self._held:
            return
        room = self._at_once() - len(self._sizes)
        while self._held and room > 0:
            tasks, seconds = self._held.popleft()
            self._number += 1
            self._sizes[self._number] = len(tasks)
            self._group_of |= dict.fromkeys(tasks, self._number)
            self._pool.submit(tasks, seconds)
            room -= 1

    def _home(self, task: Task) -> None:
        number = self._group_of.pop(task, None)
        if number is not None:
            self._sizes[number] -= 1
            if not self._sizes[number]:
                del self._sizes[number]

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the outcomes that came home, waiting at most so long for the first thing that comes home."""
        self._send()
        outcomes, self._cut = self._cut, []
        outcomes += self._pool.wait(0.0 if outcomes or self._back else seconds)
        for outcome in outcomes:
            self._home(outcome.task)
        self._take_back()
        self._send()
        return outcomes

    def _take_back(self) -> None:
        for task in self._pool.sent_back():
            self._home(task)
            self._back.append(task)

    def sent_back(self) -> list[Task]:
        """Return the tasks that came home as they went; each is returned once."""
        self._take_back()
        back, self._back = self._back, []
        return back

    def running(self) -> Mapping[Task, UnderWay]:
        """Return what is under way, as far as it is known."""
        return self._pool.running()

    def cut(self, task: Task, reason: str) -> None:
        """End a task that is out, or held here."""
        for group in self._held:
            if task in group[0]:
                self._held.remove(group)
                self._cut.append(Outcome(task, Status.CANCELLED, reason=reason))
                self._back += [other for other in group[0] if other != task]
                return
        self._pool.cut(task, reason)

    def avoid(self, host: str) -> None:
        """Send nothing more to a host, as long as there are others."""
        self._pool.avoid(host)

    def recall(self) -> None:
        """Take back what is held here, and at the workers what has not begun."""
        self._back += [task for tasks, _ in self._held for task in tasks]
        self._held.clear()
        self._pool.recall()

    def close(self) -> None:
        """Let the workers go; what is held here is not begun."""
        self._held.clear()
        self._cut.clear()
        self._pool.close()


_room: dict[int, threading.BoundedSemaphore] = {}
_one_at_a_time = threading.Lock()


@contextmanager
def room_for(phase: Phase, at_once: int | None) -> Iterator[None]:
    """Wait in a worker until its process carries another forecast; nothing else has to wait.

    The window of the pool counts what all workers carry together: that one of them gets two while another
    has none is rare, and then they follow each other here.

    Parameters
    ----------
    phase
        Of the task that wants to begin.
    at_once
        How many forecasts this process carries; ``None``: as many as come.
    """
    if at_once is None or phase not in MODEL_PHASES:
        yield
        return
    with _one_at_a_time:
        semaphore = _room.setdefault(at_once, threading.BoundedSemaphore(at_once))
    with semaphore:
        yield
