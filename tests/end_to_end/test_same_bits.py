"""The same bits, whoever works, in whatever order, and whoever else had been there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.small_run import (
    CALLABLE,
    RING,
    WELL,
    assert_same_bits,
    finals,
    run_by_workers,
    run_inline,
    written,
)

FAILS = """
def forecast(parameters, observations, member, step):
    if step == 0 and member in (7, 11):
        raise ArithmeticError("no convergence")
    return parameters["level"][:3] ** 2 + parameters["level"][4:7]
"""


@pytest.fixture(scope="module")
def workflow(shared_place: Path) -> Path:
    return written(shared_place, RING)


@pytest.fixture(scope="module")
def reference(workflow: Path, shared_place: Path):
    """The arrays of a run in this process, one task after the other."""
    run = run_inline(workflow, shared_place / "reference")
    arrays = finals(run)
    assert run.status().state == "finished"
    assert arrays["start"].shape == (20, 24)
    # Something was learnt, so that equal bits mean something.
    assert np.abs(arrays["start"] - run.parameters(0)["start"].values).max() > 0.1
    return arrays


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "group"), [(1, "auto"), (2, 7), (4, 1)])
def test_that_neither_the_number_of_workers_nor_the_size_of_groups_changes_a_bit(
    workflow, reference, place, workers, group
):
    run = run_by_workers(workflow, place / "run", f"execution.workers={workers}", f"execution.group={group}")
    assert_same_bits(finals(run), reference)
    if group != "auto":
        assert len(list((place / "run" / "receipts" / "step=0" / "prior").iterdir())) == -(-20 // group)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_that_the_order_of_tasks_does_not_change_a_bit(workflow, reference, place, seed):
    assert_same_bits(finals(run_inline(workflow, place / "run", seed=seed)), reference)


@pytest.mark.parametrize("slice_size", [7, 100])
def test_that_the_size_of_slices_moves_nothing_but_rounding(workflow, reference, place, slice_size):
    arrays = finals(run_inline(workflow, place / "run", f"storage.slice_size={slice_size}"))
    for name, array in arrays.items():
        scale = np.abs(reference[name]).max()
        assert np.abs(array - reference[name]).max() <= 1e-12 * scale


@pytest.mark.slow
def test_that_survivors_end_as_if_the_members_that_failed_had_never_been(place):
    with_failures = written(place / "fails", CALLABLE, FAILS)
    without = written(place / "without", CALLABLE, WELL)
    failed = run_by_workers(with_failures, place / "failed-run")
    excluded = run_inline(without, place / "excluded-run", "ensemble.exclude=[7, 11]")
    members = [member for member in range(12) if member not in (7, 11)]
    assert failed.parameters()["member"].values.tolist() == members
    assert failed.predicted()["member"].values.tolist() == members
    assert {(end.member, end.attempt, end.status) for end in failed.status().failures} == {
        (7, 0, "failed"),
        (11, 0, "failed"),
    }
    assert_same_bits(finals(failed), finals(excluded))


def test_that_a_larger_ensemble_begins_with_the_members_of_the_smaller(workflow, reference, place):
    small = run_inline(workflow, place / "small", "ensemble.size=8", "method.steps=1")
    large = run_inline(workflow, place / "large", "ensemble.size=13", "method.steps=1")
    first = {"member": list(range(8))}
    for name, array in small.parameters(0).items():
        assert array.values.tobytes() == large.parameters(0)[name].sel(first).values.tobytes()
    assert small.predicted(0).values.tobytes() == large.predicted(0).sel(first).values.tobytes()
    assert small.observations()["value"].equals(large.observations()["value"])
