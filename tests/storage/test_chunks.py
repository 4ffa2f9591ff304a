import os

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import StoreError
from daflow.storage.batch import flushed
from daflow.storage.chunks import SMALLEST_SHARED, ChunkFiles
from daflow.storage.direct import SMALLEST_DIRECT, FileAccess, aligned

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 23), st.integers(1, 25), st.sampled_from(["<f4", "<f8"]))
LARGE = SMALLEST_DIRECT // 4
"""Numbers of a chunk that is read and written directly, of either type."""


def files_at(path, chunk, dtype, *, direct=True):
    return ChunkFiles(path, chunk, dtype, FileAccess(direct=direct))


def padded(values, chunk, dtype):
    """Return rows padded to whole chunks (n_rows, n_chunks, chunk)."""
    n_chunks = -(-values.shape[1] // chunk)
    whole = aligned((len(values), n_chunks, chunk), dtype)
    whole[:] = np.nan
    whole.reshape(len(values), -1)[:, : values.shape[1]] = values
    return whole


def write_rows(files, values):
    with flushed(files.access) as batch:
        for row, chunks in enumerate(padded(values, files.chunk, files.dtype)):
            files.write_row(row, chunks, batch)


def array_of(path, n_rows, n_columns, chunk, dtype):
    return zarr.create_array(
        path,
        shape=(n_rows, n_columns),
        chunks=(1, chunk),
        dtype=dtype,
        fill_value=np.nan,
        compressors=None,
        filters=None,
        overwrite=True,
        config={"write_empty_chunks": True},
    )


def values_of(n_rows, n_columns, dtype):
    values = np.random.default_rng(n_columns).standard_normal((n_rows, n_columns)).astype(dtype)
    values.flat[::5] = np.nan
    values.flat[1::7] = -0.0
    return values


def check_both_ways(folder, shape, *, direct):
    n_rows, n_columns, chunk, dtype = shape
    values = values_of(n_rows, n_columns, dtype)
    ours, theirs = array_of(folder / "ours", *shape), array_of(folder / "theirs", *shape)
    write_rows(files_at(folder / "ours", chunk, dtype, direct=direct), values)
    theirs[:] = values
    assert ours[:].tobytes() == values.tobytes()
    files = files_at(folder / "theirs", chunk, dtype, direct=direct)
    for row, numbers in enumerate(values):
        assert files.read_row(row, 0, n_columns).tobytes() == numbers.tobytes()
    slab = aligned((n_rows, chunk), dtype)
    for column in range(-(-n_columns // chunk)):
        part = values[:, column * chunk : (column + 1) * chunk]
        files.read_column(range(n_rows), column, slab)
        assert slab[:, : part.shape[1]].tobytes() == part.tobytes()
        assert np.isnan(slab[:, part.shape[1] :]).all()
    for path in (folder / "ours" / "c").rglob("*"):
        other = folder / "theirs" / "c" / path.relative_to(folder / "ours" / "c")
        assert path.is_dir() or path.read_bytes() == other.read_bytes()


@settings(max_examples=12)
@given(SHAPES)
def test_that_zarr_and_we_read_and_write_the_same_files(tmp_path_factory, shape):
    check_both_ways(tmp_path_factory.mktemp("chunks"), shape, direct=True)


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@pytest.mark.parametrize("chunk", [LARGE, LARGE + 1], ids=["blocks", "no blocks"])
def test_that_zarr_and_we_read_and_write_the_same_large_files_directly_or_not(tmp_path, dtype, chunk, direct):
    check_both_ways(tmp_path, (2, chunk + 1000, chunk, dtype), direct=direct)


@settings(max_examples=12)
@given(SHAPES, st.data())
def test_that_any_part_of_a_row_and_any_column_come_back_bit_for_bit(tmp_path_factory, shape, data):
    n_rows, n_columns, chunk, dtype = shape
    values = values_of(n_rows, n_columns, dtype)
    files = files_at(tmp_path_factory.mktemp("chunks") / "a", chunk, dtype)
    whole = padded(values, chunk, dtype)
    for column in data.draw(st.permutations(range(whole.shape[1]))):
        with flushed(files.access) as batch:
            files.write_column(range(n_rows), column, np.ascontiguousarray(whole[:, column]), batch)
    start = data.draw(st.integers(0, n_columns))
    stop = data.draw(st.integers(start, n_columns))
    row = data.draw(st.integers(0, n_rows - 1))
    assert files.read_row(row, start, stop).tobytes() == values[row, start:stop].tobytes()


@settings(max_examples=10)
@given(st.integers(0, 3 * LARGE - 500), st.integers(0, 3 * LARGE - 500), st.sampled_from(["<f4", "<f8"]))
def test_that_any_part_of_a_large_row_comes_back_bit_for_bit(tmp_path_factory, one, other, dtype):
    values = np.arange(3 * LARGE - 500, dtype=dtype)
    files = files_at(tmp_path_factory.mktemp("chunks") / "a", LARGE, dtype)
    write_rows(files, values[np.newaxis])
    start, stop = sorted((one, other))
    assert files.read_row(0, start, stop).tobytes() == values[start:stop].tobytes()


def test_that_only_the_asked_rows_are_touched_in_the_order_they_are_asked_for(tmp_path):
    files = files_at(tmp_path / "a", 2, "<f8")
    with flushed(files.access) as batch:
        files.write_column([5, 1], 1, np.array([[5.0, 5.5], [1.0, 1.5]]), batch)
    written = sorted(path.relative_to(tmp_path / "a").as_posix() for path in tmp_path.rglob("c/*/*"))
    assert written == ["c/1/1", "c/5/1"]
    slab = np.empty((2, 2))
    files.read_column([1, 5], 1, slab)
    np.testing.assert_array_equal(slab, [[1, 1.5], [5, 5.5]])


def test_that_rows_and_a_slab_that_do_not_pair_up_are_an_error(tmp_path):
    files = files_at(tmp_path / "a", 2, "<f8")
    with pytest.raises(ValueError, match="shorter"), flushed(files.access) as batch:
        files.write_column([0, 1], 0, np.ones((1, 2)), batch)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("length", [0, 7, 15])
def test_that_a_chunk_that_was_cut_short_is_named(tmp_path, length):
    files = files_at(tmp_path / "a", 2, "<f8")
    write_rows(files, np.ones((1, 2)))
    path = tmp_path / "a" / "c" / "0" / "0"
    os.truncate(path, length)
    with pytest.raises(StoreError, match="shorter than it was written") as error:
        files.read_row(0, 0, 2)
    assert str(path) in error.value.what
    assert f"{length} bytes" in error.value.got


@pytest.mark.parametrize("length", [0, 4096, 5000, 4 * LARGE - 1])
def test_that_a_large_chunk_that_was_cut_short_is_named(tmp_path, length):
    files = files_at(tmp_path / "a", LARGE, "<f4")
    write_rows(files, np.ones((1, LARGE)))
    os.truncate(tmp_path / "a" / "c" / "0" / "0", length)
    with pytest.raises(StoreError, match="shorter than it was written") as error:
        files.read_column([0], 0, aligned((1, LARGE), "<f4"))
    assert f"{length} bytes after 0" in error.value.got


def test_that_a_chunk_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match="c/3/0"):
        files_at(tmp_path / "a", 2, "<f8").read_row(3, 0, 2)


def test_that_a_full_disk_leaves_whole_chunks_only(small_disk):
    files = files_at(small_disk / "a", 1000, "<f8")
    kept = np.arange(3000.0)
    write_rows(files, kept[np.newaxis])
    with pytest.raises(StoreError, match="No space left"), flushed(files.access) as batch:
        files.write_column(range(1, 41), 0, np.ones((40, 1000)), batch)
    paths = [path for path in (small_disk / "a").rglob("*") if path.is_file()]
    assert {path.stat().st_size for path in paths} == {8000}
    assert files.read_row(0, 0, 3000).tobytes() == kept.tobytes()


def test_that_a_slab_that_threads_share_comes_back_bit_for_bit_and_an_error_in_one_is_raised(tmp_path):
    files = files_at(tmp_path / "a", LARGE, "<f8")
    slab = aligned((SMALLEST_SHARED // (8 * LARGE), LARGE), "f8")
    slab[:] = np.arange(slab.size).reshape(slab.shape)
    rows = range(len(slab))
    with flushed(files.access) as batch:
        files.write_column(rows, 3, slab, batch)
    out = aligned(slab.shape, "f8")
    files.read_column(rows[::-1], 3, out[::-1])
    assert out.tobytes() == slab.tobytes()
    (tmp_path / "a" / "c" / "7" / "3").unlink()
    with pytest.raises(StoreError, match="c/7/3"):
        files.read_column(rows, 3, out)
