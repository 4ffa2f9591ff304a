"""Pools: where tasks are sent and outcomes come from."""

from __future__ import annotations

import pickle
import queue
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import Protocol

from distributed import Future, get_worker
from distributed.scheduler import KilledWorker

from daflow.errors import DaflowError, PoolError
from daflow.execution.crews import Crew
from daflow.names import Status
from daflow.records import Outcome, Task

Work = Callable[[Sequence[Task]], list[Outcome]]
"""What a worker does with tasks: some of them, at least one, and in their order. It is sent by name: a
function of this package, bound to a path."""

MOST_SENT_AGAIN = 20
"""How often a task that has not begun is sent again: one that kills its worker before it begins must end."""
PATIENCE_SECONDS = 120.0
"""How long a pool may be without a single worker before the run is laid down."""


class Witness(Protocol):
    """Who knows what became of tasks whose worker died."""

    def begun(self, tasks: Sequence[Task]) -> Task | None:
        """Return which one of these was under way; ``None``: none of them alone."""
        ...

    def word(self, tasks: Sequence[Task], begun: Task | None) -> list[Outcome]:
        """Return the outcomes of those of which the worker left word."""
        ...


class Unwatched:
    """Nobody keeps marks: what was sent first is taken to have been under way, and no word is left."""

    def begun(self, tasks: Sequence[Task]) -> Task | None:
        """Return the first task."""
        return tasks[0]

    def word(self, tasks: Sequence[Task], begun: Task | None) -> list[Outcome]:  # noqa: ARG002
        """Return nothing."""
        return []


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

    @property
    def slots(self) -> int:
        """How many groups can run at once."""
        return self._slots

    @property
    def n_out(self) -> int:
        """How many groups wait to be carried out."""
        return len(self._waiting)

    def submit(self, tasks: Sequence[Task]) -> None:
        """Take tasks, to be done together."""
        self._waiting.append(tasks)

    def wait(self, seconds: float) -> list[Outcome]:  # noqa: ARG002 - nothing here takes waiting
        """Carry out one of the groups and return its outcomes."""
        if not self._waiting:
            return []
        index = self._order.randrange(len(self._waiting)) if self._order else 0
        tasks = self._waiting.pop(index)
        outcomes = self._work(tasks)
        self._back += _not_among(tasks, outcomes)
        return outcomes

    def sent_back(self) -> list[Task]:
        """Return the tasks that were not done."""
        back, self._back = self._back, []
        return back

    def close(self) -> None:
        """Forget the tasks that were not carried out."""
        self._waiting.clear()


def _not_among(tasks: Sequence[Task], outcomes: Sequence[Outcome]) -> list[Task]:
    home = {outcome.task for outcome in outcomes}
    return [task for task in tasks if task not in home]


def _work_and_tell(work: Work, topic: str, number: int, tasks: Sequence[Task]) -> list[Outcome]:
    """Do tasks on a worker and tell the pool what became of them.

    What is told travels with the message that the task is done, for which the pool then need not ask.
    """
    outcomes = work(tasks)
    get_worker().log_event(topic, (number, pickle.dumps(outcomes)))
    return outcomes


