"""A filter's smoothed states: slices out of core, as the ensemble Kalman smoother in memory."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ModelFailed, StoreError
from daflow.execution.tasks.smoothing import smoothing_of
from daflow.execution.tasks.truth import ERROR_AFTER
from daflow.execution.tasks.workbench import Margins, factors_of
from daflow.names import TRUTH, Phase
from daflow.numerics.filters.ensemble_transform import apply_transform
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.filters.lagged_smoother import composed, transforms_for
from daflow.numerics.priors.transforms import Identity, Log
from daflow.storage.memory import MemoryStore
from tests.contracts.toy_cycles import CYCLES, LAYOUT, N_MEMBERS, STD, ToyFilter
from tests.execution.test_cycling import driven, observed

LAST = len(CYCLES) - 1
LOST = {(2, 1): ModelFailed("it diverged"), (5, 2): ModelFailed("so did it")}


def smoothed_run(folder, lag, fails=None, seed=None, margins=None, **layout):
    run = ToyFilter(folder, fails or {}, MemoryStore(replace(LAYOUT, lag=lag, **layout)))
    folder.mkdir(exist_ok=True)
    run.outcomes = driven(run, None if margins is None else run.bench(margins=margins), seed)
    return run


def transforms(run):
    """Return the analyses of all cycles, made in memory from what the members predict."""
    values, made = observed(run), []
    for step, cycle in enumerate(CYCLES):
        predicted = run.store.predicted(step)[list(run.store.read_survivors(step))]
        errors = np.full(cycle.last - cycle.first, STD**2)
        made.append(etkf(predicted, values[cycle.first : cycle.last], errors))
    return made


@pytest.mark.parametrize("lag", [1, 2, 3, 9])
def test_that_a_smoothed_state_is_that_of_the_transforms_composed_in_memory(tmp_path, lag):
    run = smoothed_run(tmp_path, lag)
    made = transforms(run)
    for step in range(len(CYCLES)):
        # The state that a step starts from is the ensemble of the analysis before it.
        after = [cycle for cycle in transforms_for(step, LAST, lag - 1) if cycle >= step]
        assert after == list(run.store.layout.smoothed_by(step))
        expected = apply_transform(composed([made[cycle] for cycle in after]), run.store.parameters(step))
        np.testing.assert_allclose(run.store.smoothed.parameters(step), expected, rtol=1e-12, atol=1e-12)
        assert np.abs(expected - run.store.parameters(step)).max() > 1e-3
    assert np.isnan(run.store.smoothed.parameters(len(CYCLES))).all()


def test_that_a_lag_leaves_the_filter_as_it_is_and_without_one_nothing_is_smoothed(tmp_path):
    without, run = smoothed_run(tmp_path / "without", 0), smoothed_run(tmp_path / "with", 2)
    for step in range(len(CYCLES) + 1):
        assert run.store.parameters(step).tobytes() == without.store.parameters(step).tobytes()
    assert Phase.SMOOTH not in {outcome.task.phase for outcome in without.outcomes}
    assert [o.task.step for o in run.outcomes if o.task.phase is Phase.SMOOTH][:: LAYOUT.n_slices] == [
        0,
        1,
        2,
    ]
    assert run.outcomes[-1].task.phase is Phase.SMOOTH


@settings(max_examples=8)
@given(st.integers(1, 9), st.integers(0, 99), st.integers(1, 4), st.booleans())
def test_that_slices_and_the_order_of_tasks_do_not_matter(tmp_path_factory, slice_size, seed, lag, lost):
    folder, fails = tmp_path_factory.mktemp("runs"), LOST if lost else {}
    whole = smoothed_run(folder / "whole", lag, fails)
    other = smoothed_run(folder / "order", lag, fails, seed)
    cut = smoothed_run(folder / "cut", lag, fails, seed, slice_size=slice_size)
    for step in range(len(CYCLES)):
        expected = whole.store.smoothed.parameters(step)
        assert other.store.smoothed.parameters(step).tobytes() == expected.tobytes()
        np.testing.assert_allclose(cut.store.smoothed.parameters(step), expected, rtol=1e-13, atol=1e-13)


def test_that_who_is_lost_on_the_way_has_had_a_part_in_the_analyses_before(tmp_path):
    run = smoothed_run(tmp_path, 3, LOST)
    first, second, third = (one.matrix for one in transforms(run))
    everybody = np.arange(N_MEMBERS)
    of_second, of_third = everybody != 2, ~np.isin(everybody, [2, 5])
    prior = run.store.parameters(0)
    after = [third @ (second @ (first @ prior)[of_second])[of_third[of_second]]]
    after += [third @ (second @ run.store.parameters(1)[of_second])[of_third[of_second]]]
    after += [third @ run.store.parameters(2)[of_third]]
    for step, expected in enumerate(after):
        found = run.store.smoothed.parameters(step)
        np.testing.assert_allclose(found[of_third], expected, rtol=1e-12, atol=1e-12)
        assert np.isnan(found[~of_third]).all()
    # A lag of one does not hear of those who are lost later.
    short = smoothed_run(tmp_path / "short", 1, LOST)
    assert np.isfinite(short.store.smoothed.parameters(0)).all()
    np.testing.assert_allclose(short.store.smoothed.parameters(0), first @ prior, rtol=1e-12)


def test_that_a_variable_with_a_transform_is_smoothed_in_the_space_that_it_is_updated_in(tmp_path):
    # The second variable is positive, and the model does not change it.
    run = smoothed_run(tmp_path, 2, margins=(Margins(Identity()), Margins(Log("float64"))))
    made = transforms(run)
    for step, after in ((0, made[:2]), (1, made[1:]), (2, made[2:])):
        start, found = run.store.parameters(step), run.store.smoothed.parameters(step)
        expected = apply_transform(composed(after), np.column_stack([start[:, :6], np.log(start[:, 6])]))
        np.testing.assert_allclose(found[:, :6], expected[:, :6], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found[:, 6], np.exp(expected[:, 6]), rtol=1e-12)


def test_that_smoothing_says_how_far_the_mean_is_from_the_truth_at_the_state_s_time(tmp_path):
    run = smoothed_run(tmp_path, 2, LOST)
    for step in range(len(CYCLES)):
        store = run.store if step == 0 else run.store.forecasts
        truth = store.read_member(max(step - 1, 0), TRUTH, 0, 7)
        told = [o.figures for o in run.outcomes if (o.task.phase, o.task.step) == (Phase.SMOOTH, step)]
        squares = (np.nanmean(run.store.smoothed.parameters(step), axis=0) - truth) ** 2
        found = sum(figures.get(ERROR_AFTER + "state", 0.0) for figures in told)
        assert found == pytest.approx(squares[:6].sum(), rel=1e-6)


def test_that_states_are_smoothed_in_the_type_of_the_store(tmp_path):
    double, single = smoothed_run(tmp_path / "64", 2), smoothed_run(tmp_path / "32", 2, dtype="float32")
    for step in range(len(CYCLES)):
        found = single.store.smoothed.parameters(step)
        np.testing.assert_allclose(found, double.store.smoothed.parameters(step), rtol=1e-4, atol=1e-4)
        assert (found == found.astype(np.float32)).all()


def test_that_a_cycle_of_which_nothing_was_believed_changes_nothing_and_a_missing_transform_is_told(tmp_path):
    run = smoothed_run(tmp_path, 2)
    bench = run.bench()
    second = bench.kept(factors_of(1), "")["transform"]
    run.store.write_arrays(factors_of(0), {"checked.scale": np.full(2, np.inf)})
    np.testing.assert_allclose(smoothing_of(bench, 0).matrix, second, rtol=1e-14)
    run.store.write_arrays(factors_of(0), {"weights": np.eye(N_MEMBERS)})
    with pytest.raises(StoreError, match="no transform"):
        smoothing_of(bench, 0)
