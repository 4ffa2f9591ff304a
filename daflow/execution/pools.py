"""Pools: where tasks are sent and outcomes come from."""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

from distributed import Client, Future
from distributed.scheduler import KilledWorker

from daflow.errors import DaflowError, PoolError
from daflow.names import Status
from daflow.records import Outcome, Task

Work = Callable[[Task], Outcome]
"""What a worker does with a task. It is sent by name: a function of this package, bound to a path."""

MOST_SENT_AGAIN = 20
"""How often a task that has not begun is sent again: one that kills its worker before it begins must end."""
PATIENCE_SECONDS = 120.0
"""How long a pool may be without a single worker before the run is laid down."""


class InlinePool:
    """Carries tasks out in this process, when their outcomes are asked for, in a shuffled order.

    Parameters
    ----------
    work
        What to do with a task.
    slots
        How many tasks it takes at once.
    seed
        Orders the tasks; ``None`` leaves them in the order they came in.
    """

    def __init__(self, work: Work, slots: int = 1, seed: int | None = None) -> None:
        self._work, self._slots, self._waiting = work, slots, list[Task]()
        self._order = None if seed is None else Random(seed)  # noqa: S311 - no cryptography

    @property
    def slots(self) -> int:
        """How many tasks can run at once."""
        return self._slots

    def submit(self, task: Task) -> None:
        """Take a task."""
        self._waiting.append(task)

    def wait(self, seconds: float) -> list[Outcome]:  # noqa: ARG002 - nothing here takes waiting
        """Carry out one of the tasks and return its outcome."""
        if not self._waiting:
            return []
        index = self._order.randrange(len(self._waiting)) if self._order else 0
        return [self._work(self._waiting.pop(index))]

    def close(self) -> None:
        """Forget the tasks that were not carried out."""
        self._waiting.clear()


class DaskPool:
    """Sends tasks to the workers of a dask scheduler, a few bytes each way.

    The scheduler holds no results: an outcome is taken home and its future dropped at once, so that a
    worker that dies takes nothing finished with it.

    Parameters
    ----------
    client
        Connected to the scheduler.
    work
        What to do with a task; it is pickled by name.
    recover
        Returns the outcome of a task whose worker died, where the worker left word of it.
    has_begun
        Says whether a task whose worker died had begun. One that had only waited there is sent again:
        nothing is held against it.
    """

    def __init__(
        self,
        client: Client,
        work: Work,
        recover: Callable[[Task], Outcome | None],
        has_begun: Callable[[Task], bool] = lambda task: True,  # noqa: ARG005 - nobody keeps marks
    ) -> None:
        self._client, self._work, self._recover, self._has_begun = client, work, recover, has_begun
        self._sent_again: Counter[Task] = Counter()
        self._home: queue.SimpleQueue[tuple[Task, Future[Outcome]]] = queue.SimpleQueue()
        self._out: dict[Task, Future[Outcome]] = {}
        self._last_worker = time.monotonic()
        self._slots, self._counted = 0, 0.0

    @property
    def slots(self) -> int:
        """How many tasks can run at once now.

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

    def submit(self, task: Task) -> None:
        """Send a task; its key is new each time, so that no result of before is served."""
        key = f"{task.label}-{time.monotonic_ns():x}"
        future = self._client.submit(self._work, task, key=key, pure=False, retries=0)
        self._out[task] = future
        future.add_done_callback(lambda done: self._home.put((task, done)))

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the outcomes that came home, waiting at most so long for the first."""
        outcomes: list[Outcome] = []
        try:
            task, future = self._home.get(timeout=seconds)
            while True:
                outcomes.extend(self._outcome(task, future))
                task, future = self._home.get_nowait()
        except queue.Empty:
            return outcomes

    def _outcome(self, task: Task, future: Future[Outcome]) -> Iterator[Outcome]:
        """Yield the outcome of a task, unless it is sent again."""
        self._out.pop(task, None)
        try:
            yield future.result(timeout=10)
        except KilledWorker as error:
            where = getattr(error.last_worker, "address", "unknown")
            yield from self._of_dead_worker(task, f"the worker at {where} died")
        except Exception as error:  # noqa: BLE001 - told apart by where it comes from
            if future.status == "error":  # the task could not even start: no fault of the member
                told = str(error) if isinstance(error, DaflowError) else repr(error)
                yield Outcome(task, Status.BLOCKED, reason=f"a worker could not start the task: {told}")
            else:  # It was done, but the worker died before its outcome was fetched.
                yield from self._of_dead_worker(task, f"its outcome did not come home: {error!r}")
        finally:
            future.release()

    def _of_dead_worker(self, task: Task, reason: str) -> Iterator[Outcome]:
        self._counted = 0.0  # there is a slot less than there was
        word = self._recover(task)
        if word is None and not self._has_begun(task) and self._sent_again[task] < MOST_SENT_AGAIN:
            self._sent_again[task] += 1
            self.submit(task)
            return
        yield word or Outcome(task, Status.LOST, reason=reason)

    def close(self) -> None:
        """Let go of what is still out; the workers may finish it, which harms nothing."""
        for future in self._out.values():
            future.cancel()
        self._out.clear()
