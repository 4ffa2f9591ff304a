"""The jobs that a run has in queues: noted when they are submitted, so that none is ever forgotten.

``work/jobs.jsonl`` in the run's folder, one JSON object a line, durable before anybody relies on the job.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from daflow.errors import StoreError

JobKind = Literal["worker", "driver", "member"]

REGISTRY: Final = Path("work") / "jobs.jsonl"
"""Where it lies in the folder of a run."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A job that was submitted for a run."""

    id: str
    """In the queue's words; of an array, the array's."""
    system: str
    """``slurm``, ``pbs``, ...: see `daflow.execution.queues.batch_systems`."""
    kind: JobKind
    submitted: float
    """Seconds since the epoch."""
    host: str
    """From where."""
    what: str = ""
    """What it does, as who submitted it wants to find again: a path below the run's folder."""


def register(folder: Path, job: str, system: str, kind: JobKind, what: str = "") -> Registered:
    """Note a job that was submitted just now; it is durable when this returns.

    Lines of several processes do not mix: each is one write at the end of the file.

    Raises
    ------
    daflow.errors.StoreError
        The disk is full or the folder is not writable.
    """
    entry = Registered(job, system, kind, time.time(), socket.gethostname(), what)
    path = folder / REGISTRY
    with _store_errors(path):
        new = not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            line = json.dumps(asdict(entry), separators=(",", ":")).encode() + b"\n"
            os.write(descriptor, _end_torn(descriptor) + line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            _sync_names(path.parent)
    return entry


@contextmanager
def _store_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot keep the list of the run's jobs in {path}",
            got=f"{error.strerror} ({type(error).__name__})",
            do="free space or mend the permissions there, then `daflow resume` the run: nothing is lost",
        ) from error


def _sync_names(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _end_torn(descriptor: int) -> bytes:
    """Return what ends a line that somebody who died left half written; most often nothing."""
    size = os.fstat(descriptor).st_size
    return b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""


def registered(folder: Path) -> list[Registered]:
    """Return all jobs that were ever submitted for the run, the first one first; a torn line is none.

    Raises
    ------
    daflow.errors.StoreError
        The file cannot be read.
    """
    path = folder / REGISTRY
    if not path.exists():
        return []
    with _store_errors(path):
        lines = path.read_bytes().split(b"\n")
    return [entry for line in lines if (entry := _entry(line)) is not None]


def _entry(line: bytes) -> Registered | None:
    with suppress(ValueError, TypeError):
        plain: Any = json.loads(line)
        return Registered(**plain)
    return None
