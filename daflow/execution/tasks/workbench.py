"""What a worker has at hand: built once a process from the run's folder, used by every task."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from daflow.errors import StoreError
from daflow.execution.tasks.places import locate, places_of, read_places, write_places
from daflow.names import Phase
from daflow.numerics.priors.transforms import Transform
from daflow.ports import Arrays, FloatArray, Method, Model, Observations, ObservationTable, Store, StoredArray
from daflow.records import StateSlice


def factors_of(step: int) -> str:
    """Return under which name the store keeps what a step's updates share."""
    return f"step={step}/factors"


def concluded_of(step: int) -> str:
    """Return under which name the store keeps what the surveys of a step came to."""
    return f"step={step}/concluded"


def survey_of(step: int, where: StateSlice) -> str:
    """Return under which name the store keeps what the survey of a slice found."""
    return f"step={step}/survey/slice={where.index:05d}"


def carried_of(step: int, where: StateSlice) -> str:
    """Return under which name the store keeps what a slice's update left for this step."""
    return f"step={step}/carried/slice={where.index:05d}"


View = Callable[[FloatArray], FloatArray]
"""Turns a variable as it is updated into what a model sees, of the same shape."""


def rows_of(table: ObservationTable, which: range) -> ObservationTable:
    """Return consecutive rows of a table."""
    return {name: column[which.start : which.stop] for name, column in table.items()}


class Prior(Protocol):
    """Where members come from."""

    def pieces(self, member: int) -> Iterator[FloatArray]:
        """Return a member's parameters in pieces that follow each other along ``state``."""
        ...


class Twin(Protocol):
    """The observer of a twin experiment's truth."""

    def table(self) -> ObservationTable:
        """Return what is to be observed."""
        ...

    def observe(self, predicted: FloatArray) -> Observations:
        """Return the observations of a truth that predicts this: with noise, and its standard deviation."""
        ...


class MethodMaker(Protocol):
    """Makes the method once the observations are there."""

    def __call__(self, observations: Observations) -> Method:
        """Return the method that fits these observations."""
        ...


@dataclass(frozen=True)
class Margins:
    """How one variable is updated: the space it is updated in, and what it is clipped to if asked."""

    transform: Transform
    clip: tuple[float, float] | None = None


@dataclass
class Workbench:
    """A run's objects, as a worker uses them.

    Parameters
    ----------
    folder
        The run's folder.
    margins
        One for each variable, in the order of the layout.
    keys
        The key of each stage's inputs.
    twin
        ``None`` where the observations come from a file.
    views
        Variable -> what a model sees of it, where that is not the variable as it is updated.
    timeout
        Seconds that a forecast may take; ``None`` where the model keeps time itself, or nobody does.
    missing
        The share of its predictions that a member may miss; ``None``: none, and one that does is invalid.
    """

    folder: Path
    seed: int
    store: Store
    model: Model
    prior: Prior
    make_method: MethodMaker
    margins: tuple[Margins, ...]
    keys: Mapping[tuple[Phase, int], str]
    twin: Twin | None = None
    timeout: float | None = None
    missing: float | None = None
    views: Mapping[str, View] = field(default_factory=dict)
    _kept: dict[str, Any] = field(default_factory=dict)

    def writing_to(self, store: Store) -> Workbench:
        """Return this workbench with another store to write to; all that is kept is shared."""
        return replace(self, store=store)

    @property
    def observations(self) -> Observations:
        """What was observed; read once a process."""
        found: Observations = self._once("observations", self.store.read_observations)
        return found

    @property
    def idle_slabs(self) -> list[StoredArray]:
        """Memory of slices that are done, for the next: new memory costs more than the arithmetic."""
        found: list[StoredArray] = self._once("slabs", list[StoredArray])
        return found

    @property
    def questions(self) -> ObservationTable:
        """The observation table as a model sees it: without the answers."""
        found: ObservationTable = self._once("questions", self._questions)
        return found

    def questions_of(self, step: int) -> ObservationTable:
        """Return what a step's forecast is asked: one cycle's rows in a filter; the last one read is kept."""
        layout = self.store.layout
        if not layout.cycles:
            return self.questions
        return self._last("asked", step, lambda: rows_of(self.questions, layout.obs_of(step)))

    def _questions(self) -> ObservationTable:
        table = self.observations.table
        return {name: column for name, column in table.items() if name not in {"value", "error_std"}}

    @property
    def method(self) -> Method:
        """The method, fitted to the observations once a process."""
        found: Method = self._once("method", lambda: self.make_method(self.observations))
        return found

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def prepared(self, step: int) -> Arrays:
        """Return what was prepared for a step; the last one read is kept.

        Raises
        ------
        daflow.errors.StoreError
            Nothing was.
        """
        return self._last("prepared", step, lambda: self._read_kept(factors_of(step), step))

    def factors(self, step: int) -> Arrays:
        """Return what was prepared for a step with what its surveys came to; the last one read is kept.

        Raises
        ------
        daflow.errors.StoreError
            Nothing was.
        """
        if (Phase.CONCLUDE, step) not in self.keys:
            return self.prepared(step)
        return self._last(
            "factors", step, lambda: {**self.prepared(step), **self._read_kept(concluded_of(step), step)}
        )

    def _last(self, name: str, step: int, make: Callable[[], Arrays]) -> Arrays:
        kept = self._kept.get(name)
        if kept is None or kept[0] != step:
            kept = self._kept[name] = (step, make())
        found: Arrays = kept[1]
        return found

    def _read_kept(self, name: str, step: int) -> Arrays:
        return self.kept(name, f"what was prepared for step {step}")

    def kept(self, name: str, what: str) -> Arrays:
        """Return the arrays that an earlier task kept under a name.

        Raises
        ------
        daflow.errors.StoreError
            There are none; ``what`` says to a reader which.
        """
        arrays = self.store.read_arrays(name)
        if arrays is None:
            raise StoreError(f"{what} is gone", do="run the workflow anew")
        return arrays

    def places(self, where: StateSlice) -> Arrays:
        """Return what the method makes of where a slice lies: found once a run, kept by the store.

        It is found again where the store's copy is damaged. Nothing is kept in the process: memory does not
        grow with the number of slices.
        """
        name = places_of(self.keys[Phase.PREPARE, 0], where)
        places = read_places(self.store, name)
        if places is None:
            places = self.method.localize(lambda: locate(self.store.layout, where))
            if places:
                write_places(self.store, name, places)
        return places


class Stopwatch:
    """Seconds spent on what, summed up by name."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}
        self.lent = 0.0
        """Seconds of these that were spent in company, before this watch was started."""

    def lend(self, share: Mapping[str, float]) -> None:
        """Add this task's share of what was done for several at once."""
        self.figures |= share
        self.lent += sum(share.values())

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Add the time spent in this context to ``<name>_seconds``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            key = f"{name}_seconds"
            self.figures[key] = self.figures.get(key, 0.0) + time.perf_counter() - start
