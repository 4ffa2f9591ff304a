"""The tasks of an analysis: where the state lies, what a step needs once, and one slice's update."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import cast

from daflow.execution.tasks.change import Change
from daflow.execution.tasks.pipeline import LANES, in_lanes
from daflow.execution.tasks.places import locate
from daflow.execution.tasks.smoothing import Smoothing, smoothing_of, truth_at_start
from daflow.execution.tasks.truth import ERROR_AFTER, ERROR_BEFORE, TrueSlice, squared_errors
from daflow.execution.tasks.workbench import (
    Stopwatch,
    Workbench,
    carried_of,
    concluded_of,
    factors_of,
    survey_of,
)
from daflow.names import LAST, LOCALIZED_AWAY, TRUTH, Phase
from daflow.ports import Arrays, FloatArray, Prepared, SliceInput, StepInput, StoredArray, Surveying
from daflow.records import Task


def write_coordinates(bench: Workbench, task: Task, watch: Stopwatch) -> str:
    """Write where the numbers of a slice lie."""
    where = bench.store.layout.slice(task.index)
    with watch.on("write"):
        return bench.store.write_coordinates(where, locate(bench.store.layout, where))


def prepare(bench: Workbench, task: Task, watch: Stopwatch) -> str:
    """Do what the step needs once, in the space of observations and members, and keep it."""
    given = _step_input(bench, task, watch)
    return _keep(bench, factors_of(task.step), watch, lambda: bench.method.prepare(given))


def conclude(bench: Workbench, task: Task, watch: Stopwatch) -> str:
    """Put together what the surveys of all slices found, in their order, and keep it."""
    given, layout = _step_input(bench, task, watch), bench.store.layout
    factors = bench.kept(factors_of(task.step), f"what was prepared for step {task.step}")

    def found() -> Iterator[Arrays]:
        for index in range(layout.n_slices):
            what = f"what the survey of slice {index} found at step {task.step}"
            yield bench.kept(survey_of(task.step, layout.slice(index)), what)

    name = concluded_of(task.step)
    return _keep(bench, name, watch, lambda: _surveying(bench).conclude(given, factors, found()))


def _step_input(bench: Workbench, task: Task, watch: Stopwatch) -> StepInput:
    members = bench.store.read_survivors(task.step)

    def predicted(start: int, stop: int) -> FloatArray:
        with watch.on("read"):
            return bench.store.read_predicted(task.step, members, start, stop)

    before = bench.factors(task.step - 1) if task.step else {}
    return StepInput(task.step, members, predicted, before)


def _keep(bench: Workbench, name: str, watch: Stopwatch, make: Callable[[], Prepared]) -> str:
    """Make what a step shares and keep it; its figures go home with the outcome."""
    with watch.on("compute"):
        prepared = make()
    watch.figures["compute_seconds"] -= watch.figures.get("read_seconds", 0.0)
    with watch.on("write"):
        bench.store.write_arrays(name, prepared.arrays)
    watch.figures |= prepared.figures
    if prepared.last:
        watch.figures[LAST] = 1.0
    return ""


def _surveying(bench: Workbench) -> Surveying:
    # The plan has these phases for such methods only.
    return cast("Surveying", bench.method)


def do_slice(bench: Workbench, task: Task, watch: Stopwatch) -> str:
    """Update one slice of every surviving member and write it to the next step; or survey, or smooth it."""
    lane = _Lane(bench, BoundedSemaphore(1))
    try:
        return lane.do(task, watch)
    finally:
        lane.close()


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a task."""

    task: Task
    started: float
    """Seconds since the epoch."""
    seconds: float
    figures: Mapping[str, float]
    digest: str
    """Of what was written, which is durable; empty where something went wrong."""
    error: BaseException | None = None


def do_slices(
    bench: Workbench, tasks: Sequence[Task], n_lanes: int | None = None, cores: int = 1
) -> Iterator[Attempt]:
    """Update, survey or smooth slices as a pipeline: one is computed while others are read and written.

    Laws: a slice gives what `do_slice` gives; each is durable when it is yielded; one that fails does not
    keep others from being tried; as many are computed at a time as the task has cores. Memory: a slab a lane,
    whatever the number of slices, and one more (float64) for each core where float32 is stored and a
    variable transformed; the workbench keeps the slabs for the next slices.

    Parameters
    ----------
    bench
        The run's objects.
    tasks
        Slices, one a task.
    n_lanes
        How many slices are under way at most; by default one that is read, one that is written, and one a
        core.
    cores
        How many processors the task owns.

    Yields
    ------
    Attempt
        As soon as it is done, in whatever order.
    """
    computing = BoundedSemaphore(cores)
    lanes: list[_Lane] = []

    def lane() -> Callable[[Task], Attempt]:
        own = _Lane(bench, computing)
        lanes.append(own)

        def do(task: Task) -> Attempt:
            watch, started, clock = Stopwatch(), time.time(), time.perf_counter()
            digest, error = "", None
            try:
                digest = own.do(task, watch)
            except BaseException as raised:  # noqa: BLE001 - it is the receiver's to judge, in its own thread
                error = raised
            return Attempt(task, started, time.perf_counter() - clock, watch.figures, digest, error)

        return do

    try:
        yield from in_lanes(tasks, lane, n_lanes or LANES - 1 + cores)
    finally:
        for own in lanes:
            own.close()


