"""Why a driver should lay its run down before the end: somebody asks for it, or its time is over.

Who asks leaves a request in the run's folder, ``work/stop.json``, which a driver on any host looks at every
second. It is addressed to one driver: a later one takes no notice.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from daflow.runs.decide import Stop
from daflow.runs.lease import Holder
from daflow.storage.files import make_folder, write_durably

REQUEST: Final = Path("work") / "stop.json"
"""Where a request lies in the folder of a run."""
LOOK_SECONDS = 1.0
"""How often the driver looks for one."""
DEAF_SECONDS = 15.0
"""A driver that has not asked for so long waits for something else, and is interrupted there."""
INTERRUPTED: Final = "interrupted"
WALLTIME: Final = "walltime"


@dataclass(frozen=True, slots=True)
class Request:
    """That a driver lay its run down."""

    host: str
    pid: int
    process_started: float
    by: str
    """Who asks: user@host."""
    now: bool
    """Whether what is under way is to be ended, not waited for."""

    @classmethod
    def to(cls, holder: Holder, by: str, *, now: bool) -> Request:
        """Return a request to whoever holds a lease."""
        return cls(holder.host, holder.pid, holder.process_started, by, now)

    def is_to(self, holder: Holder) -> bool:
        """Say whether it is addressed to this driver."""
        return (self.host, self.pid, self.process_started) == (
            holder.host,
            holder.pid,
            holder.process_started,
        )


@dataclass(frozen=True, slots=True)
class Halt:
    """That the run is to be laid down, and how."""

    stop: Stop
    drain: bool
    """Whether what is under way is waited for; else it is done again when the run goes on."""


def ask(folder: Path, request: Request) -> None:
    """Leave a request in the folder of a run.

    Raises
    ------
    daflow.errors.StoreError
        The disk is full or the folder is not writable.
    """
    path = folder / REQUEST
    make_folder(path.parent)
    write_durably(path, json.dumps(asdict(request)).encode())


def asked(folder: Path) -> Request | None:
    """Return the request in the folder of a run, to whomever it is."""
    with suppress(OSError, ValueError, TypeError):
        return Request(**json.loads((folder / REQUEST).read_text()))
    return None


def unask(folder: Path) -> None:
    """Remove the request, once it is answered."""
    with suppress(OSError):
        (folder / REQUEST).unlink(missing_ok=True)


class Halting:
    """Looks, while the context is open, whether the run is to be laid down; `__call__` says so.

    A thread looks, so that a slow disk does not hold the driver up. A driver that waits for something else
    than its tasks, such as a queue, and so does not ask, is interrupted as by Ctrl-C.

    Parameters
    ----------
    folder
        The run's.
    holder
        The driver, as the lease names it.
    ends
        When the run has to be laid down at the latest, by the monotonic clock; ``None``: never.
    """

    def __init__(self, folder: Path, holder: Holder, ends: float | None = None) -> None:
        self._folder, self._holder, self._ends = folder, holder, ends
        self._found: Halt | None = None
        self._told: Halt | None = None
        self._heard = time.monotonic()
        self._over = threading.Event()
        self._looker = threading.Thread(target=self._go_on_looking, name="daflow-halting", daemon=True)

    def __enter__(self) -> Self:
        self._in_main = threading.current_thread() is threading.main_thread()
        request = asked(self._folder)
        # One that came since the lease was taken is to this driver: it stays.
        if request is None or not request.is_to(self._holder):
            unask(self._folder)
        self._looker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._looker.join()
        unask(self._folder)

    def __call__(self) -> Halt | None:
        """Return how the run is to be laid down; ``None``: it goes on."""
        self._heard, self._told = time.monotonic(), self._found
        return self._told

    def rest(self) -> None:
        """Look no more: the driver is done with its tasks, and must not be interrupted in tidying up."""
        self._over.set()

    def look(self) -> Halt | None:
        """Look now, and return what was found."""
        request = asked(self._folder)
        if request is not None and request.is_to(self._holder):
            stop = Stop(INTERRUPTED, f"{request.by} asked for it (`daflow stop`)", resumable=True)
            self._found = Halt(stop, drain=not request.now)
        elif self._ends is not None and time.monotonic() >= self._ends:
            reason = "the job that drives it is about to reach its walltime"
            self._found = Halt(Stop(WALLTIME, reason, resumable=True), drain=False)
        return self._found

    def _go_on_looking(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            deaf = time.monotonic() - self._heard > DEAF_SECONDS
            if self.look() is not None and self._found != self._told and deaf:
                self._heard = time.monotonic()
                self._interrupt()

    def _interrupt(self) -> None:
        """Interrupt the driver, where it is the main thread and anything listens there."""
        for number in (signal.SIGTERM, signal.SIGINT):
            if self._in_main and callable(signal.getsignal(number)):
                signal.pthread_kill(_main(), number)
                return


def _main() -> int:
    return threading.main_thread().ident or os.getpid()
