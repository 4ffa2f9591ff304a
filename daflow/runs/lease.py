"""One driver a run: a lease in the run's folder that a living driver keeps renewing."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

from daflow.errors import LeaseError

RENEW_SECONDS = 10.0
STALE_SECONDS = 120.0
"""A lease of another machine that was not renewed for so long is taken to be abandoned."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who drives a run, and since when."""

    host: str
    pid: int
    process_started: float
    """Seconds since the epoch: tells a process from a later one with the same number."""
    since: float
    renewed: float

    @classmethod
    def this_process(cls) -> Holder:
        """Return this process as a holder."""
        now = time.time()
        pid = os.getpid()
        return cls(socket.gethostname(), pid, psutil.Process(pid).create_time(), now, now)

    def alive(self) -> bool:
        """Say whether the holder is still at work, as far as can be told from here."""
        if self.host != socket.gethostname():
            return time.time() - self.renewed < STALE_SECONDS
        try:
            started: float = psutil.Process(self.pid).create_time()
        except psutil.NoSuchProcess:
            return False
        return abs(started - self.process_started) < 1.0


def read_holder(path: Path) -> Holder | None:
    """Return who holds the lease in this file, alive or not; None if nobody or if it cannot be told."""
    try:
        return Holder(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


class Lease:
    """The right to drive a run, held while the context is open.

    A lock on the file settles who is first on one machine; the holder written into it, renewed by a
    thread, settles it between machines whose file system does not share locks.

    Raises
    ------
    daflow.errors.LeaseError
        Another driver holds the run.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._holder = Holder.this_process()
        self._over = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="daflow-lease", daemon=True)

    def __enter__(self) -> Self:
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            holder = read_holder(self._path)
            if holder is not None and holder.alive():
                raise self._refusal(holder)
        except BlockingIOError as error:
            file.close()
            raise self._refusal(read_holder(self._path)) from error
        except LeaseError:
            file.close()
            raise
        self._file = file
        self._write(self._holder)
        self._renewer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._renewer.join()
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()

    def _refusal(self, holder: Holder | None) -> LeaseError:
        if holder is None:
            who = "a process that has not written its name yet"
        else:
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
            who = f"process {holder.pid} on {holder.host}, since {since}"
        return LeaseError(
            f"the run in {self._path.parent} has a driver already",
            got=who,
            allowed="one driver a run",
            do="watch it with `daflow status`; if it should end, interrupt that process",
        )

    def _renew(self) -> None:
        while not self._over.wait(RENEW_SECONDS):
            self._write(Holder(**asdict(self._holder) | {"renewed": time.time()}))

    def _write(self, holder: Holder) -> None:
        if self._file is None:
            return
        text = json.dumps(asdict(holder))
        self._file.seek(0)
        self._file.truncate(0)
        self._file.write(text)
        self._file.flush()
