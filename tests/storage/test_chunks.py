import os

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError, StoreError
from daflow.storage.chunks import ChunkedRows, stored_as

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 23), st.integers(1, 25), st.sampled_from(["<f4", "<f8"]))


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


@settings(max_examples=12, deadline=None)
@given(SHAPES)
def test_that_zarr_reads_what_rows_wrote_and_rows_read_what_zarr_wrote_bit_for_bit(tmp_path_factory, shape):
    folder = tmp_path_factory.mktemp("chunks")
    n_rows, n_columns, chunk, dtype = shape
    values = values_of(n_rows, n_columns, dtype)
    ours, theirs = (
        array_of(folder / "ours", *shape),
        array_of(folder / "theirs", *shape),
    )
    rows = ChunkedRows(folder / "ours", n_columns, chunk, dtype)
    for row, numbers in enumerate(values):
        rows.write_row(row, 0, numbers)
    theirs[:] = values
    assert ours[:].tobytes() == values.tobytes()
    read = ChunkedRows(folder / "theirs", n_columns, chunk, dtype)
    for row, numbers in enumerate(values):
        assert read.read_row(row, 0, n_columns).tobytes() == numbers.tobytes()
    for column in range(-(-n_columns // chunk)):
        part = values[:, column * chunk : (column + 1) * chunk]
        assert read.read_column(range(n_rows), column).tobytes() == part.tobytes()


@settings(max_examples=12, deadline=None)
@given(SHAPES, st.data())
def test_that_any_part_of_a_row_and_any_column_come_back_bit_for_bit(tmp_path_factory, shape, data):
    n_rows, n_columns, chunk, dtype = shape
    values = values_of(n_rows, n_columns, dtype)
    rows = ChunkedRows(tmp_path_factory.mktemp("chunks") / "a", n_columns, chunk, dtype)
    for column in data.draw(st.permutations(range(-(-n_columns // chunk)))):
        rows.write_column(range(n_rows), column, values[:, column * chunk : (column + 1) * chunk])
    start = data.draw(st.integers(0, n_columns))
    stop = data.draw(st.integers(start, n_columns))
    row = data.draw(st.integers(0, n_rows - 1))
    assert rows.read_row(row, start, stop).tobytes() == values[row, start:stop].tobytes()


def test_that_the_last_chunk_is_padded_with_nan_to_its_full_size(tmp_path):
    rows = ChunkedRows(tmp_path / "a", 5, 4, "<f4")
    rows.write_row(7, 0, np.arange(5.0))
    raw = np.frombuffer((tmp_path / "a" / "c" / "7" / "1").read_bytes(), "<f4")
    np.testing.assert_array_equal(raw, [4, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(rows.read_column([7], 1), [[4]])


def test_that_only_the_asked_rows_are_touched_in_the_order_they_are_asked_for(tmp_path):
    rows = ChunkedRows(tmp_path / "a", 4, 2, "<f8")
    rows.write_column([5, 1], 1, np.array([[5.0, 5.5], [1.0, 1.5]]))
    written = sorted(path.relative_to(tmp_path / "a").as_posix() for path in tmp_path.rglob("c/*/*"))
    assert written == ["c/1/1", "c/5/1"]
    np.testing.assert_array_equal(rows.read_column([1, 5], 1), [[1, 1.5], [5, 5.5]])


def test_that_rows_and_values_that_do_not_pair_up_are_an_error(tmp_path):
    rows = ChunkedRows(tmp_path / "a", 4, 2, "<f8")
    with pytest.raises(ValueError, match="shorter"):
        rows.write_column([0, 1], 0, np.ones((1, 2)))


@pytest.mark.parametrize("length", [0, 7, 15])
def test_that_a_chunk_that_was_cut_short_is_named(tmp_path, length):
    rows = ChunkedRows(tmp_path / "a", 2, 2, "<f8")
    rows.write_row(0, 0, np.ones(2))
    path = tmp_path / "a" / "c" / "0" / "0"
    os.truncate(path, length)
    with pytest.raises(StoreError, match="shorter than it was written") as error:
        rows.read_row(0, 0, 2)
    assert str(path) in error.value.what
    assert f"{length} bytes" in error.value.got


def test_that_a_chunk_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match="c/3/0"):
        ChunkedRows(tmp_path / "a", 2, 2, "<f8").read_row(3, 0, 2)


def test_that_a_full_disk_leaves_whole_chunks_only(small_disk):
    rows = ChunkedRows(small_disk / "a", 3000, 1000, "<f8")
    kept = np.arange(3000.0)
    rows.write_row(0, 0, kept)
    with pytest.raises(StoreError, match="No space left"):
        rows.write_column(range(1, 41), 0, np.ones((40, 1000)))
    files = [path for path in (small_disk / "a").rglob("*") if path.is_file()]
    assert {path.stat().st_size for path in files} == {8000}
    assert rows.read_row(0, 0, 3000).tobytes() == kept.tobytes()


def test_that_numbers_are_stored_without_a_copy_where_nothing_changes():
    values = np.arange(3.0)
    assert stored_as("float64", values) is values
    np.testing.assert_array_equal(
        stored_as("float32", np.array([1e-300, np.inf, np.nan])), [0, np.inf, np.nan]
    )
    with pytest.raises(DataError, match="float32") as error:
        stored_as("float32", np.array([np.inf, 1e200]))
    assert error.value.got == "1e+200"
