"""The chunk files of an uncompressed zarr array, read and written without zarr's machinery.

An array of chunks (1, s) has one file a row and column, ``c/<row>/<column>``, that holds the bare
little-endian numbers; the last column is padded with NaN to the full chunk. Any zarr reader opens it;
what zarr itself writes with the same metadata can be read here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from daflow.storage.batch import Writing
from daflow.storage.direct import ALIGNMENT, SMALLEST_DIRECT, FileAccess, aligned
from daflow.storage.files import store_errors
from daflow.storage.shares import by_threads

SHARES: Final = 2
"""Threads that share a large slab. By measurement: one takes half as long again to write it, four as long."""
SMALLEST_SHARED: Final = 2**24
"""Bytes of a slab."""


class Rows(Protocol):
    """Rows of numbers in whole chunks: how an array of members is kept.

    Chunks are contiguous, in the type that is stored, padded with NaN at the end of a row. What is written
    lasts when the batch is flushed.
    """

    def write_row(self, row: int, chunks: Iterable[NDArray[Any]], batch: Writing) -> None:
        """Write a row from all its chunks (chunk,), in order; each may be overwritten for the next."""
        ...

    def read_row(self, row: int, start: int, stop: int) -> NDArray[Any]:
        """Return the numbers ``start`` to ``stop`` of a row, a new array."""
        ...

    def write_column(self, rows: Sequence[int], column: int, slab: NDArray[Any], batch: Writing) -> None:
        """Write one chunk of each of these rows, from a slab (n_rows, chunk)."""
        ...

    def read_column(self, rows: Sequence[int], column: int, slab: NDArray[Any]) -> None:
        """Read one chunk of each of these rows, padding included, into a slab (n_rows, chunk)."""
        ...


@dataclass(frozen=True, slots=True)
class ChunkFiles:
    """Rows as chunk files; see `Rows`.

    Parameters
    ----------
    path
        The zarr array's folder.
    chunk
        How many numbers a chunk has.
    dtype
        How a number is stored.
    access
        How files are read.
    """

    path: Path
    chunk: int
    dtype: str
    access: FileAccess

    def write_row(self, row: int, chunks: Iterable[NDArray[Any]], batch: Writing) -> None:
        """Write a row from all its chunks (chunk,), in order; each may be overwritten for the next."""
        folder = f"{self.path}/c/{row}"
        for column, numbers in enumerate(chunks):
            batch.write(folder, str(column), numbers)

    def write_column(self, rows: Sequence[int], column: int, slab: NDArray[Any], batch: Writing) -> None:
        """Write one chunk of each of these rows, from a slab (n_rows, chunk)."""

        def write(row: int, numbers: NDArray[Any]) -> None:
            batch.write(f"{self.path}/c/{row}", str(column), numbers)

        _each(write, rows, slab)

    def read_row(self, row: int, start: int, stop: int) -> NDArray[Any]:
        """Return the numbers ``start`` to ``stop`` of a row, a new array."""
        itemsize = np.dtype(self.dtype).itemsize
        first, last = start, stop
        if (stop - start) * itemsize >= SMALLEST_DIRECT and self.chunk * itemsize % ALIGNMENT == 0:
            # From block to block, which lie within the chunks.
            block = ALIGNMENT // itemsize
            first, last = start // block * block, -(-stop // block) * block
            out = aligned((last - first,), self.dtype)
        else:
            out = np.empty(stop - start, dtype=self.dtype)
        for column in range(first // self.chunk, -(-last // self.chunk)):
            begin = column * self.chunk
            low, high = max(first, begin), min(last, begin + self.chunk)
            self._read(row, column, (low - begin) * itemsize, out[low - first : high - first])
        return out[start - first : stop - first]

    def read_column(self, rows: Sequence[int], column: int, slab: NDArray[Any]) -> None:
        """Read one chunk of each of these rows, padding included, into a slab (n_rows, chunk)."""

        def read(row: int, numbers: NDArray[Any]) -> None:
            self._read(row, column, 0, numbers)

        _each(read, rows, slab)

    def _read(self, row: int, column: int, offset: int, out: NDArray[Any]) -> None:
        path = f"{self.path}/c/{row}/{column}"
        with store_errors("read", path):
            self.access.read(path, offset, out)


def _each(do: Callable[[int, NDArray[Any]], None], rows: Sequence[int], slab: NDArray[Any]) -> None:
    """Do something with each row of a slab; a large one by two threads, so that the disk has work waiting."""
    pairs = zip(rows, slab, strict=True)
    by_threads(lambda pair: do(*pair), pairs, SHARES if slab.nbytes >= SMALLEST_SHARED else 1)
