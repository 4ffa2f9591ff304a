"""Receipts: what a task leaves behind to say that it is done, after its data are durable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from daflow.errors import StoreError
from daflow.records import Outcome, Task
from daflow.storage.files import make_folder, store_errors, sync_folder, write_durably


def write_receipt(root: Path, outcome: Outcome) -> None:
    """Write a receipt, one file an attempt, durably."""
    path = _path(root, outcome.task)
    make_folder(path.parent)
    write_durably(path, json.dumps(outcome.to_json()).encode())
    sync_folder(path.parent)


def _path(root: Path, task: Task) -> Path:
    return root / f"step={task.step}" / task.phase / f"{task.index:05d}-{task.attempt}.json"


def read_receipt(root: Path, task: Task) -> Outcome | None:
    """Return the receipt of an attempt, if it left one."""
    path = _path(root, task)
    return _read(path) if path.exists() else None


def read_receipts(root: Path) -> Iterator[Outcome]:
    """Return every receipt, in the order of their names.

    Raises
    ------
    daflow.errors.StoreError
        A receipt is not what was written.
    """
    for path in sorted(root.glob("step=*/*/*.json")):
        yield _read(path)


def _read(path: Path) -> Outcome:
    with store_errors("read", path):
        text = path.read_bytes()
    try:
        return Outcome.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"receipt {path} cannot be read",
            got=f"{text[:60]!r} ({error})",
            allowed="the JSON object of one outcome",
            do="delete the file and resume: its task will run again",
        ) from error
