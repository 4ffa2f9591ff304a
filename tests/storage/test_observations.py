import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import StoreError
from daflow.ports import Observations
from daflow.storage.observations import read_observations, write_observations


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def observed(n_obs, **columns):
    table = {"name": np.array([f"o{i}" for i in range(n_obs)]), "kind": np.full(n_obs, "k")}
    table |= {axis: np.full(n_obs, np.nan) for axis in ("time", "x", "y", "z")}
    table |= {"value": np.arange(float(n_obs)), "error_std": np.ones(n_obs)}
    return Observations(table | columns, {})


@settings(max_examples=6)
@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.floats()),
        min_size=1,
        max_size=4,
    )
)
def test_that_any_text_and_any_number_come_back(tmp_path_factory, rows):
    root = tmp_path_factory.mktemp("observations")
    names, values = np.array([name for name, _ in rows]), np.array([value for _, value in rows])
    write_observations(root, observed(len(rows), name=names, value=values))
    table = read_observations(root).table
    assert table["name"].tolist() == names.tolist()
    np.testing.assert_array_equal(table["value"], values)


def test_that_whole_numbers_flags_and_dates_keep_their_types(tmp_path):
    days = np.array(["2020-01-01T00:00:00", "2021-06-30T12:30:15"], dtype="datetime64[s]")
    columns = {"layer": np.array([2**40, -1]), "shut": np.array([True, False]), "date": days}
    write_observations(tmp_path, observed(2, **columns))
    table = read_observations(tmp_path).table
    for name, column in columns.items():
        assert table[name].dtype.kind == column.dtype.kind
        np.testing.assert_array_equal(table[name], column)


def test_that_xarray_opens_the_group_with_its_columns_along_obs(tmp_path):
    write_observations(tmp_path, observed(3))
    with xr.open_zarr(tmp_path / "observations", consolidated=False) as dataset:
        assert dict(dataset.sizes) == {"obs": 3}
        assert set(dataset.data_vars) == {"value", "error_std"}
        assert set(dataset.coords) == {"name", "kind", "time", "x", "y", "z"}


def test_that_the_first_observations_stay_and_nothing_else_is_left_beside_them(tmp_path):
    write_observations(tmp_path / "store", observed(2))
    write_observations(tmp_path / "store", observed(3))
    assert len(read_observations(tmp_path / "store").table["value"]) == 2
    assert names(tmp_path / "store") == ["observations"]


class Slow(dict):
    """A table that is so slow to read that another attempt finishes meanwhile."""

    def __init__(self, table, meanwhile):
        super().__init__(table)
        self._meanwhile = meanwhile

    def items(self):
        self._meanwhile()
        return super().items()


def test_that_an_attempt_that_comes_second_leaves_the_first_one_s_observations(tmp_path):
    slow = Slow(observed(3).table, lambda: write_observations(tmp_path, observed(2)))
    write_observations(tmp_path, Observations(slow, {}))
    assert len(read_observations(tmp_path).table["value"]) == 2
    assert names(tmp_path) == ["observations"]


def test_that_observations_that_are_not_there_yet_are_missed_by_name(tmp_path):
    with pytest.raises(StoreError, match="no observations") as error:
        read_observations(tmp_path)
    assert "truth" in error.value.do


def test_that_a_full_disk_leaves_no_observations(small_disk):
    values = np.random.default_rng(0).standard_normal(60_000)
    with pytest.raises(StoreError, match="free space"):
        write_observations(small_disk / "store", observed(60_000, value=values))
    with pytest.raises(StoreError, match="no observations"):
        read_observations(small_disk / "store")
    assert [
        path.name for path in (small_disk / "store").iterdir() if not path.name.endswith(".partial")
    ] == []


def test_that_numbers_and_notes_come_back_and_are_nothing_where_there_are_none(tmp_path):
    table = observed(3).table
    notes = ("thinned", "of 7 observations 3 are left: °C")
    write_observations(tmp_path / "some", Observations(table, {}, np.array([0, 2, 6]), notes))
    found = read_observations(tmp_path / "some")
    assert found.numbers.tolist() == [0, 2, 6]
    assert found.notes == notes
    assert found.error == {}
    write_observations(tmp_path / "none", observed(3))
    found = read_observations(tmp_path / "none")
    assert (found.numbers, found.notes) == (None, ())


@pytest.mark.parametrize(
    "column",
    [
        np.array([True, False]),
        np.array([3, -1]),
        np.array([0.5, np.nan], dtype="f4"),
        np.array(["ö", ""]),
        np.array(["2020-02-29", "1999-12-31"], dtype="datetime64[ns]"),
    ],
    ids=lambda column: column.dtype.kind,
)
def test_that_a_column_comes_back_as_xarray_reads_it(tmp_path, column):
    write_observations(tmp_path, observed(2, own=column))
    found = read_observations(tmp_path).table["own"]
    with xr.open_zarr(tmp_path / "observations", consolidated=False, chunks=None) as dataset:
        seen = dataset["own"].values
    assert found.dtype.kind == column.dtype.kind
    assert np.array_equal(found, seen.astype(found.dtype), equal_nan=found.dtype.kind == "f")
