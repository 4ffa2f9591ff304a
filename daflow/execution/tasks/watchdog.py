"""An end to forecasts that take too long inside a worker."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HANG_FILE = "hang.txt"
"""Where the stack of a forecast that took too long is written."""


@contextmanager
def watchdog(seconds: float | None, log_dir: Path) -> Iterator[None]:
    """End this process if the context is still open after so many seconds, saying where it hung.

    Python cannot interrupt a function that does not return, and may hang itself when the function holds
    the interpreter's lock. So a thread of the interpreter's own, which needs no lock, writes every
    stack to `HANG_FILE` and ends the process; the worker's nanny starts a new one. There is one such
    thread a process, hence one task a worker at a time where a timeout is set.
    """
    if seconds is None:
        yield
        return
    path = log_dir / HANG_FILE
    with path.open("w") as file:
        faulthandler.dump_traceback_later(seconds, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            path.unlink(missing_ok=True)


def hung(log_dir: Path) -> str:
    """Return where the attempt with these logs hung, or nothing if it did not."""
    path = log_dir / HANG_FILE
    try:
        return path.read_text()
    except OSError:
        return ""
