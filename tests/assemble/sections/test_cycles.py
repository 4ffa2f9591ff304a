"""Which observations a cycle has, and the errors that are theirs."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.assemble.folder import look_at
from daflow.assemble.sections.build import plan_of
from daflow.assemble.sections.cycles import cycles_of, in_cycles, observed_at, table_in_cycles
from daflow.assemble.sections.keys import stage_keys
from daflow.assemble.sections.methods import check_method
from daflow.config.load import workflow_from
from daflow.errors import CombinationError, ConfigError, DataError
from daflow.names import Phase
from daflow.ports import Observations
from daflow.records import Cycle

BARE = {
    "parameters": {"x": {"shape": [6], "prior": {"kind": "normal", "mean": 0, "std": 1}}},
    "model": {"kind": "lorenz96", "n": 6},
    "observations": {"kind": "twin", "error": {"default": {"absolute": 1}}},
}

NEAR = {"kind": "distance", "lengths": {"x": 3}}
KEPT = ("9443afdc9d11ae417724f5533389e9cf", "286a4470e1372f182b34eeacc5dc91ee")
"""Keys of the first forecast and update."""


def cycling(**settings):
    return workflow_from(BARE | {"cycling": settings})


def observed(times, error=None, **columns):
    n_obs = len(times)
    table = {
        "name": np.array([f"o{i}" for i in range(n_obs)]),
        "kind": np.array(["k"] * n_obs),
        "time": np.array(times, dtype=float),
        "value": np.arange(n_obs, dtype=float),
        "error_std": np.arange(1.0, n_obs + 1.0),
    }
    return Observations(table | columns, error or {})


TIMES = st.lists(st.integers(1, 40), min_size=1, max_size=12)


@settings(max_examples=60)
@given(TIMES, st.one_of(st.none(), st.integers(1, 50)), st.integers(-9, 0))
def test_that_each_observation_is_in_the_one_cycle_that_its_time_is_in(tenths, window, start):
    workflow = cycling(start=start / 10, **({} if window is None else {"window": window / 10}))
    given = in_cycles(workflow, observed([t / 10 for t in tenths]))
    cycles = cycles_of(workflow, given.table)
    assert [cycle.first for cycle in cycles] == [0, *(cycle.last for cycle in cycles[:-1])]
    assert cycles[-1].last == len(tenths)
    assert cycles[0].start == start / 10
    for one, other in pairwise(cycles):
        assert one.stop == other.start
    for cycle in cycles:
        assert cycle.first < cycle.last
        within = given.table["time"][cycle.first : cycle.last]
        assert (within > cycle.start + 1e-9).all()
        assert (within < cycle.stop + 1e-9).all()
        if window is None:
            np.testing.assert_allclose(within, cycle.stop)
        else:
            turns = (cycle.stop - start / 10) / (window / 10)
            assert turns == pytest.approx(round(turns))
            assert (within > cycle.stop - window / 10 - 1e-9).all()


def test_that_a_time_at_the_end_of_a_window_belongs_to_it_whatever_the_rounding():
    times = 0.1 * np.arange(1, 301)
    for window, n_each in ((0.1, 1), (0.3, 3), (0.7, 7)):
        workflow = cycling(window=window)
        cycles = cycles_of(workflow, observed(times).table)
        assert {cycle.last - cycle.first for cycle in cycles[:-1]} == {n_each}
    assert len(cycles_of(cycling(), observed([0.3, 0.1 + 0.2, 0.4]).table)) == 2


def test_that_a_callable_model_needs_no_forecast_where_it_goes_from_cycle_to_cycle():
    workflow = workflow_from(BARE | {"model": {"kind": "callable", "advance": "m:a"}, "cycling": {}})
    assert workflow.model.function is None


def test_that_the_section_changes_the_keys_of_what_depends_on_observations_and_is_no_part_of_other_keys():
    def keys(**more):
        return stage_keys(workflow_from(BARE | {"method": {"kind": "etkf"}} | more), 3)

    without, plain, other = keys(), keys(cycling={}), keys(cycling={"window": 0.1})
    assert keys(cycling=None) == without
    for first, second in ((without, plain), (plain, other), (without, other)):
        same = {stage for stage in first if first[stage] == second[stage]}
        assert same == {(Phase.PRIOR, 0), (Phase.COORDINATES, 0)}


def test_that_a_lag_touches_no_stage_but_those_that_smooth():
    def keys(n_steps=5, **cycling):
        return stage_keys(workflow_from(BARE | {"method": {"kind": "etkf"}, "cycling": cycling}), n_steps)

    plain, short, long = keys(), keys(lag=1), keys(lag=3)
    assert keys(lag=0) == plain
    assert not any(phase is Phase.SMOOTH for phase, _ in plain)
    for lagged in (short, long):
        assert {stage: key for stage, key in lagged.items() if stage[0] is not Phase.SMOOTH} == plain
        assert {step for phase, step in lagged if phase is Phase.SMOOTH} == set(range(5))
    assert len({key for keys in (short, long) for key in keys.values()}) == len(long) + 4
    # The last state is told of the last analysis only, by any lag; what is beyond the lag does not matter.
    assert short[Phase.SMOOTH, 4] == long[Phase.SMOOTH, 4]
    assert keys(9, lag=3)[Phase.SMOOTH, 1] == long[Phase.SMOOTH, 1]


def test_that_the_keys_of_workflows_with_cycles_stay_as_they_were():
    """Runs that were made before there was a lag are gone on with."""
    keys = stage_keys(workflow_from(BARE | {"method": {"kind": "etkf"}, "cycling": {"window": 0.1}}), 1)
    assert (keys[Phase.FORECAST, 0], keys[Phase.UPDATE, 0]) == KEPT


@pytest.mark.parametrize(
    "more",
    [
        {"method": {"kind": "shrinkage_etkf", "target": {"file": "long.npy"}}},
        {"method": {"kind": "letkf"}, "localization": NEAR | {"tapers": "observation_error"}},
        {"method": {"kind": "enkf"}, "localization": NEAR},
        {"method": {"kind": "denkf"}, "localization": NEAR | {"tapers": "observation_error"}},
        {"method": {"kind": "ensrf"}, "localization": NEAR | {"tapers": "cross_covariance"}},
    ],
)
def test_that_what_is_more_than_one_transform_of_the_members_has_no_lag(more):
    placed = {"grids": {"ring": {"shape": [6], "axes": ["x"]}}}
    placed["model"] = BARE["model"] | {"variable": "wind"}
    placed["parameters"] = {"wind": {"grid": "ring", "prior": {"kind": "normal", "mean": 0.0, "std": 1.0}}}
    check_method(workflow_from(BARE | placed | more | {"cycling": {"lag": 0}}))
    with pytest.raises(CombinationError, match=r"cycling\.lag") as caught:
        check_method(workflow_from(BARE | placed | more | {"cycling": {"lag": 2}}))
    for kind in ("enkf", "gain_inflated_enkf", "denkf", "etkf", "enkf_n", "ensrf", "eakf", "none"):
        assert re.search(rf"\b{kind}\b", str(caught.value))


@pytest.mark.parametrize("kind", ["enkf", "gain_inflated_enkf", "denkf", "etkf", "enkf_n", "ensrf", "eakf"])
def test_that_a_lag_makes_stages_that_smooth(kind):
    method = {"kind": kind} | ({"zeta": 0.1} if kind == "gain_inflated_enkf" else {})
    workflow = workflow_from(BARE | {"method": method, "cycling": {"window": 0.1, "lag": 2}})
    layout = look_at(workflow)
    plan = plan_of(workflow, layout)
    assert layout.lag == 2
    assert plan.stages[-plan.n_steps :] == tuple((Phase.SMOOTH, step) for step in range(plan.n_steps))
    assert plan.keys.keys() >= set(plan.stages)


def test_that_a_window_without_observations_is_passed_over():
    cycles = cycles_of(cycling(start=1.0, window=2.0), observed([2.0, 3.0, 8.5, 9.0]).table)
    assert cycles == (Cycle(1.0, 3.0, 0, 2), Cycle(3.0, 9.0, 2, 4))


def test_that_a_run_without_cycles_has_all_observations_at_every_step():
    workflow, given = workflow_from(BARE), observed([np.nan, -1.0])
    assert cycles_of(workflow, given.table) == ()
    assert in_cycles(workflow, given) is given
    assert table_in_cycles(workflow, given.table) is given.table
    told = observed_at(workflow, given)
    for step in (0, 5):
        np.testing.assert_array_equal(told(step).values, [0.0, 1.0])
        np.testing.assert_array_equal(told(step).error.dense(), np.diag([1.0, 4.0]))


def test_that_observations_are_sorted_into_their_cycles_and_otherwise_stay_in_order():
    given = in_cycles(cycling(), observed([2.0, 1.0, 2.0, 1.0]))
    assert given.table["value"].tolist() == [1.0, 3.0, 0.0, 2.0]
    told = observed_at(cycling(), given)
    assert told(1).values.tolist() == [0.0, 2.0]
    assert told(1).error.diagonal().tolist() == [1.0, 9.0]
    assert table_in_cycles(cycling(window=9.0), given.table) is given.table


@pytest.mark.parametrize(("times", "row"), [([1.0, np.nan], 1), ([0.0, 1.0], 0), ([1.0, -2.0], 1)])
def test_that_an_observation_without_a_time_after_the_start_is_named(times, row):
    with pytest.raises(DataError, match=f"observation {row} \\(k o{row}\\)"):
        in_cycles(cycling(), observed(times))


def test_that_matrices_stay_in_the_order_in_which_they_came():
    error = {"blocks": np.ones(2), "block_sizes": np.array([1, 1])}
    with pytest.raises(DataError, match="not in the order"):
        in_cycles(cycling(), observed([2.0, 1.0], error))


def symmetric(size, seed):
    factor = np.random.default_rng(seed).standard_normal((size, size))
    return factor @ factor.T + size * np.eye(size)


def blocks_of(*matrices):
    return {
        "blocks": np.concatenate([matrix.ravel() for matrix in matrices]),
        "block_sizes": np.array([len(matrix) for matrix in matrices]),
    }


def test_that_a_cycle_has_the_blocks_of_its_observations():
    matrices = [symmetric(size, size) for size in (2, 1, 3)]
    given = observed([1.0, 1.0, 1.0, 2.0, 2.0, 2.0], blocks_of(*matrices))
    told = observed_at(cycling(), given)
    np.testing.assert_array_equal(told(0).error.dense()[:2, :2], matrices[0])
    np.testing.assert_array_equal(told(0).error.dense()[2, 2], matrices[1][0, 0])
    np.testing.assert_array_equal(told(1).error.dense(), matrices[2])


def test_that_a_block_in_two_cycles_is_named():
    given = observed([1.0, 1.0, 2.0, 2.0], blocks_of(*(symmetric(size, 0) for size in (1, 2, 1))))
    with pytest.raises(CombinationError, match="block 1 ") as caught:
        observed_at(cycling(), given)
    assert "observations 1 to 2" in str(caught.value)


def test_that_a_matrix_is_parted_where_it_is_zero_between_cycles_and_refused_where_not():
    whole = np.zeros((4, 4))
    whole[:2, :2], whole[2:, 2:] = symmetric(2, 1), symmetric(2, 2)
    given = observed([1.0, 1.0, 2.0, 2.0], {"matrix": whole})
    np.testing.assert_array_equal(observed_at(cycling(), given)(1).error.dense(), whole[2:, 2:])
    whole[0, 3] = whole[3, 0] = 0.1
    with pytest.raises(CombinationError, match="cycle 0"):
        observed_at(cycling(), replace(given, error={"matrix": whole}))


def test_that_common_causes_are_refused_unless_there_is_one_cycle_only():
    error = {"factor": np.ones((2, 1)), "variances": np.ones(2)}
    with pytest.raises(CombinationError, match="common causes"):
        observed_at(cycling(), observed([1.0, 2.0], error))
    told = observed_at(cycling(window=2.0), observed([1.0, 2.0], error))
    np.testing.assert_array_equal(told(0).error.dense(), np.ones((2, 2)) + np.eye(2))


def test_that_errors_that_cannot_be_used_are_told_before_any_cycle_is():
    with pytest.raises(DataError, match="positive definite"):
        observed_at(cycling(), observed([1.0, 2.0], {"matrix": np.diag([1.0, -1.0])}))


@pytest.mark.parametrize(
    ("model", "more", "named"),
    [
        (
            {"kind": "linear", "n": 6, "variable": "x"},
            {"cycling": {}},
            r"model\.kind(.|\n)*lorenz96_two_scale",
        ),
        ({"kind": "callable", "function": "m:f"}, {"cycling": {}}, r"model\.advance"),
        ({"kind": "callable", "function": "m:f", "advance": "m:a"}, {}, r"model\.advance(.|\n)*cycling"),
        ({"kind": "callable", "advance": "m:a"}, {}, r"model\.function"),
        ({"kind": "callable"}, {}, r"model\.function"),
        (
            {"kind": "lorenz96", "n": 6, "variable": "time"},
            {"cycling": {}, "parameters": {"time": BARE["parameters"]["x"]}},
            r"parameters\.time",
        ),
        ({"kind": "lorenz96", "n": 6}, {"cycling": {"window": 0}}, r"cycling\.window"),
        ({"kind": "lorenz96", "n": 6}, {"cycling": {"start": float("nan")}}, r"cycling\.start"),
        ({"kind": "lorenz96", "n": 6}, {"cycling": {"windows": 1.0}}, r"cycling(.|\n)*window"),
    ],
)
def test_that_what_cannot_go_from_cycle_to_cycle_is_refused(model, more, named):
    with pytest.raises(ConfigError, match=named):
        workflow_from(BARE | {"model": model} | more)


@pytest.mark.parametrize("method", [{}, {"kind": "es_mda", "steps": 1}, {"kind": "eki"}])
def test_that_what_iterates_over_all_observations_does_not_go_from_cycle_to_cycle(method):
    given = workflow_from(BARE | {"cycling": {}} | ({"method": method} if method else {}))
    with pytest.raises(CombinationError, match="does not go from cycle to cycle") as caught:
        look_at(given)
    assert "etkf" in str(caught.value)


def test_that_a_filter_without_cycles_is_a_smoother_of_one_update():
    workflow = workflow_from(BARE | {"method": {"kind": "etkf"}})
    layout = look_at(workflow)
    plan = plan_of(workflow, layout)
    assert layout.cycles == ()
    assert (plan.n_steps, plan.last_forecast) == (1, True)


def test_that_a_plan_has_a_step_for_each_cycle_and_no_forecast_behind_the_last():
    model = BARE["model"] | {"n_times": 5}
    workflow = workflow_from(BARE | {"model": model, "method": {"kind": "etkf"}, "cycling": {"window": 0.1}})
    layout = look_at(workflow)
    plan = plan_of(workflow, layout)
    assert [len(layout.obs_of(step)) for step in range(4)] == [12, 12, 6, 0]
    assert plan.n_steps == 3
    assert plan.stages[-1] == (Phase.UPDATE, 2)
    assert plan.keys.keys() >= set(plan.stages)


@pytest.mark.parametrize("more", [{"start": 0.02}, {"window": 0.07}])
def test_that_a_cycle_that_does_not_fit_the_model_s_time_steps_is_refused(more):
    workflow = workflow_from(
        BARE | {"model": BARE["model"] | {"n_times": 9}, "method": {"kind": "etkf"}, "cycling": more}
    )
    with pytest.raises(DataError, match="whole time steps"):
        look_at(workflow)
