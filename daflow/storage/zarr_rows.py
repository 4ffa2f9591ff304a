"""Rows by way of zarr itself: for arrays that are compressed, or whose chunks share files.

A step's parameters are cut into chunks of one member and one slice whatever the settings. With aligned shards
those chunks lie together in files that belong to one task each::

    step=0      shards of one member and all slices (or several, of at most 128 MiB): a prior writes members
    step=K      shards of all members and one slice: an update writes slices
    forecasts   as step=0: a filter's forecast writes members

Two tasks never write into one shard: shards are read, changed and written back as a whole, so that one of
the two would be lost without a word (zarr-developers/zarr-python#3682).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from daflow.errors import StoreError
from daflow.records import Layout
from daflow.storage.batch import Writing
from daflow.storage.files import make_folder, store_errors

LARGEST_SHARD: Final = 128 * 2**20
"""Bytes of a member's shard before compression: a shard is put together in memory."""
CODECS: Final[Mapping[str, tuple[BloscCodec | Crc32cCodec, ...]]] = {
    "none": (),
    # Shuffled, for the bytes of a float's exponent are alike from number to number; its mantissa is noise.
    # With a checksum, for Blosc decodes a chunk that is cut short and reads what lies behind it in memory.
    "lz4": (BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"), Crc32cCodec()),
    "zstd": (BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"), Crc32cCodec()),
}
EVERY_CHUNK: Final[Any] = {"write_empty_chunks": True}
"""A chunk that equals the fill value is a result as well: its file says that it was written."""


def is_plain(layout: Layout) -> bool:
    """Say whether every chunk is a file of bare numbers."""
    return layout.codec == "none" and layout.sharding == "none"


def packing(layout: Layout, step: int) -> dict[str, Any]:
    """Return how zarr is to keep the chunks of a step's parameters: ``compressors`` and ``shards``."""
    return {"compressors": CODECS[layout.codec] or None, "shards": shard_of(layout, step)}


def shard_of(layout: Layout, step: int) -> tuple[int, int] | None:
    """Return how many members and numbers a shard of a step's parameters has; None: there are no shards.

    Laws: what a task writes is a whole number of shards, and no other task writes to these.
    """
    if layout.sharding == "none":
        return None
    if step > 0:
        return layout.n_members, layout.slice_size
    chunk_bytes = layout.slice_size * np.dtype(layout.dtype).itemsize
    return 1, layout.slice_size * min(layout.n_slices, max(1, LARGEST_SHARD // chunk_bytes))


def files_a_step(layout: Layout, step: int, n_members: int) -> int:
    """Return in how many files a step's parameters of so many members are."""
    rows, columns = shard_of(layout, step) or (1, layout.slice_size)
    return (n_members if rows == 1 else 1) * -(-layout.n_state // columns)


class ArrayFiles(Protocol):
    """The files of a zarr array, where zarr's own view of them is not enough; a key is ``c/3/0``."""

    @property
    def written(self) -> zarr.Array[Any]:
        """The array, for writing."""
        ...

    @property
    def read(self) -> zarr.Array[Any]:
        """The array, for reading."""
        ...

    def errors(self, what: str, key: str) -> AbstractContextManager[None]:
        """Turn what goes wrong with a file into an error that says what to do."""
        ...

    def before_write(self, key: str) -> None:
        """Make what a file needs that is to be written."""
        ...

    def after_write(self, key: str, batch: Writing) -> None:
        """See that a file that was written lasts when the batch is flushed."""
        ...

    def forget(self, key: str) -> None:
        """Remove a file; one that is not there is fine."""
        ...

    def check(self, keys: Iterable[str]) -> None:
        """See that files are there: zarr takes one that is missing, or an empty shard, for NaN."""
        ...


@dataclass(frozen=True)
class FilesOnDisk:
    """The files of a zarr array in a folder; see `ArrayFiles`."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @cached_property
    def written(self) -> zarr.Array[Any]:
        """The array."""
        with store_errors("open", self.path):
            return zarr.open_array(self.path, mode="r+", zarr_format=3).with_config(EVERY_CHUNK)

    @property
    def read(self) -> zarr.Array[Any]:
        """The array."""
        return self.written

    def errors(self, what: str, key: str) -> AbstractContextManager[None]:
        """Turn what the operating system says into an error."""
        return store_errors(what, self.path / key)

    def before_write(self, key: str) -> None:
        """Make the folders down to that of the row."""
        make_folder((self.path / key).parent.parent)

    def after_write(self, key: str, batch: Writing) -> None:
        """Let the file become durable with the others."""
        folder, _, name = key.rpartition("/")
        batch.add(f"{self.path}/{folder}", name)

    def forget(self, key: str) -> None:
        """Remove a file."""
        (self.path / key).unlink(missing_ok=True)

    def check(self, keys: Iterable[str]) -> None:
        """Look at each file's size."""
        for key in keys:
            path = self.path / key
            with store_errors("read", path):
                n_bytes = path.stat().st_size
            if n_bytes == 0:
                raise _not_as_written(path, "an empty file")


class ZarrRows:
    """Rows by way of zarr; see `daflow.storage.chunks.Rows`.

    Files have their names before they are durable: a task that is killed leaves some, and its next attempt
    writes them anew. Memory: a shard and what zarr makes of it, which is about as much again.

    Parameters
    ----------
    files
        The zarr array's.
    """

    def __init__(self, files: ArrayFiles) -> None:
        self._files = files

    @cached_property
    def _file(self) -> tuple[int, int]:
        """How many rows and columns lie in one file."""
        array = self._files.written
        rows, columns = array.shards or array.chunks
        return rows, columns

    def write_row(self, row: int, chunks: Iterable[NDArray[Any]], batch: Writing) -> None:
        """Write a row from all its chunks (chunk,), in order; each may be overwritten for the next.

        Raises
        ------
        daflow.errors.StoreError
            Other rows lie in the same files; or the disk is full or not writable.
        """
        n_rows, width = self._file
        if n_rows > 1:
            raise self._shared("a member", row)
        array = self._files.written
        n_columns = array.shape[1]
        numbers = np.empty((1, min(width, n_columns)), dtype=array.dtype)
        begin = held = 0
        for chunk in chunks:
            part = chunk[: n_columns - begin - held]  # without padding
            numbers[0, held : held + part.size] = part
            held += part.size
            if held == width or begin + held == n_columns:
                self._write(row, begin, numbers[:, :held], batch)
                begin, held = begin + held, 0

    def write_column(self, rows: Sequence[int], column: int, slab: NDArray[Any], batch: Writing) -> None:
        """Write one chunk of each of these rows, from a slab (n_rows, chunk).

        Rows that are left out are NaN where they lie in the same file.

        Raises
        ------
        daflow.errors.StoreError
            Other columns lie in the same files; or the disk is full or not writable.
        """
        n_rows, width = self._file
        chunk = self._files.written.chunks[1]
        if width > chunk:
            raise self._shared("a slice", column)
        begin, end = self._columns(column)
        if n_rows == 1:
            for row, numbers in zip(rows, slab, strict=True):
                self._write(row, begin, numbers[np.newaxis, : end - begin], batch)
            return
        whole = slab
        if list(rows) != list(range(n_rows)):
            whole = np.full((n_rows, chunk), np.nan, dtype=slab.dtype)
            whole[list(rows)] = slab
        self._write(0, begin, whole[:, : end - begin], batch)

    def read_row(self, row: int, start: int, stop: int) -> NDArray[Any]:
        """Return the numbers ``start`` to ``stop`` of a row, a new array."""
        out: NDArray[Any] = self._read(row, row + 1, start, stop)[0]
        return out

    def read_column(self, rows: Sequence[int], column: int, slab: NDArray[Any]) -> None:
        """Read one chunk of each of these rows, padding included, into a slab (n_rows, chunk)."""
        begin, end = self._columns(column)
        for first, last, at in _runs(rows):
            slab[at : at + last - first, : end - begin] = self._read(first, last, begin, end)
        slab[:, end - begin :] = np.nan

    def _columns(self, column: int) -> tuple[int, int]:
        array = self._files.written
        chunk = array.chunks[1]
        return column * chunk, min((column + 1) * chunk, array.shape[1])

    def _write(self, row: int, begin: int, numbers: NDArray[Any], batch: Writing) -> None:
        """Write all that is in one file."""
        file_rows, file_columns = self._file
        key = f"c/{row // file_rows}/{begin // file_columns}"
        self._files.before_write(key)
        with self._files.errors("write", key):
            where = slice(row, row + len(numbers)), slice(begin, begin + numbers.shape[1])
            try:
                self._files.written[where] = numbers
            except (ValueError, RuntimeError):
                # Zarr reads what there is of a row's last file, and an attempt that was killed left it torn.
                self._files.forget(key)
                self._files.written[where] = numbers
        self._files.after_write(key, batch)

    def _read(self, first: int, last: int, start: int, stop: int) -> NDArray[Any]:
        """Return what rows ``first`` to ``last`` have from ``start`` to ``stop`` (n_rows, n)."""
        rows, columns = self._file
        self._files.check(
            f"c/{row}/{column}"
            for row in range(first // rows, -(-last // rows))
            for column in range(start // columns, -(-stop // columns))
        )
        with self._as_written(), self._files.errors("read", ""):
            read: NDArray[Any] = np.asarray(self._files.read[first:last, start:stop])
        return read

    @contextmanager
    def _as_written(self) -> Iterator[None]:
        """Turn what a decoder says about a file into an error that says what to do."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            raise _not_as_written(self._files, f"{type(error).__name__}: {error}") from error

    def _shared(self, what: str, number: int) -> StoreError:
        rows, columns = self._file
        return StoreError(
            f"{what} of {self._files} cannot be written alone: its numbers share files with those of others",
            got=number,
            allowed=f"all that lies in a file: {rows} members, {columns} numbers of each",
            do="write a prior by members and a posterior by slices",
        )


def _not_as_written(path: Path | ArrayFiles, got: str) -> StoreError:
    return StoreError(
        f"a file of {path} is not what was written",
        got=got,
        do="restore the file, or run the workflow again in a new folder",
    )


def _runs(rows: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield the runs of consecutive rows: first, one past the last, and where the run stands in the list."""
    for _, run in itertools.groupby(enumerate(rows), key=lambda place: place[1] - place[0]):
        places = list(run)
        yield places[0][1], places[-1][1] + 1, places[0][0]
