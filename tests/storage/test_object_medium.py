"""The store's laws on objects in memory: what the client library does is real, but there is no server."""

import tempfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from obstore.store import MemoryStore

from daflow.errors import StoreError
from daflow.ports import Observations
from daflow.storage import ZarrStore
from daflow.storage.object_medium import ObjectMedium
from daflow.storage.objects import Objects
from tests.contracts.store_contract import SMALL, StoreContract, bits, numbers, read_slice, write_slice

PACKED = replace(SMALL, codec="lz4", sharding="aligned")


def in_memory():
    return ObjectMedium(Objects(MemoryStore(), "s3://bucket/a"), Objects(MemoryStore(), "s3://bucket/work"))


@contextmanager
def stored(layout):
    with tempfile.TemporaryDirectory() as folder:
        yield ZarrStore(in_memory(), Path(folder) / "receipts", layout)


class TestObjects(StoreContract):
    def store(self, layout):
        return stored(layout)


class TestPackedObjects(StoreContract):
    @contextmanager
    def store(self, layout):
        # The layouts of the laws have no codec: each law is tried with one.
        with stored(replace(layout, codec="zstd")) as store:
            yield store


def objects_of(store):
    """Return every object of a store's arrays: name -> what it holds."""
    objects = store._medium._arrays
    return {name: bytes(objects.get(name)) for name in objects.names()}


def filled(store, values):
    """Write two steps as a run does: the first by members, the second by slices."""
    members = range(len(values))
    store.create_step(0)
    store.create_step(1)
    for member in members:
        store.write_member(0, member, [values[member]])
        store.write_predicted(0, member, values[member, : SMALL.n_obs])
    for index in range(SMALL.n_slices):
        where = SMALL.slice(index)
        write_slice(store, 1, where, members, values[:, where.start : where.stop])
    return store


@pytest.mark.parametrize("layout", [SMALL, PACKED], ids=["plain", "packed"])
def test_that_a_bucket_holds_byte_for_byte_what_a_folder_holds(tmp_path, layout):
    values = numbers((SMALL.n_members, SMALL.n_state))
    local = filled(ZarrStore(tmp_path / "a", tmp_path / "receipts", layout), values)
    files = {
        path.relative_to(local.root).as_posix(): path.read_bytes()
        for path in local.root.rglob("*")
        if path.is_file()
    }
    with stored(layout) as store:
        assert objects_of(filled(store, values)) == files


def test_that_xarray_opens_a_step_in_a_bucket_with_named_dimensions():
    values = np.arange(44.0).reshape(4, 11)
    with stored(SMALL) as store:
        filled(store, values)
        with xr.open_zarr(store.root, group="step=1", consolidated=False) as step:
            assert step.parameters.dims == ("member", "state")
            np.testing.assert_array_equal(step.parameters, values)


@pytest.mark.parametrize("layout", [SMALL, PACKED], ids=["plain", "packed"])
def test_that_a_chunk_that_is_gone_is_missed_and_not_made_up(layout):
    with stored(layout) as store:
        filled(store, np.ones((4, 11)))
        gone = next(name for name in objects_of(store) if name.startswith("step=1/parameters/c/"))
        store._medium._arrays.delete(gone)
        where = SMALL.slice(int(gone.rpartition("/")[2]))
        with pytest.raises(StoreError, match="not found"):
            read_slice(store, 1, where, range(4))


def test_that_observations_are_there_once_all_of_them_are(monkeypatch):
    table = {name: np.zeros(3) for name in ("value", "error_std", "time", "x", "y", "z")}
    table |= {"name": np.array(["a", "b", "c"]), "kind": np.array(["k"] * 3)}
    put, n_left = Objects.put, 4

    def falters(self, name, data):
        nonlocal n_left
        n_left -= 1
        if n_left < 0:
            raise StoreError("the server is gone")
        put(self, name, data)

    with stored(SMALL) as store:
        monkeypatch.setattr(Objects, "put", falters)
        with pytest.raises(StoreError, match="gone"):
            store.write_observations(Observations(table, {}))
        assert len(objects_of(store)) == 4
        assert not store.has_observations()
        monkeypatch.undo()
        store.write_observations(Observations(table, {}))
        assert store.has_observations()
        assert store.read_observations().table["name"].tolist() == ["a", "b", "c"]


def test_that_nothing_of_what_is_written_together_is_sent_after_an_error():
    with stored(SMALL) as store:
        store.create_step(0)
        before = objects_of(store)
        with suppress(KeyError), store.together() as shared:
            shared.write_member(0, 0, [np.ones(11)])
            raise KeyError
        assert objects_of(store) == before


def test_that_arrays_kept_again_take_the_place_of_those_before_in_one_object():
    with stored(SMALL) as store:
        for size in (3, 5):
            store.write_arrays("step=0/factors", {"a": np.ones(size), "file": np.arange(size)})
        assert bits(store.read_arrays("step=0/factors")["a"]) == bits(np.ones(5))
        assert store.read_arrays("step=0/factors")["file"].tolist() == [0, 1, 2, 3, 4]
        assert list(store._medium._work.names()) == ["kept/step=0/factors.npz"]
        store._medium._work.put("kept/step=0/factors.npz", b"PK nothing of the kind")
        with pytest.raises(StoreError, match=r"factors\.npz is not what was written"):
            store.read_arrays("step=0/factors")
