"""Receipts: what tasks leave behind to say that they are done, after their data are durable.

One file for tasks that ended together. Its name says which, so that what is known need not be opened::

    receipts/step=2/forecast/00017-1.json                 attempt 1 of member 17: a JSON object, its outcome
    receipts/step=2/forecast/00000..00011+00013-0.json    attempt 0 of members 0 to 11 and 13: an array
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final

from daflow.errors import StoreError
from daflow.names import Phase
from daflow.records import Outcome, Task
from daflow.storage.files import PARTIAL, make_folder, store_errors, sync_folder, write_durably

RUNS_A_NAME: Final = 10
"""How many runs of consecutive tasks a file's name holds; what has more gaps goes into several files."""
_NAME: Final = re.compile(r"(-?\d+(?:\.\.-?\d+)?(?:\+-?\d+(?:\.\.-?\d+)?)*)-(\d+)\.json")
_encode: Final = json.JSONEncoder().encode

Known = Callable[[Task], bool]


def nothing_is_known(task: Task) -> bool:  # noqa: ARG001 - a question with one answer
    """Say of every task that its receipt has not been seen."""
    return False


def write_receipts(root: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the receipts of attempts of one stage, durably, as a rule in one file.

    Raises
    ------
    daflow.errors.StoreError
        The disk is full or the folder is not writable.
    """
    if not outcomes:
        return
    folder = _folder(root, outcomes[0].task.step, outcomes[0].task.phase)
    if not folder.is_dir():
        make_folder(folder)
    of_task = {outcome.task: outcome for outcome in outcomes}
    for together in _of_one_name([*of_task]):
        plain: Any = [of_task[task].to_json() for task in together]
        write_durably(folder / _name(together), _encode(plain if len(plain) > 1 else plain[0]).encode())
    sync_folder(folder)


def read_receipt(root: Path, task: Task) -> Outcome | None:
    """Return the receipt of an attempt, if it left one, alone or together with others."""
    alone = _folder(root, task.step, task.phase) / f"{task.index:05d}-{task.attempt}.json"
    if alone.exists():
        return _read(alone)[0]
    of_stage = read_stage(root, task.phase, task.step, lambda other: other != task)
    return next((outcome for outcome in of_stage if outcome.task == task), None)


def read_together(root: Path, tasks: Sequence[Task]) -> list[Outcome]:
    """Return the receipts of tasks that ended together, if just these did; else nothing.

    Cost: a look at one name, as a rule.
    """
    folder = _folder(root, tasks[0].step, tasks[0].phase)
    found: list[Outcome] = []
    for together in _of_one_name(tasks):
        path = folder / _name(together)
        if not path.exists():
            return []
        found += _read(path)
    return found


def read_receipts(root: Path) -> Iterator[Outcome]:
    """Return every receipt, stage by stage, in the order of their names.

    Raises
    ------
    daflow.errors.StoreError
        A receipt is not what was written.
    """
    for folder in sorted(root.glob("step=*/*")):
        yield from _read_all(sorted(folder.glob("*.json")))


def read_stage(root: Path, phase: Phase, step: int, known: Known = nothing_is_known) -> Iterator[Outcome]:
    """Return the receipts of a stage, but for the files of which every task is known.

    Cost: a look at each name; a file is opened only for what is not known.

    Raises
    ------
    daflow.errors.StoreError
        A receipt is not what was written.
    """
    folder = _folder(root, step, phase)
    for name in _names_now(root, folder):
        tasks = _tasks(name, phase, step)
        if tasks is not None and not all(map(known, tasks)):
            _ask_again(folder / name)
            yield from _read(folder / name)


def _names_now(root: Path, folder: Path) -> list[str]:
    """Return the names in a folder, those included that other hosts have just made.

    A client of NFS keeps listings, and what it did not find, for up to a minute (acdirmax): a receipt that a
    worker left before it died would not be seen, and its member run again. What a client changes in a folder
    itself makes it ask the server for that folder anew.
    """
    names: list[str] = []
    for each in (*(above for above in reversed(folder.parents) if above.is_relative_to(root)), folder):
        if each == root:
            if not root.is_dir():
                return []
        elif each.name not in names:
            return []
        else:
            _ask_again(each)
        # Where it is not writable, or full, what is known has to do.
        with suppress(OSError):
            look = each / f".look.{uuid.uuid4().hex}{PARTIAL}"
            os.close(os.open(look, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            look.unlink()
        with store_errors("list", each):
            names = os.listdir(each)  # noqa: PTH208 - names are all it takes
    return sorted(names)


def _ask_again(path: Path) -> None:
    """Let this host forget that it did not find what is there: before it makes something, it asks."""
    if not path.exists():
        with suppress(OSError):
            path.mkdir()
            path.rmdir()  # it is truly not there


def _folder(root: Path, step: int, phase: Phase) -> Path:
    return root / f"step={step}" / phase


def _runs(indices: Iterable[int]) -> list[list[int]]:
    """Return the first and last of each run of consecutive numbers."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return runs


def _of_one_name(tasks: Sequence[Task]) -> Iterator[list[Task]]:
    """Yield tasks that one name can tell: of the same attempt, in a few runs."""
    by_attempt: dict[int, dict[int, Task]] = {}
    for task in tasks:
        by_attempt.setdefault(task.attempt, {})[task.index] = task
    for of_attempt in by_attempt.values():
        runs = _runs(of_attempt)
        for first in range(0, len(runs), RUNS_A_NAME):
            some = runs[first : first + RUNS_A_NAME]
            yield [of_attempt[i] for i in chain.from_iterable(range(a, b + 1) for a, b in some)]


def _name(tasks: Sequence[Task]) -> str:
    runs = _runs(task.index for task in tasks)
    told = "+".join(f"{first:05d}" if first == last else f"{first:05d}..{last:05d}" for first, last in runs)
    return f"{told}-{tasks[0].attempt}.json"


def _tasks(name: str, phase: Phase, step: int) -> Iterator[Task] | None:
    """Return the tasks that a file's name tells; ``None``: it is not a receipt's."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    ends = [run.split("..") for run in match[1].split("+")]
    attempt = int(match[2])
    indices = chain.from_iterable(range(int(run[0]), int(run[-1]) + 1) for run in ends)
    return (Task(phase, step, index, attempt) for index in indices)


def _read_all(paths: Iterable[Path]) -> Iterator[Outcome]:
    for path in paths:
        yield from _read(path)


def _read(path: Path) -> list[Outcome]:
    with store_errors("read", path):
        text = path.read_bytes()
    try:
        plain = json.loads(text)
        # An empty array is no receipt: it fails like whatever else is no object.
        return [Outcome.from_json(one) for one in (plain if isinstance(plain, list) and plain else [plain])]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"receipt {path} cannot be read",
            got=f"{text[:60]!r} ({error})",
            allowed="the JSON object of one outcome, or an array of them",
            do="delete the file and resume: its task will run again",
        ) from error
