"""Analyses of one forecast side by side."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

import daflow
from daflow.assemble.driving import launch
from daflow.assemble.folder import open_folder
from daflow.assemble.what_if.comparison import THE_RUN, compare, draw
from daflow.errors import DataError
from daflow.numerics.diagnostics.crps import crps
from tests.assemble.branch_runs import branch, pool_of
from tests.assemble.reading.test_opened import MEMORY
from tests.end_to_end.small_run import OBSERVABLES, run_inline

LINEAR = """
name: linear
seed: 3
ensemble: {size: 15}
grids: {line: {shape: [11], dims: [cell], axes: [x]}}
parameters:
  level: {grid: line, prior: {kind: normal, mean: 0, std: 1}}
  factor: {prior: {kind: normal, mean: 1, std: 2}}
model: {kind: callable, function: 'model:forecast', observables: 'model:observables'}
observations: {kind: twin, error: {default: {absolute: 0.3}}}
method: {kind: es_mda, steps: 2}
storage: {slice_size: 4}
"""
PLACED = (
    OBSERVABLES.replace('"time"', '"x": np.arange(3.0), "time"')
    + """
def forecast(parameters, observations):
    return parameters["level"][:3] - 0.4 * parameters["level"][4:7] + parameters["factor"]
"""
)
LOCAL = "localization={kind: distance, lengths: {x: 2}, variables: {factor: none}}"


@pytest.fixture(scope="module")
def compared():
    """A run, a branch gone on with, and one that is localized, at step 0; one at step 1."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as place, pytest.MonkeyPatch.context() as patch:
        folder = Path(place)
        (folder / "model.py").write_text(PLACED)
        (folder / "workflow.yaml").write_text(LINEAR)
        run = run_inline(folder / "workflow.yaml", folder / "run")
        patch.setattr(launch, "_pool", pool_of([]))
        once = branch(run.folder, "method.steps=1", step=0, name="once")
        assert once.resume().kind == "finished"
        local = branch(run.folder, LOCAL, step=0, name="local")
        branch(run.folder, "method.inversion=naive", step=1, name="naive")
        made = open_folder(run.folder)
        yield run, {"once": once, "local": local}, compare(made), made


def test_that_the_run_comes_before_its_branches_step_by_step(compared):
    _, _, rows, made = compared
    assert [(row.step, row.name) for row in rows] == [
        (0, THE_RUN),
        (0, "local"),
        (0, "once"),
        (1, THE_RUN),
        (1, "naive"),
    ]
    assert [row.name for row in compare(made, 1)] == [THE_RUN, "naive"]
    assert rows[2].changed == {"method.steps": 1}
    assert rows[0].changed == {}
    assert [row.state for row in rows] == ["finished", "analysed", "finished", "finished", "analysed"]


def test_that_the_misfit_of_a_linear_model_is_foretold_where_the_update_is_one_transform(compared):
    _, _, rows, _ = compared
    by_name = {(row.step, row.name): row for row in rows}
    for known in ((0, THE_RUN), (0, "once"), (1, THE_RUN)):
        assert by_name[known].misfit_linear == pytest.approx(by_name[known].misfit_after, rel=1e-10)
        assert by_name[known].misfit_after < by_name[known].misfit_before
    assert by_name[0, "local"].misfit_linear is None
    assert by_name[0, "local"].misfit_after is None
    assert by_name[1, "naive"].misfit_linear == pytest.approx(by_name[1, THE_RUN].misfit_linear, rel=1e-10)


def test_that_the_numbers_are_those_of_the_arrays(compared):
    run, branches, rows, _ = compared
    prior, truth = run.parameters(0), run.truth()
    for row, analysed in ((rows[0], run), (rows[1], branches["local"]), (rows[2], branches["once"])):
        posterior = analysed.parameters(1)
        for name in ("level", "factor"):
            before, after = prior[name], posterior[name]
            std = before.std("member", ddof=1)
            left = float(after.std("member", ddof=1).sum() / std.sum())
            assert row.spread_reduction[name] == pytest.approx(1 - left, abs=1e-6)
            moved = (after.mean("member") - before.mean("member")) / std
            assert row.moved[name] == pytest.approx(float(np.sqrt((moved**2).mean())), abs=1e-5)
            for score, ensemble in ((row.crps_before, before), (row.crps, after)):
                expected = crps(ensemble.values.reshape(15, -1), np.atleast_1d(truth[name].values)).mean()
                assert score[name] == pytest.approx(expected, rel=1e-12)
        misfit = ((run.predicted(0) - run.observations()["value"]) / 0.3) ** 2
        assert row.misfit_before == pytest.approx(float(misfit.mean()), rel=1e-12)
        assert row.chi_square > 0
        assert 0 < row.dfs < 3
        assert row.seconds > 0


def test_that_a_comparison_is_plain_json_and_two_pictures(compared):
    _, _, rows, made = compared
    assert json.loads(json.dumps([row.to_json() for row in rows]))[2]["changed"] == {"method.steps": 1}
    paths = draw(made, rows)
    assert [path.name for path in paths] == ["compare.png", "compare.svg"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert "local" in paths[1].read_text()
    first = paths[1].read_bytes()
    draw(made, rows)
    assert paths[1].read_bytes() == first


def test_that_a_branch_whose_analysis_was_ended_is_shown_with_what_is_known(compared, tmp_path):
    made = compared[-1]
    folder = shutil.copytree(made.folder, tmp_path / "run")
    journal = folder / "branches" / "local" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if '"update"' in line)
    journal.write_text("".join(lines[: first + 1]))
    row = next(row for row in compare(open_folder(folder), 0) if row.name == "local")
    assert row.state == "interrupted"
    assert row.misfit_before is not None
    assert (row.spread_reduction, row.moved, row.crps) == ({}, {}, {})


def test_that_there_has_to_be_something_to_compare(compared, tmp_path):
    _, branches, _, made = compared
    with pytest.raises(DataError, match=r"branches of steps \[0, 1\]"):
        compare(made, 2)
    with pytest.raises(DataError, match="no branches"):
        compare(open_folder(branches["local"].folder))


def test_that_the_report_shows_branches_and_one_that_is_damaged_does_not_cost_it(compared, tmp_path):
    made = compared[-1]
    page = daflow.open_run(made.folder).report(tmp_path / "page.html").read_text()
    assert 'id="analyses"' in page
    assert "once @0" in page
    folder = shutil.copytree(made.folder, tmp_path / "run")
    (folder / "branches" / "once" / "resolved.json").write_text("{")
    page = daflow.open_run(folder).report().read_text()
    assert 'id="analyses"' not in page
    assert "The branches cannot be compared" in page
    alone = daflow.open_run(made.folder / "branches" / "once").report(tmp_path / "alone.html").read_text()
    assert 'id="analyses"' not in alone
