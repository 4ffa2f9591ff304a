"""A run, opened: lazy, labelled arrays of the members that came through."""

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
from daflow.assemble.folder import make_run
from daflow.assemble.reading import unstacking
from daflow.config.load import load_workflow
from daflow.errors import DataError, EnsembleError
from daflow.names import PARAMETERS
from tests.assemble.branch_runs import pool_of
from tests.end_to_end.small_run import CALLABLE, OBSERVABLES, WELL, finals, run_inline, written

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - no secrets: syncs are free there
GRIDDED = """
name: fields
seed: 4
ensemble: {size: 6, exclude: [2]}
grids:
  field: {shape: [3, 4], spacing: [10, 20], origin: [5, 100]}
parameters:
  level: {shape: [9], dims: [station], prior: {kind: normal, mean: 0, std: 1}}
  depth: {grid: field, prior: {kind: normal, mean: 5, std: 1}}
  factor: {prior: {kind: uniform, lower: 1, upper: 2}}
model: {kind: callable, function: 'model:forecast', observables: 'model:observables'}
observations: {kind: twin, error: {default: {absolute: 0.3}}}
method: {kind: es_mda, steps: 2}
storage: {slice_size: 5}
"""
FAILS = """
def forecast(parameters, observations, member, step):
    if member == 4 and step == 1:
        raise ValueError("no")
    return parameters["level"][:3] + parameters["factor"] * parameters["depth"][0, :3]
"""
SURVIVORS = [0, 1, 3, 5]


@pytest.fixture(scope="module")
def run():
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        workflow = written(Path(folder), GRIDDED, FAILS)
        yield run_inline(workflow, Path(folder) / "run")


def test_that_variables_have_their_own_dimensions_and_coordinates(run):
    posterior = run.parameters()
    assert {name: array.dims for name, array in posterior.items()} == {
        "level": ("member", "station"),
        "depth": ("member", "row", "column"),
        "factor": ("member",),
    }
    assert posterior["depth"]["x"].values.tolist() == [100, 120, 140, 160]
    assert posterior["depth"]["y"].values.tolist() == [5, 15, 25]
    assert posterior.attrs["run"] == "fields"


def test_that_arrays_are_lazy(run):
    assert all(isinstance(array.data, dask.array.Array) for array in run.parameters().values())
    assert isinstance(run.predicted().data, dask.array.Array)


@pytest.mark.parametrize(("most", "blocks"), [(1, 6), (80, 3), (10_000, 1)])
def test_that_a_task_reads_as_many_small_chunks_as_it_may_and_never_a_part_of_one(
    run, monkeypatch, most, blocks
):
    monkeypatch.setattr(unstacking, "READ_BYTES", most)  # a chunk of 5 numbers: 40 bytes
    stored = run._open("step=0")[PARAMETERS]
    assert stored.data.numblocks == (blocks, 5)
    plain = xr.open_zarr(run._store.root, group="step=0", consolidated=False)[PARAMETERS]
    np.testing.assert_array_equal(stored, plain)


def test_that_only_the_members_that_came_so_far_are_there(run):
    assert run.parameters(0)["member"].values.tolist() == [0, 1, 3, 4, 5]
    assert run.predicted(0)["member"].values.tolist() == [0, 1, 3, 4, 5]
    assert run.parameters(1)["member"].values.tolist() == [0, 1, 3, 4, 5]
    for array in (run.predicted(1), run.parameters(2)["depth"], run.predicted(), run.parameters()["level"]):
        assert array["member"].values.tolist() == SURVIVORS
        assert np.isfinite(array.values).all()


def test_that_the_last_step_is_what_minus_one_means(run):
    assert run.n_steps == 2
    assert run.parameters().identical(run.parameters(2))
    assert run.predicted().identical(run.predicted(2))


def test_that_what_is_opened_is_what_the_model_saw(run):
    parameters, predicted = run.parameters(1).sel(member=SURVIVORS), run.predicted(1)
    depth = parameters["depth"].isel(row=0, column=slice(0, 3)).values
    expected = parameters["level"].values[:, :3] + parameters["factor"].values[:, None] * depth
    assert np.array_equal(predicted.values, expected)


