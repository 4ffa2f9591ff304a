"""How fast a disk is: by itself, through the page cache, and by the chunks in which a run is stored.

Absolute figures drift with what else the disk and the processor do. Every way is therefore measured in the
same rounds, one after the other, and held against the raw speed of its own round.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from daflow.errors import DataError
from daflow.ports import FloatArray, StoredArray
from daflow.records import Layout, Variable
from daflow.storage.direct import DIRECT, aligned
from daflow.storage.disk import Disk, disk_of, scratch
from daflow.storage.files import make_folder, store_errors
from daflow.storage.zarr_store import ZarrStore

ROUNDS: Final = 3
BLOCK: Final = 4 * 2**20
"""Bytes that are read or written at a time where no chunks are."""
THREADS: Final = 4
"""Blocks under way at once: one alone does not keep a fast disk busy."""
MOST_ROWS: Final = 100
"""Members in the slices that are tried, if the bytes suffice."""
MOST_FILES: Final = 1000
"""That one turn makes; chunks so small that this stops them are slow beyond doubt."""
LONGEST: Final = 1.0
"""Seconds after which one way's turn to write, or to read, is over."""
SLOWEST: Final = 10.0
"""Seconds after which no new round begins."""
RAW, BUFFERED, CHUNKS = "raw", "buffered", "chunks"
CHUNK_SIZES: Final = (2**16, 2**18, 2**20, 2**22)
"""Bytes: what is tried unless somebody asks for others."""

Watch = Callable[[int, int, str], None]
"""Told how many turns are over, of how many, and whose turn it is."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How a run stores its steps, besides the size of its chunks."""

    codec: str = "none"
    sharding: str = "none"
    lanes: int = 3
    """How many slices a worker has under way."""


PLAIN: Final = Packing()


@dataclass(frozen=True, slots=True)
class Speed:
    """What one way to store reaches: medians over rounds."""

    way: str
    """``raw``: direct I/O on one file; ``buffered``: one file through the page cache, synced; ``chunks``: a
    run's own slices."""
    chunk_bytes: int
    """Of each file; 0 where there is one."""
    write: float
    """Bytes a second until durable."""
    read: float
    """Bytes a second from the disk, not from memory."""
    share: float
    """Of the raw speed, writing and reading the same bytes; 1 is all of it."""


@dataclass(frozen=True, slots=True)
class DiskSpeed:
    """What a disk was measured to do."""

    disk: Disk
    speeds: tuple[Speed, ...]
    packing: Packing
    """What became of the chunks."""
    n_bytes: int
    """Written in all."""
    seconds: float

    def at(self, chunk_bytes: int) -> Speed:
        """Return what chunks of this size reach."""
        return next(s for s in self.speeds if s.way == CHUNKS and s.chunk_bytes == chunk_bytes)

    @property
    def chunks(self) -> tuple[Speed, ...]:
        """What chunks reach, the smallest first."""
        return tuple(speed for speed in self.speeds if speed.way == CHUNKS)


@dataclass(frozen=True, slots=True)
class _Turn:
    """Bytes and seconds of one way in one round."""

    n_bytes: int
    write: float
    read: float

    @property
    def both(self) -> float:
        """Seconds a byte, written and read."""
        return (self.write + self.read) / self.n_bytes


Way = Callable[[Path, int], _Turn]


