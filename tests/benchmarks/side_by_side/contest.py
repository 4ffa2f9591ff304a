"""Contenders side by side: one process, interleaved A B C A B C, medians of paired ratios.

A figure taken alone says more about the neighbours of the machine than about the code. So every round runs
each contender once, one after the other, and what counts is the median over the rounds of the ratio of two
contenders within a round.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

import numpy as np
import psutil
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Figures = Mapping[str, float]
"""Named figures of one run: ``cpu`` and ``wall`` in seconds, and what else a contender tells of itself."""

SAME: Final = 1e-9
"""How far contenders may differ that compute the same, relative to the largest number."""
SLOW_SECONDS: Final = 20.0
"""A contender that takes longer is run in the first two rounds only, and one that takes three times that
long only once: its warm-up is its figure."""


def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Contender:
    """One way to do what the case asks for.

    Parameters
    ----------
    name
        Unique within its case.
    run
        What is timed. It may return figures of its own, which take the place of those measured.
    before, after
        Not timed: put the arrays back, remove the files.
    result
        What was computed, members first, to be compared with what the others of the case computed;
        ``None`` where a contender computes something else, or draws its own perturbations.
    scale
        What the seconds are multiplied by, where a contender is run on a part.
    threads
        BLAS threads.
    note
        What a reader of the table has to know.
    """

    name: str
    run: Callable[[], Figures | None]
    before: Callable[[], object] = nothing
    after: Callable[[], object] = nothing
    result: Callable[[], NDArray[Any]] | None = None
    scale: float = 1.0
    threads: int = 1
    note: str = ""


@dataclass(frozen=True)
class Aim:
    """What a figure of a contender has to reach, alone or beside others.

    With ``against``, the value is the ratio to the fastest of these, or for ``at least`` their share of ours;
    without, the figure itself.
    """

    ours: str
    bound: float
    against: tuple[str, ...] = ()
    figure: str = "cpu"
    sense: str = "at most"
    """``at most`` or ``at least``; ``beside`` where no aim is set and the ratio is only told."""
    unit: str = ""

    def met(self, value: float) -> bool | None:
        """Say whether a value reaches the aim; ``None`` where there is none."""
        if self.sense == "beside":
            return None
        return value <= self.bound if self.sense == "at most" else value >= self.bound


@dataclass(frozen=True)
class Case:
    """What is measured, how large, and what it has to show.

    Parameters
    ----------
    name
        A word or two, for the command line.
    title
        For the table; the sizes are filled in: ``"{n_state:,} numbers a member"``.
    make
        Returns the contenders of that size, given a folder for their files; ours comes last.
    full, small
        The sizes of ``make bench``, and those that the tests run through once.
    limit
        What bounds it, in words.
    memory
        The contenders whose peak is taken as well, each in a process of its own.
    rounds
        How many rounds after the warm-up.
    """

    name: str
    title: str
    make: Callable[..., Sequence[Contender]]
    full: Mapping[str, Any]
    small: Mapping[str, Any]
    aims: tuple[Aim, ...] = ()
    limit: str = ""
    memory: tuple[str, ...] = ()
    rounds: int = 5


def cpu_of_this_process() -> float:
    """Return the seconds of processor time that this process has used, and its children that are gone."""
    gone = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in gone)


def cpu_of_children() -> float:
    """Return the seconds of processor time of the children alive, with those of their own that are gone."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            times = child.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def cpu_of_the_family() -> float:
    """Return the seconds of processor time of this process and all its children, alive or gone."""
    return cpu_of_this_process() + cpu_of_children()


def measured(contender: Contender) -> dict[str, float]:
    """Run a contender once and return its figures."""
    contender.before()
    with threadpool_limits(contender.threads):  # type: ignore[no-untyped-call]
        children = cpu_of_children()
        cpu, wall = cpu_of_this_process(), time.perf_counter()
        told = contender.run() or {}
        wall, cpu = time.perf_counter() - wall, cpu_of_this_process() - cpu
        cpu += cpu_of_children() - children
    figures = {"cpu": cpu * contender.scale, "wall": wall * contender.scale} | dict(told)
    contender.after()
    return figures


