"""The store of a branch: its parent's steps are read, its own are written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from daflow.errors import StoreError
from daflow.names import TRUTH, Phase, Status
from daflow.ports import Observations, SlicePoints
from daflow.records import Cycle, Outcome, Task
from daflow.storage import ZarrStore
from daflow.storage.branch_store import BranchStore, root_of
from tests.contracts.store_contract import SMALL, read_slice, write_slice

STEP = 1
MEMBERS = range(SMALL.n_members)


@pytest.fixture
def parent(tmp_path):
    """A store with three steps."""
    store = ZarrStore(tmp_path / "run" / "a.zarr", tmp_path / "run" / "receipts", SMALL)
    for step in range(3):
        store.create_step(step)
        for member in MEMBERS:
            store.write_member(step, member, [np.full(SMALL.n_state, 10.0 * step + member)])
            store.write_predicted(step, member, np.full(SMALL.n_obs, 10.0 * step + member))
        store.write_survivors(step, [0, step + 1])
    store.write_member(0, TRUTH, [np.full(SMALL.n_state, -1.0)])
    return store


@pytest.fixture
def store(parent, tmp_path):
    own = ZarrStore(tmp_path / "branch" / "a.zarr", tmp_path / "branch" / "receipts", SMALL)
    made = BranchStore(own, parent, STEP)
    made.create_step(STEP)
    made.create_step(STEP + 1)
    return made


def test_that_steps_up_to_the_analysis_are_the_parent_s(store, parent):
    for step in (0, STEP):
        assert (store.read_member(step, 2, 0, SMALL.n_state) == 10 * step + 2).all()
        assert (store.read_predicted(step, [3], 0, SMALL.n_obs) == 10 * step + 3).all()
        assert (read_slice(store, step, SMALL.slice(1), [1]) == 10 * step + 1).all()
        assert store.read_survivors(step) == (0, step + 1)
        assert root_of(store, f"step={step}") == parent.root
    assert (store.read_member(0, TRUTH, 0, 3) == -1).all()
    assert root_of(store, "truth") == root_of(store, "state") == parent.root
    assert store.layout == SMALL


def test_that_steps_after_it_are_its_own(store, parent):
    after, where = STEP + 1, SMALL.slice(2)
    with pytest.raises(StoreError):
        read_slice(store, after, where, [1])
    with store.together() as shared:
        write_slice(shared, after, where, [1, 2], np.full((2, where.size), 7.0))
        shared.write_predicted(after, 1, np.full(SMALL.n_obs, 8.0))
        shared.write_member(after, 0, [np.full(SMALL.n_state, 9.0)])
    store.write_survivors(after, [1])
    assert (read_slice(store, after, where, [1, 2]) == 7).all()
    assert (store.read_predicted(after, [1], 0, SMALL.n_obs) == 8).all()
    assert (store.read_member(after, 0, 0, SMALL.n_state) == 9).all()
    assert store.read_survivors(after) == (1,)
    assert root_of(store, f"step={after}") == store.root
    assert root_of(parent, f"step={after}") == parent.root
    assert (parent.read_member(after, 0, 0, SMALL.n_state) == 20).all()
    assert parent.read_survivors(after) == (0, after + 1)


def test_that_the_parent_s_steps_are_never_written(store):
    where = SMALL.slice(0)
    values = np.zeros(SMALL.n_state)
    for write in (
        lambda: store.write_member(STEP, 0, [values]),
        lambda: store.write_member(STEP + 1, TRUTH, [values]),
        lambda: store.write_predicted(STEP, 0, values[: SMALL.n_obs]),
        lambda: write_slice(store, STEP, where, [0], values[np.newaxis, : where.size]),
        lambda: store.write_survivors(STEP, [0]),
        lambda: store.write_coordinates(where, SlicePoints(np.zeros(4, dtype=np.int64), np.zeros((4, 3)))),
    ):
        with pytest.raises(StoreError, match="belongs to the run that this one branches off from"):
            write()


def test_that_what_steps_share_is_the_parent_s_before_the_analysis_and_the_branch_s_from_it_on(store, parent):
    names = {
        "step=0/factors": 0,
        "step=1/carried/slice=00000": 0,
        "localization/key/slice=00000": 0,
        "step=1/factors": 1,
        "step=1/concluded": 1,
        "step=1/survey/slice=00000": 1,
        "step=2/carried/slice=00000": 1,
        "step=10/factors": 1,
    }
    for name in names:
        parent.write_arrays(name, {"whose": np.array(0)})
    assert {name for name in names if store.read_arrays(name) is None} == {
        n for n, own in names.items() if own
    }
    for name in names:
        store.write_arrays(name, {"whose": np.array(1)})
    found = {name: int((store.read_arrays(name) or {})["whose"]) for name in names}
    # What is named by a key is the same thing wherever it is kept.
    assert found == names | {"localization/key/slice=00000": 1}
    assert {int((parent.read_arrays(name) or {})["whose"]) for name in names} == {0}


def test_that_receipts_are_the_branch_s_own(store, parent):
    done = Outcome(Task(Phase.UPDATE, STEP, 0), Status.OK)
    parent.write_receipts([done])
    assert list(store.receipts()) == []
    assert store.receipt(done.task) is None
    store.write_receipts([done])
    assert store.receipt(done.task) == done
    assert store.receipts_together([done.task]) == [done]
    assert list(store.receipts_of(Phase.UPDATE, STEP, lambda task: False)) == [done]


def test_that_observations_are_the_parent_s_unless_the_branch_has_its_own(store, parent):
    table = {"name": np.array(["a", "b", "c"]), "value": np.arange(3.0), "error_std": np.ones(3)}
    parent.write_observations(Observations(table, {}))
    assert store.read_observations().table["error_std"].tolist() == [1, 1, 1]
    assert root_of(store, "observations") == parent.root
    store.write_observations(Observations(table | {"error_std": np.full(3, 2.0)}, {}))
    assert store.read_observations().table["error_std"].tolist() == [2, 2, 2]
    assert parent.read_observations().table["error_std"].tolist() == [1, 1, 1]
    assert root_of(store, "observations") == store.root


def test_that_a_branch_of_a_branch_reads_from_both(store, tmp_path):
    store.write_member(STEP + 1, 0, [np.full(SMALL.n_state, 9.0)])
    own = ZarrStore(tmp_path / "second" / "a.zarr", tmp_path / "second" / "receipts", SMALL)
    second = BranchStore(own, store, STEP + 1)
    assert (second.read_member(STEP, 2, 0, 3) == 12).all()
    assert (second.read_member(STEP + 1, 0, 0, 3) == 9).all()
    assert root_of(second, f"step={STEP + 1}") == store.root
    assert root_of(second, f"step={STEP + 2}") == second.root


def test_that_states_after_the_analysis_are_smoothed_in_the_branch_and_those_before_in_its_parent(tmp_path):
    layout = replace(SMALL, cycles=(Cycle(0, 1, 0, 1), Cycle(1, 2, 1, 2), Cycle(2, 3, 2, 3)), lag=2)
    parent, own = (
        ZarrStore(tmp_path / name / "a.zarr", tmp_path / name / "receipts", layout)
        for name in ("run", "branch")
    )
    branch, where = BranchStore(own, parent, STEP), layout.slice(1)
    for step in range(3):
        parent.create_step(step)
        branch.create_step(step)
        write_slice(parent.smoothed, step, where, [0, 2], np.full((2, where.size), 1.0 + step))
    with branch.together() as shared:
        write_slice(shared.smoothed, STEP + 1, where, [0, 2], np.full((2, where.size), 9.0))
    assert (read_slice(branch.smoothed, STEP, where, [0, 2]) == 1.0 + STEP).all()
    assert (read_slice(branch.smoothed, STEP + 1, where, [0, 2]) == 9.0).all()
    assert (read_slice(parent.smoothed, STEP + 1, where, [0, 2]) == 2.0 + STEP).all()
    with pytest.raises(StoreError, match="belongs to the run"):
        write_slice(branch.smoothed, STEP, where, [0], np.ones((1, where.size)))
