"""The chunk files of an uncompressed zarr array, read and written without zarr's machinery.

An array of chunks (1, s) has one file a row and column, ``c/<row>/<column>``, that holds the bare
little-endian numbers; the last column is padded with NaN to the full chunk. Any zarr reader opens it;
what zarr itself writes with the same metadata can be read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from daflow.errors import StoreError
from daflow.storage.files import make_folder, store_errors, sync_folder, write_durably


@dataclass(frozen=True, slots=True)
class ChunkedRows:
    """Rows of numbers cut into chunks of one row each.

    Parameters
    ----------
    path
        The zarr array's folder.
    n_columns
        How many numbers a row has.
    chunk
        How many numbers a chunk has.
    dtype
        How a number is stored.
    """

    path: Path
    n_columns: int
    chunk: int
    dtype: str

    def write_row(self, row: int, first: int, values: NDArray[Any]) -> int:
        """Write consecutive whole chunks of a row, from chunk ``first`` on; return their checksum."""
        folder = self.path / "c" / str(row)
        make_folder(folder)
        checksum = 0
        for offset in range(0, len(values), self.chunk):
            data = self._whole(values[offset : offset + self.chunk]).data
            checksum = crc32(data, checksum)
            write_durably(folder / str(first + offset // self.chunk), data)
        sync_folder(folder)
        return checksum

    def write_column(self, rows: Sequence[int], column: int, values: NDArray[Any]) -> int:
        """Write one chunk of each of these rows (n_rows, n); return their checksum."""
        checksum = 0
        for row, numbers in zip(rows, values, strict=True):
            checksum = crc32(self.write_row(row, column, numbers).to_bytes(4, "little"), checksum)
        return checksum

    def read_row(self, row: int, start: int, stop: int) -> NDArray[Any]:
        """Return the numbers ``start`` to ``stop`` of a row."""
        out = np.empty(stop - start, dtype=self.dtype)
        for column in range(start // self.chunk, -(-stop // self.chunk)):
            begin = column * self.chunk
            low, high = max(start, begin), min(stop, begin + self.chunk)
            self._read(row, column, low - begin, out[low - start : high - start])
        return out

    def read_column(self, rows: Sequence[int], column: int) -> NDArray[Any]:
        """Return one chunk of each of these rows (n_rows, n), without padding."""
        n = min(self.chunk, self.n_columns - column * self.chunk)
        out = np.empty((len(rows), n), dtype=self.dtype)
        for row, numbers in zip(rows, out, strict=True):
            self._read(row, column, 0, numbers)
        return out

    def _whole(self, values: NDArray[Any]) -> NDArray[Any]:
        if len(values) == self.chunk:
            return np.ascontiguousarray(values, dtype=self.dtype)
        padded = np.full(self.chunk, np.nan, dtype=self.dtype)
        padded[: len(values)] = values
        return padded

    def _read(self, row: int, column: int, skip: int, out: NDArray[Any]) -> None:
        path = self.path / "c" / str(row) / str(column)
        with store_errors("read", path), path.open("rb", buffering=0) as file:
            file.seek(skip * out.itemsize)
            got = file.readinto(out.data.cast("B"))
        if got != out.nbytes:
            raise StoreError(
                f"chunk {path} is shorter than it was written",
                got=f"{got} bytes after {skip * out.itemsize}",
                allowed=f"{out.nbytes} bytes",
                do="restore the file, or run the workflow again in a new folder",
            )
