"""What commands print when nothing is wrong."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from daflow.cli.app import app

COMMANDS = ("check", "run", "resume", "status", "report", "diagnose", "logs", "doctor", "schema", "init")


def said(*words):
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def test_that_the_version_is_told():
    assert said("--version") == f"daflow {version('daflow')}\n"


@pytest.mark.parametrize("after", [KeyboardInterrupt, AssertionError])
def test_that_an_interruption_is_told_as_one_whatever_follows_from_it(monkeypatch, after):
    def interrupted(_):
        try:
            raise KeyboardInterrupt
        finally:
            raise after

    monkeypatch.setattr("daflow.open_run", interrupted)
    result = CliRunner().invoke(app, ["status", "runs/first"])
    assert result.exit_code == 130
    assert "interrupted; `daflow resume` goes on" in result.output


def test_that_help_names_every_command_and_each_has_help_of_its_own():
    for command in COMMANDS:
        assert command in said("--help")
        assert "Usage:" in said(command, "--help")


def test_that_the_schema_is_json_and_describes_every_section():
    schema = json.loads(said("schema"))
    assert {"ensemble", "parameters", "model", "observations", "method"} <= schema["properties"].keys()
    assert all("description" in section or "$ref" in section for section in schema["properties"].values())


@pytest.fixture
def first(tmp_path, monkeypatch):
    """A first workflow, where the command is given."""
    monkeypatch.chdir(tmp_path)
    assert "daflow run workflow.yaml --run runs/first" in said("init")
    return tmp_path / "workflow.yaml"


def test_that_the_first_workflow_is_good_and_its_check_leaves_nothing_behind(first):
    assert "in one slice" in said("check", "workflow.yaml")
    assert "in 3 slices of 20" in said("check", "workflow.yaml", "--set", "storage.slice_size=20")
    assert [path.name for path in first.parent.iterdir()] == ["workflow.yaml"]


def test_that_a_check_for_machines_tells_the_sizes(first):
    seen = json.loads(said("check", "workflow.yaml", "--json", "--set", "ensemble.size=30"))
    assert (seen["n_members"], seen["n_state"], seen["n_obs"], seen["n_steps"]) == (30, 41, 60, 4)
    assert seen["forecasts"] == 150
