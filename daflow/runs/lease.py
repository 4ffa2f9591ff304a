"""One driver a run: a lease in the run's folder that a living driver keeps renewing."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from daflow.errors import LeaseError, StoreError

RENEW_SECONDS = 10.0
STALE_SECONDS = 120.0
"""A lease of another machine that was not renewed for so long is taken to be abandoned."""

_LENGTH: Final = 1024
"""Bytes of a lease, always the same: it is renewed in place, which needs no space and leaves no moment at
which a reader finds nothing."""


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
            process = psutil.Process(self.pid)
            started: float = process.create_time()
            # Where nobody waits for it, as in many containers, a dead process keeps its number.
            ended = process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
        except psutil.NoSuchProcess:
            return False
        return not ended and abs(started - self.process_started) < 1.0


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
    daflow.errors.StoreError
        The file cannot be written or locked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._holder = Holder.this_process()
        self._over = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="daflow-lease", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            self._take(self._file)
        except OSError as error:
            self._let_go()
            raise StoreError(
                f"cannot take the lease {self._path}",
                got=f"{error.strerror} ({type(error).__name__})",
                allowed="a folder where files can be written and locked",
                do="free space or mend the permissions there, or put the run on another disk",
            ) from error
        except LeaseError:
            self._let_go()
            raise
        self._renewer.start()
        return self

    def _take(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise self._refusal(read_holder(self._path)) from error
        holder = read_holder(self._path)
        if holder is not None and holder.alive():
            raise self._refusal(holder)
        self._write(file, self._holder)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._renewer.join()
        if self._file is not None:
            os.ftruncate(self._file, 0)
        self._let_go()

    def _let_go(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

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
            # A disk that is away for a moment may be back at the next turn.
            with suppress(OSError):
                if self._file is not None:
                    self._write(self._file, replace(self._holder, renewed=time.time()))

    @staticmethod
    def _write(file: int, holder: Holder) -> None:
        os.pwrite(file, json.dumps(asdict(holder)).encode().ljust(_LENGTH), 0)
        os.fsync(file)
