import numpy as np
import pytest

from daflow.errors import DataError
from daflow.inputs import snapshots
from daflow.inputs.snapshots import open_snapshots
from daflow.records import Variable

VARIABLES = (Variable("x", ("i", "j"), (2, 3), 0), Variable("y", ("k",), (4,), 6))
RNG = np.random.default_rng(1)
X, Y = RNG.standard_normal((5, 2, 3)), RNG.standard_normal((5, 4))


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "long.npz", x=X, y=Y)
    return tmp_path / "long.npz"


@pytest.mark.parametrize("kept", [0, 1 << 20])
def test_that_parts_along_the_state_are_parts_of_the_whole(file, monkeypatch, kept):
    monkeypatch.setattr(snapshots, "KEPT_BYTES", kept)
    found = open_snapshots(VARIABLES, file, None)
    whole = np.concatenate([X.reshape(5, -1), Y], axis=1)
    assert (found.n_snapshots, found.n_state) == whole.shape
    for start in range(11):
        for stop in range(start, 11):
            np.testing.assert_array_equal(found.columns(start, stop), whole[:, start:stop])


def test_that_one_variable_may_be_an_array_of_any_name_or_none(tmp_path):
    np.save(tmp_path / "flat.npy", X.reshape(5, 6))
    np.savez(tmp_path / "named.npz", states=X)
    for name, array in (("flat.npy", None), ("named.npz", "states")):
        found = open_snapshots(VARIABLES[:1], tmp_path / name, array)
        np.testing.assert_array_equal(found.columns(0, 6), X.reshape(5, 6))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y": Y[:, :3]}, "no snapshots of variable 'y'"),
        ({"y": Y[:1], "x": X[:1]}, "two snapshots or more"),
        ({"y": Y[:4]}, "different numbers of snapshots"),
    ],
)
def test_that_what_is_no_snapshot_of_the_state_is_refused(tmp_path, changes, words):
    np.savez(tmp_path / "bad.npz", **({"x": X, "y": Y} | changes))
    with pytest.raises(DataError, match=words):
        open_snapshots(VARIABLES, tmp_path / "bad.npz", None)


def test_that_numbers_that_are_not_finite_are_told_with_their_snapshot(tmp_path):
    broken = Y.copy()
    broken[3, 1] = np.nan
    np.savez(tmp_path / "broken.npz", x=X, y=broken)
    found = open_snapshots(VARIABLES, tmp_path / "broken.npz", None)
    found.columns(0, 7)
    with pytest.raises(DataError, match="snapshot 3"):
        found.columns(6, 8)
