"""Rows of numbers as objects: an object a chunk, or shards by way of zarr."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import ObjectStore, WrapperStore

from daflow.storage.batch import Writing
from daflow.storage.objects import Objects, object_errors
from daflow.storage.shares import by_threads
from daflow.storage.zarr_rows import EVERY_CHUNK

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

AT_ONCE: Final = 16
"""Requests at a time: one alone waits for the network most of its time."""
MOST_WAITING: Final = 64 * 2**20
"""Bytes that wait to be sent; more are sent first."""


class ObjectBatch:
    """Objects that are put together, many at a time, when the batch is flushed.

    Laws: when it is flushed, the server has acknowledged every one of them; until then some may be there and
    some not. Threads may share a batch.

    Parameters
    ----------
    objects
        Where they go.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._waiting: dict[str, bytes] = {}
        self._n_bytes = 0
        self._lock = Lock()

    def write(self, folder: str, name: str, numbers: NDArray[Any]) -> None:
        """Take contiguous numbers, of which a copy waits to be sent."""
        data = numbers.tobytes()
        with self._lock:
            self._waiting[f"{folder}/{name}"] = data
            self._n_bytes += len(data)
            full = self._n_bytes >= MOST_WAITING
        if full:
            self.flush()

    def add(self, folder: str, name: str) -> None:
        """Take notice of what somebody else put: it was acknowledged, and lasts."""

    def flush(self) -> None:
        """Send everything that waits.

        Raises
        ------
        daflow.errors.StoreError
            The server did not acknowledge one of them.
        """
        with self._lock:
            waiting, self._waiting, self._n_bytes = self._waiting, {}, 0
        by_threads(lambda item: self._objects.put(*item), waiting.items(), AT_ONCE)

    def discard(self) -> None:
        """Forget what was not sent."""
        with self._lock:
            self._waiting, self._n_bytes = {}, 0


@contextmanager
def sent(objects: Objects) -> Iterator[ObjectBatch]:
    """Return a batch that is flushed when the context ends, and discarded if it ends by an error."""
    batch = ObjectBatch(objects)
    try:
        yield batch
    except BaseException:
        batch.discard()
        raise
    batch.flush()


@dataclass(frozen=True, slots=True)
class ChunkObjects:
    """Rows as objects that hold the bare numbers of a chunk; see `daflow.storage.chunks.Rows`.

    Parameters
    ----------
    objects
        Where they are.
    name
        The zarr array's name there.
    chunk
        How many numbers a chunk has.
    dtype
        How a number is stored.
    """

    objects: Objects
    name: str
    chunk: int
    dtype: str

    def write_row(self, row: int, chunks: Iterable[NDArray[Any]], batch: Writing) -> None:
        """Write a row from all its chunks (chunk,), in order; each may be overwritten for the next."""
        for column, numbers in enumerate(chunks):
            batch.write(f"{self.name}/c/{row}", str(column), numbers)

    def write_column(self, rows: Sequence[int], column: int, slab: NDArray[Any], batch: Writing) -> None:
        """Write one chunk of each of these rows, from a slab (n_rows, chunk)."""
        for row, numbers in zip(rows, slab, strict=True):
            batch.write(f"{self.name}/c/{row}", str(column), numbers)

    def read_row(self, row: int, start: int, stop: int) -> NDArray[Any]:
        """Return the numbers ``start`` to ``stop`` of a row, a new array."""
        out = np.empty(stop - start, dtype=self.dtype)

        def read(column: int) -> None:
            begin = column * self.chunk
            low, high = max(start, begin), min(stop, begin + self.chunk)
            self._read(row, column, (low - begin) * out.itemsize, out[low - start : high - start])

        by_threads(read, range(start // self.chunk, -(-stop // self.chunk)), AT_ONCE)
        return out

    def read_column(self, rows: Sequence[int], column: int, slab: NDArray[Any]) -> None:
        """Read one chunk of each of these rows, padding included, into a slab (n_rows, chunk)."""
        pairs = zip(rows, slab, strict=True)
        by_threads(lambda pair: self._read(pair[0], column, 0, pair[1]), pairs, AT_ONCE)

    def _read(self, row: int, column: int, offset: int, out: NDArray[Any]) -> None:
        self.objects.read(f"{self.name}/c/{row}/{column}", offset, out)


class _NothingMadeUp(WrapperStore[ObjectStore[Any]]):
    """A zarr store in which a chunk that is missing is an error, not a chunk of NaN."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        found = await self._store.get(key, prototype, byte_range)
        if found is None and "/c/" in key:
            raise FileNotFoundError(f"{key} not found")
        return found


@dataclass(frozen=True)
class FilesInBucket:
    """The objects of a zarr array; see `daflow.storage.zarr_rows.ArrayFiles`.

    Parameters
    ----------
    objects
        Where they are.
    name
        The zarr array's name there.
    """

    objects: Objects
    name: str

    def __str__(self) -> str:
        return f"{self.objects}/{self.name}"

    @cached_property
    def written(self) -> zarr.Array[Any]:
        """The array, for writing."""
        return self._opened(ObjectStore(self.objects.store))

    @cached_property
    def read(self) -> zarr.Array[Any]:
        """The array, for reading: a chunk that is missing is an error."""
        return self._opened(_NothingMadeUp(ObjectStore(self.objects.store)))

    def _opened(self, store: ObjectStore[Any] | _NothingMadeUp) -> zarr.Array[Any]:
        with self.errors("open", ""):
            return zarr.open_array(store, path=self.name, mode="r+", zarr_format=3).with_config(EVERY_CHUNK)

    def errors(self, what: str, key: str) -> AbstractContextManager[None]:
        """Turn what the server says into an error."""
        return object_errors(what, f"{self}/{key}" if key else str(self))

    def before_write(self, key: str) -> None:
        """Do nothing: there are no folders."""

    def after_write(self, key: str, batch: Writing) -> None:
        """Do nothing: it is acknowledged."""

    def forget(self, key: str) -> None:
        """Remove a file's object."""
        self.objects.delete(f"{self.name}/{key}")

    def check(self, keys: Iterable[str]) -> None:
        """Leave that to `read`: to ask for each would double the requests."""
