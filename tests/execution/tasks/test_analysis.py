import itertools
from dataclasses import replace
from threading import Event, Lock
from time import sleep

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DaflowError
from daflow.execution.tasks import analysis
from daflow.execution.tasks.analysis import do_slices
from daflow.execution.tasks.carry_out import carry_out, carry_out_all
from daflow.execution.tasks.change import MOVED, MOVED_IN_SPREAD, SPREAD_AFTER, SPREAD_BEFORE, Change
from daflow.execution.tasks.places import locate
from daflow.execution.tasks.workbench import Margins, Stopwatch
from daflow.names import Phase, Status
from daflow.numerics.priors.transforms import Identity, Log
from daflow.ports import Prepared
from daflow.records import Grid, Layout, Task, Variable
from daflow.storage.memory import MemoryStore
from tests.contracts.toy_run import LAYOUT, ToyRun

MEMBERS = (0, 1, 3, 5)


@st.composite
def layouts(draw):
    variables, start = [], 0
    for number in range(draw(st.integers(1, 3))):
        n_dims = draw(st.integers(0, 3))
        shape = tuple(draw(st.integers(1, 4)) for _ in range(n_dims))
        dims = tuple(f"d{i}" for i in range(n_dims))
        grid = None
        if n_dims and draw(st.booleans()):
            axes = tuple(draw(st.permutations("xyz"))[:n_dims])
            lengths = st.floats(0.5, 50.0)
            spacing = tuple(draw(lengths) for _ in shape)
            grid = Grid(dims, shape, axes, spacing, tuple(draw(lengths) for _ in shape))
        variables.append(Variable(f"v{number}", dims, shape, start, grid))
        start = variables[-1].stop
    return Layout(tuple(variables), 2, 1, draw(st.integers(1, start + 2)))


@settings(max_examples=100)
@given(layouts())
def test_that_coordinates_are_those_of_each_cell_in_turn_whatever_the_slices(layout):
    expected = []
    for code, variable in enumerate(layout.variables):
        for cell in itertools.product(*(range(n) for n in variable.shape)):
            place = dict.fromkeys("xyz", np.nan)
            if variable.grid is not None:
                grid = variable.grid
                for index, axis, spacing, origin in zip(
                    cell, grid.axes, grid.spacing, grid.origin, strict=True
                ):
                    place[axis] = origin + spacing * index
            expected.append((code, *place.values()))
    parts = [locate(layout, layout.slice(index)) for index in range(layout.n_slices)]
    found = np.column_stack(
        [np.concatenate([p.variable for p in parts]), np.concatenate([p.coordinates for p in parts])]
    )
    np.testing.assert_array_equal(found, expected)


class Fixed:
    """A method whose update is a function given beforehand."""

    n_steps = 1

    def __init__(self, change):
        self.change, self.saw = change, []

    def base(self, step):
        return step

    def prepare(self, given):
        return Prepared({"members": np.array(given.members)}, {"alpha": 2.0})

    def localize(self, locate):
        return {"variable": locate().variable}

    def apply(self, given, slab):
        self.saw.append(slab.copy())
        assert len(given.places["variable"]) == slab.shape[1] == given.where.size
        slab[:] = self.change(slab)
        return {}


def prior_of(members):
    return 1.0 + np.arange(len(members) * 11.0).reshape(len(members), 11)


PLAIN = (Margins(Identity()), Margins(Identity()))


def updated(tmp_path, change, margins=PLAIN, layout=LAYOUT):
    run = ToyRun(tmp_path, store=MemoryStore(layout))
    method = Fixed(change)
    bench = run.bench(make_method=lambda observations: method, margins=margins)
    assert carry_out(bench, Task(Phase.TRUTH, 0, 0)).status == Status.OK
    for member, row in zip(MEMBERS, prior_of(MEMBERS), strict=True):
        run.store.write_member(0, member, [row])
        run.store.write_predicted(0, member, row[:4])
    run.store.write_survivors(0, MEMBERS)
    assert carry_out(bench, Task(Phase.PREPARE, 0, 0)).status == Status.OK
    outcomes = [carry_out(bench, Task(Phase.UPDATE, 0, index)) for index in range(LAYOUT.n_slices)]
    return run, method, outcomes


