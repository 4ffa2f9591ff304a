"""The journal: facts, append-only, one JSON object a line, durable before the run goes on."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from daflow.errors import JournalError, StoreError
from daflow.runs.facts import Fact

NO_SYNC: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})
"""What file systems say that do not sync folders: CIFS, some in user space."""
LAST_BYTES: Final = 1 << 16
"""How much of a journal's end is read for its last fact."""
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


def read_journal(path: Path) -> list[Fact]:
    """Return the facts of a journal; a torn last line is no fact.

    Cost: some 6 microseconds a fact.

    Raises
    ------
    daflow.errors.JournalError
        A line before the last is not a fact.
    """
    return whole_facts(path)[0]


def whole_facts(path: Path) -> tuple[list[Fact], int]:
    """Return the facts of a journal, and the number of bytes up to the end of the last one."""
    lines = _whole_lines(path)
    end = sum(map(len, lines)) + len(lines)
    with suppress(ValueError):
        # All at once is a third faster than line by line; what is wrong is then looked for by line.
        facts: list[Any] = json.loads(b"[" + b",".join(lines) + b"]")
        if len(facts) == len(lines) and all(_is_fact(fact) for fact in facts):
            return facts, end
    return [_fact(path, number, line) for number, line in enumerate(lines, start=1)], end


def last_fact(path: Path) -> Fact | None:
    """Return the last fact of a journal without reading the rest; ``None``: its line is long, or no fact."""
    with path.open("rb") as file:
        start = max(file.seek(0, os.SEEK_END) - LAST_BYTES, 0)
        file.seek(start)
        lines = file.read().split(b"\n")[bool(start) : -1]
    with suppress(ValueError):
        plain: Any = json.loads(lines[-1]) if lines else None
        return plain if _is_fact(plain) else None
    return None


def _whole_lines(path: Path) -> list[bytes]:
    """Return the lines that came to their end: another one was not durable, so nobody was told of it."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def _is_fact(plain: object) -> bool:
    return isinstance(plain, dict) and "fact" in plain


def _fact(path: Path, number: int, line: bytes) -> Fact:
    with suppress(ValueError):
        plain: Any = json.loads(line)
        if _is_fact(plain):
            return dict(plain)
    raise JournalError(
        f"line {number} of {path} is not a fact",
        got=repr(line[:60]),
        allowed="a JSON object with the key `fact`",
        do="restore the journal from a copy; the receipts beside it say what was done",
    )


def _sync_name(path: Path) -> None:
    """Make the name of a file durable, not only what it holds, where folders can be synced."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(folder)


class Journal:
    """A journal open for appending; the run's driver alone has one.

    A torn last line, left by a driver that died while it wrote, is cut off on opening.

    Parameters
    ----------
    path
        The file, which need not exist.
    end
        Where its facts end, as `whole_facts` found it; ``None``: it is read to find out.
    check
        Called before anything is written: raises an error where this driver has lost the run to another.
    """

    def __init__(self, path: Path, end: int | None = None, check: Callable[[], None] = lambda: None) -> None:
        self._path, self._check = path, check
        try:
            self._end = whole_facts(path)[1] if end is None else end
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
        self.append_all([fact])

    def append_all(self, facts: Sequence[Fact]) -> None:
        """Add facts, in their order; all are durable when this returns, for the price of one.

        Raises
        ------
        daflow.errors.StoreError
            The disk is full. The journal ends where it ended before: none of them is in it.
        daflow.errors.LeaseError
            Another driver has the run: nothing is written.
        """
        if not facts:
            return
        self._check()
        lines = "".join(f"{_encode(fact)}\n" for fact in facts).encode()
        rest = lines
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
            self._end += len(lines)
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
