"""The store of a run: one zarr v3 group a step, receipts beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path

import numpy as np

from daflow.names import FORECAST, PARAMETERS, PREDICTED, SMOOTHED, TRUTH, Phase
from daflow.ports import Arrays, FloatArray, Observations, SlicePoints, StoredArray
from daflow.records import Layout, Outcome, StateSlice, Task
from daflow.storage import layout as arrays
from daflow.storage.batch import Batch, flushed
from daflow.storage.checksums import Checksum
from daflow.storage.chunks import ChunkFiles, Rows
from daflow.storage.direct import FileAccess, aligned
from daflow.storage.files import make_folder, store_errors, sync_folder, write_durably
from daflow.storage.kept_arrays import as_written, keep_arrays, kept_arrays
from daflow.storage.observations import read_observations, write_observations
from daflow.storage.pieces import rechunked
from daflow.storage.receipts import read_receipt, read_receipts, read_stage, read_together, write_receipts
from daflow.storage.zarr_rows import ZarrRows, is_plain


class ZarrStore:
    """Chunked zarr arrays in a folder, one writer a chunk; see `daflow.ports.Store`.

    Parameters
    ----------
    root
        The folder of the zarr groups.
    receipts
        The folder of the receipts.
    layout
        What the arrays look like.
    """

    def __init__(self, root: Path, receipts: Path, layout: Layout) -> None:
        self.root, self._receipts, self._layout = root, receipts, layout
        self._access = FileAccess()
        self._shared: Batch | None = None
        self._opened: dict[Path, ZarrRows] = {}
        self._states = PARAMETERS

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
        with store_errors("make arrays in", self.root):
            arrays.create_step(self.root, self._group(step, 0), self._layout, step)
            if step == 0:
                arrays.create_truth(self.root, self._group(0, TRUTH), self._layout)
                arrays.create_coordinates(self.root, self._layout)

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
    def _batch(self) -> Iterator[Batch]:
        if self._shared is not None:
            yield self._shared
            return
        with flushed(self._access) as batch:
            yield batch

    def write_survivors(self, step: int, members: Sequence[int]) -> None:
        """Write which members an update starts from."""
        _write_small(self._work(step) / "survivors.json", json.dumps(list(members)).encode())

    def read_survivors(self, step: int) -> tuple[int, ...]:
        """Return which members an update starts from."""
        path = self._work(step) / "survivors.json"
        with store_errors("read", path), as_written(path):
            return tuple(json.loads(path.read_bytes()))

    def write_observations(self, observations: Observations) -> None:
        """Write what was observed; writing it again changes nothing."""
        write_observations(self.root, observations)

    def read_observations(self) -> Observations:
        """Return what was observed."""
        return read_observations(self.root)

    def write_arrays(self, name: str, arrays: Arrays) -> None:
        """Keep named arrays under a name such as ``step=3/factors``, whole or not at all."""
        keep_arrays(self._kept(name), arrays)

    def read_arrays(self, name: str) -> Arrays | None:
        """Return the arrays kept under a name, not to be written to; ``None`` if there are none."""
        return kept_arrays(self._kept(name))

    def write_coordinates(self, where: StateSlice, points: SlicePoints) -> str:
        """Write where the numbers of a slice lie."""
        with store_errors("write coordinates in", self.root):
            return arrays.write_coordinates(self.root, self._layout, where, points)

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
        path = self.root / self._group(step, member) / self._states
        if not (is_plain(self._layout) or member == TRUTH):
            return self._opened.setdefault(path, ZarrRows(path))
        return ChunkFiles(path, self._layout.slice_size, self._layout.dtype, self._access)

    def _predicted(self, step: int, member: int) -> Rows:
        path = self.root / self._group(step, member) / PREDICTED
        # Predictions stay float64: they are few, and rounding them would move the whole update.
        n_obs = arrays.n_obs_of(self._layout, step, member)
        return ChunkFiles(path, arrays.obs_chunk(n_obs), "float64", self._access)

    def _kept(self, name: str) -> Path:
        return self._receipts.parent / "work" / "kept" / name

    def _work(self, step: int) -> Path:
        return self._receipts.parent / "work" / f"step={step}"


def _write_small(path: Path, data: bytes) -> None:
    make_folder(path.parent)
    write_durably(path, data)
    sync_folder(path.parent)