def figures_of(figures):
    return {name: value for name, value in figures.items() if not name.endswith("_seconds")}


class Surveyed(Fixed):
    """A method that takes the mean of the whole prior off every number, and counts its updates of a slice."""

    def survey(self, given, slab):
        self.saw.append(slab.copy())
        return {"sum": slab.sum(), "n": np.array(slab.size)}

    def conclude(self, given, factors, found):
        parts = list(found)
        mean = sum(p["sum"] for p in parts) / sum(p["n"] for p in parts)
        return Prepared({"mean": mean, "members": factors["members"]}, {"mean": float(mean)}, last=True)

    def apply(self, given, slab):
        slab -= given.factors["mean"]
        return {"n_updates": given.carried.get("n_updates", 0) + np.ones(given.where.size)}


def test_that_a_survey_sees_every_slice_and_what_is_carried_comes_back(tmp_path):
    method = Surveyed(None)
    run = ToyRun(tmp_path, store=MemoryStore(LAYOUT))
    keys = {(phase, step): "" for phase in Phase for step in range(2)}
    bench = run.bench(make_method=lambda observations: method, margins=PLAIN, keys=keys)
    assert carry_out(bench, Task(Phase.TRUTH, 0, 0)).status == Status.OK
    for member, row in zip(MEMBERS, prior_of(MEMBERS), strict=True):
        run.store.write_member(0, member, [row])
    slices = range(LAYOUT.n_slices)
    for step in range(2):
        for member in MEMBERS:
            run.store.write_predicted(step, member, np.zeros(4))
        run.store.write_survivors(step, MEMBERS)
        assert carry_out(bench, Task(Phase.PREPARE, step, 0)).status == Status.OK
        for outcome in carry_out_all(bench, [Task(Phase.SURVEY, step, i) for i in reversed(slices)]):
            assert outcome.status == Status.OK
        concluded = carry_out(bench, Task(Phase.CONCLUDE, step, 0))
        assert figures_of(concluded.figures) == {"mean": prior_of(MEMBERS).mean() * (1 - step), "last": 1.0}
        updates = [carry_out(bench, Task(Phase.UPDATE, step, i)) for i in slices]
        assert {outcome.status for outcome in updates} == {Status.OK}
    np.testing.assert_allclose(
        run.store.parameters(2)[list(MEMBERS)], prior_of(MEMBERS) - prior_of(MEMBERS).mean(), atol=1e-12
    )
    for index in slices:
        carried = run.store.read_arrays(f"step=2/carried/slice={index:05d}")
        assert (carried["n_updates"] == 2).all()


def test_that_an_update_starts_from_the_members_of_its_base(tmp_path):
    run, method, _ = updated(tmp_path, lambda values: values * 2.0)
    method.base = lambda step: 0
    for member in MEMBERS:
        run.store.write_predicted(1, member, np.zeros(4))
    run.store.write_survivors(1, MEMBERS)
    bench = run.bench(make_method=lambda observations: method, margins=PLAIN)
    assert carry_out(bench, Task(Phase.PREPARE, 1, 0)).status == Status.OK
    for index in range(LAYOUT.n_slices):
        assert carry_out(bench, Task(Phase.UPDATE, 1, index)).status == Status.OK
    assert run.store.parameters(2).tobytes() == run.store.parameters(1).tobytes()