class _Lane:
    """Does one slice after the other in memory of its own."""

    def __init__(self, bench: Workbench, computing: BoundedSemaphore) -> None:
        self._bench, self._computing = bench, computing
        self._members: dict[int, tuple[int, ...]] = {}
        self._slab: StoredArray | None = None
        self._smoothing: tuple[int, Smoothing] | None = None

    def do(self, task: Task, watch: Stopwatch) -> str:
        doing = {Phase.UPDATE: self._update, Phase.SURVEY: self._survey, Phase.SMOOTH: self._smooth}
        return doing[task.phase](task, watch)

    def _update(self, task: Task, watch: Stopwatch) -> str:
        bench = self._bench
        given, slab = self._read(task, watch)
        left: Arrays = {}

        def apply(values: StoredArray) -> None:
            nonlocal left
            left = bench.method.apply(given, values)

        values, truth = slab[:, : given.where.size], self._truth(given, watch)
        with self._computing, watch.on("compute"):
            change = Change(bench.store.layout, bench.margins, given.where, given.members)
            watch.figures |= squared_errors(ERROR_BEFORE, values, truth)
            watch.figures |= change.make(values, apply)
            watch.figures |= squared_errors(ERROR_AFTER, values, truth)
        if LOCALIZED_AWAY in given.places:
            watch.figures[LOCALIZED_AWAY] = float(given.places[LOCALIZED_AWAY])
        with watch.on("write"):
            if left:
                bench.store.write_arrays(carried_of(task.step + 1, given.where), left)
            return bench.store.write_slice(task.step + 1, given.where, given.members, slab)

    def _truth(self, given: SliceInput, watch: Stopwatch) -> TrueSlice | None:
        """Return where the truth of a filter's twin experiment is at the time of the analysis."""
        bench, where, cycle = self._bench, given.where, self._bench.store.layout.cycle(given.step)
        if bench.twin is None or cycle is None or not cycle.goes_on:
            return None
        with watch.on("read"):
            values = bench.store.forecasts.read_member(given.step, TRUTH, where.start, where.stop)
        return TrueSlice(values, bench.store.layout.segments(where))

    def _survey(self, task: Task, watch: Stopwatch) -> str:
        bench = self._bench
        given, slab = self._read(task, watch)
        with self._computing, watch.on("compute"):
            change = Change(bench.store.layout, bench.margins, given.where, given.members)
            found = _surveying(bench).survey(given, change.forward(slab[:, : given.where.size]))
        with watch.on("write"):
            bench.store.write_arrays(survey_of(task.step, given.where), found)
        return ""

    def _smooth(self, task: Task, watch: Stopwatch) -> str:
        """Correct a slice of the state that a step starts from by the analyses of its lag."""
        bench, where = self._bench, self._bench.store.layout.slice(task.index)
        with watch.on("read"):
            smoothing = self._smoothing_of(task.step)
            slab = self._slab_for(len(smoothing.members))
            bench.store.read_slice(task.step, where, smoothing.members, slab)
            truth = None
            if bench.twin is not None:
                values = truth_at_start(bench, task.step, where)
                truth = TrueSlice(values, bench.store.layout.segments(where))
        with self._computing, watch.on("compute"):
            change = Change(bench.store.layout, bench.margins, where, smoothing.members)
            # Spreads and moves of all rows are not told: some are of members that were lost on the way.
            watch.figures["clipped"] = change.make(slab[:, : where.size], smoothing.apply)["clipped"]
            smoothed = smoothing.without_lost(slab)
            watch.figures |= squared_errors(ERROR_AFTER, smoothed[:, : where.size], truth)
        with watch.on("write"):
            return bench.store.smoothed.write_slice(task.step, where, smoothing.kept, smoothed)

    def _smoothing_of(self, step: int) -> Smoothing:
        """Return how a step is smoothed; found once a lane and step."""
        if self._smoothing is None or self._smoothing[0] != step:
            self._smoothing = (step, smoothing_of(self._bench, step))
        return self._smoothing[1]

    def _read(self, task: Task, watch: Stopwatch) -> tuple[SliceInput, StoredArray]:
        """Read a slice of the members that an update starts from, and all that it needs beside."""
        bench = self._bench
        where = bench.store.layout.slice(task.index)
        with watch.on("read"):
            members = self._survivors(task.step)
            slab = self._slab_for(len(members))
            # A filter updates the state that the step's forecast has ended at.
            cycle = bench.store.layout.cycle(task.step)
            prior = bench.store.forecasts if cycle is not None and cycle.goes_on else bench.store
            prior.read_slice(bench.method.base(task.step), where, members, slab)
            shared = bench.factors if task.phase is Phase.UPDATE else bench.prepared
            carried = bench.store.read_arrays(carried_of(task.step, where)) if task.step else None
            places = bench.places(where)
            given = SliceInput(task.step, where, members, shared(task.step), places, carried or {})
        return given, slab

    def _survivors(self, step: int) -> tuple[int, ...]:
        if step not in self._members:
            self._members = {step: self._bench.store.read_survivors(step)}
        return self._members[step]

    def _slab_for(self, n_members: int) -> StoredArray:
        if self._slab is None or len(self._slab) != n_members:
            self._slab = None  # before there is another one
            self._slab = self._idle(n_members)
        return self._slab

    def _idle(self, n_members: int) -> StoredArray:
        idle = self._bench.idle_slabs
        while idle:
            with suppress(IndexError):  # another lane was faster
                slab = idle.pop()
                if len(slab) == n_members:
                    return slab
        return self._bench.store.slab(n_members)

    def close(self) -> None:
        """Leave the memory to other lanes."""
        if self._slab is not None:
            self._bench.idle_slabs.append(self._slab)
            self._slab = None
