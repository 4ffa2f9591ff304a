import numpy as np
import pytest

from daflow.errors import StoreError
from daflow.execution.tasks.places import places_of
from daflow.names import Phase
from daflow.records import StateSlice
from daflow.storage import ZarrStore
from tests.contracts.toy_run import LAYOUT, ToyRun, Twin

WHERE = LAYOUT.slice(1)


class Counting:
    """A method that counts how often it looks at where a slice lies."""

    def __init__(self):
        self.looked = 0

    def localize(self, locate):
        self.looked += 1
        points = locate()
        return {"variable": points.variable, "x": points.coordinates[:, 0].copy()}


class Nowhere:
    """A method that does not care where numbers lie."""

    def localize(self, locate):
        return {}


def on_disk(folder):
    return ZarrStore(folder / "ensemble.zarr", folder / "receipts", LAYOUT)


def bench_of(folder, method, **changes):
    store = on_disk(folder)
    store.write_observations(Twin().observe(np.zeros(4)))
    return ToyRun(folder, store=store).bench(make_method=lambda observations: method, **changes)


@pytest.fixture
def bench(tmp_path):
    return bench_of(tmp_path, Counting())


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        np.testing.assert_array_equal(array, other[name])


def test_that_a_slice_is_looked_at_once_a_run_whoever_asks(tmp_path, bench):
    first = bench.places(WHERE)
    same(bench.places(WHERE), first)
    other_process = bench_of(tmp_path, Counting())
    same(other_process.places(WHERE), first)
    assert (bench.method.looked, other_process.method.looked) == (1, 0)
    np.testing.assert_array_equal(first["variable"], [0, 0, 1, 1])
    np.testing.assert_array_equal(first["x"], [45.0, 55.0, np.nan, np.nan])


def test_that_each_slice_and_each_key_has_places_of_its_own(tmp_path, bench):
    places = bench.places(WHERE)
    assert bench.places(LAYOUT.slice(0))["x"][0] != places["x"][0]
    changed = bench_of(tmp_path, Counting(), keys=dict(bench.keys) | {(Phase.PREPARE, 0): "another"})
    changed.places(WHERE)
    assert (bench.method.looked, changed.method.looked) == (2, 1)


def test_that_where_places_do_not_matter_nothing_is_computed_or_kept(tmp_path):
    bench = bench_of(tmp_path, Nowhere())
    unreachable = StateSlice(10**6, 10**18, 2 * 10**18)
    assert bench.places(unreachable) == {}
    assert not list(tmp_path.rglob("*localization*"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"x": np.zeros(4)},
        {"variable": np.zeros(4, np.int64), "x": np.zeros(4), "seal": np.array(0)},
        {},
    ],
)
def test_that_wrong_arrays_are_made_again(bench, wrong):
    places = bench.places(WHERE)
    bench.store.write_arrays(places_of(bench.keys[Phase.PREPARE, 0], WHERE), wrong)
    same(bench.places(WHERE), places)
    same(bench.places(WHERE), places)
    assert bench.method.looked == 2


@pytest.mark.parametrize("damage", [lambda data: data[:-30], lambda data: b"", lambda data: b"x" * len(data)])
def test_that_a_torn_file_is_made_again(tmp_path, bench, damage):
    places = bench.places(WHERE)
    files = [path for path in (tmp_path / "work" / "kept" / "localization").rglob("*") if path.is_file()]
    assert files
    for path in files:
        path.chmod(0o644)
        path.write_bytes(damage(path.read_bytes()))
    same(bench.places(WHERE), places)
    same(bench.places(WHERE), places)
    assert bench.method.looked == 2


def test_that_a_store_that_cannot_be_written_says_so(tmp_path, bench):
    (tmp_path / "work").write_bytes(b"a file where a folder should be")
    with pytest.raises(StoreError):
        bench.places(WHERE)
