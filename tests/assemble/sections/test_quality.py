from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.assemble.sections.methods import KINDS, method_of
from daflow.assemble.sections.quality import flags_of, notes_of, scale_of, share_missing, told_flags
from daflow.config.load import workflow_from
from daflow.errors import CombinationError, DataError
from daflow.inputs.subsets import inflated, kept_of
from daflow.names import Phase, Status
from daflow.ports import Observations, SlicePoints
from daflow.records import Outcome, Task
from tests.methods.in_slices import InSlices

N_MEMBERS, N_STATE, N_OBS = 9, 30, 8
RNG = np.random.default_rng(4)
PRIOR = RNG.standard_normal((N_MEMBERS, N_STATE))
AT = np.array([1, 4, 7, 11, 15, 19, 24, 28])
PREDICTED = PRIOR[:, AT] + 0.1 * RNG.standard_normal((N_MEMBERS, N_OBS))
POINTS = SlicePoints(
    np.zeros(N_STATE, np.int64),
    np.column_stack([np.arange(float(N_STATE)), np.full((N_STATE, 2), np.nan)]),
)
FAR = 5
"""An observation that no member comes near, and the only one of its kind."""
DISTANCE = {"kind": "distance", "lengths": {"x": 6}, "observations": {"wild": {"lengths": {"x": 3}}}}
CHECK = {"background_check": {"threshold": 5.0}}


def workflow(method="es_mda", observations=None, policy=None, options=None, **sections):
    plain = yaml.safe_load("""
    seed: 3
    ensemble: {size: 9}
    grids: {line: {shape: [30], axes: [x], origin: [0], spacing: [1]}}
    parameters: {a: {grid: line, prior: {kind: normal, mean: 0, std: 1}}}
    model: {kind: linear, variable: a, n: 30}
    """)
    plain["observations"] = {"kind": "file", "path": "o.csv"} | (observations or {})
    own = {"es_mda": {"steps": 2}, "eki": {"steps": 2}, "gain_inflated_enkf": {"zeta": 0.1}}
    plain["method"] = {"kind": method} | own.get(method, {}) | (options or {})
    return workflow_from(plain | sections | {"policy": policy or {}}, Path("unused"))


def observed(form="diagonal"):
    kinds = np.full(N_OBS, "tame")
    kinds[FAR] = "wild"
    table = {"name": np.array([f"o{i}" for i in range(N_OBS)]), "kind": kinds}
    values = PRIOR[0, AT] + 0.1
    values[FAR] += 40.0
    table |= {"x": AT.astype(float), "value": values, "error_std": np.linspace(0.6, 0.9, N_OBS)}
    table |= {axis: np.full(N_OBS, np.nan) for axis in ("time", "y", "z")}
    variances = table["error_std"] ** 2
    if form == "diagonal":
        return Observations(table, {})
    matrix = 0.1 + np.diag(variances - 0.1)
    if form == "dense":
        return Observations(table, {"matrix": matrix})
    blocks = [matrix[:3, :3].ravel(), matrix[3:, 3:].ravel()]
    return Observations(table, {"blocks": np.concatenate(blocks), "block_sizes": np.array([3, N_OBS - 3])})


def left(observations, out=(FAR,)):
    return kept_of(observations, np.delete(np.arange(N_OBS), list(out)))


def steps(method, predicted=PREDICTED, cuts=(13,), n_steps=1):
    """Return the ensemble after each of some steps, and what was prepared for the last."""
    run, posterior, made = InSlices(method, POINTS, cuts), PRIOR, []
    for step in range(min(n_steps, method.n_steps)):
        posterior, prepared = run.step(step, posterior, predicted + 0.0)
        made.append(posterior)
    return made, prepared


def same_bits(one, other):
    assert len(one) == len(other)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


SHRINKAGE = "shrinkage_etkf"
"""Only in cycles, and with a climatology."""
NICE = {"kind": "product", "of": [DISTANCE, {"kind": "sampling_error", "family": "nice"}]}
CASES = [
    *(
        (kind, {"kind": "none"})
        for kind in KINDS
        if "none" in KINDS[kind].localizations and kind != SHRINKAGE
    ),
    *((kind, DISTANCE) for kind, of in KINDS.items() if "gain" in of.localizations),
    ("letkf", DISTANCE | {"tapers": "observation_error"}),
    ("eakf", DISTANCE | {"tapers": "cross_covariance"}),
    ("es_mda", NICE),
]