def difference(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Return the largest difference of two arrays relative to the largest number, row by row: no temporaries.

    Laws: 0 for an array and itself; not finite where one of the two is not.
    """
    largest = max(float(np.abs(row).max()) for row in ours)
    return max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True)) / largest


def paired_ratio(ours: Mapping[int, Figures], theirs: Mapping[int, Figures], figure: str) -> float:
    """Return the median over the rounds that both ran of ours over theirs; of the medians where none was.

    Laws: 1 for a contender beside itself; inverse when the two change places and the rounds are odd; a
    round that is slow for both alike changes nothing.
    """
    rounds = ours.keys() & theirs.keys()
    if not rounds:
        return middle(ours, figure) / middle(theirs, figure)
    return median(ours[number][figure] / theirs[number][figure] for number in sorted(rounds))


def middle(rounds: Mapping[int, Figures], figure: str) -> float:
    """Return the median of a figure."""
    return median(figures[figure] for figures in rounds.values())


@dataclass
class Contest:
    """The rounds of a case, as they are run.

    Parameters
    ----------
    case, contenders
        What is compared; the last one is ours.
    tell
        Called with a line for whoever waits.
    """

    case: Case
    contenders: Sequence[Contender]
    tell: Callable[[str], object]
    rounds: dict[str, dict[int, dict[str, float]]] = field(default_factory=dict)
    """Contender -> round -> figures; round 0 is the warm-up, which counts for those too slow for more."""
    differences: dict[str, float] = field(default_factory=dict)
    _number: int = -1
    _reference: NDArray[Any] | None = None

    def others(self) -> None:
        """Begin a round: run all but the last contender, and make the last one ready."""
        self._number += 1
        for contender in self.contenders[:-1]:
            self._run(contender)

    def ours(self) -> None:
        """End a round: run the last contender."""
        self._run(self.contenders[-1])

    def _run(self, contender: Contender) -> None:
        before = self.rounds.setdefault(contender.name, {})
        if self._number and not self._is_due(before, contender.scale):
            return
        figures = measured(contender)
        before[self._number] = figures
        if self._number == 0 and contender.result is not None:
            self._compare(contender.name, contender.result())
        self.tell(
            f"  {self._number} {contender.name}: {figures['cpu']:.3g} s CPU, {figures['wall']:.3g} s wall"
        )

    def _is_due(self, before: Mapping[int, Figures], scale: float) -> bool:
        seconds = before[0]["wall"] / scale
        most = 1 if seconds > 3 * SLOW_SECONDS else 3 if seconds > SLOW_SECONDS else self._number + 1
        return len(before) < most

    def _compare(self, name: str, result: NDArray[Any]) -> None:
        if self._reference is None:
            self._reference = result.copy()
        self.differences[name] = difference(self._reference, result)
        if not self.differences[name] <= SAME:
            raise AssertionError(f"{self.case.name}: {name} differs by {self.differences[name]:.3g}")

    def add(self, name: str, figures: Figures) -> None:
        """Add figures that were taken outside the rounds to every round of a contender."""
        for measured_then in self.rounds[name].values():
            measured_then.update(figures)

    def counted(self, name: str) -> dict[int, dict[str, float]]:
        """Return the rounds of a contender that count: all after the warm-up, or that where it is all."""
        rounds = self.rounds[name]
        return {number: figures for number, figures in rounds.items() if number} or rounds

    def reached(self, aim: Aim) -> dict[str, Any] | None:
        """Return what an aim asks and what was reached; ``None`` where nobody it is measured by was here."""
        if aim.ours not in self.rounds:
            return None
        ours = self.counted(aim.ours)
        there = [name for name in aim.against if name in self.rounds]
        if aim.against and not there:
            return None
        value = middle(ours, aim.figure)
        told: dict[str, Any] = {"who": aim.ours, "ours": value, "theirs": None, "against": None}
        if there:
            fastest = min(there, key=lambda name: middle(self.counted(name), aim.figure))
            pair = (ours, self.counted(fastest))
            value = paired_ratio(*(pair[::-1] if aim.sense == "at least" else pair), aim.figure)
            told |= {"theirs": middle(self.counted(fastest), aim.figure), "against": fastest}
        asked = {name: getattr(aim, name) for name in ("figure", "bound", "sense", "unit")}
        return asked | told | {"value": value, "met": aim.met(value)}

    def record(self, size: Mapping[str, Any]) -> dict[str, Any]:
        """Return all that was measured, as plain JSON."""
        contenders = {
            contender.name: {
                "rounds": len(self.counted(contender.name)),
                "note": contender.note,
                "figures": {
                    figure: middle(self.counted(contender.name), figure)
                    for figure in next(iter(self.counted(contender.name).values()))
                },
            }
            for contender in self.contenders
        }
        return {
            "case": self.case.name,
            "title": self.case.title.format(**size),
            "limit": self.case.limit,
            "size": {
                name: value if isinstance(value, int | float | str) else str(value)
                for name, value in size.items()
            },
            "contenders": contenders,
            "differences": self.differences,
            "aims": [reached for aim in self.case.aims if (reached := self.reached(aim)) is not None],
        }
