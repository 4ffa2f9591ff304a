"""Section ``storage``: where the arrays go and in what pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Discriminator, Field, Tag

from daflow.config.object_stores import ObjectStoreOptions, StoragePlace
from daflow.config.section import Problem, Section, kind_of_value

LARGEST_SLAB: Final = 100 * 2**20
"""Bytes of a slice of all members in memory, in the type that is stored."""
LARGEST_CHUNK: Final = 4 * 2**20
"""Bytes of a slice of one member on disk."""
LARGEST_COMPRESSED: Final = 2**31 - 4096
"""Bytes of a chunk that Blosc takes, less what it adds."""
SMALLEST_SLICE: Final = 2**14
"""Numbers; below this, opening files costs more than what is in them."""
FEWEST_SLICES: Final = 8
"""A state large enough is cut at least so often, so that its update can run in parallel."""
BLOCK: Final = 2**10
"""Numbers: a chunk of so many, of either type, fills blocks of a disk, as direct reads and writes want it."""


class StorageSettings(Section):
    """The run's arrays."""

    path: StoragePlace | None = Field(
        default=None,
        description="The folder of the arrays, on a disk that all workers see; or a prefix of their own in a "
        "bucket: s3://bucket/prefix, gs://..., az://container/prefix; null: in the run's.",
    )
    options: ObjectStoreOptions | None = Field(
        default=None, description="How the object store is reached, if it is not by its defaults."
    )
    slice_size: Annotated[
        Annotated[Literal["auto"], Tag("word")] | Annotated[int, Field(ge=1), Tag("number")],
        Discriminator(kind_of_value),
    ] = Field(
        default="auto",
        description="How many numbers of each member one update task takes, or auto. Multiples of 1024 are "
        "read and written past the page cache, where the disk's file system can; auto gives such.",
    )
    dtype: Literal["float64", "float32"] = Field(
        default="float64",
        description="How states are stored, and updated as well where no variable of a slice is transformed; "
        "transformed variables are updated in float64 either way.",
    )
    codec: Literal["none", "lz4", "zstd"] = Field(
        default="none",
        description="How the chunks of steps are compressed; floats hardly get smaller, and all gets slower.",
    )
    sharding: Literal["none", "aligned"] = Field(
        default="none",
        description="A file a chunk, or one for all chunks that a task writes (aligned): fewer, but slower.",
    )

    def _problems(self) -> Iterator[Problem]:
        if self.options is not None and not isinstance(self.path, str):
            what = "a folder has none: they are for an object store"
            yield Problem("options", what, allowed="path: s3://bucket/prefix, gs://... or az://...")
        if self.codec != "none" and isinstance(self.slice_size, int):
            most = LARGEST_COMPRESSED // np.dtype(self.dtype).itemsize
            if self.slice_size > most:
                what = f"more than the codec {self.codec} takes in one chunk"
                yield Problem("slice_size", what, self.slice_size, f"1 to {most}, auto, or codec: none")


def slice_size(n_state: int, n_members: int, dtype: str) -> int:
    """Return how many numbers of each member a slice holds.

    An eighth of the state, but at least 16384 numbers, and at most what keeps a slice of all members
    within 100 MiB of memory and a member's chunk of it within 4 MiB of disk. The last comes
    first: a very large ensemble gets slices below 16384. All that in multiples of 1024, for chunks that
    can be read and written directly, unless the whole state is one slice or the limits allow less than 1024.

    Laws: the result depends on the state and the ensemble alone, never on the number of workers; it lies in
    1 to n_state; slab and chunk stay within their limits; it is a multiple of 1024 if it can be.

    Parameters
    ----------
    n_state, n_members
        How many numbers a member has, and how many members there are.
    dtype
        How the state is stored: ``float64`` or ``float32``.
    """
    itemsize = np.dtype(dtype).itemsize
    most = min(LARGEST_SLAB // (itemsize * n_members), LARGEST_CHUNK // itemsize)
    wanted = max(-(-n_state // FEWEST_SLICES), SMALLEST_SLICE)
    if most >= BLOCK:
        wanted, most = -(-wanted // BLOCK) * BLOCK, most // BLOCK * BLOCK
    return max(1, min(wanted, most, n_state))
