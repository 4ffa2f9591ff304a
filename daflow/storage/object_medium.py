"""Arrays in a bucket of an object store: nothing lies on a disk, nothing is ever half there."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any
from zipfile import ZipFile

import numpy as np
import xarray as xr
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore, ObjectStore

from daflow.errors import StoreError
from daflow.names import OBSERVATIONS
from daflow.ports import Arrays, Observations
from daflow.storage.chunks import Rows
from daflow.storage.kept_arrays import as_written
from daflow.storage.medium import Json
from daflow.storage.object_rows import AT_ONCE, ChunkObjects, FilesInBucket, ObjectBatch, sent
from daflow.storage.objects import Objects, object_errors
from daflow.storage.observations import dataset_of, no_observations, observations_in
from daflow.storage.shares import by_threads
from daflow.storage.zarr_rows import ZarrRows

_WHOLE = f"{OBSERVATIONS}/zarr.json"
"""What says that the observations are there: it is put last."""


class ObjectMedium:
    """Arrays in a bucket; see `daflow.storage.medium.Medium`.

    A PUT that is acknowledged lasts and is seen by every reader: so it takes the place of sync and rename.

    Parameters
    ----------
    arrays
        Where the zarr groups go.
    work
        Where what tasks leave for each other goes.
    """

    def __init__(self, arrays: Objects, work: Objects) -> None:
        self._arrays, self._work = arrays, work

    @property
    def root(self) -> ObjectStore[Any]:
        """The zarr groups, as zarr and xarray open them."""
        return ObjectStore(self._arrays.store)

    def make_ready(self) -> None:
        """Do nothing: there are no folders, and a writer that was killed left nothing that can be seen."""

    def errors(self, what: str) -> AbstractContextManager[None]:
        """Turn what the server says into an error."""
        return object_errors(what, self._arrays.url)

    def settle(self, names: Iterable[str], chunks: Iterable[str] = ()) -> None:
        """Do nothing: what zarr put was acknowledged."""

    def batch(self) -> AbstractContextManager[ObjectBatch]:
        """Return objects that are put together."""
        return sent(self._arrays)

    def rows(self, name: str, chunk: int, dtype: str) -> Rows:
        """Return rows of which each chunk is an object."""
        return ChunkObjects(self._arrays, name, chunk, dtype)

    def packed_rows(self, name: str) -> Rows:
        """Return rows by way of zarr."""
        return ZarrRows(FilesInBucket(self._arrays, name))

    def write_observations(self, observations: Observations) -> None:
        """Put what the group holds, and at last the group itself."""
        if self.has_observations():
            return
        held: dict[str, Buffer] = {}
        dataset_of(observations).to_zarr(
            MemoryStore(held), group=OBSERVATIONS, mode="w", zarr_format=3, consolidated=False
        )
        parts = {name: part.to_bytes() for name, part in held.items() if name.startswith(f"{OBSERVATIONS}/")}
        whole = parts.pop(_WHOLE)
        by_threads(lambda part: self._arrays.put(*part), parts.items(), AT_ONCE)
        self._arrays.put(_WHOLE, whole)

    def read_observations(self) -> Observations:
        """Return what was observed."""
        if not self.has_observations():
            raise no_observations(self._arrays)
        with (
            object_errors("read", f"{self._arrays}/{OBSERVATIONS}"),
            xr.open_zarr(self.root, group=OBSERVATIONS, consolidated=False, chunks=None) as dataset,
        ):
            return observations_in(dataset.load())

    def has_observations(self) -> bool:
        """Say whether the group is there."""
        return self._arrays.exists(_WHOLE)

    def keep(self, name: str, arrays: Arrays) -> None:
        """Put arrays as one object, ``.npz``. Memory: as much again."""
        file = io.BytesIO()
        with ZipFile(file, "w") as parts:
            for part, array in arrays.items():
                # Not by np.savez, whose own parameters are names that no array can have.
                with parts.open(f"{part}.npy", "w", force_zip64=True) as written:
                    np.lib.format.write_array(written, np.asanyarray(array), allow_pickle=False)
        self._work.put(_kept(name), file.getvalue())

    def kept(self, name: str) -> Arrays | None:
        """Return arrays, all of them read."""
        data = self._work.get(_kept(name))
        if data is None:
            return None
        with as_written(f"{self._work}/{_kept(name)}"), np.load(io.BytesIO(data)) as held:
            arrays = dict(held)
        for array in arrays.values():
            array.flags.writeable = False
        return arrays

    def write_note(self, name: str, note: Json) -> None:
        """Put a short note."""
        self._work.put(name, json.dumps(note).encode())

    def read_note(self, name: str) -> Json:
        """Return a short note."""
        data = self._work.get(name)
        if data is None:
            raise StoreError(
                f"{self._work}/{name} is not there", do="run the workflow again with a prefix of its own"
            )
        with as_written(f"{self._work}/{name}"):
            return json.loads(bytes(data))


def _kept(name: str) -> str:
    return f"kept/{name}.npz"
