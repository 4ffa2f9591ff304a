"""Receipts: what a task leaves behind to say that it is done, after its data are durable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from daflow.errors import StoreError
from daflow.records import Outcome
from daflow.storage.files import make_folder, store_errors, sync_folder, write_durably


def write_receipt(root: Path, outcome: Outcome) -> None:
    """Write a receipt, one file an attempt, durably."""
    task = outcome.task
    folder = root / f"step={task.step}" / task.phase
    make_folder(folder)
    write_durably(folder / f"{task.index:05d}-{task.attempt}.json", json.dumps(outcome.to_json()).encode())
    sync_folder(folder)


def read_receipts(root: Path) -> Iterator[Outcome]:
    """Return every receipt, in the order of their names.

    Raises
    ------
    daflow.errors.StoreError
        A receipt is not what was written.
    """
    for path in sorted(root.glob("step=*/*/*.json")):
        with store_errors("read", path):
            text = path.read_text()
        try:
            yield Outcome.from_json(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"receipt {path} cannot be read",
                got=f"{text[:60]!r} ({error})",
                allowed="the JSON object of one outcome",
                do="delete the file and resume: its task will run again",
            ) from error
