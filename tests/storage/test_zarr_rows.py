"""Compressed and sharded steps: the same numbers as chunk files, in files that any zarr reads and writes."""

import itertools
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import StoreError
from daflow.names import TRUTH
from daflow.records import Layout, Variable
from daflow.storage import ZarrStore, zarr_rows
from daflow.storage.batch import flushed
from daflow.storage.chunks import ChunkFiles
from daflow.storage.direct import FileAccess
from daflow.storage.files import remove_partials
from daflow.storage.zarr_rows import CODECS, FilesOnDisk, ZarrRows, files_a_step, shard_of
from tests.contracts.store_contract import CYCLES, SMALL, StoreContract, numbers

PLAIN = ("none", "none")
WAYS = [way for way in itertools.product(CODECS, ("none", "aligned")) if way != PLAIN]


@st.composite
def layouts(draw, ways=WAYS):
    n_state = draw(st.integers(1, 30))
    state = Variable("field", ("cell",), (n_state,), 0)
    slice_size, dtype = draw(st.integers(1, n_state + 2)), draw(st.sampled_from(["float32", "float64"]))
    return Layout((state,), draw(st.integers(1, 5)), 2, slice_size, dtype, *draw(st.sampled_from(ways)))


@contextmanager
def stored(layout):
    with tempfile.TemporaryDirectory() as folder:
        store = ZarrStore(Path(folder) / "ensemble.zarr", Path(folder) / "receipts", layout)
        store.create_step(0)
        store.create_step(1)
        yield store


def array_of(store, step):
    return zarr.open_array(store.root / f"step={step}" / "parameters", mode="r+")


def bits(values):
    return np.ascontiguousarray(values).tobytes()


def write_step(store, members, values):
    """Write the next step as updates do, slice after slice."""
    slab = store.slab(len(members))
    for index in range(store.layout.n_slices):
        where = store.layout.slice(index)
        slab[:, : where.size] = values[:, where.start : where.stop]
        store.write_slice(1, where, members, slab)


def read_step(store, step, members):
    whole = np.empty((len(members), store.layout.n_state), store.layout.dtype)
    slab = store.slab(len(members))
    for index in range(store.layout.n_slices):
        where = store.layout.slice(index)
        store.read_slice(step, where, members, slab)
        whole[:, where.start : where.stop] = slab[:, : where.size]
    return whole


class TestCompressedStore(StoreContract):
    @contextmanager
    def store(self, layout):
        compressed = replace(layout, codec="lz4")
        with tempfile.TemporaryDirectory() as folder:
            yield ZarrStore(Path(folder) / "ensemble.zarr", Path(folder) / "receipts", compressed)


@settings(max_examples=8)
@given(layouts(), st.data())
def test_that_zarr_and_xarray_read_what_a_run_writes_and_nan_for_members_left_behind(layout, data):
    everyone = range(layout.n_members)
    members = data.draw(st.lists(st.sampled_from(everyone), min_size=1, unique=True))
    values = numbers((layout.n_members, layout.n_state), dtype=layout.dtype)
    with stored(layout) as store:
        for member in data.draw(st.permutations(everyone)):
            store.write_member(0, member, np.array_split(values[member], 3))
        write_step(store, members, values[members])
        left = np.full(values.shape, np.nan, layout.dtype)
        left[members] = values[members]
        for step, expected in enumerate((values.astype(layout.dtype), left)):
            assert bits(array_of(store, step)[:]) == bits(expected)
            with xr.open_zarr(store.root, group=f"step={step}", consolidated=False) as opened:
                assert opened.parameters.dims == ("member", "state")
                assert bits(opened.parameters.values) == bits(expected)


@settings(max_examples=8)
@given(layouts(), st.data())
def test_that_a_run_reads_what_zarr_writes_by_members_and_by_slices(layout, data):
    members = data.draw(st.permutations(range(layout.n_members)))[: data.draw(st.integers(1, 5))]
    values = numbers((layout.n_members, layout.n_state), dtype=layout.dtype)
    start = data.draw(st.integers(0, layout.n_state))
    stop = data.draw(st.integers(start, layout.n_state))
    with stored(layout) as store:
        for step in (0, 1):
            array_of(store, step).with_config({"write_empty_chunks": True})[:] = values
            assert bits(read_step(store, step, members)) == bits(values[members].astype(layout.dtype))
            for member in members:
                row = store.read_member(step, member, start, stop)
                assert bits(row) == bits(values[member, start:stop])


