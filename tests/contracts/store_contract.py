"""What every store keeps; a store's tests inherit it and say how one is made."""

from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daflow.errors import DataError, StoreError
from daflow.names import TRUTH, Phase, Status
from daflow.ports import Observations, SlicePoints, Store
from daflow.records import Cycle, Grid, Layout, Outcome, Task, Variable
from daflow.storage.memory import MemoryStore

FIELD = Variable(
    "field", ("row", "column"), (2, 3), 0, Grid(("row", "column"), (2, 3), ("y", "x"), (1, 1), (0, 0))
)
LOOSE = Variable("loose", ("kind",), (5,), 6)
SMALL = Layout((FIELD, LOOSE), n_members=4, n_obs=3, slice_size=4)
"""Eleven numbers in slices of 4, 4 and 3."""
CYCLES = (Cycle(0.0, 1.0, 0, 2), Cycle(1.0, 3.0, 2, 3))
"""Of its three observations, two are in the first cycle."""


# Each kind of store has the laws for itself: nothing is carried over from one to the other.
LAW = settings(max_examples=8, suppress_health_check=[HealthCheck.differing_executors])


@st.composite
def layouts(draw):
    n_state = draw(st.integers(1, 40))
    slice_size = draw(st.integers(1, n_state + 3))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    variable = Variable("field", ("cell",), (n_state,), 0)
    return Layout((variable,), draw(st.integers(1, 4)), draw(st.integers(1, 5)), slice_size, dtype)


@st.composite
def cycling_layouts(draw):
    layout = draw(layouts())
    cuts = draw(st.integers(0, layout.n_obs))
    return replace(layout, cycles=(Cycle(0.0, 1.0, 0, cuts), Cycle(1.0, 2.0, cuts, layout.n_obs)))


