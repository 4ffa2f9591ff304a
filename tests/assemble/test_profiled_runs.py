"""Runs that go on elsewhere: a profile changes where tasks run, and nothing that is computed."""

from __future__ import annotations

import pytest

from daflow.assemble.folder import make_run, open_folder, with_overrides, write_resolved
from daflow.assemble.sections.build import plan_of
from daflow.config.load import load_workflow, starter_text
from daflow.errors import ConfigError

PROFILE = """
execution: {kind: slurm, jobs: 7, walltime: "02:00:00", options: {worker_extra_args: [--no-dashboard]}}
policy: {min_members: 30}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow.yaml").write_text(starter_text())
    (tmp_path / "there.yaml").write_text(PROFILE)
    return make_run(load_workflow(tmp_path / "workflow.yaml"), tmp_path / "run", starter_text())


def test_that_a_profile_moves_no_key_of_a_run_and_stays_with_it(run):
    there = with_overrides(run, ["execution.jobs=3"], "there")
    assert plan_of(there.workflow, there.layout).keys == plan_of(run.workflow, run.layout).keys
    assert (there.workflow.execution.kind, there.workflow.execution.jobs) == ("slurm", 3)
    assert there.workflow.policy.min_members == 30
    write_resolved(there)
    assert open_folder(run.folder).workflow == there.workflow


def test_that_the_same_run_can_be_made_again_with_another_profile(run, tmp_path):
    again = make_run(load_workflow(tmp_path / "workflow.yaml", profile="there"), run.folder, "")
    assert again.workflow.execution.kind == "slurm"


def test_that_a_profile_cannot_change_what_a_runs_numbers_depend_on(run, tmp_path):
    (tmp_path / "odd.yaml").write_text("policy: {missing_predictions: drop_members}\n")
    with pytest.raises(ConfigError, match="made with other settings"):
        with_overrides(run, [], "odd")