@pytest.mark.parametrize("n_lanes", [1, 2, 3])
@pytest.mark.parametrize("margins", [PLAIN, (Margins(Log()), Margins(Identity(), (2.0, 9.0)))])
def test_that_slices_updated_as_a_pipeline_are_those_updated_one_by_one(tmp_path, margins, n_lanes):
    run, method, outcomes = updated(tmp_path, lambda values: values * 1.5, margins)
    one_by_one = run.store.parameters(1)
    bench = run.bench(make_method=lambda observations: method, margins=margins)
    run.store.write_survivors(1, MEMBERS)
    for index in range(LAYOUT.n_slices):
        slab = run.store.slab(4)
        run.store.read_slice(0, LAYOUT.slice(index), MEMBERS, slab)
        run.store.write_slice(1, LAYOUT.slice(index), MEMBERS, slab)
    bench.store.write_arrays("step=1/factors", {})
    done = {u.task: u for u in do_slices(bench, [Task(Phase.UPDATE, 1, i) for i in (2, 0, 1)], n_lanes)}
    assert run.store.parameters(2).tobytes() == one_by_one.tobytes()
    for outcome in outcomes:
        updated_slice = done[Task(Phase.UPDATE, 1, outcome.task.index)]
        assert updated_slice.error is None
        assert updated_slice.digest == outcome.digest
        assert figures_of(updated_slice.figures) == pytest.approx(figures_of(outcome.figures), rel=1e-8)
        assert updated_slice.seconds > 0
        assert updated_slice.started > 1e9


@pytest.mark.parametrize("cores", [1, 2])
def test_that_as_many_slices_are_computed_at_a_time_as_the_task_has_cores(tmp_path, cores):
    lock, computing, most = Lock(), [], []
    enough = Event()

    def change(values):
        with lock:
            computing.append(1)
            most.append(len(computing))
            if len(computing) >= cores:
                enough.set()
        # The first waits for the second, wherever there is to be one; then there is time for one too many.
        enough.wait(60)
        sleep(0.02)
        with lock:
            computing.pop()
        return values + 1.0

    enough.set()
    run, method, _ = updated(tmp_path, change)
    most.clear()
    enough.clear()
    bench = run.bench(make_method=lambda observations: method, margins=PLAIN)
    outcomes = carry_out_all(bench, [Task(Phase.UPDATE, 0, i) for i in range(3)], cores=cores)
    assert [outcome.status for outcome in outcomes] == [Status.OK] * 3
    assert max(most) == cores


def test_that_the_memory_of_slices_is_used_again_and_left_when_members_are_next(tmp_path):
    run, method, _ = updated(tmp_path, lambda values: values + 1.0)
    bench = run.bench(make_method=lambda observations: method, margins=PLAIN)
    tasks = [Task(Phase.UPDATE, 0, index) for index in range(3)]
    list(do_slices(bench, tasks, 1))
    (kept,) = bench.idle_slabs
    carry_out(bench, tasks[0])
    list(do_slices(bench, tasks, 1))
    assert [slab is kept for slab in bench.idle_slabs] == [True]
    bench.idle_slabs[:] = [run.store.slab(7)]
    list(do_slices(bench, tasks, 3))
    assert {len(slab) for slab in bench.idle_slabs} == {4}
    assert len(bench.idle_slabs) <= 3
    carry_out_all(bench, [Task(Phase.FORECAST, 1, 0)])
    assert not bench.idle_slabs


def test_that_a_slice_that_fails_keeps_no_other_from_being_updated(tmp_path):
    def spoil(values):
        if values[0, 0] == 5.0:
            raise ZeroDivisionError
        return values + 1.0

    run, method, _ = updated(tmp_path, spoil)
    bench = run.bench(make_method=lambda observations: method, margins=PLAIN)
    tasks = [Task(Phase.UPDATE, 0, index) for index in range(LAYOUT.n_slices)]
    errors = {u.task.index: type(u.error) for u in do_slices(bench, tasks)}
    assert errors == {0: type(None), 1: ZeroDivisionError, 2: type(None)}
    assert run.store.parameters(1)[0, [0, 3, 8]].tolist() == [2.0, 5.0, 10.0]


