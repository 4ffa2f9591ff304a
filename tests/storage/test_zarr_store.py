import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from daflow.errors import StoreError
from daflow.names import TRUTH
from daflow.ports import SlicePoints
from daflow.records import Layout, Variable
from daflow.storage import ZarrStore
from tests.contracts.store_contract import FIELD, LOOSE, SMALL, StoreContract, outcome, write_slice

FLOAT32 = Layout((FIELD, LOOSE), 4, 3, 4, "float32")

WRITER = """
import sys
import numpy as np
from pathlib import Path
from daflow.records import Layout, Variable
from daflow.storage import ZarrStore
root, first = Path(sys.argv[1]), int(sys.argv[2])
layout = Layout((Variable("field", ("cell",), (60,), 0),), 12, 5, 4)
store = ZarrStore(root / "ensemble.zarr", root / "receipts", layout)
whole = np.arange(720.0).reshape(12, 60)
for member in range(first, 12, 2):
    store.write_member(0, member, [whole[member]])
    store.write_predicted(0, member, whole[member, :5])
for index in range(first, layout.n_slices, 2):
    where = layout.slice(index)
    slab = store.slab(12)
    slab[:, : where.size] = whole[:, where.start : where.stop]
    store.write_slice(1, where, range(12), slab)
"""


def store_in(folder, layout=SMALL):
    store = ZarrStore(folder / "ensemble.zarr", folder / "receipts", layout)
    store.create_step(0)
    return store


class TestZarrStore(StoreContract):
    @contextmanager
    def store(self, layout):
        with tempfile.TemporaryDirectory() as folder:
            yield ZarrStore(Path(folder) / "ensemble.zarr", Path(folder) / "receipts", layout)


@pytest.mark.parametrize("layout", [SMALL, FLOAT32], ids=["float64", "float32"])
def test_that_xarray_opens_a_step_alone_with_named_dimensions_and_nan_for_members_not_there(tmp_path, layout):
    store = store_in(tmp_path, layout)
    rows = np.random.default_rng(0).standard_normal((4, 11)).astype(layout.dtype)
    for member in (0, 3):
        store.write_member(0, member, [rows[member].astype(float)])
        store.write_predicted(0, member, rows[member, :3].astype(float))
    with xr.open_zarr(store.root / "step=0", consolidated=False) as step:
        assert dict(step.sizes) == {"member": 4, "state": 11, "obs": 3}
        assert step.parameters.dims == ("member", "state")
        assert step.predicted.dims == ("member", "obs")
        assert step.parameters.dtype == layout.dtype
        assert step.predicted.dtype == np.float64
        np.testing.assert_array_equal(step.member, range(4))
        expected = np.where(np.isin(np.arange(4), [0, 3])[:, np.newaxis], rows, np.nan)
        np.testing.assert_array_equal(step.parameters, expected)
        np.testing.assert_array_equal(step.predicted, expected[:, :3])
        assert [v["name"] for v in step.attrs["variables"]] == ["field", "loose"]
        assert [(v["start"], v["stop"]) for v in step.attrs["variables"]] == [(0, 6), (6, 11)]


def test_that_the_truth_is_a_group_of_one_member(tmp_path):
    store = store_in(tmp_path)
    store.write_member(0, TRUTH, [np.arange(11.0)])
    store.write_predicted(0, TRUTH, np.arange(3.0))
    with xr.open_zarr(store.root / "truth", consolidated=False) as truth:
        np.testing.assert_array_equal(truth.parameters, [np.arange(11)])
        np.testing.assert_array_equal(truth.predicted, [np.arange(3)])


def test_that_xarray_opens_the_coordinates_with_the_names_of_the_variables(tmp_path):
    store = store_in(tmp_path)
    variable = np.array([0] * 6 + [1] * 5)
    places = np.full((11, 3), np.nan)
    places[:6, :2] = np.arange(12).reshape(6, 2)
    for index in range(3):
        part = slice(4 * index, min(4 * index + 4, 11))
        store.write_coordinates(SMALL.slice(index), SlicePoints(variable[part], places[part]))
    with xr.open_zarr(store.root / "state", consolidated=False) as state:
        assert set(state.variables) == {"variable", "x", "y"}
        assert all(state[name].dims == ("state",) for name in state.variables)
        np.testing.assert_array_equal(state.variable, variable)
        np.testing.assert_array_equal(state.x, places[:, 0])
        np.testing.assert_array_equal(state.y, places[:, 1])
        assert state.variable.attrs["flag_meanings"] == "field loose"


