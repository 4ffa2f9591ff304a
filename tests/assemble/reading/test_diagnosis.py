"""A run's diagnostics: labelled, lazy, and those of the plain formulas; whatever is missing."""

from __future__ import annotations

import json
import os
import pickle
import tempfile
from dataclasses import replace
from pathlib import Path

import dask.array
import numpy as np
import pytest
from typer.testing import CliRunner

from daflow.assemble.reading import step_scores
from daflow.assemble.reading.contents import outcomes_of
from daflow.assemble.reading.diagnosis import TOLD, diagnosis, diagnostics_of, rows_of
from daflow.assemble.reading.step_scores import Scoring
from daflow.assemble.sections import methods
from daflow.cli.app import app
from daflow.errors import DataError
from daflow.names import TRUTH, Phase
from daflow.numerics.diagnostics.information import degrees_of_freedom_for_signal, innovation_chi_square
from daflow.numerics.diagnostics.scores import scores_of
from daflow.ports import Observations
from daflow.records import Cycle
from daflow.runs.facts import Progress
from daflow.storage.memory import MemoryStore
from tests.contracts.toy_run import LAYOUT, plan
from tests.end_to_end.small_run import RING, assert_same_bits, finals, run_inline, written

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - no secrets: syncs are free there
LAZY = {
    "mean_misfit",
    "group_misfit",
    "rmse",
    "prediction_spread",
    "crps",
    "crps_reliability",
    "crps_potential",
    "rank_divergence",
    "rank_count",
    "skill_spread",
    "skill_error",
    "error_ratio",
}


@pytest.fixture(scope="module")
def run():
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield run_inline(written(Path(folder), RING), Path(folder) / "run", "method.steps=2")


@pytest.fixture(scope="module")
def found(run):
    return run.diagnostics().load()


def test_that_a_run_has_the_bits_and_the_keys_that_it_has_without(run, monkeypatch):
    monkeypatch.setattr(methods, "diagnosed", lambda method, observed: method)
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        plain = run_inline(written(Path(folder), RING), Path(folder) / "run", "method.steps=2")
        assert_same_bits(finals(plain), finals(run))
        ours, theirs = (
            {(o.task.phase, o.task.step, o.task.index): (o.key, o.digest) for o in outcomes_of(each._made)}
            for each in (run, plain)
        )
        assert ours == theirs
        assert "chi_square" not in plain.diagnostics()


def scoring_of(run, **changes):
    given = {"plan": run._plan, "store": run._store, "progress": run._progress()}
    return Scoring(**(given | changes))


def test_that_everything_is_labelled_and_says_what_it_is(run, found):
    assert found["step"].values.tolist() == [0, 1, 2]
    assert found["variable"].values.tolist() == ["start", "forcing"]
    assert dict(found.sizes) == {
        "step": 3,
        "variable": 2,
        "slice": 3,
        "group": 1,
        "rank": 21,
        "bin": 10,
        "kind": 1,
    }
    assert found["state_start"].values.tolist() == [0, 10, 20]
    assert found["group_size"].values.tolist() == [24]
    assert set(found.data_vars) == set(TOLD) - {"undiagnosed"} | {"alpha"}
    assert all(array.attrs["long_name"] for array in found.values())
    assert found["chi_square"].attrs["near"].startswith("1")
    assert found.attrs["run"] == "ring"
    assert {name for name, _ in rows_of(found)} >= {"chi_square", "alpha", "rmse", "localized_away"}


def test_that_what_reads_predictions_is_lazy_and_reads_a_step_once(run, monkeypatch):
    lazy = run.diagnostics()
    assert {n for n, array in lazy.items() if isinstance(array.data, dask.array.Array)} == LAZY
    scoring, reads = scoring_of(run), []
    read = type(scoring).read
    monkeypatch.setattr(
        type(scoring), "read", lambda self, *given: (reads.append(given[0]), read(self, *given))[1]
    )
    dataset = diagnosis(scoring, outcomes_of(run._made)).drop_vars("error_ratio")
    assert reads == []
    dataset.compute(scheduler="synchronous")
    assert sorted(reads) == [0, 1, 2]


