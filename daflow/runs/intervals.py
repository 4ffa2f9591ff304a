"""Sets of numbers that have few gaps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import chain


class Intervals(AbstractSet[int]):
    """A set of numbers that is kept as its runs: which members of very many are done, when nearly all are.

    Laws: it equals any set of the same numbers. Memory O(runs); `in` O(log runs); to make it O(n log n).

    Parameters
    ----------
    numbers
        What is in it, in any order.
    """

    __slots__ = ("_n", "_runs", "_starts")

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._runs = tuple(_runs(sorted(set(numbers))))
        self._starts = tuple(run.start for run in self._runs)
        self._n = sum(map(len, self._runs))

    def __contains__(self, number: object) -> bool:
        """Say whether a number is in it."""
        if not isinstance(number, int):
            return False
        place = bisect_right(self._starts, number)
        return place > 0 and number in self._runs[place - 1]

    def __iter__(self) -> Iterator[int]:
        """Return the numbers in order."""
        return chain.from_iterable(self._runs)

    def __len__(self) -> int:
        """Return how many there are."""
        return self._n

    def __repr__(self) -> str:
        """Return the runs."""
        return f"Intervals({', '.join(f'{run.start}..{run.stop - 1}' for run in self._runs)})"


def _runs(ordered: list[int]) -> Iterator[range]:
    """Yield runs without a gap of different numbers in order."""
    if not ordered:
        return
    if ordered[-1] - ordered[0] < len(ordered):
        yield range(ordered[0], ordered[-1] + 1)
        return
    first = before = ordered[0]
    for number in ordered[1:]:
        if number > before + 1:
            yield range(first, before + 1)
            first = number
        before = number
    yield range(first, before + 1)