@settings(max_examples=8)
@given(layouts([PLAIN]))
def test_that_rows_by_way_of_zarr_and_chunk_files_are_the_same_files(layout):
    values = numbers((layout.n_members, layout.n_state), dtype=layout.dtype).astype(layout.dtype)
    with stored(layout) as store:
        for member, row in enumerate(values):
            store.write_member(0, member, [row.astype(float)])
        path, twin = (store.root / f"step={step}" / "parameters" for step in (0, 1))
        rows, access = ZarrRows(FilesOnDisk(twin)), FileAccess()
        slab = store.slab(layout.n_members)
        with flushed(access) as batch:
            for index in range(layout.n_slices):
                where = layout.slice(index)
                slab[:, : where.size] = values[:, where.start : where.stop]
                rows.write_column(range(layout.n_members), index, slab, batch)
        for file in path.glob("c/*/*"):
            assert (twin / file.relative_to(path)).read_bytes() == file.read_bytes()
        files = ChunkFiles(twin, layout.slice_size, layout.dtype, access)
        for member, row in enumerate(values):
            assert bits(files.read_row(member, 0, layout.n_state)) == bits(row)
            assert bits(ZarrRows(FilesOnDisk(path)).read_row(member, 0, layout.n_state)) == bits(row)


@settings(max_examples=8)
@given(layouts())
def test_that_the_checksum_of_a_task_does_not_depend_on_how_its_numbers_are_packed(layout):
    plain = Layout(layout.variables, layout.n_members, 2, layout.slice_size, layout.dtype)
    values = numbers((layout.n_members, layout.n_state), dtype=layout.dtype)
    marks = []
    for each in (layout, plain):
        with stored(each) as store:
            slab = store.slab(layout.n_members)
            slab[:, : each.slice(0).size] = values[:, : each.slice(0).stop]
            member = store.write_member(0, 0, [values[0]])
            marks.append((member, store.write_slice(1, each.slice(0), range(layout.n_members), slab)))
    assert marks[0] == marks[1]


