"""What ``daflow plan`` says."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from daflow.cli.app import app
from daflow.cli.plan import told_time
from tests.end_to_end.small_run import RING, written

PROFILE = """
execution: {kind: slurm, jobs: 3, walltime: "01:00:00", member: {kind: job, at_once: 7}}
"""


@pytest.fixture
def workflow(tmp_path):
    (tmp_path / "there.yaml").write_text(PROFILE)
    return written(tmp_path, RING)


def run(*words):
    return CliRunner().invoke(app, ["plan", *map(str, words)], terminal_width=200)


def test_that_it_tells_what_a_run_takes_where_a_profile_says(workflow):
    told = run(workflow, "--cluster", workflow.parent / "there.yaml", "--forecast-seconds", 600)
    assert told.exit_code == 0, told.output
    for words in ("slurm, 3 jobs", "core hours", "members' jobs", "7 at once", "10 min", "forecast"):
        assert words in told.output, words


def test_that_machines_get_json(workflow):
    told = json.loads(run(workflow, "--json", "--slots", 5).output)
    assert told["slots"] == 5
    assert told["seconds"] is None
    assert {stage["phase"] for stage in told["stages"]} == {"prior", "forecast", "prepare", "update"}


def test_that_two_words_on_what_a_forecast_takes_are_refused(workflow):
    told = run(workflow, "--forecast-seconds", 1, "--like", workflow.parent)
    assert told.exit_code == 2
    assert "leave one of them out" in told.output


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0012, "1.2 ms"),
        (0.34, "340 ms"),
        (41.2, "41 s"),
        (600, "10 min"),
        (12000, "3 h 20 min"),
        (187200, "2 d 4 h"),
    ],
)
def test_that_times_are_told_as_one_compares_them(seconds, words):
    assert told_time(seconds) == words
