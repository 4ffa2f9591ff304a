"""Files that are made durable together: one wait for the disk, however many they are."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from threading import Lock
from typing import Any, Final, NamedTuple, Protocol

from numpy.typing import NDArray

from daflow.storage.direct import FileAccess
from daflow.storage.files import PARTIAL, store_errors, sync_folder
from daflow.storage.shares import by_threads

MOST_OPEN: Final = 128
"""Files that wait for their sync at a time: a process may have a thousand open."""
SYNCING: Final = 8
"""Syncs at a time."""
FEW: Final = 4
"""Things that are sooner synced one by one than threads are woken."""
_numbers = count()
_own = secrets.token_hex(4)


class Writing(Protocol):
    """Takes numbers that are to last, some time before they do."""

    def write(self, folder: str, name: str, numbers: NDArray[Any]) -> None:
        """Write contiguous numbers, which may change once this has returned."""
        ...

    def add(self, folder: str, name: str) -> None:
        """Take in what somebody else wrote under its name: it is to last with the others."""
        ...


class _Waiting(NamedTuple):
    """A file that is written but not durable."""

    descriptor: int
    partial: str
    path: str


class Batch:
    """Files written one by one, that appear under their names and are durable when the batch is flushed.

    The first sync of many waits for the file system's journal, and the others find their part done. Nothing
    has its name before its content is durable, so a file is whole or absent whenever the power goes. Threads
    may share a batch.

    Parameters
    ----------
    access
        How files are written.
    """

    def __init__(self, access: FileAccess) -> None:
        self._access = access
        self._waiting: list[_Waiting] = []
        self._folders: set[str] = set()
        self._lock = Lock()

    def write(self, folder: str, name: str, numbers: NDArray[Any]) -> None:
        """Write contiguous numbers to a file; its folder is made where it is missing.

        Raises
        ------
        daflow.errors.StoreError
            The disk is full or the folder is not writable.
        """
        path = f"{folder}/{name}"
        partial = f"{folder}/.{name}.{_own}{os.getpid():x}.{next(_numbers):x}{PARTIAL}"
        with store_errors("write", path):
            try:
                descriptor = self._access.create(partial, numbers)
            except FileNotFoundError:
                self._make(folder)
                descriptor = self._access.create(partial, numbers)
        self._wait_for(_Waiting(descriptor, partial, path), folder)

    def add(self, folder: str, name: str) -> None:
        """Take in a file that somebody else wrote under its name: it becomes durable with the others."""
        path = f"{folder}/{name}"
        with store_errors("sync", path):
            descriptor = os.open(path, os.O_RDONLY)
        self._wait_for(_Waiting(descriptor, path, path), folder)

    def flush(self) -> None:
        """Make everything durable that was written so far, and give it its name.

        Raises
        ------
        daflow.errors.StoreError
            The disk is full, or gone. What was not durable by then is removed.
        """
        with self._lock:
            waiting, self._waiting = self._waiting, []
            folders, self._folders = self._folders, set()
        try:
            _each(_sync, waiting)
            while waiting:
                with store_errors("write", waiting[-1].path):
                    os.rename(waiting[-1].partial, waiting[-1].path)
                os.close(waiting.pop().descriptor)
        except BaseException:
            _remove(waiting)
            raise
        _each(sync_folder, folders)

    def discard(self) -> None:
        """Remove what was written and is not durable."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        _remove(waiting)

    def _wait_for(self, file: _Waiting, folder: str) -> None:
        with self._lock:
            self._waiting.append(file)
            # The folder may have been made a moment ago by a neighbour that has not synced it yet.
            self._folders |= {folder, os.path.dirname(folder)}
            full = len(self._waiting) >= MOST_OPEN
        if full:
            self.flush()

    def _make(self, folder: str) -> None:
        above = os.path.dirname(folder)
        with suppress(FileExistsError):
            try:
                os.mkdir(folder)
            except FileNotFoundError:
                self._make(above)
                os.mkdir(folder)
        with self._lock:
            self._folders.add(above)


def _sync(file: _Waiting) -> None:
    with store_errors("write", file.path):
        os.fdatasync(file.descriptor)


def _each(sync: Callable[[Any], None], things: Collection[Any]) -> None:
    """Sync things at the same time: the disk empties its cache once for those that wait together."""
    by_threads(sync, things, SYNCING if len(things) >= FEW else 1)


def _remove(waiting: list[_Waiting]) -> None:
    for descriptor, partial, path in waiting:
        os.close(descriptor)
        if partial != path:
            with suppress(OSError):
                os.unlink(partial)


@contextmanager
def flushed(access: FileAccess) -> Iterator[Batch]:
    """Return a batch that is flushed when the context ends, and discarded if it ends by an error."""
    batch = Batch(access)
    try:
        yield batch
    except BaseException:
        batch.discard()
        raise
    batch.flush()