def test_that_a_chunk_holds_one_member_and_one_slice(tmp_path):
    store = store_in(tmp_path)
    array = zarr.open_array(store.root / "step=0" / "parameters", mode="r")
    assert array.chunks == (1, 4)
    assert array.compressors == ()
    where = SMALL.slice(1)
    write_slice(store, 0, where, [1, 3], np.ones((2, 4)))
    written = sorted(p.relative_to(array.store.root).as_posix() for p in array.store.root.glob("c/*/*"))
    assert written == ["c/1/1", "c/3/1"]


@pytest.mark.parametrize(
    "layout",
    [
        Layout((Variable("a", (), (), 0),), 1, 1, 1),
        Layout((Variable("a", ("i",), (3,), 0),), 2, 1, 1000),
        Layout((Variable("a", ("i",), (50_001,), 0),), 2, 7, 10_000, "float32"),
    ],
    ids=["one number", "one short slice", "many slices"],
)
def test_that_tiny_and_large_layouts_are_read_by_zarr_as_they_were_written(tmp_path, layout):
    store = store_in(tmp_path, layout)
    row = np.random.default_rng(0).standard_normal(layout.n_state).astype(layout.dtype)
    store.write_member(0, layout.n_members - 1, [row.astype(float)])
    read = zarr.open_array(store.root / "step=0" / "parameters", mode="r")[layout.n_members - 1]
    assert read.tobytes() == row.tobytes()


def test_that_two_processes_that_write_at_once_lose_nothing(tmp_path):
    layout = Layout((Variable("field", ("cell",), (60,), 0),), 12, 5, 4)
    store = store_in(tmp_path, layout)
    store.create_step(1)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(n)]) for n in (0, 1)]
    assert [writer.wait() for writer in writers] == [0, 0]
    whole = np.arange(720.0).reshape(12, 60)
    for step in (0, 1):
        np.testing.assert_array_equal(
            zarr.open_array(store.root / f"step={step}/parameters", mode="r"), whole
        )
    np.testing.assert_array_equal(store.read_predicted(0, range(12), 0, 5), whole[:, :5])


def test_that_a_step_half_made_is_made_whole(tmp_path):
    store = store_in(tmp_path)
    for lost in ("predicted", "parameters"):
        store.create_step(1)
        (store.root / "step=1" / lost / "zarr.json").unlink()
        if lost == "parameters":
            (store.root / "step=1" / "predicted" / "zarr.json").unlink()
    store.create_step(1)
    with xr.open_zarr(store.root / "step=1", consolidated=False) as step:
        assert dict(step.sizes) == {"member": 4, "state": 11, "obs": 3}
        assert step.parameters.isnull().all()


def test_that_a_full_disk_blocks_every_kind_of_write(small_disk, fill):
    store = store_in(small_disk)
    filler = fill(small_disk)
    where = SMALL.slice(0)
    points = SlicePoints(np.zeros(4, dtype=np.int64), np.zeros((4, 3)))
    writes = (
        lambda: store.create_step(1),
        lambda: store.write_member(0, 0, [np.ones(11)]),
        lambda: write_slice(store, 0, where, [0], np.ones((1, 4))),
        lambda: store.write_predicted(0, 0, np.ones(3)),
        lambda: store.write_coordinates(where, points),
        lambda: store.write_survivors(0, (0, 1)),
        lambda: store.write_arrays("step=0/factors", {"a": np.ones(2)}),
        lambda: store.write_receipts([outcome()]),
    )
    for write in writes:
        with pytest.raises(StoreError, match="free space"):
            write()
    filler.unlink()
    for write in writes:
        write()
    assert store.receipt(outcome().task) == outcome()
    assert not list(small_disk.rglob("*.partial"))


@pytest.mark.parametrize("name", ["step=0/survivors.json", "kept/step=0/factors/a.npy"])
def test_that_a_small_file_that_is_not_what_was_written_is_named(tmp_path, name):
    store = store_in(tmp_path)
    store.write_survivors(0, (0, 1))
    store.write_arrays("step=0/factors", {"a": np.ones(2)})
    path = tmp_path / "work" / name
    read = store.read_survivors if name.endswith("json") else lambda s: store.read_arrays(f"step={s}/factors")
    for content in (path.read_bytes()[:-4], b"", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=name):
            read(0)
