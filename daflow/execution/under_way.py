"""Marks of the tasks that are under way, so that a worker's death is blamed on what it was doing.

A scheduler counts every task that was sent to a worker as killed with it, those that waited there behind
another one included. Whether a task had begun only its worker knows; so it leaves a mark while it works.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from daflow.errors import StoreError
from daflow.records import Task


def _folder(folder: Path) -> Path:
    return folder / "work" / "under_way"


@contextmanager
def under_way(folder: Path, task: Task) -> Iterator[None]:
    """Keep a task of the run in this folder marked while the context is open.

    Raises
    ------
    daflow.errors.StoreError
        The mark cannot be made.
    """
    mark = _folder(folder) / task.label
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        raise StoreError(
            f"cannot mark a task as under way in {mark.parent}",
            got=f"{error.strerror} ({type(error).__name__})",
            do="free space or mend the permissions there, then `daflow resume` the run: nothing is lost",
        ) from error
    try:
        yield
    finally:
        # A mark that stays although its task ended is at worst an attempt counted as lost.
        with suppress(OSError):
            mark.unlink(missing_ok=True)


def has_begun(folder: Path, task: Task) -> bool:
    """Say whether a task that did not end had begun."""
    return (_folder(folder) / task.label).exists()


def forget_marks(folder: Path) -> None:
    """Remove the marks of an earlier session, whose workers are gone."""
    shutil.rmtree(_folder(folder), ignore_errors=True)