@settings(max_examples=40)
@given(layouts(), st.integers(0, 2))
def test_that_no_two_tasks_write_to_one_shard(layout, step):
    rows, columns = shard_of(layout, step) or (1, layout.slice_size)
    owners = {}
    for member, index in itertools.product(range(layout.n_members), range(layout.n_slices)):
        task = member if step == 0 else index
        shard = (member // rows, layout.slice(index).start // columns)
        if layout.sharding == "aligned":
            assert owners.setdefault(shard, task) == task
        else:
            assert owners.setdefault(shard, (member, index)) == (member, index)
    assert len(owners) == files_a_step(layout, step, layout.n_members)


@pytest.mark.parametrize("codec", CODECS)
def test_that_aligned_shards_are_a_file_a_member_and_then_a_file_a_slice(codec):
    layout = Layout(SMALL.variables, 4, 3, 4, "float64", codec, "aligned")
    with stored(layout) as store:
        for member in range(4):
            store.write_member(0, member, [np.arange(11.0)])
        write_step(store, range(4), np.ones((4, 11)))
        for step, expected in enumerate((["0/0", "1/0", "2/0", "3/0"], ["0/0", "0/1", "0/2"])):
            grid = store.root / f"step={step}" / "parameters" / "c"
            assert sorted(str(file.relative_to(grid)) for file in grid.glob("*/*")) == expected
            assert files_a_step(layout, step, layout.n_members) == len(expected)


def test_that_a_member_too_long_for_one_shard_has_several_and_memory_stays_small(monkeypatch):
    monkeypatch.setattr(zarr_rows, "LARGEST_SHARD", 64)
    layout = Layout(SMALL.variables, 4, 3, 3, "float64", "none", "aligned")
    assert shard_of(layout, 0) == (1, 6)
    assert files_a_step(layout, 0, 4) == 8
    values = np.random.default_rng(0).standard_normal(11)
    with stored(layout) as store:
        store.write_member(0, 2, np.array_split(values, 5))
        assert bits(store.read_member(0, 2, 0, 11)) == bits(values)
        assert bits(array_of(store, 0)[2]) == bits(values)
        grid = store.root / "step=0" / "parameters" / "c"
        assert sorted(str(file.relative_to(grid)) for file in grid.glob("*/*")) == ["2/0", "2/1"]


def test_that_what_would_share_a_file_with_another_task_is_refused():
    with stored(Layout(SMALL.variables, 4, 3, 4, "float64", "none", "aligned")) as store:
        with pytest.raises(StoreError, match=r"a member of .* cannot be written alone"):
            store.write_member(1, 0, [np.arange(11.0)])
        with pytest.raises(StoreError, match=r"a slice of .* cannot be written alone"):
            store.write_slice(0, SMALL.slice(0), range(4), store.slab(4))


def test_that_the_truth_and_predictions_stay_chunk_files():
    layout = Layout(SMALL.variables, 4, 3, 4, "float64", "zstd", "aligned")
    with stored(layout) as store:
        store.write_member(0, TRUTH, [np.arange(11.0)])
        store.write_predicted(0, 0, np.arange(3.0))
        for path in ("truth/parameters", "truth/predicted", "step=0/predicted"):
            array = zarr.open_array(store.root / path, mode="r")
            assert (array.shards, array.compressors) == (None, ())
        np.testing.assert_array_equal(store.read_member(0, TRUTH, 0, 11), np.arange(11))


@pytest.mark.parametrize(("codec", "sharding"), WAYS)
def test_that_a_file_that_is_missing_is_an_error_and_never_nan(codec, sharding):
    layout = Layout(SMALL.variables, 4, 3, 4, "float64", codec, sharding)
    with stored(layout) as store:
        for step in (0, 1):
            with pytest.raises(StoreError, match=f"step={step}"):
                store.read_member(step, 1, 0, 11)
            with pytest.raises(StoreError, match=f"step={step}"):
                store.read_slice(step, SMALL.slice(2), [0, 1], store.slab(2))


@pytest.mark.parametrize(("codec", "sharding"), WAYS)
def test_that_a_torn_file_is_an_error_and_that_its_task_writes_it_anew(codec, sharding):
    layout = Layout(SMALL.variables, 4, 3, 4, "float64", codec, sharding)
    values = np.random.default_rng(0).standard_normal((4, 11))
    with stored(layout) as store:
        for length in range(0, 400, 23):
            write_step(store, range(4), values)
            path = store.root / "step=1" / "parameters" / "c" / "0" / "2"
            whole = path.read_bytes()
            if length >= len(whole):
                break
            path.write_bytes(whole[:length])
            with pytest.raises(StoreError, match="not what was written"):
                store.read_slice(1, SMALL.slice(2), range(4), store.slab(4))
            write_step(store, range(4), values)
            assert bits(read_step(store, 1, range(4))) == bits(values)


@pytest.mark.parametrize(("codec", "sharding"), WAYS)
def test_that_a_full_disk_is_an_error_and_leaves_no_half_of_a_file(small_disk, fill, codec, sharding):
    layout = Layout((Variable("field", ("cell",), (6000,), 0),), 2, 3, 2000, "float64", codec, sharding)
    store = ZarrStore(small_disk / "ensemble.zarr", small_disk / "receipts", layout)
    store.create_step(0)
    store.create_step(1)
    values = np.random.default_rng(0).standard_normal((2, 6000))
    filler = fill(small_disk)
    with pytest.raises(StoreError, match="free space"):
        store.write_member(0, 0, [values[0]])
    with pytest.raises(StoreError, match="free space"):
        write_step(store, [0], values[:1])
    filler.unlink()
    assert not list(small_disk.rglob("*.partial"))
    store.write_member(0, 0, [values[0]])
    assert bits(store.read_member(0, 0, 0, 6000)) == bits(values[0])


def test_that_what_zarr_left_half_written_is_cleaned_away(tmp_path):
    killed = tmp_path / "c" / "0"
    killed.mkdir(parents=True)
    for name in ("3", f"3.{'0a' * 16}.partial", "a.partial"):
        (killed / name).write_bytes(b"x")
    assert remove_partials(tmp_path) == 1
    assert sorted(path.name for path in killed.iterdir()) == ["3", "a.partial"]


def test_that_forecasts_in_aligned_shards_are_a_file_a_member_at_every_step():
    layout = replace(SMALL, codec="zstd", sharding="aligned", cycles=CYCLES)
    with stored(layout) as store:
        for step in (0, 1):
            for member in range(4):
                store.forecasts.write_member(step, member, [np.arange(11.0)])
            grid = store.root / f"step={step}" / "forecast" / "c"
            assert sorted(str(file.relative_to(grid)) for file in grid.glob("*/*")) == [
                f"{member}/0" for member in range(4)
            ]
            assert bits(store.forecasts.read_member(step, 3, 0, 11)) == bits(np.arange(11.0))
