"""Arrays on a disk: folders and files, durable before anyone is told of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from daflow.names import OBSERVATIONS
from daflow.ports import Arrays, Observations
from daflow.storage.batch import Batch, flushed
from daflow.storage.chunks import ChunkFiles, Rows
from daflow.storage.direct import FileAccess
from daflow.storage.files import (
    make_folder,
    remove_partials,
    store_errors,
    sync_file,
    sync_folder,
    write_durably,
)
from daflow.storage.kept_arrays import as_written, keep_arrays, kept_arrays
from daflow.storage.medium import Json
from daflow.storage.observations import read_observations, write_observations
from daflow.storage.zarr_rows import FilesOnDisk, ZarrRows


class DiskMedium:
    """Arrays in a folder; see `daflow.storage.medium.Medium`.

    Parameters
    ----------
    root
        The folder of the zarr groups.
    work
        The folder of what tasks leave for each other.
    """

    def __init__(self, root: Path, work: Path) -> None:
        self._root, self._work = root, work
        self._access = FileAccess()

    @property
    def root(self) -> Path:
        """The folder of the zarr groups."""
        return self._root

    def make_ready(self) -> None:
        """Make the folder, and remove what writers that were killed left unfinished."""
        make_folder(self._root)
        remove_partials(self._root)
        remove_partials(self._work / "kept")

    def errors(self, what: str) -> AbstractContextManager[None]:
        """Turn what the operating system says into an error."""
        return store_errors(what, self._root)

    def settle(self, names: Iterable[str], chunks: Iterable[str] = ()) -> None:
        """Sync folders and files."""
        for name in names:
            sync_folder(self._root / name)
        for name in chunks:
            sync_file(self._root / name)
            sync_folder((self._root / name).parent)

    def batch(self) -> AbstractContextManager[Batch]:
        """Return files that become durable together."""
        return flushed(self._access)

    def rows(self, name: str, chunk: int, dtype: str) -> Rows:
        """Return rows as chunk files."""
        return ChunkFiles(self._root / name, chunk, dtype, self._access)

    def packed_rows(self, name: str) -> Rows:
        """Return rows by way of zarr."""
        return ZarrRows(FilesOnDisk(self._root / name))

    def write_observations(self, observations: Observations) -> None:
        """Write the group beside its place and move it there."""
        write_observations(self._root, observations)

    def read_observations(self) -> Observations:
        """Return what was observed."""
        return read_observations(self._root)

    def has_observations(self) -> bool:
        """Say whether the group is there."""
        return (self._root / OBSERVATIONS).exists()

    def keep(self, name: str, arrays: Arrays) -> None:
        """Write arrays into a folder of their own."""
        keep_arrays(self._work / "kept" / name, arrays)

    def kept(self, name: str) -> Arrays | None:
        """Return arrays, large ones mapped."""
        return kept_arrays(self._work / "kept" / name)

    def write_note(self, name: str, note: Json) -> None:
        """Write a small file."""
        path = self._work / name
        make_folder(path.parent)
        write_durably(path, json.dumps(note).encode())
        sync_folder(path.parent)

    def read_note(self, name: str) -> Json:
        """Return what a small file says."""
        path = self._work / name
        with store_errors("read", path), as_written(path):
            return json.loads(path.read_bytes())