class DaskPool:
    """Sends tasks to the workers of a dask scheduler, a few bytes each way.

    The scheduler holds no results: an outcome is taken home and its future dropped at once, so that a
    worker that dies takes nothing finished with it.

    Parameters
    ----------
    crew
        The workers.
    work
        What to do with tasks; it is pickled by name.
    witness
        Knows what became of tasks whose worker died. What had only waited there, and what was done but not
        kept, comes back as `sent_back`: nothing is held against it.
    """

    def __init__(self, crew: Crew, work: Work, witness: Witness) -> None:
        self._client, self._work, self._witness = crew.client, work, witness
        self._sent_again: Counter[Task] = Counter()
        self._home: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._unsent: list[tuple[int, Sequence[Task]]] = []
        self._out: dict[int, tuple[Sequence[Task], Future[list[Outcome]]]] = {}
        self._back: list[Task] = []
        self._last_worker = time.monotonic()
        self._slots, self._counted = 0, 0.0
        self._number = 0
        self._topic = f"daflow-{uuid.uuid4().hex}"
        self._told: dict[int, list[Outcome]] = {}
        self._client.subscribe_topic(self._topic, self._hear)

    def _hear(self, event: tuple[float, tuple[int, bytes]]) -> None:
        number, outcomes = event[1]
        self._told[number] = pickle.loads(outcomes)  # noqa: S301 - a task of ours wrote it

    @property
    def slots(self) -> int:
        """How many groups can run at once now.

        Raises
        ------
        daflow.errors.PoolError
            There has been no worker for a long time, or the scheduler is gone.
        """
        now = time.monotonic()
        if now - self._counted > 1.0:
            self._slots, self._counted = self._count(), now
        if self._slots:
            self._last_worker = now
        elif now - self._last_worker > PATIENCE_SECONDS:
            raise PoolError(
                "the pool has no workers",
                got=f"none for {PATIENCE_SECONDS:.0f} s",
                do="see why they end (memory, walltime) in the logs, then `daflow resume` the run",
            )
        return self._slots

    def _count(self) -> int:
        try:
            return sum(self._client.nthreads().values())
        except (OSError, TimeoutError) as error:
            raise PoolError(
                "the dask scheduler cannot be reached",
                got=str(error),
                do="start it again, then `daflow resume` the run",
            ) from error

    @property
    def n_out(self) -> int:
        """How many groups are out: running, waiting at a worker, or about to be sent."""
        return len(self._out) + len(self._unsent)

    def submit(self, tasks: Sequence[Task]) -> None:
        """Send tasks to one worker, with the next `wait`: groups that go together cost half."""
        self._number += 1
        self._unsent.append((self._number, tuple(tasks)))

    def _send(self) -> None:
        """Send what is to be sent; keys are new each time, so that no result of before is served."""
        if not self._unsent:
            return
        groups, self._unsent = self._unsent, []
        numbers, tasks = zip(*groups, strict=True)
        keys = [f"{group[0].label}-{self._topic[-6:]}{number:x}" for number, group in groups]
        tell = partial(_work_and_tell, self._work, self._topic)
        futures = self._client.map(tell, numbers, tasks, key=keys, pure=False, retries=0)
        self._out |= dict(zip(numbers, zip(tasks, futures, strict=True), strict=True))
        for number, future in zip(numbers, futures, strict=True):
            future.add_done_callback(lambda _, number=number: self._home.put(number))

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the outcomes that came home, waiting at most so long for the first thing to come home."""
        self._send()
        outcomes: list[Outcome] = []
        try:
            number = self._home.get(timeout=seconds)
            while True:
                outcomes += self._take_home(number)
                number = self._home.get_nowait()
        except queue.Empty:
            return outcomes

    def sent_back(self) -> list[Task]:
        """Return the tasks that came home as they went; each is returned once."""
        back, self._back = self._back, []
        return back

    def _take_home(self, number: int) -> list[Outcome]:
        if number not in self._out:
            return []
        tasks, future = self._out.pop(number)
        outcomes = self._outcomes(number, tasks, future)
        future.release()
        self._back += _not_among(tasks, outcomes)
        return outcomes

    def _outcomes(self, number: int, tasks: Sequence[Task], future: Future[list[Outcome]]) -> list[Outcome]:
        told = self._told.pop(number, None)
        if told is not None:
            return told
        try:
            home: list[Outcome] = future.result(timeout=10)
        except KilledWorker as error:
            where = getattr(error.last_worker, "address", "unknown")
            return self._of_dead_worker(tasks, f"the worker at {where} died")
        except Exception as error:  # noqa: BLE001 - told apart by where it comes from
            if future.status == "error":  # the task could not even start: no fault of the member
                reason = str(error) if isinstance(error, DaflowError) else repr(error)
                reason = f"a worker could not start the task: {reason}"
                return [Outcome(tasks[0], Status.BLOCKED, reason=reason)]
            # It was done, but the worker died before its outcome was fetched.
            return self._of_dead_worker(tasks, f"its outcome did not come home: {error!r}")
        return home

    def _of_dead_worker(self, tasks: Sequence[Task], reason: str) -> list[Outcome]:
        self._counted = 0.0  # there is a slot less than there was
        begun = self._witness.begun(tasks)
        outcomes = self._witness.word(tasks, begun)
        left = _not_among(tasks, outcomes)
        if begun is None and not outcomes:
            self._sent_again[tasks[0]] += 1
            if self._sent_again[tasks[0]] > MOST_SENT_AGAIN:
                begun = tasks[0]
        if begun in left:
            outcomes.append(Outcome(begun, Status.LOST, reason=reason))
        return outcomes

    def close(self) -> None:
        """Let go of what is still out; the workers may finish it, which harms nothing."""
        for _, future in self._out.values():
            future.cancel()
        self._out.clear()
        self._unsent.clear()
        with suppress(OSError, TimeoutError, ValueError):
            self._client.unsubscribe_topic(self._topic)
