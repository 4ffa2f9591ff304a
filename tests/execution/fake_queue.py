"""A batch system in this process: elements of arrays are carried out by threads, a few at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from daflow.errors import PoolError
from daflow.execution.member_jobs.batches import note_begun, note_blocked, read_batch
from daflow.execution.queues.job_states import UNKNOWN, JobState
from daflow.names import Status
from daflow.records import Outcome, Task

Do = Callable[[Sequence[Task]], list[Outcome]]


class FakeQueue:
    """Runs what is submitted; ends and troubles are as a test wants them.

    It is its own witness: receipts are a list.
    """

    kind = "fake"
    index = "0"

    def __init__(self, do: Do, *, has_arrays: bool = True, holds: bool = False) -> None:
        self.do, self.has_arrays = do, has_arrays
        self.holds = holds
        """Whether nothing is begun until `begin` or `end` is called."""
        self.receipts: list[Outcome] = []
        self.marks: set[Task] = set()
        self.now: dict[str, JobState] = {}
        self.batches: dict[str, tuple[Path, int]] = {}
        self.submitted: list[tuple[int, int | None]] = []
        self.cancelled: list[str] = []
        self.n_questions = 0
        self.most_at_once = 0
        self.trouble: PoolError | None = None
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._running = 0

    def submit(
        self, script: Path, *, array: int | None = None, at_once: int | None = None, after: str | None = None
    ) -> str:
        """Take elements up."""
        if self.trouble is not None:
            raise self.trouble
        assert after is None
        job = str(len(self.submitted) + 1)
        self.submitted.append((array or 1, at_once))
        limit = threading.BoundedSemaphore(at_once or 1000)
        ids = [job] if array is None else [self.element(job, i) for i in range(array)]
        for index, element in enumerate(ids):
            self.batches[element] = (script.parent, index)
            self.now[element] = JobState("pending", "Priority")
            if not self.holds:
                thread = threading.Thread(target=self._carry_out, args=(element, limit), daemon=True)
                self._threads.append(thread)
                thread.start()
        return job

    def element(self, array: str, index: int) -> str:
        """Return an element's id."""
        return f"{array}_{index}"

    def _carry_out(self, element: str, limit: threading.BoundedSemaphore) -> None:
        with limit:
            with self._lock:
                self._running += 1
                self.most_at_once = max(self.most_at_once, self._running)
            folder, index = self.batches[element]
            batch = read_batch(folder)  # none: its driver has given it up meanwhile
            if batch is not None:
                self.begin(element)
            for outcome in [] if batch is None else self.do(batch.groups[index]):
                if outcome.status is Status.BLOCKED:
                    note_blocked(folder, index, [outcome])
                else:
                    self.receipts.append(outcome)
            with self._lock:
                self._running -= 1
            self.end(element, "COMPLETED")

    def begin(self, element: str) -> None:
        """Let an element begin its first task."""
        folder, index = self.batches[element]
        note_begun(folder, index, "node7")
        batch = read_batch(folder)
        if batch is not None:
            self.marks.add(batch.groups[index][0])
        self.now[element] = JobState("running", host="node7")

    def end(self, element: str, reason: str) -> None:
        """Let an element end."""
        self.now[element] = JobState("ended", reason, "node7")

    def states(self, ids: Iterable[str]) -> Mapping[str, JobState]:
        """Say where they stand."""
        self.n_questions += 1
        if self.trouble is not None:
            raise self.trouble
        return {job: self.now.get(job, UNKNOWN) for job in ids}

    def cancel(self, ids: Iterable[str]) -> None:
        """End them."""
        for job in ids:
            self.cancelled.append(job)
            self.end(job, "CANCELLED")

    def begun(self, tasks: Sequence[Task]) -> Task | None:
        """Return which one was under way."""
        return next((task for task in tasks if task in self.marks), None)

    def under_way(self, groups: Iterable[Sequence[Task]]) -> list[Task]:
        """Return what is under way."""
        return [task for group in groups for task in group if task in self.marks]

    def word(self, tasks: Sequence[Task], begun: Task | None) -> list[Outcome]:
        """Return the receipts of these."""
        return [outcome for outcome in list(self.receipts) if outcome.task in set(tasks)]
