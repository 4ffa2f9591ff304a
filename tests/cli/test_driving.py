"""What `attach`, `stop` and `submit` say, and what they end with."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from daflow.assemble.driving import chain, detached
from daflow.cli.app import app
from daflow.errors import PoolError
from daflow.execution.queues.job_states import UNKNOWN, JobState
from daflow.runs import facts
from daflow.runs.journal import Journal

OPENED = facts.opened({"pid": 1})


def given(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def workflow(tmp_path):
    path = tmp_path / "workflow.yaml"
    given("init", path)
    return path


class Queue:
    def __init__(self):
        self.scripts, self.refuses, self.alive = [], False, set()

    def submit(self, script, *, array=None, at_once=None, after=None):
        if self.refuses:
            raise PoolError("the queue refused it", got="no such partition")
        self.scripts.append(script.read_text())
        self.alive.add("17")
        return "17"

    def states(self, ids):
        return {job: JobState("pending") if job in self.alive else UNKNOWN for job in ids}

    def cancel(self, ids):
        self.alive -= set(ids)


@pytest.fixture
def queue(monkeypatch):
    made = Queue()
    monkeypatch.setattr("daflow.assemble.driving.chain.batch_system", lambda kind: made)
    monkeypatch.setattr("daflow.assemble.driving.stopping.batch_system", lambda kind: made)
    return made


@pytest.fixture
def run(tmp_path, workflow, queue):
    """A run that a job is to drive, which has not begun."""
    folder = tmp_path / "run"
    given("submit", workflow, "--run", folder, "--system", "slurm", "--walltime", "02:00:00", "--chain")
    return folder


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("run", "--detach"),
        ("resume", "--detach"),
        ("attach", "Ctrl-C ends"),
        ("stop", "--now"),
        ("submit", "--chain"),
    ],
)
def test_that_commands_that_drive_teach_how(command, word):
    assert word in given(command, "--help").output


def test_that_the_command_that_scripts_call_is_not_shown():
    assert "│ drive" not in given("--help").output
    assert "Usage:" in given("drive", "--help").output


def test_that_a_submitted_run_is_made_and_its_driver_s_script_is_beside_it(run, queue):
    assert (run / "resolved.json").exists()
    assert queue.scripts == [(run / "driver.sh").read_text()]
    assert "#SBATCH --time=02:00:00" in queue.scripts[0]
    assert queue.scripts[0].endswith(f"drive {run} --chain\n")


def test_that_orders_that_cannot_be_had_are_told_before_anything_is_submitted(tmp_path, workflow, queue):
    words = ("--system", "slurm", "--drop", "99999")
    said = given("submit", workflow, "--run", tmp_path / "run", *words, code=2)
    assert "no such members" in said.output
    assert queue.scripts == []


def test_that_submit_tells_machines_the_job(tmp_path, workflow, queue):
    said = given("submit", workflow, "--run", tmp_path / "run", "--system", "slurm", "--json").output
    assert json.loads(said) == {
        "job": "17",
        "system": "slurm",
        "run": str(tmp_path / "run"),
        "chain": False,
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "nothing says which queue"),
        (("--system", "slurm", "--walltime", "soon"), "--walltime: not a time"),
        (("--system", "htcondor"), "cannot be submitted to htcondor"),
        (("--system", "slurm", "--set", "ensemble.size=1"), "ensemble.size"),
        (("--system", "slurm", "--retry", "lots"), "--retry: there is no such end"),
    ],
)
def test_that_what_cannot_be_submitted_leaves_nothing_behind(tmp_path, workflow, queue, words, told):
    said = given("submit", workflow, "--run", tmp_path / "run", *words, code=2)
    assert told in said.output
    assert not (tmp_path / "run").exists()
    assert queue.scripts == []


def test_that_a_refusal_of_the_queue_is_told_with_what_it_said(tmp_path, workflow, queue):
    queue.refuses = True
    said = given("submit", workflow, "--run", tmp_path / "run", "--system", "slurm", code=1)
    assert "no such partition" in said.output


def test_that_stopping_a_run_that_waits_for_its_driver_cancels_it(run, queue):
    said = given("stop", run).output
    assert "nobody drives this run" in said
    assert "cancelled what would have gone on with it: job 17" in said
    assert queue.alive == set()
    again = json.loads(given("stop", run, "--json").output)
    assert (again["found"], again["successors"]) == ("nobody", [])


def test_that_one_who_attaches_waits_for_the_driver_that_is_to_come(run, queue, monkeypatch):
    monkeypatch.setattr("daflow.cli.driving.QUEUE_SECONDS", 0.0)
    looks = iter(range(100))

    def states(ids):
        if next(looks) > 3:
            queue.alive.clear()
        return {job: JobState("pending") if job in queue.alive else UNKNOWN for job in ids}

    monkeypatch.setattr(queue, "states", states)
    said = given("attach", run, code=130).output
    assert said.count("job 17 is to go on with the run; waiting for it") == 1
    assert "laid down: it has not been begun" in said


def test_that_the_status_tells_which_job_is_to_go_on(run, queue):
    assert "job 17 is to go on with it" in given("status", run).output
    queue.alive.clear()
    assert "is to go on" not in given("status", run).output


@pytest.mark.parametrize(
    ("stop", "code", "told"),
    [
        (facts.stopped("finished", "all steps are done", resumable=False), 0, "finished; "),
        (facts.stopped("too few members", "one is left", resumable=True), 1, "one is left"),
        (facts.stopped("walltime", "its time is over", resumable=True), 1, "was laid down: its time is over"),
        (facts.stopped("interrupted", "ann@there asked", resumable=True), 130, "laid down: ann@there asked"),
        (None, 130, "its driver died"),
    ],
)
def test_that_who_attaches_ends_as_the_run_did(run, queue, stop, code, told):
    queue.alive.clear()
    with Journal(run / "journal.jsonl") as journal:
        journal.append_all([OPENED] if stop is None else [OPENED, stop])
    assert told in given("attach", run, code=code).output
    lines = given("attach", run, "--json", code=code).stdout.splitlines()
    assert [json.loads(line) for line in lines if line.startswith("{")] == ([] if stop is None else [stop])


def test_that_a_detached_driver_gets_the_words_that_were_given_and_its_refusal_is_told(
    run, workflow, monkeypatch, queue
):
    seen = []

    def start(folder, words):
        seen.append((folder, words))
        return SimpleNamespace(pid=7, log=folder / "driver.log", exit_code=2, said="error: no such thing")

    monkeypatch.setattr(detached, "start", start)
    words = ("resume", str(run), "--set", "policy.min_members=3", "--retry", "failed")
    said = given(*words, "--detach", code=2)
    assert seen == [(run, list(words))]
    assert "no such thing" in said.output
    assert chain.read_chain(run) == []