def test_that_figures_are_those_of_the_predictions(run, found):
    observed = run.observations()
    value, std = observed["value"].values, observed["error_std"].values
    for step in range(3):
        predicted = run.predicted(step).values
        misfit = np.mean(((predicted - value) / std) ** 2)
        assert found["group_misfit"].values[step, 0] == pytest.approx(misfit)
        assert found["mean_misfit"].values[step] == pytest.approx(misfit)
        if step < 2:
            at = found.isel(step=step)
            assert at["misfit"] == pytest.approx(misfit)
            assert at["chi_square"] == pytest.approx(innovation_chi_square(predicted, value, std**2))
            assert at["dfs"] == pytest.approx(degrees_of_freedom_for_signal(predicted, std**2))
            assert at["alpha"] == 2.0
    before, after = ((value - run.predicted(step).values.mean(axis=0)) / std for step in (0, 2))
    assert found["error_ratio"].item() == pytest.approx(np.sqrt(max(np.mean(before * after), 0.0)))


def test_that_scores_are_those_against_the_truth(run, found):
    std = run.observations()["error_std"].values
    truth = run._store.read_predicted(0, [TRUTH], 0, 24)[0]
    for step in range(3):
        scores, at = scores_of(run.predicted(step).values, truth, std), found.isel(step=step)
        assert at["rmse"] == pytest.approx(scores.rmse)
        assert at["crps"] == pytest.approx(scores.crps.score)
        assert at["rank_count"].values.tolist() == scores.ranks.tolist()
        np.testing.assert_allclose(at["skill_error"], scores.skill.error)


def test_that_updates_moved_the_mean_as_far_as_steps_differ(run, found):
    for step in range(2):
        before, after = run.parameters(step), run.parameters(step + 1)
        for name in ("start", "forcing"):
            at = found.isel(step=step).sel(variable=name)
            moved = (after[name].mean("member") - before[name].mean("member")).values
            std = before[name].std("member", ddof=1).values
            assert at["update_rms"] == pytest.approx(np.sqrt(np.mean(moved**2)))
            assert at["update_rms_in_spread"] == pytest.approx(np.sqrt(np.mean((moved / std) ** 2)))
            assert at["spread_before"] == pytest.approx(std.mean())
            left = after[name].std("member", ddof=1).values.mean() / std.mean()
            assert at["spread_reduction"] == pytest.approx(1 - left)
    squares = found["update_by_slice"].values ** 2 @ [10, 10, 5] / 25
    whole = found["update_rms_in_spread"].values ** 2 @ [24, 1] / 25
    np.testing.assert_allclose(squares[:2], whole[:2])
    assert 0.3 < found["localized_away"].values[0] < 0.6
    assert np.isnan(found["update_rms"].values[2]).all()


def test_that_the_report_is_told_the_same(run, found):
    told = diagnostics_of(scoring_of(run), outcomes_of(run._made))
    assert [each.step for each in told.scores] == [0, 1, 2]
    np.testing.assert_array_equal([each.misfit for each in told.scores], found["group_misfit"])
    assert [each.truth.rmse for each in told.scores] == found["rmse"].values.tolist()
    assert told.error_ratios == {"start": found["error_ratio"].item()}


