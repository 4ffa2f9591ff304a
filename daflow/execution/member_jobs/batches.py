"""Batches: groups of tasks that are submitted together, an element of an array each, and what these leave.

::

    work/member_jobs/NAME/groups.json    the tasks of each element
                          job.sh         what the queue was given
                          3.begun        element 3 is at work: where, since when
                          3.blocked      element 3 met a store that would not let it: its outcome

A batch's folder goes when all its elements are home; what is there at a driver's start is an earlier one's.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from daflow.errors import StoreError
from daflow.names import Phase
from daflow.records import Outcome, Task

PLACE: Final = Path("work") / "member_jobs"
"""Where batches lie in the folder of a run."""
GROUPS: Final = "groups.json"
SCRIPT: Final = "job.sh"
BEGUN: Final = ".begun"
BLOCKED: Final = ".blocked"


@dataclass(frozen=True, slots=True)
class Note:
    """What an element of a batch has left beside its receipts."""

    host: str = ""
    began: float = 0.0
    """Seconds since the epoch."""
    blocked: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Groups of tasks in a folder of their own."""

    folder: Path
    groups: tuple[tuple[Task, ...], ...]
    _seen: dict[int, Note] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        """What it is called in its run."""
        return self.folder.name

    @property
    def script(self) -> Path:
        """What the queue is given."""
        return self.folder / SCRIPT

    def notes(self) -> Mapping[int, Note]:
        """Return what its elements have left so far; costs a look at each name, and at each new file."""
        for name in _names(self.folder):
            number, dot, kind = name.partition(".")
            if not number.isdigit() or f"{dot}{kind}" not in {BEGUN, BLOCKED}:
                continue
            index = int(number)
            if f"{dot}{kind}" == BLOCKED or index not in self._seen:
                note = _note(self.folder / name, self._seen.get(index, Note()))
                self._seen.update({} if note is None else {index: note})
        return self._seen

    def forget(self) -> None:
        """Remove its folder: all its elements are home."""
        shutil.rmtree(self.folder, ignore_errors=True)


def write_batch(folder: Path, groups: Sequence[Sequence[Task]]) -> Batch:
    """Make the folder of a batch in the folder of a run, but for its script.

    Raises
    ------
    daflow.errors.StoreError
        The disk is full or the folder is not writable.
    """
    first = groups[0][0]
    made = folder / PLACE / f"{first.phase}-{first.step}-{uuid.uuid4().hex[:8]}"
    plain = [[[task.phase, task.step, task.index, task.attempt] for task in group] for group in groups]
    with writing(made):
        made.mkdir(parents=True)
        _write(made / GROUPS, json.dumps(plain))
    return Batch(made, tuple(tuple(group) for group in groups))


def read_batch(folder: Path) -> Batch | None:
    """Return the batch in a folder; ``None``: it is gone, or was never whole."""
    with suppress(OSError, ValueError, TypeError):
        plain: Any = json.loads((folder / GROUPS).read_text())
        return Batch(folder, tuple(tuple(Task(Phase(task[0]), *task[1:]) for task in one) for one in plain))
    return None


def write_script(batch: Batch, text: str) -> None:
    """Write what the queue is given.

    Raises
    ------
    daflow.errors.StoreError
        The disk is full or the folder is not writable.
    """
    with writing(batch.folder):
        _write(batch.script, text)


def note_begun(folder: Path, index: int, host: str) -> None:
    """Say that an element is at work; where that cannot be said it is at work all the same."""
    with suppress(OSError):
        _write(folder / f"{index}{BEGUN}", json.dumps({"host": host, "began": time.time()}))


def note_blocked(folder: Path, index: int, outcomes: Collection[Outcome]) -> None:
    """Say that the store would not let an element be; on a disk that is full this may not succeed either."""
    with suppress(OSError):
        _write(folder / f"{index}{BLOCKED}", json.dumps([outcome.to_json() for outcome in outcomes][-1]))


def _note(path: Path, before: Note) -> Note | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        plain: Any = json.loads(path.read_text())
        if path.name.endswith(BLOCKED):
            return Note(before.host, before.began, Outcome.from_json(plain))
        return Note(plain["host"], plain["began"], before.blocked)
    return None


def _names(folder: Path) -> list[str]:
    with suppress(OSError):
        return sorted(os.listdir(folder))  # noqa: PTH208 - names are all it takes
    return []


def _write(path: Path, text: str) -> None:
    """Write a file so that nobody reads half of it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system says into a `StoreError` that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write what members' jobs are to do in {path}",
            got=f"{error.strerror} ({type(error).__name__})",
            do="free space or mend the permissions there, then `daflow resume` the run: nothing is lost",
        ) from error
