"""What travels between a pool and its workers, and what a worker does with it beside the work."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock

from distributed import Worker, get_worker

from daflow.execution.lifetimes import Life, how_many_fit, life, term
from daflow.records import Outcome, Task

Work = Callable[[Sequence[Task]], list[Outcome]]
"""What a worker does with tasks: some of them, at least one, and in their order. It is sent by name: a
function of this package, bound to a path."""

LEAVES_AFTER: float = 1.0
"""Seconds in which what a worker has said last comes home before it goes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says of a group."""

    outcomes: list[Outcome]
    refused: Life | None = None
    """What the worker has left, where that is too little to begin anything."""


@dataclass(slots=True)
class _Process:
    """What this worker process has said of itself."""

    said: str = ""
    """To which topic it has told its life."""
    leaves: bool = False


_process, _one_at_a_time = _Process(), Lock()


def carry_out_and_tell(
    work: Work, topic: str, number: int, tasks: Sequence[Task], seconds: float | None
) -> Answer:
    """Do tasks on a worker, as far as its time suffices, and tell the pool what became of them.

    What is told travels with the message that the task is done, for which the pool then need not ask.
    """
    worker = get_worker()
    answer = _answer(worker, work, topic, tasks, seconds)
    worker.log_event(topic, (number, pickle.dumps(answer)))
    return answer


def _answer(worker: Worker, work: Work, topic: str, tasks: Sequence[Task], seconds: float | None) -> Answer:
    left = life(worker.lifetime)
    if left is None:
        return Answer(work(tasks))
    if _process.said != topic:
        # At once: where the first task outlives its worker there is no later.
        _process.said = topic
        worker.log_event(topic, (worker.address, pickle.dumps(left)))
    n = how_many_fit(left.left, seconds, len(tasks))
    if not n:
        leave(worker)
        return Answer([], refused=left)
    with term(left.left, seconds):
        return Answer(work(tasks[:n]))


def leave(worker: Worker) -> None:
    """Let a worker go once it is idle, and its nanny with it, so that its job ends and another can begin."""
    with _one_at_a_time:
        leaves, _process.leaves = _process.leaves, True
    if not leaves:
        worker.loop.add_callback(worker.loop.call_later, LEAVES_AFTER, _close, worker)


def _close(worker: Worker) -> None:
    if worker.state.executing or worker.state.ready:  # what its other threads have begun does fit
        worker.loop.call_later(LEAVES_AFTER, _close, worker)
    else:
        closing = partial(worker.close_gracefully, reason="too little time is left for another task")
        worker.loop.add_callback(closing)


def not_among(tasks: Sequence[Task], outcomes: Sequence[Outcome]) -> list[Task]:
    """Return the tasks that have no outcome among these, in their order."""
    home = {outcome.task for outcome in outcomes}
    return [task for task in tasks if task not in home]