def without_wild(local):
    """Return a localization that does not speak of a kind that is not observed."""
    if local["kind"] == "product":
        return local | {"of": [without_wild(part) for part in local["of"]]}
    return local | {"observations": {}} if local["kind"] == "distance" else local


@pytest.mark.parametrize(("kind", "local"), CASES)
def test_that_what_is_left_out_might_as_well_not_be_there(kind, local):
    checked = method_of(workflow(kind, CHECK, localization=local), observed())
    found, prepared = steps(checked, n_steps=2)
    assert prepared.figures["obs_background"] == prepared.figures["obs_left_out"] == 1
    assert prepared.figures["obs_used"] == N_OBS - 1
    assert flags_of(prepared.arrays, N_OBS)[FAR] == "background"
    assert np.flatnonzero(np.isinf(scale_of(prepared.arrays, N_OBS))).tolist() == [FAR]
    plain = method_of(workflow(kind, localization=without_wild(local)), left(observed()))
    same_bits(found, steps(plain, np.delete(PREDICTED, FAR, axis=1), n_steps=2)[0])


@pytest.mark.parametrize(("kind", "local"), CASES)
def test_that_where_nothing_is_flagged_the_bits_are_those_without_a_check(kind, local):
    lenient = {"background_check": {"threshold": 1e6}, "outliers": {"threshold": 1e6}}
    checked = method_of(workflow(kind, lenient, localization=local), observed())
    plain = method_of(workflow(kind, localization=local), observed())
    same_bits(steps(checked, n_steps=2)[0], steps(plain, n_steps=2)[0])


@pytest.mark.parametrize("form", ["dense", "block"])
def test_that_errors_that_depend_on_each_other_keep_those_of_what_is_left(form):
    error = {"kind": "dense", "file": "r.npy"}
    if form == "block":
        error = {"kind": "block", "file": "r.npz", "arrays": ["a", "b"]}
    checked = method_of(workflow("es_mda", CHECK | {"error": error}), observed(form))
    plain = method_of(workflow("es_mda", {"error": error}), left(observed(form)))
    same_bits(steps(checked, n_steps=2)[0], steps(plain, np.delete(PREDICTED, FAR, axis=1), n_steps=2)[0])


def test_that_an_error_that_is_raised_is_that_of_the_update():
    settings = {"background_check": {"threshold": 5.0, "action": "inflate"}}
    found, prepared = steps(method_of(workflow("es_mda", settings), observed()), n_steps=2)
    scale = scale_of(prepared.arrays, N_OBS)
    assert np.flatnonzero(scale > 1).tolist() == [FAR]
    assert prepared.figures["obs_inflated"] == 1
    same_bits(found, steps(method_of(workflow(), inflated(observed(), scale)), n_steps=2)[0])


def test_that_a_flag_alone_is_counted_and_changes_no_bit():
    settings = {"background_check": {"threshold": 5.0, "action": "flag"}}
    found, prepared = steps(method_of(workflow("es_mda", settings), observed()), n_steps=2)
    assert prepared.figures["obs_background"] == 1
    assert prepared.figures["obs_left_out"] == 0
    same_bits(found, steps(method_of(workflow(), observed()), n_steps=2)[0])


@pytest.mark.parametrize("policy", ["drop_observations", {"share": 0.3}])
def test_that_an_observation_that_a_member_misses_is_left_out_from_then_on(policy):
    holes = PREDICTED.copy()
    holes[4, [2, FAR]] = np.nan
    method = method_of(workflow("es_mda", policy={"missing_predictions": policy}), observed())
    found, prepared = steps(method, holes, n_steps=2)
    assert prepared.figures["obs_missing"] == 2
    rows = np.delete(np.arange(N_OBS), [2, FAR])
    same_bits(
        found, steps(method_of(workflow(), left(observed(), (2, FAR))), PREDICTED[:, rows], n_steps=2)[0]
    )
    run = InSlices(method, POINTS)
    _, first = run.step(0, PRIOR, holes)
    _, second = run.step(1, PRIOR, np.where(np.arange(N_OBS) == 0, np.nan, PREDICTED))
    assert first.figures["obs_missing"] == 2
    assert flags_of(second.arrays, N_OBS).tolist() == [
        "missing",
        "used",
        "missing",
        "used",
        "used",
        "missing",
        "used",
        "used",
    ]


