"""Laws of the observations that come from a file."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.config.observations import (
    BlockError,
    ColumnNames,
    DenseError,
    DiagonalError,
    FileObservations,
    LowRankError,
)
from daflow.errors import DataError
from daflow.inputs.observations import covariance_of, describe, read_observations
from daflow.ports import Observations
from daflow.storage.observations import read_observations as stored
from daflow.storage.observations import write_observations as store

N_OBS = 4
CSV = """\
kind,well,time,value,error_std,unit,region
WOPR,PROD1,60,101.5,5,m3/day,1
WOPR,PROD1,120,99.25,5,m3/day,2
WOPR,PROD2,60,80,4,m3/day,1
WBHP,INJ1,60,409.7041,0.5,bar,3
"""
STD = np.array([5.0, 5.0, 4.0, 0.5])
RNG = np.random.default_rng(7)
FACTOR = RNG.normal(size=(N_OBS, 2))
MATRIX = FACTOR @ FACTOR.T + np.diag([1.0, 2.0, 3.0, 4.0])


def table(folder, text=CSV, name="obs.csv"):
    (folder / name).write_text(text)
    return folder / name


def without_std(folder):
    path = folder / "obs.csv"
    pd.read_csv(table(folder)).drop(columns="error_std").to_csv(path, index=False)
    return path


def read(path, error=None, **columns):
    return read_observations(
        FileObservations(path=path, columns=ColumnNames(**columns), error=error or DiagonalError())
    )


def error_of(path, error=None, **columns):
    with pytest.raises(DataError) as caught:
        read(path, error, **columns)
    assert str(path) in str(caught.value) or (error is not None and str(error.file) in str(caught.value))
    return str(caught.value)


def as_csv(folder, frame):
    frame.to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def dataset_of(frame):
    return xr.Dataset(
        {
            str(c): ("obs", frame[c].to_numpy(dtype=object if frame[c].dtype.kind in "OTU" else None))
            for c in frame
        }
    )


def as_netcdf(folder, frame):
    data = xr.Dataset({str(c): ("obs", np.array(frame[c].tolist())) for c in frame})
    data.to_netcdf(folder / "t.nc", engine="h5netcdf")
    return folder / "t.nc"


def as_zarr(folder, frame):
    dataset_of(frame).to_zarr(folder / "t.zarr", zarr_format=3, consolidated=False)
    return folder / "t.zarr"


def test_that_a_table_becomes_columns_and_standard_deviations(tmp_path):
    observations = read(table(tmp_path))
    np.testing.assert_array_equal(observations.table["value"], [101.5, 99.25, 80, 409.7041])
    np.testing.assert_array_equal(observations.table["error_std"], STD)
    assert observations.table["kind"].tolist() == ["WOPR", "WOPR", "WOPR", "WBHP"]
    assert observations.table["well"].tolist() == ["PROD1", "PROD1", "PROD2", "INJ1"]
    assert observations.table["region"].tolist() == [1, 2, 1, 3]
    assert observations.error == {}


def test_that_the_columns_of_every_table_are_there(tmp_path):
    observations = read(table(tmp_path, "value,error_std\n1,1\n2,1\n"))
    columns = observations.table
    assert list(columns) == ["name", "kind", "time", "x", "y", "z", "value", "error_std"]
    assert columns["kind"].tolist() == ["observation"] * 2
    assert columns["name"].tolist() == ["observation:0", "observation:1"]
    assert all(np.isnan(columns[axis]).all() for axis in ("time", "x", "y", "z"))


def test_that_names_are_made_of_what_tells_observations_apart(tmp_path):
    assert read(table(tmp_path)).table["name"].tolist() == [
        "WOPR:PROD1:60",
        "WOPR:PROD1:120",
        "WOPR:PROD2:60",
        "WBHP:INJ1:60",
    ]


@settings(max_examples=25)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["a", "a:1", "b"]),
            st.sampled_from(["1", "c"]),
            st.integers(0, 2),
            st.floats(0, 1),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_that_made_names_are_unique(tmp_path_factory, rows):
    frame = pd.DataFrame(rows, columns=["kind", "well", "time", "x"]).assign(value=1.0, error_std=1.0)
    names = read(as_csv(tmp_path_factory.mktemp("names"), frame)).table["name"]
    assert len(set(names.tolist())) == len(rows)


def test_that_given_names_stay(tmp_path):
    names = read(table(tmp_path), name="well").table["name"]
    assert names.tolist() == ["PROD1", "PROD1", "PROD2", "INJ1"]


@pytest.mark.parametrize("save", [as_netcdf, as_zarr])
def test_that_a_table_gives_the_same_in_every_format(tmp_path, save):
    frame = pd.read_csv(table(tmp_path))
    expected, got = read(as_csv(tmp_path, frame)), read(save(tmp_path, frame))
    assert set(got.table) == set(expected.table)
    for name, column in expected.table.items():
        np.testing.assert_array_equal(got.table[name], column)
        assert got.table[name].dtype.kind == column.dtype.kind


@pytest.mark.parametrize("seed", range(3))
def test_that_the_order_of_the_columns_does_not_matter(tmp_path, seed):
    frame = pd.read_csv(table(tmp_path))
    shuffled = frame[np.random.default_rng(seed).permutation(frame.columns)]
    expected, got = read(as_csv(tmp_path, frame)), read(as_csv(tmp_path, shuffled))
    for name, column in expected.table.items():
        np.testing.assert_array_equal(got.table[name], column)


def test_that_what_is_read_can_be_stored_and_read_again(tmp_path):
    np.save(tmp_path / "r.npy", MATRIX)
    observations = read(without_std(tmp_path), DenseError(file=tmp_path / "r.npy"))
    store(tmp_path / "store", observations)
    again = stored(tmp_path / "store")
    for name, column in observations.table.items():
        np.testing.assert_array_equal(again.table[name], column)
    np.testing.assert_array_equal(covariance_of(again).dense(), MATRIX)


def test_that_columns_are_found_by_the_names_that_they_have_in_the_file(tmp_path):
    renamed = CSV.replace("value", "measured").replace("error_std", "sigma").replace("time", "days")
    got = read(table(tmp_path, renamed), value="measured", error_std="sigma", time="days").table
    expected = read(table(tmp_path)).table
    assert set(got) == set(expected)
    np.testing.assert_array_equal(got["time"], expected["time"])


def test_that_swapped_columns_are_swapped(tmp_path):
    text = "x,y,value,error_std\n1,2,3,4\n"
    got = read(table(tmp_path, text), x="y", y="x").table
    assert (got["x"][0], got["y"][0]) == (2, 1)


def test_that_text_stays_text(tmp_path):
    text = "station,code,label,value,error_std\n007,1,1.5,1,1\n010,2,b,1,1\n"
    columns = read(table(tmp_path, text)).table
    assert columns["station"].tolist() == ["007", "010"]
    assert columns["code"].dtype == np.int64
    assert columns["label"].tolist() == ["1.5", "b"]


def test_that_blanks_quotes_a_byte_order_mark_and_blank_lines_do_not_matter(tmp_path):
    text = '\ufeffname, kind ,value,error_std\n\n"well, old", WOPR, 1 ,2\n\n'
    columns = read(table(tmp_path, text)).table
    assert (columns["name"][0], columns["kind"][0], columns["value"][0]) == ("well, old", "WOPR", 1)


def test_that_an_empty_place_is_nan(tmp_path):
    assert np.isnan(read(table(tmp_path, "x,value,error_std\n,1,1\n2,1,1\n")).table["x"][0])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("99.25", "NaN", ["observation 1 (WOPR:PROD1:120) is NaN", "'value'"]),
        ("99.25", "", ["observation 1 (WOPR:PROD1:120) is NaN"]),
        ("99.25", "inf", ["observation 1 (WOPR:PROD1:120) is inf"]),
        ("99.25", "ninety", ["observation 1 (WOPR at 120) is not a number", "'ninety'"]),
        ("120,99.25", "noon,99.25", ["observation 1 (WOPR) is not a number", "'time'", "'noon'"]),
        ("120,99.25", "inf,99.25", ["'time'", "observation 1"]),
        ("80,4", "80,0", ["'error_std'", "observation 2 (WOPR:PROD2:60) is 0", "above 0"]),
        ("80,4", "80,-4", ["'error_std'", "observation 2 (WOPR:PROD2:60) is -4"]),
        ("80,4", "80,nan", ["'error_std'", "observation 2"]),
        ("value", "valve", ["no column 'value'", "did you mean 'valve'?", "observations.columns.value"]),
        ("error_std", "error_sd", ["no column 'error_std'", "did you mean 'error_sd'?"]),
        ("unit", "well", ["column 'well' stands twice"]),
        ("unit", " ", ["column 6 has no name"]),
        (",bar,3", "", ["line 5", "5 cells", "7: kind, well"]),
        ("bar,3", "bar,3,4", ["line 5", "8 cells"]),
        ("bar,3", 'bar,"3', ["cannot be read"]),
    ],
)
def test_that_a_bad_table_is_refused_by_name_of_row_and_column(tmp_path, old, new, words):
    assert old in CSV
    message = error_of(table(tmp_path, CSV.replace(old, new)))
    for word in words:
        assert word in message


def test_that_many_bad_values_are_counted_and_the_first_ones_named(tmp_path):
    text = "value,error_std\n" + "nan,1\n" * 9
    message = error_of(table(tmp_path, text))
    assert "9 of 9" in message
    assert "observation 4" in message
    assert "observation 5" not in message


@pytest.mark.parametrize("text", ["", "\n\n", "value,error_std\n"])
def test_that_an_empty_table_is_refused(tmp_path, text):
    assert "empty" in error_of(table(tmp_path, text))


@pytest.mark.parametrize("other", [";", "\t"])
def test_that_a_table_with_other_separators_is_told_which_to_use(tmp_path, other):
    message = error_of(table(tmp_path, CSV.replace(",", other).replace("99.25", "99,25")))
    assert "not separated by commas" in message
    assert f"error_std{other}unit" in message
    assert "value,error_std" in message


def test_that_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "bytes.csv").write_bytes(b"value\n\xff\xfe")
    assert "byte 6 is not UTF-8" in error_of(tmp_path / "bytes.csv")
    assert "no such file" in error_of(tmp_path / "none.csv")
    assert ".csv, .nc, .nc4, .zarr" in error_of(table(tmp_path, name="obs.xlsx"))
    (tmp_path / "cut.nc").write_bytes(b"hello")
    assert "cannot be read" in error_of(tmp_path / "cut.nc")


def test_that_a_labelled_table_needs_the_dimension_obs(tmp_path):
    xr.Dataset({"value": ("time", [1.0])}).to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    message = error_of(tmp_path / "t.nc")
    assert "no dimension 'obs'" in message
    assert "time (1)" in message


def test_that_complex_values_are_refused(tmp_path):
    data = xr.Dataset({"value": ("obs", [1j]), "error_std": ("obs", [1.0])})
    data.to_zarr(tmp_path / "t.zarr", zarr_format=3, consolidated=False)
    assert "not numbers" in error_of(tmp_path / "t.zarr")


def test_that_a_renamed_column_that_is_missing_is_refused(tmp_path):
    assert "did you mean 'time'?" in error_of(table(tmp_path), time="tine")


def test_that_two_columns_cannot_take_one_name(tmp_path):
    message = error_of(table(tmp_path, CSV.replace("unit", "name")), name="well")
    assert "'well' and 'name'" in message


def test_that_a_diagonal_covariance_is_the_squares_of_the_standard_deviations(tmp_path):
    np.testing.assert_array_equal(covariance_of(read(table(tmp_path))).diagonal(), STD**2)


def errors_in(folder):
    """Each form of R and the dense matrix that it stands for."""
    np.savez(
        folder / "r.npz",
        covariance=MATRIX,
        first=MATRIX[:3, :3],
        second=MATRIX[3:, 3:],
        factor=FACTOR,
        variances=np.array([1.0, 2, 3, 4]),
    )
    file = folder / "r.npz"
    blocks = MATRIX.copy()
    blocks[:3, 3] = blocks[3, :3] = 0
    return {
        "dense": (DenseError(file=file), MATRIX),
        "block": (BlockError(file=file, arrays=("first", "second")), blocks),
        "low_rank": (LowRankError(file=file), MATRIX),
    }


@pytest.mark.parametrize("kind", ["dense", "block", "low_rank"])
def test_that_every_form_gives_the_covariance_that_it_stands_for(tmp_path, kind):
    error, expected = errors_in(tmp_path)[kind]
    np.testing.assert_allclose(
        covariance_of(read(without_std(tmp_path), error)).dense(), expected, rtol=1e-14, atol=1e-14
    )


@pytest.mark.parametrize("kind", ["dense", "block", "low_rank"])
def test_that_the_square_roots_of_the_diagonal_are_error_std(tmp_path, kind):
    error, expected = errors_in(tmp_path)[kind]
    observations = read(without_std(tmp_path), error)
    np.testing.assert_allclose(observations.table["error_std"], np.sqrt(np.diag(expected)), rtol=1e-14)


def test_that_a_column_error_std_must_agree_with_the_covariance(tmp_path):
    error = DenseError(file=tmp_path / "r.npy")
    np.save(error.file, np.diag(STD**2))
    np.testing.assert_array_equal(read(table(tmp_path), error).table["error_std"], STD)
    np.save(error.file, np.diag(STD**2 + [0, 0, 1, 0]))
    message = error_of(table(tmp_path), error)
    assert "observation 2 (WOPR:PROD2:60) disagrees" in message
    assert "4.12" in message


def bad(folder, **arrays):
    np.savez(folder / "bad.npz", **arrays)
    return folder / "bad.npz"


@pytest.mark.parametrize(
    ("kind", "arrays", "words"),
    [
        (DenseError, {"covariance": np.eye(3)}, ["(3, 3)", "(4, 4)", "4 observations"]),
        (DenseError, {"covariance": -np.eye(4)}, ["not positive definite"]),
        (DenseError, {"covariance": np.triu(np.ones((4, 4)))}, ["not symmetric"]),
        (DenseError, {"covariance": np.full((4, 4), np.nan)}, ["not finite"]),
        (DenseError, {"cov": np.eye(4), "b": np.eye(4)}, ["no array 'covariance'"]),
        (BlockError, {"a": np.eye(2), "b": np.eye(1)}, ["2 + 1 = 3", "4 in all"]),
        (BlockError, {"a": np.eye(2), "b": np.ones((2, 1))}, ["array 'b'", "square"]),
        (BlockError, {"a": np.eye(2), "b": -np.eye(2)}, ["block 1", "not positive definite"]),
        (LowRankError, {"factor": FACTOR[:3], "variances": np.ones(4)}, ["'factor'", "(3, 2)"]),
        (LowRankError, {"factor": FACTOR, "variances": np.ones(3)}, ["'variances'", "(4,)"]),
        (LowRankError, {"factor": FACTOR, "variances": np.zeros(4)}, ["must be positive"]),
    ],
)
def test_that_a_covariance_that_is_none_is_refused_by_name_of_file(tmp_path, kind, arrays, words):
    file = bad(tmp_path, **arrays)
    error = BlockError(file=file, arrays=("a", "b")) if kind is BlockError else kind(file=file)
    message = error_of(without_std(tmp_path), error)
    for word in [str(file), *words]:
        assert word in message


def test_that_an_unknown_form_of_covariance_is_refused():
    with pytest.raises(DataError, match="no known form"):
        covariance_of(Observations({"value": np.ones(1)}, {"tensor": np.ones(1)}))


def test_that_blocks_without_their_numbers_are_refused():
    error = {"blocks": np.ones(3), "block_sizes": np.array([2])}
    with pytest.raises(DataError, match="do not have their sizes"):
        covariance_of(Observations({"value": np.ones(2)}, error))


def test_that_an_observation_is_described_by_kind_name_and_time():
    columns = {"kind": np.array(["WOPR"]), "name": np.array(["PROD1"]), "time": np.array([60.0])}
    assert describe(columns, 0) == "observation 0 (WOPR PROD1 at 60)"
    assert describe({}, 0) == "observation 0"
