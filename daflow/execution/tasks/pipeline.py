"""Tasks in lanes: while one computes, others read and write."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Final, TypeVar

LANES: Final = 3
"""One that reads, one that computes, one that writes; each has memory for one task."""

Given = TypeVar("Given")
Made = TypeVar("Made")


def in_lanes(
    tasks: Sequence[Given], lane: Callable[[], Callable[[Given], Made]], n_lanes: int = LANES
) -> Iterator[Made]:
    """Yield what becomes of tasks, each as soon as it is done.

    Laws: every task is done once, as long as the results are taken; a task begins only after all that come
    before it have begun; when the iterator is closed, no task is under way any more.

    Parameters
    ----------
    tasks
        What is to be done.
    lane
        Makes a lane: a function that does one task after the other, in a thread of its own, and returns
        rather than raises what goes wrong.
    n_lanes
        How many lanes there are at most; a single task is done in the caller's thread.
    """
    if len(tasks) <= 1 or n_lanes == 1:
        yield from map(lane(), tasks)
        return
    waiting, done = deque(tasks), SimpleQueue[Made]()

    def run(do: Callable[[Given], Made]) -> None:
        while waiting:
            try:
                task = waiting.popleft()
            except IndexError:  # another lane was faster
                return
            done.put(do(task))

    threads = [Thread(target=run, args=(lane(),), daemon=True) for _ in range(min(n_lanes, len(tasks)))]
    try:
        for thread in threads:
            thread.start()
        for _ in tasks:
            yield done.get()
    finally:
        waiting.clear()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
