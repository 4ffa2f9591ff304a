"""The commands that try other analyses of a forecast."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

import daflow
from daflow.assemble.driving import launch
from daflow.cli.app import app
from tests.assemble.branch_runs import pool_of
from tests.assemble.reading.test_opened import MEMORY
from tests.end_to_end.small_run import CALLABLE, WELL, run_inline, written


@pytest.fixture
def run(monkeypatch):
    """A finished run, in whose folder commands work in this process."""
    monkeypatch.setattr(launch, "_pool", pool_of([]))
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        yield run_inline(written(Path(place) / "given", CALLABLE, WELL), Path(place) / "run").folder


def told(*words, code=0):
    ended = CliRunner().invoke(app, [*map(str, words)])
    assert ended.exit_code == code, ended.output
    return ended


def test_that_analyses_are_tried_compared_and_gone_on_with(run):
    swept = told("analyse", run, "--step", 0, "--sweep", "method.inversion=naive,rescaled", "--json")
    made = json.loads(swept.stdout)
    assert [each["name"] for each in made] == ["step=0,inversion=naive", "step=0,inversion=rescaled"]
    assert "prepare 0: 1 of 1 done" in swept.stderr
    said = told("analyse", run, "--set", "method.truncation=0.9", "--set", "method.inversion=subspace").stdout
    assert "step=1,truncation=0.9,inversion=subspace" in said
    assert "update 1: 4 of 4 done" in said
    table = told("compare", run, "--step", 0).stdout
    assert "step=0,inversion=rescaled" in table
    assert "if linear" in table
    assert "level" in table
    compared = json.loads(told("compare", run, "--json").stdout)
    assert [row["step"] for row in compared["analyses"]] == [0, 0, 0, 1, 1]
    assert all(Path(path).is_file() for path in compared["pictures"])
    branch = made[0]["folder"]
    assert json.loads(told("status", branch, "--json").stdout)["state"] == "analysed"
    assert "finished; report:" in told("go-on", branch).stdout
    assert daflow.open_run(branch).status().state == "finished"
    assert "finished; report:" in told("resume", made[1]["folder"]).stdout
    assert "misfit" in told("compare", run).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["analyse", "{run}", "--set", "seed=3"], "--set seed: the forecast depends on it"),
        (["analyse", "{run}", "--sweep", "method.inversion"], "not a setting with values"),
        (["analyse", "{run}", "--step", "7"], "no complete forecast of step 7"),
        (["analyse", "{run}", "--name", "../x"], "no branch can be called so"),
        (["analyse", "{run}/nowhere"], "there is no run"),
        (["compare", "{run}"], "there is nothing to compare"),
        (["go-on", "{run}"], "is no branch"),
    ],
)
def test_that_what_cannot_be_used_ends_with_code_2_and_leaves_nothing(run, words, message):
    before = sorted(path.name for path in run.iterdir())
    assert message in told(*(word.format(run=run) for word in words), code=2).stderr
    assert sorted(path.name for path in run.iterdir()) == before


def test_that_an_analysis_that_fails_does_not_keep_others_from_being_done(run):
    ended = told(
        "analyse",
        run,
        "--step",
        0,
        "--sweep",
        "method={kind: es_mda, alphas: {restricted: {trials: 1, largest_move: 1.0e-6}}},{kind: es}",
        code=1,
    )
    assert "conclude 0 of step 0 failed" in ended.stderr
    assert sorted(each.status().state for each in daflow.open_run(run).branches().values()) == [
        "analysed",
        "stopped",
    ]
