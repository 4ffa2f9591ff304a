"""What kind of disk a folder is on: its file system, its room, and what the system calls there can do."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from daflow.errors import DataError
from daflow.storage.direct import ALIGNMENT, DIRECT, aligned

SYNCS: Final = 9
"""How many small files are synced to tell how long one takes."""


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk under a folder."""

    folder: str
    kind: str
    """The file system: ``ext4``, ``nfs4``, ``lustre``, ``tmpfs`` ...; ``unknown`` where nobody says."""
    mounted: str
    """Where it is mounted."""
    free_bytes: int
    free_files: int | None
    """How many files can still be made; None: the file system sets no number."""
    direct: bool
    """Whether files can be read and written past the page cache."""
    sync_seconds: float
    """Until a small new file is durable, its name included; the median of a few."""


def disk_of(folder: Path) -> Disk:
    """Look at the disk under a folder; nothing stays behind.

    Raises
    ------
    daflow.errors.DataError
        There is no such folder, or it is not writable.
    """
    with scratch(folder) as own:
        kind, mounted = _file_system(own.parent)
        stat = os.statvfs(own)
        return Disk(
            str(own.parent),
            kind,
            mounted,
            stat.f_bavail * stat.f_frsize,
            stat.f_favail if stat.f_files else None,
            _takes_direct(own),
            _sync_seconds(own),
        )


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Make an empty folder in a folder, for as long as the context lasts; then it is gone, whatever happened.

    Raises
    ------
    daflow.errors.DataError
        There is no such folder, or it is not writable.
    """
    folder = folder.absolute()
    try:
        own = Path(tempfile.mkdtemp(prefix=".daflow-doctor-", dir=folder))
    except OSError as error:
        raise DataError(
            f"cannot try the disk under {folder}",
            got=error.strerror,
            allowed="a folder that is there and is writable",
            do="name the folder where runs are to go",
        ) from error
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _file_system(folder: Path) -> tuple[str, str]:
    """Return the type of a folder's file system and where it is mounted."""
    real = folder.resolve()
    mounts = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    for parent in (real, *real.parents):
        if str(parent) in mounts:
            return mounts[str(parent)] or "unknown", str(parent)
    return "unknown", real.anchor


def _takes_direct(folder: Path) -> bool:
    if not DIRECT:
        return False
    try:
        descriptor = os.open(folder / "direct", os.O_CREAT | os.O_WRONLY | DIRECT, 0o600)
    except OSError:
        return False
    try:
        return os.write(descriptor, aligned((ALIGNMENT,), np.uint8).data) == ALIGNMENT
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _sync_seconds(folder: Path) -> float:
    took = []
    for number in range(SYNCS):
        start = time.perf_counter()
        with (folder / f"sync-{number}").open("wb", buffering=0) as file:
            file.write(bytes(ALIGNMENT))
            os.fsync(file.fileno())
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        took.append(time.perf_counter() - start)
    return statistics.median(took)
