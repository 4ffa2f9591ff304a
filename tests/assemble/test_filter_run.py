"""A filter's run: previewed, opened, reported."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import dask.array
import numpy as np
import pytest
import xarray as xr

import daflow
from daflow.assemble.driving import launch
from daflow.assemble.looking_ahead.preview import preview
from daflow.assemble.reading.contents import outcomes_of
from daflow.assemble.reading.cycle_scores import cycle_scores
from daflow.config.load import load_workflow
from daflow.errors import CombinationError, DataError
from tests.assemble.branch_runs import branch, pool_of
from tests.end_to_end.small_run import CALLABLE, WELL, run_inline, written

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - no secrets: syncs are free there
FILTER = """
name: weather
seed: 3
ensemble: {size: 9}
grids: {ring: {shape: [8], dims: [station], axes: [x], spacing: [10.0]}}
parameters:
  wind: {grid: ring, prior: {kind: normal, mean: 2.3, std: 2.0}}
  push: {prior: {kind: normal, mean: 8.0, std: 0.5}}
model: {kind: lorenz96, variable: wind, forcing: push, n: 8, n_times: 6, observe_every: 3, together: 4}
observations: {kind: twin, error: {default: {absolute: 0.5}}}
cycling: {window: 0.1}
method: {kind: enkf}
inflation: {kind: multiplicative, factor: 1.05}
localization: {kind: distance, lengths: {x: 30}, variables: {push: none}}
storage: {slice_size: 5}
"""
"""Nine numbers a member in two slices; three cycles of two times each, three stations observed at each."""

LAG = ("cycling.lag=2", "localization={kind: none}", "inflation=none")


@pytest.fixture(scope="module")
def workflow():
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield written(Path(folder), FILTER)


@pytest.fixture(scope="module")
def run(workflow):
    return run_inline(workflow, workflow.parent / "run", seed=1)


def test_that_each_step_has_a_state_a_forecast_and_the_predictions_of_its_cycle(run):
    assert run.n_steps == 3
    for step in range(3):
        forecast, predicted = run.forecast(step), run.predicted(step)
        assert forecast["wind"].dims == ("member", "station")
        assert forecast["x"].values.tolist() == list(range(5, 80, 10))
        assert forecast["time"] == pytest.approx(0.1 * (step + 1))
        assert predicted.shape == (9, 6)
        assert predicted["time"].values == pytest.approx([0.1 * step + 0.05] * 3 + [0.1 * step + 0.1] * 3)
        assert predicted["step"].values.tolist() == [step] * 6
        # What was predicted at the end of the cycle is the state there.
        np.testing.assert_array_equal(predicted.values[:, 3:], forecast["wind"].values[:, ::3])
        assert isinstance(forecast["wind"].data, dask.array.Array)
        # The model does not change its own forcing; analyses do.
        np.testing.assert_array_equal(forecast["push"], run.state(step)["push"])
        assert (run.state(step + 1)["push"].values != forecast["push"].values).all()
    assert run.state().identical(run.state(3))
    assert run.forecast().identical(run.forecast(2))
    assert run.state(0)["time"] == 0.0
    assert run.observations()["step"].values.tolist() == [0] * 6 + [1] * 6 + [2] * 6


def test_that_the_truth_is_where_the_members_are(run):
    assert run.truth().identical(run.truth(0))
    for step in range(4):
        assert run.truth(step)["time"] == run.state(step)["time"]
        assert run.truth(step)["wind"].dims == ("station",)
        assert run.truth(step)["push"] == run.truth()["push"]
    last = run.observations()["value"].values[-3:]
    assert np.abs(last - run.truth(3)["wind"].values[::3]).max() < 5 * 0.5
    with pytest.raises(DataError, match="no step 4"):
        run.truth(4)


def test_that_the_store_opens_without_daflow(run):
    step = xr.open_zarr(run.folder / "ensemble.zarr", group="step=1", consolidated=False)
    assert step["forecast"].dims == ("member", "state")
    np.testing.assert_array_equal(step["forecast"].values[:, :8], run.forecast(1)["wind"])
    truth = xr.open_zarr(run.folder / "ensemble.zarr", group="truth", consolidated=False)
    assert truth["forecast"].dims == ("step", "state")
    np.testing.assert_array_equal(truth["forecast"].values[2, :8], run.truth(3)["wind"])
    assert "forecast" not in xr.open_zarr(run.folder / "ensemble.zarr", group="step=3", consolidated=False)


@pytest.mark.parametrize("way", [(), ("storage.codec=none", "storage.sharding=aligned"), LAG])
def test_that_the_preview_counts_what_a_run_writes(workflow, tmp_path, way):
    seen = preview(load_workflow(workflow, way))
    made = run_inline(workflow, tmp_path / "run", *way)
    files = [
        path
        for name in ("parameters", "forecast", "smoothed", "predicted")
        for path in (made.folder / "ensemble.zarr").glob(f"step=*/{name}/c/*/*")
    ]
    assert (seen.n_steps, seen.forecasts, seen.n_obs) == (3, 27, 18)
    assert seen.store_files == len(files)
    if "storage.sharding=aligned" not in way:
        assert seen.store_bytes == sum(path.stat().st_size for path in files)


def test_that_the_report_and_the_diagnostics_tell_of_every_cycle(run, tmp_path):
    page = run.report(tmp_path / "page.html").read_text()
    for words in ("Cycles", "3 analyses of 3", "forecast error", "analysis spread"):
        assert words in page
    diagnostics = run.diagnostics().load()
    assert diagnostics["chi_square"].values.size == 3
    assert np.isfinite(diagnostics["rmse"]).all()
    status = run.status()
    assert (status.state, status.members) == ("finished", 9)
    assert [stage.step for stage in status.stages if stage.phase == "forecast"] == [0, 1, 2]


@pytest.fixture(scope="module")
def lagged(workflow):
    return run_inline(workflow, workflow.parent / "lagged", *LAG, seed=2)


def test_that_smoothed_states_open_as_states_do_and_lie_in_the_store_beside_them(lagged, run):
    for step in range(3):
        smoothed, state = lagged.smoothed(step), lagged.state(step)
        assert smoothed["wind"].dims == ("member", "station")
        assert smoothed["time"] == state["time"]
        assert isinstance(smoothed["wind"].data, dask.array.Array)
        assert (smoothed["wind"].values != state["wind"].values).all()
        assert smoothed["push"].shape == (9,)
    assert lagged.smoothed().identical(lagged.smoothed(0))
    assert lagged.smoothed(-1).identical(lagged.smoothed(2))
    step = xr.open_zarr(lagged.folder / "ensemble.zarr", group="step=1", consolidated=False)
    np.testing.assert_array_equal(step["smoothed"].values[:, :8], lagged.smoothed(1)["wind"])
    assert "smoothed" not in xr.open_zarr(lagged.folder / "ensemble.zarr", group="step=3", consolidated=False)
    with pytest.raises(DataError, match="smoothed states"):
        lagged.smoothed(3)
    with pytest.raises(DataError, match="lag: 0"):
        run.smoothed(0)


def test_that_status_and_report_tell_of_smoothing(lagged, tmp_path):
    stages = [(stage.phase, stage.step, stage.done, stage.closed) for stage in lagged.status().stages]
    assert stages[-3:] == [("smooth", step, 2, True) for step in range(3)]
    assert "smoothed error" in lagged.report(tmp_path / "page.html").read_text()
    noted = cycle_scores(outcomes_of(lagged._made), lagged._made.layout)
    for number in range(2):
        mean = lagged.smoothed(number + 1)["wind"].mean("member").values
        error = np.sqrt(np.square(mean - lagged.truth(number + 1)["wind"].values).mean())
        assert noted[number].smoothed_rmse["wind"] == pytest.approx(error, rel=1e-6)
    assert noted[2].smoothed_rmse == {}


def test_that_a_branch_smooths_the_states_that_come_after_its_first_analysis(lagged, monkeypatch):
    monkeypatch.setattr(launch, "_pool", pool_of([]))
    same, other = (branch(lagged.folder, *changes, step=1) for changes in ((), ("cycling.lag=1",)))
    for made in (same, other):
        assert made.status().state == "analysed"
        assert not any(stage.phase == "smooth" for stage in made.status().stages if stage.done)
        assert made.resume().kind == "finished"
        with pytest.raises(DataError, match=r"complete: \[2\]"):
            made.smoothed(1)
    assert same.smoothed(2).equals(lagged.smoothed(2))
    assert other.state(3).equals(lagged.state(3))
    assert lagged.smoothed(1).identical(daflow.open_run(lagged.folder).smoothed(1))


def test_that_a_report_of_a_run_under_way_tells_what_is_there(workflow, tmp_path):
    made = run_inline(workflow, tmp_path / "run")
    journal = made.folder / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    for words, told in (
        ('"closed","phase":"forecast","step":1', "1 analysis of 3"),
        ('"closed","phase":"truth"', "No forecast is finished yet"),
    ):
        stop = next(number for number, line in enumerate(lines) if words in line)
        journal.write_text("".join(lines[: stop + 1]))
        page = daflow.open_run(made.folder).report(tmp_path / "page.html").read_text()
        assert told in page
    with pytest.raises(DataError, match="not there"):
        daflow.open_run(made.folder).forecast(0)


def test_that_a_smoother_has_no_states_to_ask_for(tmp_path):
    made = run_inline(written(tmp_path, CALLABLE, WELL), tmp_path / "run")
    for ask in (made.state, made.forecast):
        with pytest.raises(DataError, match="no filter's"):
            ask()
    with pytest.raises(DataError, match="no step 1"):
        made.truth(1)
    assert "time" not in made.truth().coords


USERS = """
name: users
seed: 5
ensemble: {size: 12}
parameters:
  level: {shape: [14], prior: {kind: normal, mean: 0, std: 1}}
