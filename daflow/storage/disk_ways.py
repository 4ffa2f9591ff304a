"""Ways to store bytes on a disk, each timed as it writes them and reads them again."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from daflow.ports import FloatArray, StoredArray
from daflow.records import Layout, Variable
from daflow.storage.direct import aligned
from daflow.storage.files import make_folder
from daflow.storage.zarr_store import ZarrStore

BLOCK: Final = 4 * 2**20
"""Bytes that are read or written at a time where no chunks are."""
THREADS: Final = 4
"""Blocks under way at once: one alone does not keep a fast disk busy."""
MOST_ROWS: Final = 100
"""Members in the slices that are tried, if the bytes suffice."""
MOST_FILES: Final = 1000
"""That one turn makes; chunks so small that this stops them are slow beyond doubt."""
LONGEST: Final = 1.0
"""Seconds after which a turn to write, or to read, is over."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How a run stores its steps, besides the size of its chunks."""

    codec: str = "none"
    sharding: str = "none"
    lanes: int = 3
    """How many slices a worker has under way."""


PLAIN: Final = Packing()


@dataclass(frozen=True, slots=True)
class Turn:
    """Bytes and seconds of one way in one round."""

    n_bytes: int
    write: float
    read: float

    @property
    def both(self) -> float:
        """Seconds a byte, written and read."""
        return (self.write + self.read) / self.n_bytes


def one_file(flag: int, place: Path, n_bytes: int) -> Turn:
    """Write one file by blocks and read it again, past the page cache or from a cold one.

    Parameters
    ----------
    flag
        ``O_DIRECT``, or 0 to go through the page cache.
    place
        An empty folder.
    n_bytes
        How large the file is, if `LONGEST` suffices.
    """
    path = place / "file"
    n_blocks = n_bytes // BLOCK
    # Numbers, for some disks compress what they get.
    buffers = [aligned((BLOCK // 8,), np.float64) for _ in range(min(THREADS, n_blocks))]
    for seed, buffer in enumerate(buffers):
        buffer[:] = np.random.default_rng(seed).standard_normal(buffer.size)
    written = _blocks(path, os.O_CREAT | os.O_WRONLY | flag, _write_block, buffers, n_blocks)
    forget(place)
    read = _blocks(path, os.O_RDONLY | flag, _read_block, buffers, written[0])
    return Turn(read[0] * BLOCK, written[1] * read[0] / written[0], read[1])


def _write_block(descriptor: int, buffer: FloatArray, offset: int) -> int:
    return os.pwrite(descriptor, buffer.data, offset)


def _read_block(descriptor: int, buffer: FloatArray, offset: int) -> int:
    return os.preadv(descriptor, [buffer.data], offset)


def _blocks(
    path: Path,
    flags: int,
    move: Callable[[int, FloatArray, int], int],
    buffers: Sequence[FloatArray],
    n_blocks: int,
) -> tuple[int, float]:
    """Move blocks of a file, a few at once; return how many, and the seconds until they are durable."""
    start = time.perf_counter()
    descriptor = os.open(path, flags, 0o600)
    done = 0
    try:
        with ThreadPoolExecutor(len(buffers)) as threads:
            while done < n_blocks and time.perf_counter() - start < LONGEST:
                at_once = range(done, min(done + len(buffers), n_blocks))
                list(
                    threads.map(
                        lambda block: move(descriptor, buffers[block % len(buffers)], block * BLOCK), at_once
                    )
                )
                done = at_once.stop
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return done, time.perf_counter() - start


def by_chunks(how: Packing, size: int, place: Path, n_bytes: int) -> Turn:
    """Write and read slices as the updates of a run do, a few at once.

    Parameters
    ----------
    how
        What becomes of the chunks.
    size
        Bytes of a chunk.
    place
        An empty folder.
    n_bytes
        How many to write, if `LONGEST` and `MOST_FILES` suffice.
    """
    n_rows = max(1, min(MOST_ROWS, n_bytes // size // how.lanes))
    n_slices = max(1, min(n_bytes // size, MOST_FILES) // n_rows)
    slice_size = size // 8
    state = Variable("state", ("cell",), (n_slices * slice_size,), 0)
    layout = Layout((state,), n_rows, 1, slice_size, "float64", how.codec, how.sharding)
    make_folder(place / "ensemble.zarr")
    store = ZarrStore(place / "ensemble.zarr", place / "receipts", layout)
    step = 1  # what an update writes, and the next one reads
    store.create_step(step)
    slabs = [store.slab(n_rows) for _ in range(min(how.lanes, n_slices))]
    for seed, slab in enumerate(slabs):
        slab[:] = np.random.default_rng(seed).standard_normal(slab.shape)

    def write(index: int, slab: StoredArray) -> None:
        store.write_slice(step, layout.slice(index), range(n_rows), slab)

    def read(index: int, slab: StoredArray) -> None:
        store.read_slice(step, layout.slice(index), range(n_rows), slab)

    written = _in_lanes(write, range(n_slices), slabs)
    forget(place)
    again = _in_lanes(read, written.done, slabs)
    n_written, n_read = len(written.done), len(again.done)
    return Turn(n_read * slabs[0].nbytes, written.seconds * n_read / n_written, again.seconds)


class _Lanes(NamedTuple):
    """Which slices were moved, and the seconds that took."""

    done: list[int]
    seconds: float


def _in_lanes(
    move: Callable[[int, StoredArray], None], indices: Sequence[int], slabs: Sequence[StoredArray]
) -> _Lanes:
    """Move slices, one a slab at a time, until all are moved or the time is up."""
    waiting, start = deque(indices), time.perf_counter()

    def lane(slab: StoredArray) -> list[int]:
        done: list[int] = []
        while not done or time.perf_counter() - start < LONGEST:
            try:
                index = waiting.popleft()
            except IndexError:
                break
            move(index, slab)
            done.append(index)
        return done

    with ThreadPoolExecutor(len(slabs)) as threads:
        done = [index for indices in threads.map(lane, slabs) for index in indices]
    return _Lanes(done, time.perf_counter() - start)


def forget(folder: Path) -> None:
    """Have the page cache forget the files in a folder, so that reading them means reading the disk.

    Nothing happens where the operating system cannot be asked for that.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
