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

from daflow.errors import DataError, StoreError
from daflow.storage.files import make_folder, store_errors, sync_folder, write_durably


def stored_as(dtype: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers as they are stored, contiguous; the same memory where nothing has to change.

    Raises
    ------
    daflow.errors.DataError
        A finite number is too large for the type: it would be stored as an infinity.
    """
    try:
        with np.errstate(over="raise", under="ignore"):
            return np.ascontiguousarray(values, dtype=dtype)
    except FloatingPointError as error:
        raise DataError(
            f"a number is too large to be stored as {np.dtype(dtype)}",
            got=f"{np.abs(values[np.isfinite(values)]).max():g}",
            allowed=f"up to {np.finfo(dtype).max:g}",
            do="choose `storage: {dtype: float64}`, or look why the number is so large",
        ) from error


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
        self._make_rows([row])
        return self._write_row(row, first, values)

    def write_column(self, rows: Sequence[int], column: int, values: NDArray[Any]) -> int:
        """Write one chunk of each of these rows (n_rows, n); return their checksum."""
        self._make_rows(rows)
        checksum = 0
        for row, numbers in zip(rows, values, strict=True):
            checksum = crc32(self._write_row(row, column, numbers).to_bytes(4, "little"), checksum)
        return checksum

    def _make_rows(self, rows: Sequence[int]) -> None:
        """Make the folders of rows, and make their names durable together."""
        grid = self.path / "c"
        make_folder(grid)
        missing = [folder for row in rows if not (folder := grid / str(row)).is_dir()]
        with store_errors("make folders in", grid):
            for folder in missing:
                folder.mkdir(exist_ok=True)
        if missing:
            sync_folder(grid)

    def _write_row(self, row: int, first: int, values: NDArray[Any]) -> int:
        folder = self.path / "c" / str(row)
        checksum = 0
        for offset in range(0, len(values), self.chunk):
            data = self._whole(values[offset : offset + self.chunk]).data
            checksum = crc32(data, checksum)
            write_durably(folder / str(first + offset // self.chunk), data)
        sync_folder(folder)
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
            return stored_as(self.dtype, values)
        padded = np.full(self.chunk, np.nan, dtype=self.dtype)
        padded[: len(values)] = stored_as(self.dtype, values)
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