@pytest.mark.parametrize("transform", [Identity(), Log("float32")])
def test_that_what_is_stored_as_float32_is_copied_only_where_it_is_transformed(tmp_path, transform):
    layout = replace(LAYOUT, dtype="float32")
    run, method, outcomes = updated(
        tmp_path, lambda values: values + 1, (Margins(transform), Margins(Identity())), layout
    )
    assert [outcome.status for outcome in outcomes] == [Status.OK] * 3
    copied = [saw.dtype for saw in method.saw]
    assert copied == ["float32"] * 3 if transform == Identity() else ["float64", "float64", "float32"]
    prior, posterior = prior_of(MEMBERS), run.store.parameters(1)[list(MEMBERS)]
    expected = prior + 1 if transform == Identity() else np.c_[prior[:, :6] * np.e, prior[:, 6:] + 1]
    np.testing.assert_allclose(posterior, expected, rtol=1e-7)


def test_that_a_posterior_too_large_for_its_type_is_refused(tmp_path):
    layout = replace(LAYOUT, dtype="float32")
    for margins in (PLAIN, (Margins(Identity(), (0.0, 1e300)), Margins(Identity()))):
        with np.errstate(over="ignore"):
            *_, outcomes = updated(tmp_path, lambda values: values.astype(float) * 1e39, margins, layout)
        assert outcomes[0].status == Status.FAILED
        assert "not finite" in outcomes[0].reason or "too large to be stored" in outcomes[0].reason


def test_that_each_variable_is_updated_in_its_own_space_and_comes_back(tmp_path):
    margins = (Margins(Log()), Margins(Identity()))
    run, method, outcomes = updated(tmp_path, lambda values: values + 1.0, margins)
    assert [outcome.status for outcome in outcomes] == [Status.OK] * 3
    prior, posterior = prior_of(MEMBERS), run.store.parameters(1)[list(MEMBERS)]
    np.testing.assert_allclose(posterior[:, :6], prior[:, :6] * np.e, rtol=1e-14)
    np.testing.assert_allclose(posterior[:, 6:], prior[:, 6:] + 1.0, rtol=1e-14)
    np.testing.assert_allclose(method.saw[1][:, :2], np.log(prior[:, 4:6]), rtol=1e-14)
    assert np.isnan(run.store.parameters(1)[[2, 4]]).all()


def test_that_the_prior_stays_as_it_was(tmp_path):
    run, *_ = updated(tmp_path, lambda values: values * 0.0)
    assert run.store.parameters(0)[list(MEMBERS)].tobytes() == prior_of(MEMBERS).tobytes()


def test_that_clipping_is_done_only_where_it_is_asked_for_and_is_counted(tmp_path):
    margins = (Margins(Identity(), (5.0, 20.0)), Margins(Identity()))
    run, _, outcomes = updated(tmp_path, lambda values: values, margins)
    prior, posterior = prior_of(MEMBERS), run.store.parameters(1)[list(MEMBERS)]
    np.testing.assert_array_equal(posterior[:, :6], np.clip(prior[:, :6], 5.0, 20.0))
    np.testing.assert_array_equal(posterior[:, 6:], prior[:, 6:])
    expected = np.count_nonzero((prior[:, :6] < 5.0) | (prior[:, :6] > 20.0))
    assert sum(outcome.figures["clipped"] for outcome in outcomes) == expected > 0
    assert outcomes[2].figures["clipped"] == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("transform", [Identity(), Log()])
def test_that_a_posterior_that_is_not_finite_is_refused_with_member_and_place(tmp_path, bad, transform):
    def spoil(values):
        values[2, 1] = bad
        return values

    run, _, outcomes = updated(tmp_path, spoil, (Margins(transform), Margins(Identity())))
    assert [outcome.status for outcome in outcomes] == [Status.FAILED] * 3
    assert (
        f"the update of slice 1 is not finite\n  got:     {bad} for member 3 at state 5" in outcomes[1].reason
    )
    assert np.isnan(run.store.parameters(1)).all()


def test_that_numbers_whose_sum_overflows_are_finite_all_the_same(tmp_path):
    huge = np.finfo(np.float64).max
    change = Change(LAYOUT, PLAIN, LAYOUT.slice(0), (0, 1))
    change.check(np.full((2, 3), huge))
    change.check(np.array([[huge, -huge], [huge, -huge]]))
    with pytest.raises(DaflowError, match="not finite"):
        change.check(np.array([[huge, np.nan]]))


