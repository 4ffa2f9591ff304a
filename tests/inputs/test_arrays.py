"""Laws of the arrays in the user's files."""

import io

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from daflow.errors import DataError
from daflow.inputs import arrays
from daflow.inputs.arrays import open_array

VALUES = np.random.default_rng(1).normal(size=(5, 2, 3))
DIMS = ("realization", "row", "column")


def save_npy(path, values):
    np.save(path, values)


def save_npz(path, values):
    np.savez_compressed(path, permx=values, poro=values + 1)


def save_netcdf(path, values):
    dims = DIMS[: values.ndim]
    xr.Dataset({"permx": (dims, values), "poro": (dims, values + 1)}).to_netcdf(path, engine="h5netcdf")


def save_labelled_zarr(path, values):
    dims = DIMS[: values.ndim]
    data = xr.Dataset({"permx": (dims, values), "poro": (dims, values + 1)})
    data.to_zarr(path, zarr_format=3, consolidated=False)


def save_zarr_group(path, values):
    group = zarr.open_group(path, mode="w")
    group.create_array("permx", data=values)
    group.create_array("poro", data=values + 1)


def save_zarr_array(path, values):
    zarr.save_array(path, values)


FORMATS = {
    "npy": ("a.npy", save_npy, None),
    "npz": ("a.npz", save_npz, "permx"),
    "netcdf": ("a.nc", save_netcdf, "permx"),
    "labelled zarr": ("a.zarr", save_labelled_zarr, "permx"),
    "zarr group": ("g.zarr", save_zarr_group, "permx"),
    "zarr array": ("b.zarr", save_zarr_array, None),
    "zarr folder of any name": ("step=0", save_labelled_zarr, "permx"),
}


@pytest.fixture(params=FORMATS)
def saved(request, tmp_path):
    file, save, name = FORMATS[request.param]
    save(tmp_path / file, VALUES)
    return tmp_path / file, name


def error_of(file, name=None, default=None):
    with pytest.raises(DataError) as caught:
        open_array(file, name, default).whole()
    assert str(file) in str(caught.value)
    return str(caught.value)


def test_that_a_file_gives_the_same_numbers_in_every_format(saved):
    array = open_array(*saved)
    assert array.shape == VALUES.shape
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array.whole(), VALUES)


def test_that_a_row_is_that_entry_of_the_whole(saved):
    array = open_array(*saved)
    for i in range(len(VALUES)):
        np.testing.assert_array_equal(array.row(i), VALUES[i])


@settings(max_examples=20)
@given(
    values=hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.int32]),
        hnp.array_shapes(min_dims=1, max_dims=3, max_side=4),
        elements=st.integers(-1000, 1000),
    )
)
@pytest.mark.parametrize("kind", ["npy", "npz", "zarr group"])
def test_that_type_shape_and_numbers_are_kept(tmp_path_factory, kind, values):
    file, save, name = FORMATS[kind]
    path = tmp_path_factory.mktemp("kept") / file
    save(path, values)
    array = open_array(path, name)
    assert (array.shape, array.dtype) == (values.shape, values.dtype)
    np.testing.assert_array_equal(array.whole(), values)


@pytest.mark.parametrize("index", [-1, 5, 99])
def test_that_a_row_that_is_not_there_is_refused(saved, index):
    array = open_array(*saved)
    with pytest.raises(DataError, match=f"no row {index}"):
        array.row(index)


