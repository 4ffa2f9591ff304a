"""The journal: facts, append-only, one JSON object a line, durable before the run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from daflow.errors import JournalError, StoreError
from daflow.runs.facts import Fact


def read_journal(path: Path) -> list[Fact]:
    """Return the facts of a journal; a torn last line is no fact.

    Raises
    ------
    daflow.errors.JournalError
        A line before the last is not a fact.
    """
    return [fact for fact, _ in _lines(path)]


def _lines(path: Path) -> Iterator[tuple[Fact, int]]:
    """Return each fact with the number of bytes up to its end."""
    if not path.exists():
        return
    raw = path.read_bytes()
    end = 0
    for number, line in enumerate(raw.split(b"\n"), start=1):
        last = end + len(line) >= len(raw)
        try:
            fact = json.loads(line)
            fact["fact"]
        except (ValueError, KeyError, TypeError) as error:
            if last:
                return
            raise JournalError(
                f"line {number} of {path} is not a fact",
                got=repr(line[:60]),
                allowed="a JSON object with the key `fact`",
                do="restore the journal from a copy; the receipts beside it say what was done",
            ) from error
        if last:  # whole, but its end of line never came: it was not durable, so nobody was told of it
            return
        end += len(line) + 1
        yield fact, end


def _sync_name(path: Path) -> None:
    """Make the name of a file durable, not only what it holds."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Journal:
    """A journal open for appending; the run's driver alone has one.

    A torn last line, left by a driver that died while it wrote, is cut off on opening.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._end = max((end for _, end in _lines(path)), default=0)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._file.truncate(self._end)
            os.fsync(self._file.fileno())
            _sync_name(path)
        except OSError as error:
            self._file.close()
            raise self._unwritable(error) from error

    def append(self, fact: Fact) -> None:
        """Add a fact; it is durable when this returns.

        Raises
        ------
        daflow.errors.StoreError
            The disk is full. The journal ends where it ended before.
        """
        line = json.dumps(fact, separators=(",", ":")).encode() + b"\n"
        rest = line
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
            self._end += len(line)
        except OSError as error:
            self._file.truncate(self._end)
            raise self._unwritable(error) from error
        except KeyboardInterrupt:
            # What was not taken to be written must not be there: the next line begins where this one did.
            self._file.truncate(self._end)
            raise

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(
            f"cannot write the journal {self._path}",
            got=f"{error.strerror} ({type(error).__name__})",
            do="free space or mend the permissions there, then `daflow resume` the run: nothing is lost",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
