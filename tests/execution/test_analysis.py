import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DaflowError
from daflow.execution import analysis
from daflow.execution.analysis import SPREAD_AFTER, SPREAD_BEFORE, locate
from daflow.execution.carry_out import carry_out
from daflow.execution.workbench import Margins, Stopwatch
from daflow.names import Phase, Status
from daflow.numerics.transforms import Identity, Log
from daflow.records import Grid, Layout, Task, Variable
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


@settings(max_examples=100, deadline=None)
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

    def prepare(self, step, members, predicted):
        return {"members": np.array(members)}

    def localize(self, locate):
        return {"variable": locate().variable}

    def apply(self, factors, places, slab):
        self.saw.append(slab.copy())
        assert len(places["variable"]) == slab.shape[1]
        slab[:] = self.change(slab)


def prior_of(members):
    return 1.0 + np.arange(len(members) * 11.0).reshape(len(members), 11)


PLAIN = (Margins(Identity()), Margins(Identity()))


def updated(tmp_path, change, margins=PLAIN):
    run = ToyRun(tmp_path)
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
    analysis._check(np.full((2, 3), huge), LAYOUT.slice(0), (0, 1))
    analysis._check(np.array([[huge, -huge], [huge, -huge]]), LAYOUT.slice(0), (0, 1))
    with pytest.raises(DaflowError, match="not finite"):
        analysis._check(np.array([[huge, np.nan]]), LAYOUT.slice(0), (0,))


def test_that_the_spread_of_each_variable_before_and_after_adds_up_over_the_slices(tmp_path):
    _, _, outcomes = updated(
        tmp_path, lambda values: values.mean(axis=0) + 0.5 * (values - values.mean(axis=0))
    )
    deviations = prior_of(MEMBERS).std(axis=0, ddof=1)
    for name, part in (("perm", slice(0, 6)), ("shift", slice(6, 11))):
        for which, factor in ((SPREAD_BEFORE, 1.0), (SPREAD_AFTER, 0.5)):
            total = sum(outcome.figures.get(which + name, 0.0) for outcome in outcomes)
            assert total == pytest.approx(factor * deviations[part].sum(), abs=1e-5)


def test_that_coordinates_are_written_slice_by_slice(tmp_path):
    run = ToyRun(tmp_path)
    for index in range(LAYOUT.n_slices):
        assert analysis.write_coordinates(run.bench(), Task(Phase.COORDINATES, 0, index), Stopwatch())
    np.testing.assert_array_equal(run.store.points[0].coordinates[:, 0], [5, 15, 25, 35])
    np.testing.assert_array_equal(run.store.points[2].variable, [1, 1, 1])
