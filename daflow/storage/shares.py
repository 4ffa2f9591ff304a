"""Many short calls to the disk, shared by threads that are kept: to start one costs as much as a call."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import Final, TypeVar

MOST_THREADS: Final = 16
"""That a process keeps for this; they are started when they are needed."""

Thing = TypeVar("Thing")


def by_threads(do: Callable[[Thing], object], things: Iterable[Thing], n_threads: int) -> None:
    """Do something with each thing, in the caller's thread and others: who is free takes the next.

    Laws: each thing is taken once, in order, as long as nothing goes wrong; when this returns or raises,
    nothing is under way any more; after an error no other thing is begun. It may be called from within
    itself: a caller never waits for a thread that has not begun.

    Parameters
    ----------
    do
        May raise; one of the errors is raised here.
    things
        What it is done with.
    n_threads
        How many threads share them, the caller's included.
    """
    left = deque(things)

    def work() -> None:
        try:
            while left:
                try:
                    thing = left.popleft()
                except IndexError:  # another thread was faster
                    return
                do(thing)
        except BaseException:
            left.clear()
            raise

    n_others = min(n_threads, len(left)) - 1
    others = [_threads(os.getpid()).submit(work) for _ in range(n_others)]
    try:
        work()
    finally:
        begun = [other for other in others if not other.cancel()]
        wait(begun)
    for other in begun:
        other.result()


@cache
def _threads(_process: int) -> ThreadPoolExecutor:
    """Return the threads of this process: a fork does not inherit them."""
    return ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="daflow-disk")
