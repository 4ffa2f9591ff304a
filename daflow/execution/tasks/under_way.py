"""Marks of what is under way, so that a worker's death is blamed on what it was doing.

A scheduler counts every task that was sent to a worker as killed with it, those that waited there behind
another one included. Which one had begun only its worker knows; so each worker keeps a mark: a file that says
which group it has taken up and which of its tasks is under way, written over for each task.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import get_ident
from typing import Final

from daflow.errors import StoreError
from daflow.records import Task

_NOBODY: Final = -1
_WIDTH: Final = 80
"""Bytes of a mark, always the same: it is written over in place."""


class Mark:
    """What a worker says of the group that it has taken up."""

    def __init__(self, tasks: Sequence[Task], descriptor: int) -> None:
        self._label = tasks[0].label.encode()
        self._places = {task: place for place, task in enumerate(tasks)}
        self._descriptor = descriptor

    def begin(self, task: Task | None) -> None:
        """Say that a task is under way from now on; ``None``: none of them alone is."""
        place = _NOBODY if task is None else self._places[task]
        # What cannot be said is at worst a death held against nobody.
        with suppress(OSError):
            os.pwrite(self._descriptor, (b"%s %d" % (self._label, place)).ljust(_WIDTH), 0)


@contextmanager
def under_way(folder: Path, tasks: Sequence[Task]) -> Iterator[Mark]:
    """Let this thread's mark in the folder of the run tell of these tasks while the context is open.

    Raises
    ------
    daflow.errors.StoreError
        The mark cannot be made.
    """
    place = _folder(folder)
    try:
        descriptor = _opened(place / f"{_host()}-{os.getpid()}-{get_ident()}")
    except OSError as error:
        raise StoreError(
            f"cannot mark a task as under way in {place}",
            got=f"{error.strerror} ({type(error).__name__})",
            do="free space or mend the permissions there, then `daflow resume` the run: nothing is lost",
        ) from error
    mark = Mark(tasks, descriptor)
    try:
        yield mark
    finally:
        mark.begin(None)
        os.close(descriptor)


def _folder(folder: Path) -> Path:
    return folder / "work" / "under_way"


@cache
def _host() -> str:
    return socket.gethostname()


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)


def begun(folder: Path, tasks: Sequence[Task]) -> Task | None:
    """Return which of the tasks of a group was under way where its worker died, if one alone was.

    The mark is removed: what is sent again will have another one.
    """
    found = None
    for path in _marks(folder):
        with suppress(OSError, ValueError):
            label, place = path.read_text().split()
            if label == tasks[0].label:
                path.unlink()
                found = tasks[int(place)] if 0 <= int(place) < len(tasks) else found
    return found


def seen(folder: Path, groups: Iterable[Sequence[Task]]) -> list[Task]:
    """Return which tasks of these groups are under way, at most one a group. Costs a small file a worker."""
    places = {}
    for path in _marks(folder):
        with suppress(OSError, ValueError):
            label, place = path.read_text().split()
            places[label] = int(place)
    at = ((tasks, places.get(tasks[0].label, _NOBODY)) for tasks in groups)
    return [tasks[place] for tasks, place in at if 0 <= place < len(tasks)]


def _marks(folder: Path) -> list[Path]:
    with suppress(OSError):
        return list(_folder(folder).iterdir())
    return []


def forget_marks(folder: Path) -> None:
    """Remove the marks of an earlier session, whose workers are gone."""
    shutil.rmtree(_folder(folder), ignore_errors=True)
