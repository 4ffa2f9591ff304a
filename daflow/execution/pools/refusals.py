"""Workers that refuse tasks for want of time: when that leads nowhere, the run must not go round for ever."""

from __future__ import annotations

from typing import Final

from daflow.errors import OutOfTime, PoolError
from daflow.execution.lifetimes import MARGIN_SECONDS, MARGIN_SHARE, STARTING_SECONDS, Life, never_fits

ENOUGH: Final = 3
"""So many workers in a row whose whole life is too short are no accident."""
ROUNDS: Final = 4
"""So many refusals in a row for each worker that there is lead nowhere either."""


class Refusals:
    """The refusals since a worker last took something up.

    Laws: nothing is wrong as long as workers take tasks up; one refusal a worker is enough where its whole
    life was too short, and a bounded number in any case.
    """

    def __init__(self) -> None:
        self._too_short: set[str] = set()
        self._n = 0
        self._last: tuple[float, Life] | None = None

    def heard(self, address: str, seconds: float | None, life: Life) -> None:
        """Take in that a worker refused tasks that take so many seconds each."""
        self._n += 1
        self._last = (seconds or 0.0, life)
        if seconds is not None and never_fits(life.whole, seconds):
            self._too_short.add(address)

    def over(self) -> None:
        """Take in that a worker took something up."""
        if self._n:
            self._too_short.clear()
            self._n, self._last = 0, None

    def check(self, n_workers: int) -> None:
        """See that it leads somewhere.

        Parameters
        ----------
        n_workers
            How many there were at once, at most.

        Raises
        ------
        daflow.errors.PoolError
            It does not.
        """
        n = max(n_workers, 1)
        leads_nowhere = len(self._too_short) >= min(n, ENOUGH) or self._n >= ROUNDS * max(n, ENOUGH)
        if leads_nowhere and self._last is not None:
            raise _too_long(*self._last)

    def explain(self) -> PoolError | None:
        """Return why there are no workers any more; ``None``: none has refused anything of late."""
        if self._last is None:
            return None
        seconds, life = self._last
        if never_fits(life.whole, seconds):
            return _too_long(seconds, life)
        return OutOfTime(
            "workers had too little time left for another member, and no others have come",
            got=_told(seconds, life),
            do="start workers with more time, then `daflow resume` the run: nothing that is done is lost",
        )


def _too_long(seconds: float, life: Life) -> PoolError:
    return PoolError(
        "members take longer than workers have time",
        got=_told(seconds, life),
        do="ask for a longer walltime (execution.walltime) or make members shorter, then `daflow resume` "
        "the run: nothing that is done is lost",
    )


def _told(seconds: float, life: Life) -> str:
    """Return what a member needs and what a worker has: that may be too little for the shortest member."""
    needs = f"{seconds:.2g}" if seconds < 10 else f"{seconds:.0f}"
    whole, left = f"{life.whole:.0f}", f"{max(life.left, 0):.0f}"
    return (
        f"a member needs {needs} s, a worker's job lasts {whole} s and had {left} s left when one was sent; "
        f"{STARTING_SECONDS:.0f} s are reckoned for a worker's start, {MARGIN_SECONDS:.0f} s and "
        f"{MARGIN_SHARE:.0%} of a member's time are kept in hand"
    )