def numbers(shape, seed=0, dtype="float64"):
    """Return numbers that the type stores exactly, infinities, NaN and minus zero among them."""
    values = np.random.default_rng(seed).standard_normal(shape).astype(dtype).astype(float)
    odd = [np.nan, -np.inf, -0.0, 0.0, float(np.finfo(dtype).tiny)]
    values.flat[:: max(1, values.size // 4)] = np.resize(odd, values.flat[:: max(1, values.size // 4)].shape)
    return values


def bits(values):
    return np.ascontiguousarray(values, dtype=np.float64).tobytes()


def slab_of(store, values):
    """Return a store's slab that holds a slice."""
    slab = store.slab(len(values))
    slab[:, : values.shape[1]] = values
    return slab


def write_slice(store, step, where, members, values):
    return store.write_slice(step, where, members, slab_of(store, values))


def read_slice(store, step, where, members):
    slab = store.slab(len(members))
    store.read_slice(step, where, members, slab)
    return slab[:, : where.size]


def outcome(phase=Phase.FORECAST, step=1, index=3, attempt=0, **rest):
    told = {"seconds": 1.25, "host": "node-7", "reason": "ünïcode \ud800 and\nlines", "started": 1e9}
    told |= {"key": "k", "digest": "0badcafe", "figures": {"clipped": 2, "read_seconds": 0.5}}
    return Outcome(Task(phase, step, index, attempt), Status.OK, **(told | rest))


class StoreContract:
    def store(self, layout: Layout) -> AbstractContextManager[Store]:
        raise RuntimeError("a store's tests say how one is made")

    @LAW
    @given(layouts(), st.data())
    def test_that_a_member_comes_back_as_it_was_written_whatever_the_pieces(self, layout, data):
        n = layout.n_state
        cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
        start = data.draw(st.integers(0, n))
        stop = data.draw(st.integers(start, n))
        values = numbers(n, dtype=layout.dtype)
        member = data.draw(st.integers(TRUTH, layout.n_members - 1))
        with self.store(layout) as store:
            store.create_step(0)
            whole = store.write_member(0, member, [values])
            assert store.write_member(0, member, np.split(values, cuts)) == whole
            assert bits(store.read_member(0, member, 0, n)) == bits(values)
            part = store.read_member(0, member, start, stop)
            assert part.dtype == np.float64
            assert bits(part) == bits(values[start:stop])

    @LAW
    @given(layouts(), st.data())
    def test_that_slices_and_members_are_two_ways_to_the_same_numbers(self, layout, data):
        members = data.draw(st.permutations(range(layout.n_members)))[: data.draw(st.integers(1, 4))]
        values = numbers((len(members), layout.n_state), dtype=layout.dtype)
        with self.store(layout) as store:
            store.create_step(0)
            store.create_step(1)
            for member, row in zip(members, values, strict=True):
                store.write_member(0, member, [row])
            for index in range(layout.n_slices):
                where = layout.slice(index)
                column = read_slice(store, 0, where, members)
                assert bits(column) == bits(values[:, where.start : where.stop])
                write_slice(store, 1, where, members, column)
            for member, row in zip(members, values, strict=True):
                assert bits(store.read_member(1, member, 0, layout.n_state)) == bits(row)

    @LAW
    @given(layouts())
    def test_that_what_is_written_together_is_what_is_written_one_by_one(self, layout):
        values = numbers((layout.n_members, layout.n_state), dtype=layout.dtype)
        members, where = range(layout.n_members), layout.slice(layout.n_slices - 1)
        with self.store(layout) as store:
            store.create_step(0)
            store.create_step(1)

            def write(store):
                yield from (store.write_member(0, member, [values[member]]) for member in members)
                yield from (store.write_predicted(0, member, np.ones(layout.n_obs)) for member in members)
                yield write_slice(store, 1, where, members, values[:, where.start : where.stop])

            with store.together() as shared:
                marks = list(write(shared))
            for member in members:
                assert bits(store.read_member(0, member, 0, layout.n_state)) == bits(values[member])
            assert (store.read_predicted(0, members, 0, layout.n_obs) == 1).all()
            assert bits(read_slice(store, 1, where, members)) == bits(values[:, where.start : where.stop])
            assert list(write(store)) == marks
            # A store in memory knows the same numbers by the same digest.
            memory = MemoryStore(layout)
            assert list(write(memory)) == marks

    @LAW
    @given(layouts())
    def test_that_predictions_come_back_in_full_whatever_the_type_of_the_parameters(self, layout):
        values = np.random.default_rng(1).standard_normal((layout.n_members, layout.n_obs))
        members = list(range(layout.n_members))[::-1]
        with self.store(layout) as store:
            store.create_step(0)
            for member in members:
                store.write_predicted(0, member, values[member])
            assert bits(store.read_predicted(0, members, 0, layout.n_obs)) == bits(values[members])
            assert store.read_predicted(0, [], 0, layout.n_obs).shape == (0, layout.n_obs)

    def test_that_the_truth_has_a_place_of_its_own(self):
        with self.store(SMALL) as store:
            store.create_step(0)
            for member in (TRUTH, 0):
                store.write_member(0, member, [np.full(11, float(member))])
                store.write_predicted(0, member, np.full(3, float(member)))
            assert (store.read_member(0, TRUTH, 0, 11) == TRUTH).all()
            assert (store.read_predicted(0, [TRUTH], 0, 3) == TRUTH).all()
            assert (store.read_member(0, 0, 0, 11) == 0).all()
            assert (store.read_predicted(0, [0], 0, 3) == 0).all()

    @LAW
    @given(cycling_layouts())
    def test_that_a_forecast_is_kept_beside_the_state_that_it_starts_from(self, layout):
        members = range(layout.n_members)
        states = numbers((2, layout.n_members, layout.n_state), dtype=layout.dtype)
        with self.store(layout) as store:
            for step in (0, 0, 1):
                store.create_step(step)
            for member in members:
                store.write_member(0, member, [states[0, member]])
            with store.together() as shared:
                marks = [shared.forecasts.write_member(0, m, [states[1, m]]) for m in members]
            assert marks == [store.forecasts.write_member(0, m, [states[1, m]]) for m in members]
            for kept, values in ((store, states[0]), (store.forecasts, states[1])):
                for index in range(layout.n_slices):
                    where = layout.slice(index)
                    part = read_slice(kept, 0, where, members)
                    assert bits(part) == bits(values[:, where.start : where.stop])
                assert bits(kept.read_member(0, 0, 0, layout.n_state)) == bits(values[0])
            where = layout.slice(0)
            part = read_slice(store.forecasts, 0, where, members)
            write_slice(store, 1, where, members, part)
            assert bits(read_slice(store, 1, where, members)) == bits(part)

    @LAW
    @given(cycling_layouts(), st.integers(1, 3))
    def test_that_smoothed_states_are_kept_beside_those_that_steps_start_from(self, layout, lag):
        layout = replace(layout, lag=lag)
        members = list(range(layout.n_members))
        states = numbers((2, layout.n_members, layout.n_state), dtype=layout.dtype)
        with self.store(layout) as store:
            for step in (0, 1, 2):
                store.create_step(step)
            for step in (0, 1):
                for member in members if step == 0 else ():
                    store.write_member(0, member, [states[0, member]])
                for index in range(layout.n_slices):
                    where = layout.slice(index)
                    part = slice(where.start, where.stop)
                    if step:
                        write_slice(store, step, where, members, states[0][:, part])
                    mark = write_slice(store.smoothed, step, where, members[1:], states[1][1:, part])
                    with store.together() as shared:
                        again = write_slice(shared.smoothed, step, where, members[1:], states[1][1:, part])
                    assert again == mark
                    assert bits(read_slice(store.smoothed, step, where, members[1:])) == bits(
                        states[1][1:, part]
                    )
                    assert bits(read_slice(store, step, where, members)) == bits(states[0][:, part])

    def test_that_a_step_that_nothing_smooths_has_no_smoothed_states(self):
        layout = replace(SMALL, cycles=CYCLES, lag=2)
        for step, lag in ((0, 0), (2, 2)):
            with self.store(replace(layout, lag=lag)) as store:
                store.create_step(0)
                store.create_step(step)
                with pytest.raises(StoreError):
                    read_slice(store.smoothed, step, layout.slice(0), [0])

    def test_that_a_step_has_the_predictions_of_its_cycle_and_the_truth_those_of_all(self):
        layout = replace(SMALL, cycles=CYCLES)
        with self.store(layout) as store:
            for step in (0, 1, 2):
                store.create_step(step)
            for step, n_obs in ((0, 2), (1, 1)):
                store.write_predicted(step, 1, np.arange(n_obs) + 10.0 * step)
                np.testing.assert_array_equal(
                    store.read_predicted(step, [1], 0, n_obs), np.arange(n_obs)[np.newaxis] + 10.0 * step
                )
            store.write_predicted(0, TRUTH, np.arange(3.0))
            np.testing.assert_array_equal(store.read_predicted(0, [TRUTH], 0, 3), [[0.0, 1.0, 2.0]])

    def test_that_the_truth_has_a_state_at_the_end_of_each_cycle(self):
        layout = replace(SMALL, cycles=CYCLES)
        with self.store(layout) as store:
            store.create_step(0)
            store.write_member(0, TRUTH, [np.zeros(11)])
            for step in (1, 0):
                store.forecasts.write_member(step, TRUTH, [np.full(11, step + 1.0)])
            assert (store.read_member(0, TRUTH, 0, 11) == 0).all()
            for step in (0, 1):
                assert (store.forecasts.read_member(step, TRUTH, 2, 9) == step + 1).all()

    def test_that_a_step_without_forecasts_has_no_states_after_them(self):
        for layout, step in ((SMALL, 0), (replace(SMALL, cycles=CYCLES), 2)):
            with self.store(layout) as store:
                store.create_step(0)
                store.create_step(step)
                write_slice(store, step, layout.slice(0), range(4), np.ones((4, 4)))
                with pytest.raises(StoreError):
                    read_slice(store.forecasts, step, layout.slice(0), [0])
                with pytest.raises(StoreError):
                    store.forecasts.read_member(step, 0, 0, 4)

    def test_that_the_same_numbers_have_the_same_checksum_and_others_another(self):
        where, values = SMALL.slice(1), numbers((2, 4), 1)
        swapped = np.r_[np.arange(4, 8), np.arange(4), np.arange(8, 11)].astype(float)
        with self.store(SMALL) as store:
            store.create_step(0)
            marks = [
                store.write_member(0, 0, [np.arange(11.0)]),
                store.write_member(0, 0, [swapped]),
                write_slice(store, 0, where, [0, 1], values),
                write_slice(store, 0, where, [0, 1], values[::-1]),
                store.write_predicted(0, 0, np.arange(3.0)),
                store.write_predicted(0, 0, np.arange(1.0, 4.0)),
            ]
            assert len(set(marks)) == len(marks)
            assert store.write_member(0, 0, [np.arange(11.0)]) == marks[0]
            assert write_slice(store, 0, where, [0, 1], values) == marks[2]
            assert store.write_predicted(0, 0, np.arange(3.0)) == marks[4]

    def test_that_making_a_step_again_changes_nothing(self):
        with self.store(SMALL) as store:
            store.create_step(0)
            store.write_member(0, 2, [np.arange(11.0)])
            store.write_predicted(0, 2, np.arange(3.0))
            store.create_step(0)
            assert bits(store.read_member(0, 2, 0, 11)) == bits(np.arange(11.0))
            assert bits(store.read_predicted(0, [2], 0, 3)) == bits(np.arange(3.0))

    def test_that_what_was_not_written_is_missed_and_not_made_up(self):
        with self.store(SMALL) as store:
            store.create_step(0)
            store.write_member(0, 0, [np.arange(11.0)])
            store.write_predicted(0, 0, np.arange(3.0))
            missing = (
                lambda: store.read_member(0, 1, 0, 11),
                lambda: store.read_member(0, TRUTH, 0, 11),
                lambda: read_slice(store, 0, SMALL.slice(0), [0, 1]),
                lambda: store.read_predicted(0, [0, 1], 0, 3),
                lambda: store.read_survivors(0),
                store.read_observations,
            )
            for read in missing:
                with pytest.raises(StoreError):
                    read()
            assert store.read_arrays("step=0/factors") is None
            assert store.receipt(outcome().task) is None
            assert list(store.receipts()) == []

    @pytest.mark.parametrize("count", [0, 3, 10, 12, 17])
    def test_that_a_member_is_refused_unless_it_has_as_many_numbers_as_the_state(self, count):
        with self.store(SMALL) as store:
            store.create_step(0)
            with pytest.raises(DataError, match="member 1 of step 0"):
                store.write_member(0, 1, np.array_split(np.arange(float(count)), 3))

    def test_that_a_number_too_large_for_the_type_is_refused_and_an_infinity_is_kept(self):
        layout = Layout((FIELD, LOOSE), 4, 3, 4, "float32")
        with self.store(layout) as store:
            store.create_step(0)
            with pytest.raises(DataError, match="float32"):
                store.write_member(0, 0, [np.full(11, 1e39)])
            write_slice(store, 0, layout.slice(2), [0], np.full((1, 3), np.inf))
            assert np.isposinf(read_slice(store, 0, layout.slice(2), [0])).all()

    def test_that_the_store_shares_no_memory_with_its_users(self):
        where, given_slice, given_obs = SMALL.slice(0), np.ones((1, 4)), np.ones(3)
        factors = {"a": np.ones(2)}
        with self.store(SMALL) as store:
            store.create_step(0)
            write_slice(store, 0, where, [0], given_slice)
            store.write_predicted(0, 0, given_obs)
            store.write_arrays("step=0/factors", factors)
            for array in (given_slice, given_obs, factors["a"]):
                array[:] = 2
            for _ in range(2):
                for array in (
                    read_slice(store, 0, where, [0]),
                    store.read_member(0, 0, 0, 4),
                    store.read_predicted(0, [0], 0, 3),
                ):
                    assert (array == 1).all()
                    array[:] = 3
            assert (store.read_arrays("step=0/factors")["a"] == 1).all()

    def test_that_factors_and_survivors_come_back(self):
        factors = {"transform": numbers((3, 3)), "count": np.arange(4), "empty": np.empty((0, 2))}
        with self.store(SMALL) as store:
            store.create_step(0)
            for members in ((0, 1, 3), (0, 3)):
                store.write_survivors(2, members)
                assert store.read_survivors(2) == members
            for _ in range(2):
                store.write_arrays("step=2/factors", factors)
            read = store.read_arrays("step=2/factors")
            assert sorted(read) == sorted(factors)
            for name, factor in factors.items():
                assert read[name].dtype == factor.dtype
                assert read[name].shape == factor.shape
                assert read[name].tobytes() == factor.tobytes()

    @pytest.mark.parametrize(
        "error",
        [
            {},
            {"matrix": np.diag([1.0, 2.0, 3.0])},
            {"factor": np.ones((3, 2)), "variances": np.ones(3)},
            {"blocks": np.arange(5.0), "block_sizes": np.array([2, 1])},
        ],
        ids=lambda error: "+".join(error) or "diagonal",
    )
    def test_that_observations_come_back_and_the_first_ones_stay(self, error):
        table = {
            "name": np.array(["P1", "", "a well of ünusual name"]),
            "kind": np.array(["rate", "rate", "head"]),
            "time": np.array([1.0, 2.5, np.nan]),
            "index": np.array([3, 0, 7]),
            "error_code": np.array([1, 2, 3]),
            "value": np.array([0.1, -2.0, 1e300]),
            "error_std": np.array([1.0, 2.0, 1e-12]),
        }
        with self.store(SMALL) as store:
            store.create_step(0)
            store.write_observations(Observations(table, error))
            store.write_observations(Observations(table | {"value": np.zeros(3)}, error))
            read = store.read_observations()
        assert sorted(read.table) == sorted(table)
        assert sorted(read.error) == sorted(error)
        for name, column in table.items():
            assert read.table[name].dtype.kind == column.dtype.kind, name
            np.testing.assert_array_equal(read.table[name], column)
        for name, array in error.items():
            assert bits(read.error[name]) == bits(array)

    def test_that_numbers_and_notes_come_back_with_observations(self):
        table = dict.fromkeys(("name", "kind"), np.full(3, "o")) | dict.fromkeys(
            ("value", "error_std"), np.ones(3)
        )
        table |= dict.fromkeys(("time", "x", "y", "z"), np.zeros(3))
        with self.store(SMALL) as store:
            store.create_step(0)
            store.write_observations(Observations(table, {}, np.array([0, 4, 5]), ("thinned",)))
            read = store.read_observations()
            assert (read.numbers.tolist(), read.notes, dict(read.error)) == ([0, 4, 5], ("thinned",), {})

    def test_that_coordinates_are_written_for_variables_with_and_without_a_place(self):
        with self.store(SMALL) as store:
            store.create_step(0)
            marks = []
            for index in (0, 1, 2, 2):
                where = SMALL.slice(index)
                variable = (np.arange(where.start, where.stop) >= FIELD.stop).astype(np.int64)
                coordinates = np.full((where.size, 3), np.nan)
                coordinates[variable == 0, :2] = np.arange(where.size)[variable == 0, np.newaxis]
                marks.append(store.write_coordinates(where, SlicePoints(variable, coordinates)))
        assert marks[2] == marks[3]
        assert len(set(marks)) == 3

    def test_that_each_attempt_has_its_receipt(self):
        left = [
            outcome(),
            outcome(attempt=1, reason="again"),
            outcome(phase=Phase.UPDATE),
            outcome(step=12),
            outcome(index=123456),
        ]
        with self.store(SMALL) as store:
            store.create_step(0)
            for one in left:
                store.write_receipts([one])
                assert store.receipt(one.task) == one
            store.write_receipts([left[0]])
            assert sorted(o.task.label for o in store.receipts()) == sorted(o.task.label for o in left)
            assert {o.task: o for o in store.receipts()} == {o.task: o for o in left}

    def test_that_receipts_written_together_are_found_each_together_and_by_stage(self):
        left = [outcome(index=index) for index in (0, 1, 3)]
        other = outcome(step=4)
        with self.store(SMALL) as store:
            store.create_step(0)
            tasks = [one.task for one in left]
            assert store.receipts_together(tasks) == []
            store.write_receipts(left)
            store.write_receipts([other])
            assert [store.receipt(task) for task in tasks] == left
            assert store.receipts_together(tasks) == left
            assert store.receipts_together([*tasks, outcome(index=9).task]) == []
            of_stage = (tasks[0].phase, tasks[0].step)
            assert {o.task for o in store.receipts_of(*of_stage, lambda task: False)} == set(tasks)
            assert list(store.receipts_of(*of_stage, lambda task: True)) == []
            unknown = store.receipts_of(*of_stage, lambda task: task != tasks[1])
            assert tasks[1] in {o.task for o in unknown}