def test_that_the_command_tells_it_in_words_and_to_machines(run, found, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    told = CliRunner().invoke(app, ["diagnose", str(run.folder)])
    assert told.exit_code == 0
    assert "ring, step by step" in told.output
    assert max(map(len, told.output.splitlines())) <= 80
    plain = json.loads(CliRunner().invoke(app, ["diagnose", str(run.folder), "--json"]).output)
    assert plain["variables"]["rmse"]["data"] == pytest.approx(found["rmse"].values.tolist())
    assert plain["variables"]["chi_square"]["data"][2] is None


def test_that_the_graph_can_be_computed_by_other_processes(run):
    scoring = pickle.loads(pickle.dumps(scoring_of(run)))  # noqa: S301 - our own bytes
    assert scoring.at(1).overall == scoring_of(run).at(1).overall


def test_that_errors_that_nothing_can_be_said_of_are_none(run, monkeypatch):
    def refused(*given):
        raise DataError("no observation was used")

    monkeypatch.setattr(step_scores, "desroziers", refused)
    assert scoring_of(run).error_ratios() == {}
    assert np.isnan(run.diagnostics()["error_ratio"].values).all()


def test_that_a_run_without_a_truth_has_the_rest(run):
    scoring = scoring_of(run, plan=replace(run._plan, twin=False))
    dataset = diagnosis(scoring, outcomes_of(run._made)).load()
    assert {"chi_square", "group_misfit", "error_ratio"} <= set(dataset.data_vars)
    assert not {"rmse", "crps", "rank_count"} & set(dataset.data_vars)


def test_that_a_run_that_was_interrupted_has_what_it_came_to(run):
    outcomes = outcomes_of(run._made)
    prior = Progress(survivors={(Phase.TRUTH, 0): (0,), (Phase.PRIOR, 0): run._plan.members})
    nothing = diagnosis(scoring_of(run, progress=prior), [])
    assert dict(nothing.sizes) == {}
    prior.survivors[Phase.FORECAST, 0] = run._plan.members[:5]
    begun = [o for o in outcomes if o.task.phase is not Phase.UPDATE or o.task.index == 0]
    dataset = diagnosis(scoring_of(run, progress=prior), [o for o in begun if o.task.step == 0]).load()
    assert dict(dataset.sizes) == {"step": 1, "group": 1, "rank": 21, "bin": 10}
    assert dataset["rank_count"].values[0, :6].sum() == 24
    assert np.isnan(dataset["rank_count"].values[0, 6:]).all(), "five members have six ranks"
    assert dataset["chi_square"].notnull().all()


def test_that_a_run_that_noted_no_moves_has_the_rest(run):
    old = [
        replace(o, figures={n: v for n, v in o.figures.items() if not n.startswith(("moved", "localized"))})
        for o in outcomes_of(run._made)
    ]
    dataset = diagnosis(scoring_of(run), [*old, *old]).load()
    assert "localized_away" not in dataset
    assert dataset["update_rms"].isnull().all()
    assert dataset["update_by_slice"].isnull().all()
    assert dataset["spread_reduction"].notnull().any()


def cycling_store():
    layout = replace(LAYOUT, cycles=(Cycle(0.0, 1.0, 0, 1), Cycle(1.0, 2.0, 1, 4)))
    store, rng = MemoryStore(layout), np.random.default_rng(2)
    table = {"name": np.array(list("abcd")), "kind": np.array(["k", "k", "j", "k"])}
    table |= {"time": np.array([1.0, 2, 2, 2]), "value": np.zeros(4), "error_std": np.full(4, 0.5)}
    store.write_observations(Observations(table, {}))
    predicted = rng.standard_normal((6, 4))
    for step, rows in enumerate((slice(0, 1), slice(1, 4))):
        store.create_step(step)
        for member in range(6):
            store.write_predicted(step, member, predicted[member, rows])
    store.write_predicted(0, TRUTH, rng.standard_normal(4))
    return store, predicted


def test_that_a_filter_s_cycles_are_scored_by_their_own_observations():
    store, predicted = cycling_store()
    members = tuple(range(6))
    survivors = {(Phase.TRUTH, 0): (0,)} | {(Phase.FORECAST, step): members for step in range(2)}
    dataset = diagnosis(Scoring(plan(), store, Progress(survivors=survivors)), []).load()
    assert dataset["step"].values.tolist() == [0, 1]
    misfit = dataset["group_misfit"].sel(group="k").values
    squares = (predicted / 0.5) ** 2
    np.testing.assert_allclose(misfit, [squares[:, 0].mean(), squares[:, [1, 3]].mean()])
    assert np.isnan(dataset["group_misfit"].sel(group="j").values[0])
    assert dataset["mean_misfit"].values[1] == pytest.approx(squares[:, 1:].mean())
    assert "error_ratio" not in dataset
    assert dataset["rank_count"].sum("rank").values.tolist() == [1, 3]


def test_that_observations_that_a_member_has_no_prediction_of_are_left_out():
    store, predicted = cycling_store()
    store.write_predicted(1, 3, np.array([np.nan, 1.0, 2.0]))
    progress = Progress(survivors={(Phase.FORECAST, 1): tuple(range(6))})
    scoring = Scoring(replace(plan(), twin=False), store, progress)
    told = scoring.at(1)
    predicted[3, 2:] = 1.0, 2.0
    np.testing.assert_allclose(
        told.misfit, [(predicted[:, 2] ** 2).mean() * 4, (predicted[:, 3] ** 2).mean() * 4]
    )