def test_that_without_settings_of_quality_there_is_nothing_between_run_and_method():
    for policy in ("invalid", "drop_members", {"share": 0.0}):
        method = method_of(workflow(policy={"missing_predictions": policy}), observed())
        assert type(method).__name__ not in {"Checked", "CheckedSurveying"}
    shares = ["invalid", "drop_members", "drop_observations", {"share": 0.2}]
    settings = [workflow(policy={"missing_predictions": each}).policy for each in shares]
    assert [share_missing(each) for each in settings] == [None, 0.0, 1.0, 0.2]


def test_that_a_smoother_without_observations_says_which_settings_left_them_out():
    method = method_of(workflow("es_mda", {"background_check": {"threshold": 1e-6}}), observed())
    with pytest.raises(DataError, match="no observation is left") as raised:
        steps(method)
    assert "8 background, 0 outlier, 0 missing" in str(raised.value)
    assert "observations.background_check" in str(raised.value)


@settings(max_examples=10)
@given(
    st.lists(st.integers(0, N_STATE), max_size=4).map(sorted), st.sampled_from([{"kind": "none"}, DISTANCE])
)
def test_that_a_slice_gives_what_the_whole_gives(cuts, local):
    method = method_of(workflow("es_mda", CHECK, localization=local), observed())
    whole, sliced = (steps(method, cuts=each, n_steps=2)[0][-1] for each in ((), cuts))
    np.testing.assert_allclose(sliced, whole, rtol=0, atol=1e-12)


def test_that_averages_of_observations_that_say_the_same_are_one_of_an_nth_of_the_variance():
    one, n = observed(), 3
    rows = np.append(np.zeros(n, np.int64), np.arange(1, N_OBS))
    table = {name: column[rows] for name, column in one.table.items()}
    table["error_std"] = np.append(np.full(n, one.table["error_std"][0] * n**0.5), one.table["error_std"][1:])
    many = Observations(table, {})
    numbered = replace(one, numbers=np.append(0, np.arange(n, N_OBS + n - 1)))
    for local in ({"kind": "none"}, DISTANCE):
        method = method_of(workflow("es_mda", {"super_obs": {"box": {"x": 0.5}}}, localization=local), many)
        found, _ = steps(method, PREDICTED[:, rows], n_steps=2)
        expected, _ = steps(method_of(workflow(localization=local), numbered), n_steps=2)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


def test_that_averages_are_of_those_that_are_left():
    settings = CHECK | {"super_obs": {"box": {"x": 10.0}}}
    one = observed()
    one.table["kind"][:] = "tame"
    method = method_of(workflow("es_mda", settings), one)
    plain = method_of(workflow("es_mda", {"super_obs": {"box": {"x": 10.0}}}), left(one))
    same_bits(steps(method, n_steps=2)[0], steps(plain, np.delete(PREDICTED, FAR, axis=1), n_steps=2)[0])
    assert notes_of(workflow("es_mda", settings), one) == (
        "the update sees 3 averages of the 8 observations",
    )
    apart = {"super_obs": {"box": {"x": 0.5}}}
    same_bits(steps(method_of(workflow("es_mda", apart), one))[0], steps(method_of(workflow(), one))[0])
    assert notes_of(workflow("es_mda", apart), one) == ()


CYCLING = {
    "cycling": {"start": 0.0},
    "model": {"kind": "lorenz96", "variable": "a", "n": 30},
}