def test_that_a_row_reads_no_other_entry(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    chunked = group.create_array("permx", shape=VALUES.shape, chunks=(1, 2, 3), dtype="f8")
    chunked[...] = VALUES
    spoilt = tmp_path / "a.zarr" / "permx" / "c" / "3" / "0" / "0"
    spoilt.write_bytes(b"not a chunk")
    array = open_array(tmp_path / "a.zarr", "permx")
    np.testing.assert_array_equal(array.row(2), VALUES[2])
    with pytest.raises(DataError, match="cannot be read"):
        array.row(3)


def test_that_a_npy_file_is_mapped_and_not_loaded(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    assert isinstance(open_array(tmp_path / "a.npy", None)._values, np.memmap)


def test_that_an_archive_is_unpacked_once_until_it_changes(tmp_path):
    arrays._unpacked.cache_clear()
    save_npz(tmp_path / "a.npz", VALUES)
    for _ in range(3):
        open_array(tmp_path / "a.npz", "permx").row(0)
    assert arrays._unpacked.cache_info().misses == 1
    np.savez(tmp_path / "a.npz", permx=2 * VALUES)
    np.testing.assert_array_equal(open_array(tmp_path / "a.npz", "permx").whole(), 2 * VALUES)


def test_that_fill_values_of_netcdf_are_nan_and_times_stay_numbers(tmp_path):
    data = xr.Dataset(
        {"t": ("obs", np.array([10.0, np.nan])), "time": ("obs", [1, 2], {"units": "days since 2000-01-01"})}
    )
    data.to_netcdf(
        tmp_path / "a.nc", engine="h5netcdf", encoding={"t": {"_FillValue": -999.0, "dtype": "f4"}}
    )
    np.testing.assert_array_equal(open_array(tmp_path / "a.nc", "t").whole(), [10, np.nan])
    np.testing.assert_array_equal(open_array(tmp_path / "a.nc", "time").whole(), [1, 2])


def test_that_the_default_names_the_array_where_arrays_have_names(saved):
    file, name = saved
    assert open_array(file, None, "permx").name == name


def test_that_the_only_array_needs_no_name(tmp_path):
    np.savez(tmp_path / "a.npz", permx=VALUES)
    assert open_array(tmp_path / "a.npz", None).name == "permx"


def test_that_a_missing_array_is_named_with_what_is_there_and_the_nearest(saved):
    file, name = saved
    message = error_of(file, "permxx")
    assert ("permx, poro" in message or "poro, permx" in message) if name else "without a name" in message
    assert "did you mean 'permx'" in message or name is None


def test_that_a_choice_among_several_arrays_is_asked_for(tmp_path):
    save_npz(tmp_path / "a.npz", VALUES)
    assert "name one of these" in error_of(tmp_path / "a.npz")


def test_that_a_missing_file_is_named_with_the_nearest(tmp_path):
    save_npy(tmp_path / "perm.npy", VALUES)
    assert "did you mean 'perm.npy'?" in error_of(tmp_path / "prem.npy")
    assert "no such file" in error_of(tmp_path / "nowhere" / "prem.npy")


def cut(save, file):
    def make(folder):
        save(folder / file, VALUES)
        whole = (folder / file).read_bytes()
        (folder / file).write_bytes(whole[: len(whole) // 2])
        return folder / file

    return make


def written(file, content):
    def make(folder):
        (folder / file).write_bytes(content)
        return folder / file

    return make


def folder_called(name):
    def make(folder):
        (folder / name).mkdir()
        return folder / name

    return make


def torn_zarr(folder):
    save_zarr_array(folder / "a.zarr", VALUES)
    (folder / "a.zarr" / "zarr.json").write_text("{")
    return folder / "a.zarr"


def archive_in_disguise(folder):
    buffer = io.BytesIO()
    np.savez(buffer, a=VALUES)
    return written("a.npy", buffer.getvalue())(folder)


@pytest.mark.parametrize(
    "make",
    [
        cut(save_npy, "a.npy"),
        cut(save_npz, "a.npz"),
        cut(save_netcdf, "a.nc"),
        written("a.npy", b""),
        written("a.npz", b"hello"),
        written("a.nc", b"hello"),
        written("a.zarr", b"hello"),
        folder_called("a.zarr"),
        folder_called("a.npy"),
        torn_zarr,
        archive_in_disguise,
    ],
)
def test_that_a_file_that_is_not_what_its_name_says_is_refused(tmp_path, make):
    assert "cannot be read" in error_of(make(tmp_path), None, "permx")


@pytest.mark.parametrize("file", ["a.csv", "a"])
def test_that_an_unknown_suffix_is_refused(tmp_path, file):
    (tmp_path / file).write_text("")
    assert ".npy, .npz, .nc, .nc4, .zarr" in error_of(tmp_path / file)


def test_that_a_file_without_arrays_is_refused(tmp_path):
    zarr.open_group(tmp_path / "a.zarr", mode="w")
    assert "no array" in error_of(tmp_path / "a.zarr")


@pytest.mark.parametrize("values", [np.array(["a", "b"]), np.array([1j])])
def test_that_what_is_not_real_numbers_is_refused(tmp_path, values):
    np.savez(tmp_path / "a.npz", a=values)
    assert "real numbers" in error_of(tmp_path / "a.npz", "a")


def test_that_objects_are_refused_and_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    for name in ("a.npy", "a.npz"):
        with (tmp_path / name).open("wb") as file:
            (np.save if name == "a.npy" else np.savez)(file, np.array([Trap()], dtype=object))
        assert "cannot be read" in error_of(tmp_path / name)
