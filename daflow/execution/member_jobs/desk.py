"""The desk at which jobs of members are submitted, asked after and cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from daflow.errors import PoolError
from daflow.execution.member_jobs.batches import PLACE, Batch, Note, read_batch, write_batch, write_script
from daflow.execution.queues.batch_systems import BatchSystem
from daflow.execution.queues.job_states import JobState
from daflow.execution.queues.registry import register, registered
from daflow.records import Task

TAIL_BYTES: Final = 2000
TAIL_LINES: Final = 6

Write = Callable[[Batch, Collection[str]], str]
"""Returns the script of a batch, an array where it has several groups; and which hosts are to be avoided."""


@dataclass(frozen=True, slots=True)
class Element:
    """A job, alone or of an array, that carries out one group of tasks."""

    id: str
    """In the queue's words."""
    batch: Batch
    index: int

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What it carries out."""
        return self.batch.groups[self.index]


@dataclass(frozen=True)
class JobDesk:
    """What a pool of jobs asks of a queue and of the run's folder.

    Parameters
    ----------
    folder
        The run's.
    system
        The queue.
    write
        Returns the scripts.
    printed
        Returns the file for what an element prints.
    seconds
        The walltime of each job.
    """

    folder: Path
    system: BatchSystem
    write: Write
    printed: Callable[[Batch, int], Path]
    seconds: float

    def submit(
        self, groups: Sequence[Sequence[Task]], at_once: int | None, avoided: Collection[str]
    ) -> list[Element]:
        """Submit groups, an element each: as one array, or one job where it is one group.

        Raises
        ------
        daflow.errors.PoolError
            The queue refuses, or does not answer.
        daflow.errors.StoreError
            What they are to do cannot be written.
        """
        batch = write_batch(self.folder, groups)
        try:
            array = len(groups) > 1
            write_script(batch, self.write(batch, avoided))
            job = self.system.submit(
                batch.script,
                array=len(groups) if array else None,
                at_once=at_once if array and at_once is not None and at_once < len(groups) else None,
            )
        except PoolError:
            batch.forget()
            raise
        register(self.folder, job, self.system.kind, "member", str(PLACE / batch.name))
        return _elements(self.system, job, batch)

    def left(self) -> list[Element]:
        """Return the jobs of earlier drivers that have not ended."""
        return jobs_left(self.folder, self.system)

    def states(self, elements: Iterable[Element]) -> Mapping[str, JobState]:
        """Return where these stand, with one question to the queue."""
        return self.system.states([element.id for element in elements])

    def cancel(self, elements: Iterable[Element]) -> None:
        """End these, wherever they stand."""
        ids = [element.id for element in elements]
        if ids:
            self.system.cancel(ids)

    @staticmethod
    def notes(elements: Iterable[Element]) -> dict[str, Note]:
        """Return what elements have left beside receipts, by their ids; costs a listing a batch."""
        listed: dict[Path, Mapping[int, Note]] = {}
        found: dict[str, Note] = {}
        for element in elements:
            folder = element.batch.folder
            if folder not in listed:
                listed[folder] = element.batch.notes()
            if element.index in listed[folder]:
                found[element.id] = listed[folder][element.index]
        return found

    def last_words(self, element: Element) -> str:
        """Return the end of what an element printed, to be appended to a reason."""
        with suppress(OSError):
            text = self.printed(element.batch, element.index).read_bytes()[-TAIL_BYTES:]
            lines = [line for line in text.decode(errors="replace").splitlines() if line.strip()]
            return "".join(f"\n  it printed: {line}" for line in lines[-TAIL_LINES:])
        return ""

    def settle(self, element: Element, *, last: bool) -> None:
        """Tidy up after an element that is home; after the last of its batch, after the batch.

        What printed nothing leaves no file: ten thousand members are many inodes.
        """
        path = self.printed(element.batch, element.index)
        with suppress(OSError):
            if path.stat().st_size == 0:
                path.unlink()
        if last:
            element.batch.forget()


def jobs_left(folder: Path, system: BatchSystem) -> list[Element]:
    """Return the jobs of members that earlier drivers of a run submitted and that have not ended.

    Batches of which nothing is left are removed.

    Raises
    ------
    daflow.errors.PoolError
        The queue does not answer: whether jobs still write is not known, and has to be.
    """
    elements: list[Element] = []
    for entry in registered(folder):
        if entry.kind != "member" or entry.system != system.kind:
            continue
        batch = read_batch(folder / entry.what)
        if batch is not None:
            elements += _elements(system, entry.id, batch)
    if not elements:
        return []
    states = system.states([element.id for element in elements])
    alive = [element for element in elements if not states[element.id].gone]
    working = {element.batch.folder for element in alive}
    for batch_folder in {element.batch.folder for element in elements} - working:
        Batch(batch_folder, ()).forget()
    return alive


def _elements(system: BatchSystem, job: str, batch: Batch) -> list[Element]:
    if len(batch.groups) == 1:
        return [Element(job, batch, 0)]
    return [Element(system.element(job, i), batch, i) for i in range(len(batch.groups))]


def seconds_since(began: float) -> float:
    """Return how long ago that was, by the clock of the wall: at least 0, for clocks differ between hosts."""
    return max(time.time() - began, 0.0)
