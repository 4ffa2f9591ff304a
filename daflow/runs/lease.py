"""One driver a run: a lease in the run's folder that a living driver keeps renewing."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import psutil

from daflow.errors import LeaseError, StoreError

RENEW_SECONDS = 10.0
STALE_SECONDS = 120.0
"""A lease of another machine that was not renewed for so long is taken to be abandoned."""

PATIENT_SECONDS = STALE_SECONDS + 2 * RENEW_SECONDS
"""How long a driver that follows another one has to wait at most until a dead one's lease is stale."""
TRY_SECONDS = 1.0
"""How often it is tried meanwhile."""
DYING_SECONDS = 10.0
"""How long a process that was killed may keep its locks: its first thread ends before the others have."""

Mode = Literal["foreground", "detached", "job"]
"""How a driver runs: under somebody's eyes, in a session of its own, or as a job of a queue."""

NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""What file systems without locks say: Lustre mounted without ``flock``, NFS without a lock manager."""
CLAIM_SECONDS = 30.0
"""A claim that cannot be read is taken to be abandoned after so long: it is held for milliseconds."""

_LENGTH: Final = 1024
"""Bytes of a lease, always the same: it is renewed in place, which needs no space and leaves no moment at
which a reader finds nothing."""


BORN_AT: Final = "@"
"""Stands between a process's birth and the boot since which it is counted."""

log = logging.getLogger(__name__)


def born(pid: int) -> str:
    """Return what no other process of this number has, whatever the clock is set to; empty if it has ended.

    When it started, in ticks since this machine was booted, and which boot that was. Only Linux tells them.
    """
    try:
        # The name in parentheses may hold anything, spaces and parentheses too.
        told = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # Where nobody waits for it, as in many containers, a dead process keeps its number.
        return "" if told[0] in "ZX" else f"{told[19]}{BORN_AT}{boot}"
    except (OSError, IndexError):
        return ""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who drives a run, and since when."""

    host: str
    pid: int
    process_started: float
    """Seconds since the epoch, as the clock stood then."""
    since: float
    renewed: float
    mode: Mode = "foreground"
    job: str = ""
    """The id of the queue's job that it runs in, if any."""
    system: str = ""
    """That queue: ``slurm``, ``pbs``, ..."""
    born: str = ""
    """As `born` has it; empty where that cannot be told, and in leases of before."""

    @classmethod
    def this_process(cls, mode: Mode = "foreground", job: str = "", system: str = "") -> Holder:
        """Return this process as a holder."""
        now = time.time()
        pid = os.getpid()
        started = psutil.Process(pid).create_time()
        return cls(socket.gethostname(), pid, started, now, now, mode, job, system, born(pid))

    @property
    def here(self) -> bool:
        """Whether it runs on this host."""
        return self.host == socket.gethostname()

    def same_as(self, other: Holder | None) -> bool:
        """Say whether this is the same process, whenever it renewed its lease."""
        return other is not None and (self.host, self.pid, self.process_started) == (
            other.host,
            other.pid,
            other.process_started,
        )

    def told(self) -> str:
        """Return who it is, in words."""
        process = f"process {self.pid} on {self.host}"
        if self.job:
            return f"job {self.job} of {self.system or 'a queue'}, {process}"
        return f"{process}, {self.mode}" if self.mode != "foreground" else process

    def told_since(self) -> str:
        """Return since when it drives the run, in local time."""
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))

    def alive(self) -> bool:
        """Say whether the holder is still at work, as far as can be told from here."""
        if not self.here:
            return time.time() - self.renewed < STALE_SECONDS
        if self.born:
            return born(self.pid) == self.born
        try:
            process = psutil.Process(self.pid)
            started: float = process.create_time()
            ended = process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
        except psutil.NoSuchProcess:
            return False
        return not ended and abs(started - self.process_started) < 1.0


def read_holder(path: Path) -> Holder | None:
    """Return who holds the lease in this file, alive or not; None if nobody or if it cannot be told."""
    try:
        plain = json.loads(path.read_text())
        # A later daflow may have more to say of itself.
        return Holder(**{name: value for name, value in plain.items() if name in _KNOWN})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _break_if_abandoned(claim: Path) -> None:
    """Remove a claim whose maker died while it had it."""
    age = time.time() - claim.stat().st_mtime
    maker = read_holder(claim)
    if (maker is None and age > CLAIM_SECONDS) or (maker is not None and not maker.alive()):
        claim.unlink()


