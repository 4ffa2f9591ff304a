"""dask-jobqueue, imported without what its import would do to Ctrl-C.

Its module ``runner`` (0.9.0) lets SIGINT end the process with exit code 0, from the import on: a run would be
gone without a word in its journal. Outside of the main thread the import would fail, for handlers can only be
set there.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Job", "JobQueueCluster", "dask_jobqueue"]


@contextmanager
def _interrupts_left_alone() -> Iterator[None]:
    """Let nothing that this thread imports set a handler of SIGINT."""
    real, thread = signal.signal, threading.get_ident()

    def spared(number: Any, handler: Any) -> Any:
        if number == signal.SIGINT and threading.get_ident() == thread:
            return signal.getsignal(number)
        return real(number, handler)

    stand_in: Any = spared
    signal.signal = stand_in
    try:
        yield
    finally:
        signal.signal = real


with _interrupts_left_alone():
    import dask_jobqueue
    from dask_jobqueue.core import Job, JobQueueCluster
