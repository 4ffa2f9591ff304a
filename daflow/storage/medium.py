"""What the arrays of a store lie on: a disk, or a bucket of an object store."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from zarr.abc.store import Store as AnyZarrStore

from daflow.ports import Arrays, Observations
from daflow.storage.batch import Writing
from daflow.storage.chunks import Rows

ZarrRoot = Path | AnyZarrStore
"""What zarr and xarray open: a folder, or one of zarr's own stores."""


Json = Any
"""What JSON can say."""


class Medium(Protocol):
    """What the arrays of a store lie on.

    Names have slashes between their parts, ``step=2/parameters``. What a method wrote lasts when it returns,
    but for rows, which last when their batch is flushed. Whatever cannot be done is a
    `daflow.errors.StoreError` that says what to do.
    """

    @property
    def root(self) -> ZarrRoot:
        """The root of the zarr groups."""
        ...

    def make_ready(self) -> None:
        """Make what is missing and remove what writers that were killed left; only while none is at work."""
        ...

    def errors(self, what: str) -> AbstractContextManager[None]:
        """Turn what goes wrong in a context into an error that says what could not be done."""
        ...

    def settle(self, names: Iterable[str], chunks: Iterable[str] = ()) -> None:
        """Make last what zarr wrote: groups and arrays by their names, then chunks by theirs."""
        ...

    def batch(self) -> AbstractContextManager[Writing]:
        """Return a batch that is flushed when the context ends, and discarded if it ends by an error."""
        ...

    def rows(self, name: str, chunk: int, dtype: str) -> Rows:
        """Return the rows of an array of bare numbers."""
        ...

    def packed_rows(self, name: str) -> Rows:
        """Return the rows of an array that is compressed, or whose chunks lie together in shards."""
        ...

    def write_observations(self, observations: Observations) -> None:
        """Write what was observed, whole or not at all; what is there already stays."""
        ...

    def read_observations(self) -> Observations:
        """Return what was observed."""
        ...

    def has_observations(self) -> bool:
        """Say whether there are observations."""
        ...

    def keep(self, name: str, arrays: Arrays) -> None:
        """Keep named arrays, whole or not at all, in the place of those that were there."""
        ...

    def kept(self, name: str) -> Arrays | None:
        """Return the arrays kept under a name, not to be written to; ``None`` if there are none."""
        ...

    def write_note(self, name: str, note: Json) -> None:
        """Write a short note, in the place of the one that was there."""
        ...

    def read_note(self, name: str) -> Json:
        """Return a short note."""
        ...
