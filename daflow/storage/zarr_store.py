"""The store of a run: one zarr v3 group a step, receipts beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path

import numpy as np

from daflow.names import FORECAST, PARAMETERS, PREDICTED, SMOOTHED, TRUTH, Phase
from daflow.ports import Arrays, FloatArray, Observations, SlicePoints, StoredArray
from daflow.records import Layout, Outcome, StateSlice, Task
from daflow.storage import layout as arrays
from daflow.storage.batch import Writing
from daflow.storage.checksums import Checksum
from daflow.storage.chunks import Rows
from daflow.storage.direct import aligned
from daflow.storage.disk_medium import DiskMedium
from daflow.storage.medium import Medium, ZarrRoot
from daflow.storage.pieces import rechunked
from daflow.storage.receipts import read_receipt, read_receipts, read_stage, read_together, write_receipts
from daflow.storage.zarr_rows import is_plain


class ZarrStore:
    """Chunked zarr arrays, one writer a chunk; see `daflow.ports.Store`.

    Parameters
    ----------
    root
        The folder of the zarr groups, or what else they lie on.
    receipts
        The folder of the receipts.
    layout
        What the arrays look like.
    """

    def __init__(self, root: Path | Medium, receipts: Path, layout: Layout) -> None:
        self._medium = DiskMedium(root, receipts.parent / "work") if isinstance(root, Path) else root
        self._receipts, self._layout = receipts, layout
        self._shared: Writing | None = None
        self._opened: dict[str, Rows] = {}
        self._states = PARAMETERS

    @property
    def root(self) -> ZarrRoot:
        """The root of the zarr groups, as zarr and xarray open it."""
        return self._medium.root

    def make_ready(self) -> None:
        """Make what is missing and remove what writers that were killed left; only while none is at work."""
        self._medium.make_ready()

    @property
    def layout(self) -> Layout:
        """What the arrays look like."""
        return self._layout

    @property
    def forecasts(self) -> ZarrStore:
        """The same store, whose members and slices are those after the forecast of a step: a filter's."""
        store = copy(self)
        store._states = FORECAST  # noqa: SLF001 - its own
        return store

    @property
    def smoothed(self) -> ZarrStore:
        """The same store, whose slices are of the smoothed states that steps start from."""
        store = copy(self)
        store._states = SMOOTHED  # noqa: SLF001 - its own
        return store

    def create_step(self, step: int) -> None:
        """Make the arrays of a step; making them again changes nothing."""
        with self._medium.errors("make arrays in"):
            arrays.create_step(self._medium, self._group(step, 0), self._layout, step)
            if step == 0:
                arrays.create_truth(self._medium, self._group(0, TRUTH), self._layout)
                arrays.create_coordinates(self._medium, self._layout)

    def write_member(self, step: int, member: int, pieces: Iterable[FloatArray]) -> str:
        """Write a member's parameters from pieces that follow each other along ``state``."""
        chunk = aligned((self._layout.slice_size,), self._layout.dtype)
        chunks = rechunked(pieces, self._layout.n_state, chunk, f"member {member} of step {step}")
        mark = Checksum()
        with self._batch() as batch:
            self._rows(step, member).write_row(self._row(step, member), mark.of(chunks), batch)
        return mark.digest

    def read_member(self, step: int, member: int, start: int, stop: int) -> FloatArray:
        """Return the numbers ``start`` to ``stop`` of a member's parameters (stop - start,)."""
        row = self._rows(step, member).read_row(self._row(step, member), start, stop)
        return row.astype(np.float64, copy=False)

    def slab(self, n_members: int) -> StoredArray:
        """Return memory for a slice: (n_members, ``layout.slice_size``) of the type that is stored."""
        return aligned((n_members, self._layout.slice_size), self._layout.dtype)

    def read_slice(self, step: int, where: StateSlice, members: Sequence[int], slab: StoredArray) -> None:
        """Read one slice of these members' parameters into a slab, a row each, from its first column on."""
        self._rows(step, 0).read_column(members, where.index, slab)

    def write_slice(self, step: int, where: StateSlice, members: Sequence[int], slab: StoredArray) -> str:
        """Write one slice of these members' parameters from a slab, a row each, from its first column on."""
        slab[:, where.size :] = np.nan
        with self._batch() as batch:
            self._rows(step, 0).write_column(members, where.index, slab, batch)
        return Checksum().over(slab)

    def write_predicted(self, step: int, member: int, values: FloatArray) -> str:
        """Write a member's predicted observations (n_obs,): those of the step, the truth's of all steps."""
        n_obs = arrays.n_obs_of(self._layout, step, member)
        chunk = np.empty(arrays.obs_chunk(n_obs))
        chunks = rechunked([values], n_obs, chunk, f"what member {member} predicts")
        mark = Checksum()
        with self._batch() as batch:
            self._predicted(step, member).write_row(max(member, 0), mark.of(chunks), batch)
        return mark.digest

    def read_predicted(self, step: int, members: Sequence[int], start: int, stop: int) -> FloatArray:
        """Return what these members predict of the observations ``start`` to ``stop`` (n_members, n)."""
        rows = np.empty((len(members), stop - start))
        for row, member in zip(rows, members, strict=True):
            row[:] = self._predicted(step, member).read_row(max(member, 0), start, stop)
        return rows

    @contextmanager
    def together(self) -> Iterator[ZarrStore]:
        """Return a store whose writes of members, slices and predictions last when the context ends."""
        with self._batch() as batch:
            store = copy(self)
            store._shared = batch  # noqa: SLF001 - its own
            yield store

    @contextmanager
    def _batch(self) -> Iterator[Writing]:
        if self._shared is not None:
            yield self._shared
            return
        with self._medium.batch() as batch:
            yield batch

    def write_survivors(self, step: int, members: Sequence[int]) -> None:
        """Write which members an update starts from."""
        self._medium.write_note(_survivors(step), list(members))

    def read_survivors(self, step: int) -> tuple[int, ...]:
        """Return which members an update starts from."""
        return tuple(self._medium.read_note(_survivors(step)))

    def write_observations(self, observations: Observations) -> None:
        """Write what was observed; writing it again changes nothing."""
        self._medium.write_observations(observations)

    def read_observations(self) -> Observations:
        """Return what was observed."""
        return self._medium.read_observations()

    def has_observations(self) -> bool:
        """Say whether there are observations."""
        return self._medium.has_observations()

    def write_arrays(self, name: str, arrays: Arrays) -> None:
        """Keep named arrays under a name such as ``step=3/factors``, whole or not at all."""
        self._medium.keep(name, arrays)

    def read_arrays(self, name: str) -> Arrays | None:
        """Return the arrays kept under a name, not to be written to; ``None`` if there are none."""
        return self._medium.kept(name)

    def write_coordinates(self, where: StateSlice, points: SlicePoints) -> str:
        """Write where the numbers of a slice lie."""
        with self._medium.errors("write coordinates in"):
            return arrays.write_coordinates(self._medium, self._layout, where, points)

    def write_receipts(self, outcomes: Sequence[Outcome]) -> None:
        """Say, durably and last, how tasks of one stage ended that ended together."""
        write_receipts(self._receipts, outcomes)

    def receipt(self, task: Task) -> Outcome | None:
        """Return the receipt of an attempt, if it left one."""
        return read_receipt(self._receipts, task)

    def receipts_together(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Return the receipts of tasks of one stage that ended together, if just these did; else nothing."""
        return read_together(self._receipts, tasks)

    def receipts(self) -> Iterator[Outcome]:
        """Return every receipt there is."""
        return read_receipts(self._receipts)

    def receipts_of(self, phase: Phase, step: int, known: Callable[[Task], bool]) -> Iterator[Outcome]:
        """Return the receipts of a stage: none that tells only of known tasks, maybe some of them."""
        return read_stage(self._receipts, phase, step, known)

    @staticmethod
    def _group(step: int, member: int) -> str:
        return "truth" if member == TRUTH else f"step={step}"

    def _row(self, step: int, member: int) -> int:
        """Return where a member's state stands; the truth is one, with a forecast of each step."""
        if member != TRUTH:
            return member
        return step if self._states == FORECAST else 0

    def _rows(self, step: int, member: int) -> Rows:
        name = f"{self._group(step, member)}/{self._states}"
        if is_plain(self._layout) or member == TRUTH:
            return self._medium.rows(name, self._layout.slice_size, self._layout.dtype)
        return self._opened.setdefault(name, self._medium.packed_rows(name))

    def _predicted(self, step: int, member: int) -> Rows:
        # Predictions stay float64: they are few, and rounding them would move the whole update.
        n_obs = arrays.n_obs_of(self._layout, step, member)
        name = f"{self._group(step, member)}/{PREDICTED}"
        return self._medium.rows(name, arrays.obs_chunk(n_obs), "float64")


def _survivors(step: int) -> str:
    return f"step={step}/survivors.json"
