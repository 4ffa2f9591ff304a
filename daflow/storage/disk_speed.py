"""How fast a disk is: by itself, through the page cache, and by the chunks in which a run is stored.

Absolute figures drift with what else the disk and the processor do. Every way is therefore measured in the
same rounds, one after the other, and held against the raw speed of its own round.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from daflow.errors import DataError
from daflow.storage.direct import DIRECT
from daflow.storage.disk import Disk, disk_of, scratch
from daflow.storage.disk_ways import BLOCK, PLAIN, Packing, Turn, by_chunks, one_file
from daflow.storage.files import store_errors

ROUNDS: Final = 3
"""Of which medians are taken, if there is time for all."""
SLOWEST: Final = 10.0
"""Seconds after which no new round begins."""
RAW, BUFFERED, CHUNKS = "raw", "buffered", "chunks"
CHUNK_SIZES: Final = (2**16, 2**18, 2**20, 2**22)
"""Bytes: what is tried unless somebody asks for others."""

Watch = Callable[[int, int, str], None]
"""Told how many turns are over, of how many, and whose turn it is."""


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


Way = Callable[[Path, int], Turn]


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
        (RAW, 0, partial(one_file, DIRECT if disk.direct else 0)),
        (BUFFERED, 0, partial(one_file, 0)),
        *((CHUNKS, size, partial(by_chunks, packing, size)) for size in sizes),
    ]
    rounds: list[list[Turn]] = []
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


def _speed(way: str, size: int, turns: Sequence[Turn], raw: Sequence[Turn]) -> Speed:
    return Speed(
        way,
        size,
        statistics.median(turn.n_bytes / turn.write for turn in turns),
        statistics.median(turn.n_bytes / turn.read for turn in turns),
        statistics.median(limit.both / turn.both for turn, limit in zip(turns, raw, strict=True)),
    )
