"""The folder of a run: made for one workflow, opened for that one only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import daflow
from daflow.assemble.driving import launch
from daflow.assemble.environment import differences, environment
from daflow.assemble.folder import make_run, open_folder, with_overrides
from daflow.config.load import load_workflow
from daflow.errors import ConfigError, DataError
from daflow.runs.journal import read_journal
from tests.end_to_end.small_run import CALLABLE, WELL, run_inline, written


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    return written(tmp_path / "given", CALLABLE, WELL)


def made(workflow: Path, folder: Path, *overrides: str):
    return make_run(load_workflow(workflow, overrides), folder, workflow.read_text())


def test_that_a_run_keeps_the_workflow_as_given_and_with_every_default_spelled_out(workflow, tmp_path):
    run = made(workflow, tmp_path / "run", "ensemble.size=7")
    assert (run.folder / "workflow.yaml").read_text() == workflow.read_text()
    resolved = json.loads((run.folder / "resolved.json").read_text())
    assert resolved["workflow"]["ensemble"] == {"size": 7, "exclude": []}
    assert resolved["workflow"]["policy"]["retries"] == 2
    assert resolved["n_obs"] == 3
    assert resolved["environment"] == environment()
    opened = open_folder(run.folder)
    assert opened == run
    assert opened.layout == run.layout


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("seed=9", "seed"),
        ("ensemble.size=9", "ensemble"),
        ("method.steps=3", "method"),
        ("storage.slice_size=5", "storage"),
        ("observations.error.default.absolute=9.0", "observations"),
        ("parameters.level.prior.std=9.0", "parameters"),
    ],
)
def test_that_settings_that_numbers_depend_on_cannot_change(workflow, tmp_path, override, named):
    run = made(workflow, tmp_path / "run")
    with pytest.raises(ConfigError, match=f"changed: {named}"):
        made(workflow, tmp_path / "run", override)
    with pytest.raises(ConfigError, match=f"changed: {named}"):
        with_overrides(run, [override])
    assert open_folder(tmp_path / "run") == run


def test_that_execution_and_policy_may_change(workflow, tmp_path):
    run = made(workflow, tmp_path / "run")
    again = made(workflow, tmp_path / "run", "execution.workers=5", "policy.retries=7")
    assert (again.workflow.execution.workers, again.workflow.policy.retries) == (5, 7)
    other = with_overrides(run, ["policy.min_members=4"])
    assert other.workflow.policy.min_members == 4
    assert other.workflow.policy.retries == 2
    assert with_overrides(run, []) is run


@pytest.mark.parametrize("content", ["", "{", "{}", '{"workflow": {}, "n_obs": 3, "environment": {}}'])
def test_that_a_damaged_description_is_told_and_nothing_is_guessed(workflow, tmp_path, content):
    run = made(workflow, tmp_path / "run")
    (run.folder / "resolved.json").write_text(content)
    with pytest.raises((DataError, ConfigError), match=r"resolved\.json"):
        open_folder(run.folder)


def test_that_a_folder_may_hold_its_own_workflow_file_but_nothing_else(workflow, tmp_path):
    beside = made(workflow, workflow.parent / "run")
    assert beside.folder.is_dir()
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("")
    with pytest.raises(DataError, match="1 entries in it, no run"):
        made(workflow, tmp_path / "used")


def test_that_a_resume_elsewhere_tells_what_differs(workflow, tmp_path, monkeypatch):
    run = run_inline(workflow, tmp_path / "run")
    journal = run.folder / "journal.jsonl"
    kept = [line for line in journal.read_text().splitlines() if '"stopped"' not in line]
    journal.write_text("\n".join(kept) + "\n")
    monkeypatch.setattr(launch, "environment", lambda: environment() | {"numpy": "0.1"})
    told: list[str] = []
    stop = daflow.open_run(run.folder).resume(lambda fact, _: told.extend(fact.get("differs", [])))
    assert stop.kind == "finished"
    assert told == [f"numpy: {environment()['numpy']} then, 0.1 now"]
    opened = [fact for fact in read_journal(journal) if fact["fact"] == "opened"]
    assert opened[-1]["differs"] == told


def test_that_differences_name_what_was_added_and_what_is_gone():
    assert differences({"a": "1", "b": "2"}, {"b": "2", "c": "3"}) == [
        "a: 1 then, absent now",
        "c: absent then, 3 now",
    ]
    assert differences(environment(), environment()) == []
