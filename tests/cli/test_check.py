"""``daflow check``: the job script that would be submitted, and a worker on trial."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from daflow.assemble.looking_ahead import trial
from daflow.assemble.looking_ahead.trial import Trial
from daflow.cli.app import app
from daflow.cli.check import _scripts
from daflow.config.load import load_workflow, starter_text
from daflow.errors import PoolError

PROFILE = 'execution: {kind: pbs, jobs: 3, queue: long, walltime: "02:00:00"}\n'


@pytest.fixture
def file(tmp_path):
    (tmp_path / "there.yaml").write_text(PROFILE)
    path = tmp_path / "workflow.yaml"
    path.write_text(starter_text())
    return path


def check(*words):
    return CliRunner().invoke(app, ["check", *map(str, words)], terminal_width=200)


def test_that_the_job_script_is_printed_and_nothing_else(file):
    told = check(file, "--profile", "there", "--job-script", "--run", file.parent / "runs" / "first")
    assert told.exit_code == 0, told.output
    assert told.output.startswith("#!/usr/bin/env bash\n\n#PBS -N daflow-first\n#PBS -q long\n")
    assert f"#PBS -o {file.parent}/runs/first/logs/jobs/\n" in told.output
    assert not (file.parent / "runs").exists()


def test_that_machines_get_the_job_script_beside_the_sizes(file):
    told = json.loads(check(file, "--profile", "there", "--job-script", "--json").output)
    assert told["n_members"] == 60
    assert "#PBS -l walltime=02:00:00" in told["job_script"]
    assert "job_script" not in json.loads(check(file, "--profile", "there", "--json").output)


def test_that_members_with_jobs_of_their_own_have_a_script_as_well(file):
    command = "model={kind: command, command: [sim], output: {kind: npy, file: o.npy}, observables: 'm:f'}"
    member = "execution.member={kind: job, tasks: 3, memory: 4GB}"
    workflow = load_workflow(file, [command, member], "there")
    scripts = _scripts(workflow, file.parent / "runs" / "first")
    assert "dask_worker" in scripts["job_script"]
    assert "daflow.assemble.member_job" in scripts["member_script"]
    assert all("#PBS " in script for script in scripts.values())


def test_that_settings_win_over_the_profile(file):
    told = check(file, "--profile", "there", "--set", "execution.queue=short", "--job-script")
    assert "#PBS -q short\n" in told.output


def test_that_cores_that_nothing_uses_are_told(file):
    def notes(*words):
        return " ".join(json.loads(check(file, "--profile", "there", "--json", *words).output)["notes"])

    cores = ("--set", "execution.cores=4")
    assert "asks for 4 cores and runs 1 task at once" in notes(*cores)
    assert "cores" not in notes()
    assert "cores" not in notes(*cores, "--set", "execution.processes=4")
    assert "asks for" not in notes(*cores, "--set", "execution.member.cores=4")


def test_that_there_is_no_job_script_of_local_workers(file):
    told = check(file, "--job-script")
    assert told.exit_code == 2
    assert "no job script" in told.output


def test_that_a_worker_on_trial_is_told_of(file, monkeypatch):
    worker = {"folder": True, "host": "n7", "python": "3.11", "daflow": "1", "dask": "2", "cores": 4}
    worker |= {"threads": 2, "memory_bytes": 2 * 10**9, "scratch": "/scratch/x", "scratch_free_bytes": 10**9}
    monkeypatch.setattr(
        trial,
        "try_one",
        lambda *_: Trial("pbs", ("17",), 12.3, "tcp://a:1", worker | {"seconds_left": 7000.0}),
    )
    told = check(file, "--profile", "there", "--submit-one")
    assert told.exit_code == 0, told.output
    for words in ("on n7, after 12 s (job 17)", "tcp://a:1", "seen", "2 tasks at once", "2 GB", "7,000 s"):
        assert words in told.output
    assert json.loads(check(file, "--submit-one", "--json").stdout)["trial"]["jobs"] == ["17"]


def test_that_a_worker_of_this_machine_is_tried_and_leaves_nothing_behind(file, tmp_path):
    said = []
    found = trial.try_one(load_workflow(file, ["execution.threads=2"]), tmp_path / "runs", said.append)
    assert (found.kind, found.jobs, found.worker["threads"], found.worker["folder"]) == ("local", (), 2, True)
    assert found.worker["seconds_left"] is None
    assert said == ["asking for one worker (local)"]
    assert list((tmp_path / "runs").iterdir()) == []


def test_that_a_trial_without_the_batch_system_says_so_and_leaves_nothing_behind(file, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PoolError, match="qsub is not found"):
        trial.try_one(load_workflow(file, profile="there"), tmp_path / "runs", print)
    assert list((tmp_path / "runs").iterdir()) == []