def measure(
    folder: Path,
    n_bytes: int,
    chunk_sizes: Sequence[int] = CHUNK_SIZES,
    watch: Watch = lambda *_: None,
    packing: Packing = PLAIN,
) -> DiskSpeed:
    """Measure the disk under a folder.

    Parameters
    ----------
    folder
        One that is there and is writable; it is left as it was, also by an interrupt.
    n_bytes
        How many bytes may be written in all.
    chunk_sizes
        Bytes of the chunks to try.
    watch
        Told of each turn before it begins.
    packing
        What becomes of the chunks; what is compressed is noise, which is the worst case.

    Raises
    ------
    daflow.errors.DataError
        The folder cannot be used, has no room, or the bytes are too few to measure anything.
    daflow.errors.StoreError
        The disk failed while it was measured.
    """
    start = time.perf_counter()
    disk = disk_of(folder)
    sizes = sorted(set(chunk_sizes))
    n_ways = 2 + len(sizes)
    a_turn = _bytes_a_turn(disk, n_bytes, n_ways, sizes)
    ways: list[tuple[str, int, Way]] = [
        (RAW, 0, partial(_one_file, DIRECT if disk.direct else 0)),
        (BUFFERED, 0, partial(_one_file, 0)),
        *((CHUNKS, size, partial(_by_chunks, packing, size)) for size in sizes),
    ]
    rounds: list[list[_Turn]] = []
    with scratch(folder) as own:
        for number in range(ROUNDS):
            if rounds and time.perf_counter() - start > SLOWEST:
                break
            turns = []
            for position, (way, size, take) in enumerate(ways):
                watch(number * n_ways + position, ROUNDS * n_ways, told(way, size))
                with scratch(own) as place, store_errors("measure the disk under", folder):
                    turns.append(take(place, a_turn))
            rounds.append(turns)
    speeds = tuple(
        _speed(way, size, [turns[position] for turns in rounds], [turns[0] for turns in rounds])
        for position, (way, size, _) in enumerate(ways)
    )
    written = sum(turn.n_bytes for turns in rounds for turn in turns)
    return DiskSpeed(disk, speeds, packing, written, time.perf_counter() - start)


def told(way: str, chunk_bytes: int) -> str:
    """Return a way to store in words."""
    if way == CHUNKS:
        return f"chunks of {size_of(chunk_bytes)}"
    return {RAW: "raw, one file", BUFFERED: "page cache, one file"}[way]


def size_of(n_bytes: float) -> str:
    """Return the bytes of a chunk as one reads them: chunks are powers of two."""
    for unit in ("B", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.3g} GiB"


def _bytes_a_turn(disk: Disk, n_bytes: int, n_ways: int, sizes: Sequence[int]) -> int:
    least = max(BLOCK, *sizes) if sizes else BLOCK
    a_turn = n_bytes // (ROUNDS * n_ways)
    if a_turn < least:
        raise DataError(
            "too few bytes to measure a disk with",
            got=size_of(n_bytes),
            allowed=f"{size_of(least * ROUNDS * n_ways)} or more: {ROUNDS} rounds of {n_ways} ways to store",
            do="allow more with --bytes",
        )
    if disk.free_bytes < n_bytes:
        raise DataError(
            f"no room to measure the disk under {disk.folder}",
            got=f"{size_of(disk.free_bytes)} free",
            allowed=f"{size_of(n_bytes)}",
            do="free space there, name another folder with --disk, or allow fewer bytes with --bytes",
        )
    return a_turn // BLOCK * BLOCK


def _speed(way: str, size: int, turns: Sequence[_Turn], raw: Sequence[_Turn]) -> Speed:
    return Speed(
        way,
        size,
        statistics.median(turn.n_bytes / turn.write for turn in turns),
        statistics.median(turn.n_bytes / turn.read for turn in turns),
        statistics.median(limit.both / turn.both for turn, limit in zip(turns, raw, strict=True)),
    )


def _one_file(flag: int, place: Path, n_bytes: int) -> _Turn:
    """Write one file by blocks and read it again, past the page cache or from a cold one."""
    path = place / "file"
    n_blocks = n_bytes // BLOCK
    # Numbers, for some disks compress what they get.
    buffers = [aligned((BLOCK // 8,), np.float64) for _ in range(min(THREADS, n_blocks))]
    for seed, buffer in enumerate(buffers):
        buffer[:] = np.random.default_rng(seed).standard_normal(buffer.size)
    written = _blocks(path, os.O_CREAT | os.O_WRONLY | flag, _write_block, buffers, n_blocks)
    forget(place)
    read = _blocks(path, os.O_RDONLY | flag, _read_block, buffers, written[0])
    return _Turn(read[0] * BLOCK, written[1] * read[0] / written[0], read[1])


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


def _by_chunks(how: Packing, size: int, place: Path, n_bytes: int) -> _Turn:
    """Write and read slices as the updates of a run do, a few at once."""
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
    return _Turn(n_read * slabs[0].nbytes, written.seconds * n_read / n_written, again.seconds)


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
    """Have the page cache forget the files in a folder, so that reading them means reading the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