def in_cycles(n_cycles=4):
    """Return two observations a cycle, whose first is far away in cycle 1, and both in cycle 2."""
    one = observed()
    table = one.table | {"time": np.repeat(np.arange(1.0, n_cycles + 1), N_OBS // n_cycles)}
    table |= {"kind": np.full(N_OBS, "a"), "name": np.array([f"a:{place}" for place in AT])}
    table["value"] = PRIOR[0, AT] + 40.0 * np.isin(np.arange(N_OBS), [2, 4, 5])
    return Observations(table, {})


def cycle(method, step, carried=None):
    run = InSlices(method, POINTS, (13,), before={} if carried is None else carried)
    return run.step(step, PRIOR, PREDICTED[:, 2 * step : 2 * step + 2])


@pytest.mark.parametrize("kind", ["enkf", "etkf", SHRINKAGE])
def test_that_a_filter_judges_each_cycle_by_itself_and_goes_on_without_observations(tmp_path, kind):
    np.save(tmp_path / "climate.npy", np.random.default_rng(1).standard_normal((50, N_STATE)))
    options = {"target": {"file": str(tmp_path / "climate.npy")}} if kind == SHRINKAGE else {}
    more = {"options": options} | CYCLING
    checked = method_of(workflow(kind, CHECK, **more), in_cycles())
    plain = method_of(workflow(kind, **more), in_cycles())
    found = [cycle(checked, step) for step in range(4)]
    for step in (0, 3):
        same_bits([found[step][0]], [cycle(plain, step)[0]])
    assert [prepared.figures["obs_used"] for _, prepared in found] == [2, 1, 0, 2]
    same_bits([found[2][0]], [PRIOR])
    # The observation that is left in cycle 1 draws what it draws in company.
    worthless = in_cycles()
    worthless.table["error_std"][2] = 1e7
    close = cycle(method_of(workflow(kind, **more), worthless), 1)[0]
    np.testing.assert_allclose(found[1][0], close, atol=1e-4)
    assert np.abs(found[1][0] - PRIOR).max() > 0.1


def test_that_averages_in_cycles_are_refused():
    with pytest.raises(CombinationError, match=r"observations\.super_obs(.|\n)*observations\.thinning"):
        method_of(workflow("etkf", {"super_obs": {"box": {"x": 1.0}}}, **CYCLING), in_cycles())


def test_that_the_report_s_words_say_what_changed_and_when():
    def outcome(step, **figures):
        shown = {f"obs_{name}": float(n) for name, n in figures.items()}
        return Outcome(Task(Phase.PREPARE, step, 0), Status.OK, figures=shown | {"alpha": 2.0})

    first = {"used": 5, "left_out": 2, "background": 2, "outlier": 0, "missing": 1, "inflated": 1}
    told = list(told_flags([outcome(0, **first), outcome(1, **first), outcome(2, **first | {"missing": 2})]))
    assert told == [
        "Step 0: 5 of 7 observations used, 1 with a larger error; flagged: 2 background, 1 missing.",
        "Step 2: 5 of 7 observations used, 1 with a larger error; flagged: 2 background, 2 missing.",
    ]
    assert list(told_flags([outcome(0)])) == []
    many = [outcome(step, **first | {"missing": step, "inflated": 0}) for step in range(6)]
    (line,) = told_flags(many)
    assert line == ("Steps 0 to 5, added up: 30 of 42 observations used; flagged: 12 background, 15 missing.")
    assert flags_of(None, 2).tolist() == ["used", "used"]
    assert scale_of({}, 2).tolist() == [1.0, 1.0]


def test_that_other_checks_from_a_later_step_on_look_at_that_step_s_forecast():
    plain, checked, other = (
        method_of(workflow("es_mda", each), observed())
        for each in ({}, CHECK, {"background_check": {"threshold": 0.4}})
    )
    _, anew = steps(other)
    assert 1 < anew.figures["obs_left_out"] < N_OBS
    for before in (plain, checked):
        run = InSlices(before, POINTS)
        posterior, _ = run.step(0, PRIOR, PREDICTED)
        for after, n_dropped in ((checked, 1), (other, anew.figures["obs_left_out"])):
            goes_on = InSlices(after, POINTS, before=run.before)
            assert goes_on.step(1, posterior, PREDICTED)[1].figures["obs_left_out"] == n_dropped
