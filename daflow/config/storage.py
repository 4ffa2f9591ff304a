"""Section ``storage``: where the arrays go and in what pieces."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Discriminator, Field, Tag

from daflow.config.section import InputPath, Section, kind_of_value

LARGEST_SLAB: Final = 100 * 2**20
"""Bytes of a slice of all members in memory, as the float64 that updates compute in."""
LARGEST_CHUNK: Final = 4 * 2**20
"""Bytes of a slice of one member on disk."""
SMALLEST_SLICE: Final = 2**14
"""Numbers; below this, opening files costs more than what is in them."""
FEWEST_SLICES: Final = 8
"""A state large enough is cut at least so often, so that its update can run in parallel."""


class StorageSettings(Section):
    """The run's arrays."""

    path: InputPath | None = Field(
        default=None,
        description="The folder of the arrays, on a disk that all workers see; null: in the run's.",
    )
    slice_size: Annotated[
        Annotated[Literal["auto"], Tag("word")] | Annotated[int, Field(ge=1), Tag("number")],
        Discriminator(kind_of_value),
    ] = Field(default="auto", description="How many numbers of each member one update task takes, or auto.")
    dtype: Literal["float64", "float32"] = Field(
        default="float64", description="How states are stored; updates compute in float64 either way."
    )


def slice_size(n_state: int, n_members: int, dtype: str) -> int:
    """Return how many numbers of each member a slice holds.

    An eighth of the state, but at least 16384 numbers, and at most what keeps a slice of all members
    within 100 MiB of memory (as float64) and a member's chunk of it within 4 MiB of disk. The last comes
    first: a very large ensemble gets slices below 16384.

    Laws: the result depends on the state and the ensemble alone, never on the number of workers; it lies in
    1 to n_state; slab and chunk stay within their limits.

    Parameters
    ----------
    n_state, n_members
        How many numbers a member has, and how many members there are.
    dtype
        How the state is stored: ``float64`` or ``float32``.
    """
    most = min(LARGEST_SLAB // (8 * n_members), LARGEST_CHUNK // np.dtype(dtype).itemsize)
    wanted = max(-(-n_state // FEWEST_SLICES), SMALLEST_SLICE)
    return max(1, min(wanted, most, n_state))
