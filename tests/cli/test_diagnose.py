"""``daflow diagnose``, as one meets it on a terminal and in a script."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from rich.console import Console
from typer.testing import CliRunner

from daflow.assemble.folder import make_run
from daflow.cli import diagnosis
from daflow.cli.app import app
from daflow.cli.diagnosis import as_plain, diagnosis_told
from daflow.config.load import load_workflow
from tests.end_to_end.small_run import CALLABLE, WELL, written


def told(found, width=80):
    console = Console(width=width, record=True)
    for part in diagnosis_told(found):
        console.print(part)
    return console.export_text()


def made(n_steps=3, n_groups=2, *, twin=True):
    """Return diagnostics of a run, the last step of which is only forecast."""
    rng = np.random.default_rng(1)
    by_step = {name: ("step", rng.uniform(0.5, 2, n_steps)) for name in ("mean_misfit", "chi_square", "dfs")}
    by_step["chi_square"][1][-1] = np.nan
    if twin:
        by_step |= {name: ("step", rng.uniform(0.5, 2, n_steps)) for name in ("rmse", "crps")}
    spread = np.array([[2.0, 1.0], [1.0, 0.5], [np.nan, np.nan]])
    own = {"spread_before": spread, "spread_after": 0.5 * spread, "spread_reduction": 0 * spread + 0.5}
    own["update_rms_in_spread"] = np.array([[0.25, 0.5], [0.75, 0.125], [np.nan, np.nan]])
    variables = {name: (("step", "variable"), values) for name, values in own.items()} if n_steps == 3 else {}
    group = (("step", "group"), rng.uniform(0.5, 2, (n_steps, n_groups)))
    coords = {
        "step": range(n_steps),
        "variable": ["perm", "[red]poro"],
        "group": [f"W{i}" for i in range(n_groups)],
        "group_size": ("group", np.full(n_groups, 1200)),
    }
    arrays = by_step | variables | {"group_misfit": group, "error_ratio": ("kind", [1.25])}
    return xr.Dataset(arrays, coords | {"kind": ["rate"]}, {"run": "small"})


def test_that_steps_variables_groups_and_kinds_are_told_in_eighty_columns():
    text = told(made())
    for word in ("small, step by step", "chi²", "DFS", "CRPS", "near", "W1", "1,200", "rate", "1.25"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 80
    (perm,) = (line.split() for line in text.splitlines() if line.strip().startswith("perm"))
    assert perm == ["perm", "2.00", "0.500", "0.250", "0.750"]
    assert "[red]poro" in text, "a name is no markup"
    last = next(line for line in text.splitlines() if line.strip().startswith("2 "))
    assert " - " in last, "what is not there is a dash"


def test_that_a_run_without_a_truth_has_no_columns_for_it():
    text = told(made(twin=False))
    assert "error" not in text.splitlines()[1]
    assert "chi²" in text


def test_that_many_steps_and_groups_are_counted_and_not_all_told(monkeypatch):
    monkeypatch.setattr(diagnosis, "SHOWN", 5)
    text = told(made(n_steps=100, n_groups=9))
    assert "5 of 100 steps; --json has them all" in text
    assert "5 of 9; --json has them all" in text
    assert len([line for line in text.splitlines() if line.split()[:1] in (["0"], ["99"])]) == 2


def test_that_machines_get_everything_as_json_and_null_for_what_is_not_there():
    plain = json.loads(json.dumps(as_plain(made()), allow_nan=False))
    assert plain["run"] == "small"
    assert plain["coordinates"]["group"] == ["W0", "W1"]
    assert plain["variables"]["chi_square"]["dims"] == ["step"]
    assert plain["variables"]["chi_square"]["data"][-1] is None
    assert plain["variables"]["spread_before"]["data"][0] == [2.0, 1.0]


def test_that_a_run_without_any_forecast_says_so():
    assert "nothing to diagnose" in told(xr.Dataset())


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_that_a_run_that_has_not_begun_is_an_error_in_words(tmp_path, words):
    workflow = written(tmp_path, CALLABLE, WELL)
    make_run(load_workflow(workflow), tmp_path / "run", workflow.read_text())
    result = CliRunner().invoke(app, ["diagnose", str(tmp_path / "run"), *words])
    assert result.exit_code == 2
    assert "no observations yet" in result.output