_KNOWN: Final = frozenset(field.name for field in fields(Holder))


class Lease:
    """The right to drive a run, held while the context is open.

    A lock on the file settles who is first, where the file system has locks and shares them between machines.
    Elsewhere it is the holder written into it, renewed by a thread, and a claim: a file beside it that only
    one can make, held while the lease is looked at and taken.

    Laws: a driver that finds another's name in its lease, because it slept or its disk was away until the
    lease was stale, leaves that name there, and `check` says so from then on.

    Parameters
    ----------
    path
        The file.
    holder
        Who takes it; ``None``: this process, in the foreground.
    patience
        Seconds for which it is tried again where another driver has it: one that follows a driver that died
        on another host has to wait until that one's lease is stale.

    Raises
    ------
    daflow.errors.LeaseError
        Another driver holds the run.
    daflow.errors.StoreError
        The file cannot be written or locked.
    """

    def __init__(self, path: Path, holder: Holder | None = None, patience: float = 0.0) -> None:
        self._path = path
        self._file: int | None = None
        self._holder = holder or Holder.this_process()
        self._patience = patience
        self._taken_by: Holder | None = None
        self._over = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="daflow-lease", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            self._take_in_time(self._file)
        except OSError as error:
            self._let_go()
            raise StoreError(
                f"cannot take the lease {self._path}",
                got=f"{error.strerror} ({type(error).__name__})",
                allowed="a folder where files can be written and locked",
                do="free space or mend the permissions there, or put the run on another disk",
            ) from error
        except BaseException:
            self._let_go()
            raise
        self._renewer.start()
        return self

    @property
    def holder(self) -> Holder:
        """Who has it, as it was when it was taken."""
        return self._holder

    def _take_in_time(self, file: int) -> None:
        began = time.monotonic()
        while True:
            try:
                return self._take(file)
            except LeaseError:
                holder = read_holder(self._path)
                dying = holder is not None and not holder.alive()
                if time.monotonic() - began >= (DYING_SECONDS if dying else self._patience):
                    raise
            time.sleep(0.05 if dying else min(TRY_SECONDS, self._patience))

    def _take(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise self._refusal(read_holder(self._path)) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        with self._claimed():
            holder = read_holder(self._path)
            if holder is not None and holder.alive():
                raise self._refusal(holder)
            now = time.time()
            self._holder = replace(self._holder, since=now, renewed=now)
            self._write(file, self._holder)

    @contextmanager
    def _claimed(self) -> Iterator[None]:
        """Let nobody else take the lease meanwhile, whether or not there are locks."""
        claim = self._path.with_name(f"{self._path.name}.claim")
        with suppress(FileNotFoundError):
            _break_if_abandoned(claim)
        try:
            file = os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError as error:
            raise self._refusal(read_holder(claim)) from error
        try:
            self._write(file, replace(self._holder, renewed=time.time()))
            yield
        finally:
            os.close(file)
            claim.unlink(missing_ok=True)

    def check(self) -> None:
        """See that nobody has taken the run over.

        Raises
        ------
        daflow.errors.LeaseError
            Somebody has: this driver was not heard of for so long that it was taken to be dead.
        """
        if self._taken_by is not None:
            raise LeaseError(
                f"the run in {self._path.parent} was taken over while this driver was not heard of",
                got=f"it is now driven by {self._taken_by.told()}, since {self._taken_by.told_since()}",
                allowed="one driver a run",
                do="nothing: that one goes on; if this host was not asleep, see why its disk was away",
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._renewer.join()
        if self._file is not None and self._taken_by is None:
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
            who = f"{holder.told()}, since {holder.told_since()}"
        return LeaseError(
            f"the run in {self._path.parent} has a driver already",
            got=who,
            allowed="one driver a run",
            do="watch it with `daflow attach`, end it with `daflow stop`",
        )

    def _renew(self) -> None:
        while not self._over.wait(RENEW_SECONDS):
            # A disk that is away for a moment may be back at the next turn.
            with suppress(OSError):
                holder = read_holder(self._path)
                if holder is not None and not self._holder.same_as(holder):
                    self._taken_by = holder
                    log.error("the run in %s is now driven by %s", self._path.parent, holder.told())
                    return
                if self._file is not None:
                    self._write(self._file, replace(self._holder, renewed=time.time()))

    @staticmethod
    def _write(file: int, holder: Holder) -> None:
        os.pwrite(file, json.dumps(asdict(holder)).encode().ljust(_LENGTH), 0)
        os.fsync(file)
