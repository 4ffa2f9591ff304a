"""Marks of what is under way, so that a worker's death is blamed on what it was doing.

A scheduler counts every task that was sent to a worker as killed with it, those that waited there behind
another one included. Which one had begun only its worker knows; so it leaves a mark: a file for each group of
tasks that it takes up, which says which of them is under way. It is made anew only for a group, written over
for each task, and removed by the pool when the group is home: a mark that stands where a group begins tells
that these tasks were taken up before.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from daflow.errors import StoreError
from daflow.records import Task

_NOBODY: Final = -1
_WIDTH: Final = 12


class Mark:
    """The mark of one group."""

    def __init__(self, tasks: Sequence[Task], descriptor: int, *, again: bool) -> None:
        self._places = {task: place for place, task in enumerate(tasks)}
        self._descriptor = descriptor
        self.again = again
        """Whether these tasks were taken up before."""

    def begin(self, task: Task | None) -> None:
        """Say that a task is under way from now on; ``None``: none of them alone is."""
        place = _NOBODY if task is None else self._places[task]
        # What cannot be said is at worst a death held against nobody.
        with suppress(OSError):
            os.pwrite(self._descriptor, b"%*d" % (_WIDTH, place), 0)


def _path(folder: Path, tasks: Sequence[Task]) -> str:
    return f"{folder}/work/under_way/{tasks[0].label}"


@contextmanager
def under_way(folder: Path, tasks: Sequence[Task]) -> Iterator[Mark]:
    """Keep a mark for tasks of the run in this folder; it stays when the context is left.

    Raises
    ------
    daflow.errors.StoreError
        The mark cannot be made.
    """
    path = _path(folder, tasks)
    try:
        descriptor, again = _opened(path)
    except OSError as error:
        raise StoreError(
            f"cannot mark a task as under way in {os.path.dirname(path)}",  # noqa: PTH120 - one call a task
            got=f"{error.strerror} ({type(error).__name__})",
            do="free space or mend the permissions there, then `daflow resume` the run: nothing is lost",
        ) from error
    try:
        yield Mark(tasks, descriptor, again=again)
    finally:
        os.close(descriptor)


def _opened(path: str) -> tuple[int, bool]:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), False
    except FileExistsError:
        return os.open(path, os.O_WRONLY), True
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), False


def begun(folder: Path, tasks: Sequence[Task]) -> Task | None:
    """Return which of the tasks that did not come home is under way, if one alone is."""
    try:
        place = int(Path(_path(folder, tasks)).read_bytes())
    except (OSError, ValueError):
        return None
    return None if place == _NOBODY or place >= len(tasks) else tasks[place]


def unmark(folder: Path, tasks: Sequence[Task]) -> None:
    """Remove the mark of tasks that are home."""
    with suppress(OSError):
        os.unlink(_path(folder, tasks))  # noqa: PTH108 - one call a task


def forget_marks(folder: Path) -> None:
    """Remove the marks of an earlier session, whose workers are gone."""
    shutil.rmtree(folder / "work" / "under_way", ignore_errors=True)