def test_that_observations_carry_the_table(run):
    observed = run.observations()
    assert observed["value"].dims == ("obs",)
    assert observed["error_std"].values.tolist() == [0.3] * 3
    assert observed["name"].values.tolist() == run.predicted()["name"].values.tolist() == ["a", "b", "c"]
    assert observed["time"].values.tolist() == [0, 1, 2]


def test_that_the_truth_has_no_members(run):
    truth = run.truth()
    assert truth["depth"].dims == ("row", "column")
    noise = truth["level"].values[:3] + truth["factor"].values * truth["depth"].values[0, :3]
    assert np.abs(run.observations()["value"].values - noise).max() < 5 * 0.3


@pytest.mark.parametrize("step", [3, -2, 100])
def test_that_a_step_that_is_not_there_is_told_with_those_that_are(run, step):
    for ask in (run.parameters, run.predicted):
        with pytest.raises(DataError, match=r"complete: \[0, 1, 2\]") as caught:
            ask(step)
        assert "daflow resume" in str(caught.value)


def test_that_the_store_opens_without_daflow(run):
    alone = xr.open_zarr(run.folder / "ensemble.zarr", group="step=2", consolidated=False)
    assert alone["parameters"].dims == ("member", "state")
    assert alone["predicted"].dims == ("member", "obs")
    stacked = alone["parameters"].sel(member=SURVIVORS).values
    ours = run.parameters()
    assert np.array_equal(stacked[:, 9:21], ours["depth"].values.reshape(4, 12))
    assert np.isnan(alone["parameters"].sel(member=2)).all(), "an excluded member has numbers"


def test_that_status_and_report_tell_the_same_story(run, tmp_path):
    status = run.status()
    assert (status.name, status.state, status.members) == ("fields", "finished", 4)
    assert [(end.member, end.step, end.status) for end in status.failures] == [(4, 1, "failed")]
    page = run.report(tmp_path / "page.html").read_text()
    assert "fields" in page
    assert "ValueError: no" in page
    assert repr(run).endswith("finished")
    assert run.workflow.ensemble.exclude == (2,)


def test_that_nothing_is_there_before_a_run_has_begun(tmp_path):
    workflow = written(tmp_path, CALLABLE, WELL)
    make_run(load_workflow(workflow), tmp_path / "run", workflow.read_text())
    run = daflow.open_run(tmp_path / "run")
    assert run.status().state == "not started"
    assert run.status().resumable
    for ask in (run.parameters, run.predicted, run.observations, run.truth, run.report):
        with pytest.raises(DataError):
            ask()
    assert sorted(path.name for path in run.folder.iterdir()) == ["resolved.json", "workflow.yaml"]


def test_that_run_goes_on_with_a_run_that_stopped_and_resume_says_how_it_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "_pool", pool_of([]))
    workflow = written(tmp_path, CALLABLE + "policy: {min_members: 12}\n", FAILS.replace("+ par", "# "))
    with pytest.raises(EnsembleError, match="11 of 12 members"):
        daflow.run(workflow, tmp_path / "run")
    run = daflow.open_run(tmp_path / "run")
    assert run.status().state == "stopped"
    assert (run.folder / "report.html").exists()
    assert run.parameters()["member"].size == 12
    (tmp_path / "model.py").write_text(OBSERVABLES + FAILS.replace("+ par", "# ").replace("== 4", "== 99"))
    assert run.resume().kind == "too few members"
    assert run.resume(retry_failed=True).kind == "finished"
    assert run.resume().kind == "finished", "there is nothing left to do"
    again = daflow.run(workflow, tmp_path / "run")
    assert finals(again)["level"].shape == (12, 14)


def test_that_no_run_is_told(tmp_path):
    with pytest.raises(DataError, match="no run"):
        daflow.open_run(tmp_path)
