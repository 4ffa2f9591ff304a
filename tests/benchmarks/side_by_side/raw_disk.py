"""The disk itself: the same bytes read and written by as many threads, past the page cache, then synced."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from typing import Final

ALIGNED: Final = 4096
DIRECT: Final = getattr(os, "O_DIRECT", 0)


def rounded(n_bytes: int) -> int:
    """Return the next multiple of what direct I/O takes."""
    return -(-n_bytes // ALIGNED) * ALIGNED


def _open(path: Path, flags: int) -> int:
    with suppress(OSError):
        return os.open(path, flags | DIRECT, 0o644)
    return os.open(path, flags, 0o644)  # a file system without direct I/O, such as one in memory


def copy(sources: Sequence[Path], target: Path) -> None:
    """Read files one after the other and write them one behind the other into a new file, synced."""
    buffer = mmap.mmap(-1, rounded(max(path.stat().st_size for path in sources)))
    view = memoryview(buffer)
    written = _open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for source in sources:
        read = _open(source, os.O_RDONLY)
        n = rounded(os.readv(read, [view]))
        os.close(read)
        while n:
            n -= os.write(written, view[:n])
    os.fsync(written)
    os.close(written)


def copy_by_threads(sources: Sequence[Path], folder: Path, threads: int) -> None:
    """Copy files by so many threads, each into a file of its own."""
    folder.mkdir(exist_ok=True)
    shares = [sources[first::threads] for first in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(copy, shares, [folder / str(number) for number in range(threads)]))


def write_files(folder: Path, n_bytes: int, file_bytes: int) -> list[Path]:
    """Write files of random bytes, so many bytes in all; return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    data = os.urandom(file_bytes)
    paths = [folder / str(number) for number in range(max(1, n_bytes // file_bytes))]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Path.write_bytes, paths, repeat(data)))
    forget(paths)
    return paths


def forget(paths: Sequence[Path]) -> None:
    """Sync files and drop them from the page cache, so that they are read from the disk."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def give_back(folder: Path, aside: Path) -> None:
    """Empty the files of a folder, if it is there, and move it aside.

    The space is free at once, the names only when all is measured: a file system that has just deleted
    thousands of files is slow to make as many (ext4 passes over what was deleted in the last minutes, one by
    one), which would be charged to whoever makes a file a chunk.
    """
    if not folder.exists():
        return
    for path in folder.rglob("*"):
        if path.is_file():
            os.truncate(path, 0)
    aside.parent.mkdir(exist_ok=True)
    folder.rename(aside)