model: {kind: callable, advance: 'model:advance', observables: 'model:observables'}
observations: OBSERVATIONS
cycling: {start: 1.0, window: 2.0}
method: {kind: etkf}
storage: {slice_size: 4}
"""
TWIN = "{kind: twin, error: {default: {absolute: 0.3}}}"
MODEL = """
import numpy as np

def observables():
    time = np.repeat(np.arange(7.0, 1.0, -1.0), 2)
    table = {"name": np.tile(["a", "b"], 6), "kind": np.full(12, "k"), "time": time}
    return table | {"cell": np.tile([0, 3], 6)}

def flow(level, seconds):
    for _ in range(round(seconds)):
        level = 0.95 * np.roll(level, 1) + 0.2 * np.sin(level)
    return level

def advance(state, observations, start, stop):
    pairs = zip(observations["time"], observations["cell"])
    seen = [flow(state["level"], time - start)[int(cell)] for time, cell in pairs]
    return {"level": flow(state["level"], stop - start)}, seen
"""


def users_run(folder, observations, *overrides):
    folder.mkdir()
    (folder / "model.py").write_text(MODEL)
    workflow = folder / "workflow.yaml"
    workflow.write_text(USERS.replace("OBSERVATIONS", observations))
    return run_inline(workflow, folder / "run", *overrides)


def test_that_a_user_s_function_goes_from_cycle_to_cycle_whatever_the_order_of_the_observations(tmp_path):
    twin = users_run(tmp_path / "twin", TWIN)
    assert [float(twin.state(step)["time"]) for step in range(4)] == [1.0, 3.0, 5.0, 7.0]
    observed = twin.observations().to_dataframe().reset_index(drop=True)
    assert observed["time"].is_monotonic_increasing is False, "the order within a cycle is the model's"
    tables = {"shuffled": observed.sample(frac=1.0, random_state=2), "sorted": observed.sort_values("time")}
    for name, table in tables.items():
        path = tmp_path / f"{name}.csv"
        table.to_csv(path, index=False, float_format="%.17g")
        run = users_run(tmp_path / name, f"{{kind: file, path: {path}}}")
        for step in range(4):
            np.testing.assert_allclose(run.state(step)["level"], twin.state(step)["level"], rtol=1e-10)
        assert run.observations()["step"].values.tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert "squared_error" not in (run.folder / "journal.jsonl").read_text()


def test_that_errors_of_different_cycles_that_depend_on_each_other_are_refused_before_anything_runs(tmp_path):
    twin = users_run(tmp_path / "twin", TWIN)
    path, blocks = tmp_path / "seen.csv", tmp_path / "blocks.npz"
    twin.observations().to_dataframe().drop(columns="error_std").to_csv(path, index=False)
    block = 0.09 * np.eye(6) + 0.01
    np.savez(blocks, first=block, second=block, quarter=block[:4, :4])

    def settings(*names):
        error = f"{{kind: block, file: {blocks}, arrays: [{', '.join(names)}]}}"
        return f"{{kind: file, path: {path}, error: {error}}}"

    with pytest.raises(CombinationError, match="block 0 "):
        users_run(tmp_path / "refused", settings("first", "second"))
    assert not (tmp_path / "refused" / "run").exists()
    parted = users_run(tmp_path / "parted", settings("quarter", "quarter", "quarter"))
    assert parted.status().state == "finished"
