"""What a user's function prints goes to its member's logs, not over the progress bars of who watches."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self, TextIO, cast

PRINTED: Final = "printed.txt"
MOST: Final = 1_000_000
"""Characters that are kept of a member."""
_MINE: Final = threading.local()
"""Where the thread's output goes, if a member runs in it."""
_CHANGING: Final = threading.Lock()


class Printed:
    """Keep what this thread prints, on stdout and stderr, in the folder that ``log_dir`` returns.

    The folder is asked for, and the file made, by the first that is printed. Nothing that is wrong with the
    file is held against the member. What other threads and child processes print goes where it went.
    """

    def __init__(self, log_dir: Callable[[], Path]) -> None:
        self._log_dir = log_dir
        self._left = MOST
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        with _CHANGING:
            for name in ("stdout", "stderr"):
                if not isinstance(getattr(sys, name), _ByThread):
                    setattr(sys, name, cast("TextIO", _ByThread(getattr(sys, name))))
        _MINE.sink = self
        return self

    def __exit__(self, *_: object) -> None:
        _MINE.sink = None
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def write(self, text: str) -> None:
        """Keep a text, as long as there is room."""
        if self._left <= 0 or not text:
            return
        kept, self._left = text[: self._left], self._left - len(text)
        with suppress(OSError):
            if self._file is None:
                self._file = (self._log_dir() / PRINTED).open("a", encoding="utf-8", errors="replace")
            self._file.write(kept)
            if self._left <= 0:
                self._file.write(f"\n[more was printed; {MOST:,} characters are kept]\n")


class _ByThread:
    """A stream of the process that goes where its thread's output goes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        sink: Printed | None = getattr(_MINE, "sink", None)
        if sink is None:
            return self._stream.write(text)
        sink.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