def test_that_the_spread_of_each_variable_before_and_after_adds_up_over_the_slices(tmp_path):
    _, _, outcomes = updated(
        tmp_path, lambda values: values.mean(axis=0) + 0.5 * (values - values.mean(axis=0))
    )
    deviations = prior_of(MEMBERS).std(axis=0, ddof=1)
    for name, part in (("perm", slice(0, 6)), ("shift", slice(6, 11))):
        for which, factor in ((SPREAD_BEFORE, 1.0), (SPREAD_AFTER, 0.5)):
            total = sum(outcome.figures.get(which + name, 0.0) for outcome in outcomes)
            assert total == pytest.approx(factor * deviations[part].sum(), rel=1e-8)


def test_that_figures_of_quantities_that_are_small_in_their_unit_are_told(tmp_path):
    _, _, outcomes = updated(tmp_path, lambda values: 1e-13 * values)
    deviations = 1e-13 * prior_of(MEMBERS).std(axis=0, ddof=1)
    total = sum(outcome.figures.get(SPREAD_AFTER + "perm", 0.0) for outcome in outcomes)
    assert total == pytest.approx(deviations[:6].sum(), rel=1e-8, abs=0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("transform", [Identity(), Log()])
def test_that_how_far_the_mean_of_each_variable_moves_adds_up_over_the_slices(tmp_path, dtype, transform):
    steps = np.linspace(-1.0, 2.0, 4)[:, np.newaxis]
    margins = (Margins(transform), Margins(Identity()))
    layout = replace(LAYOUT, dtype=dtype)
    run, _, outcomes = updated(tmp_path, lambda values: 0.9 * values + steps, margins, layout)
    prior, posterior = prior_of(MEMBERS), run.store.parameters(1)[list(MEMBERS)].astype(np.float64)
    moved = posterior.mean(axis=0) - prior.mean(axis=0)
    relative = moved / prior.std(axis=0, ddof=1)
    margin = 1e-8 if dtype == "float64" else 1e-5  # figures have nine digits
    for name, part in (("perm", slice(0, 6)), ("shift", slice(6, 11))):
        for which, expected in ((MOVED, moved[part]), (MOVED_IN_SPREAD, relative[part])):
            total = sum(outcome.figures.get(which + name, 0.0) for outcome in outcomes)
            assert total == pytest.approx(expected @ expected, rel=margin)


def test_that_what_is_left_alone_has_not_moved_and_what_had_no_spread_is_not_divided_by_it(tmp_path):
    *_, still = updated(tmp_path, lambda values: values)
    assert {v for o in still for name, v in o.figures.items() if name.startswith("moved")} == {0.0}
    agreed = np.full((3, 11), 0.1)
    change = Change(LAYOUT, PLAIN, LAYOUT.slice(0), (0, 1, 3))
    figures = change.make(agreed[:, :4], lambda values: values.__imul__(1 + 2e-15))
    assert figures[MOVED + "perm"] > 0
    assert figures[MOVED_IN_SPREAD + "perm"] == 0


def test_that_a_change_too_large_to_be_squared_is_not_told(tmp_path):
    with np.errstate(over="ignore"):
        figures = Change(LAYOUT, PLAIN, LAYOUT.slice(0), (0, 1)).make(
            np.array([[1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0]]), lambda values: values.__iadd__(1e200)
        )
    assert MOVED + "perm" not in figures


def test_that_coordinates_are_written_slice_by_slice(tmp_path):
    run = ToyRun(tmp_path)
    for index in range(LAYOUT.n_slices):
        assert analysis.write_coordinates(run.bench(), Task(Phase.COORDINATES, 0, index), Stopwatch())
    np.testing.assert_array_equal(run.store.points[0].coordinates[:, 0], [5, 15, 25, 35])
    np.testing.assert_array_equal(run.store.points[2].variable, [1, 1, 1])
