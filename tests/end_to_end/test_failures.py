"""Members that crash, hang, or write what cannot be used: named, counted, left behind or tried again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import daflow
from daflow.assemble.driving import launch
from daflow.cli.app import app
from daflow.errors import EnsembleError
from daflow.runs.journal import read_journal
from tests.assemble.branch_runs import pool_of
from tests.end_to_end.small_run import (
    CALLABLE,
    WELL,
    assert_same_bits,
    command,
    finals,
    run_inline,
    written,
)

pytestmark = pytest.mark.slow

ILL = """
import ctypes
import os
import time

def forecast(parameters, observations, member, step, work_dir):
    if step == 0 and member == 1:
        raise ArithmeticError("the solver did not converge")
    if step == 0 and member == 2:
        time.sleep(3600)
    if step == 0 and member == 3:
        os.abort()
    if step == 0 and member == 4:
        ctypes.string_at(0)
    predicted = parameters["level"][:3] ** 2 + parameters["level"][4:7]
    if step == 0 and member == 5:
        predicted[1] = np.nan
    return predicted[:2] if step == 0 and member == 6 else predicted
"""
ENDS: dict[int, tuple[str, int, list[str]]] = {
    # member: how it ends, how often it is tried, words of the reason
    1: ("failed", 1, ["the solver did not converge"]),
    2: ("timed out", 1, ["policy.timeout = 6 s"]),
    3: ("lost", 2, ["died"]),
    4: ("lost", 2, ["died"]),
    5: ("invalid", 2, ["not finite"]),
    6: ("invalid", 2, ["shape"]),
}
LOGS = {
    1: ["Traceback", "ArithmeticError: the solver did not converge", "in forecast"],
    2: ["Timeout", "in forecast"],
}


def told(*words: object) -> str:
    """Give a command in this process; return what it prints."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    return result.output


def refused(*words: object) -> str:
    """Give a command that is refused, in this process; return what it says."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "160"})
    assert result.exit_code == 2, result.output
    return result.output


def of_member(ends: list[dict[str, Any]], key: str) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for end in ends:
        found.setdefault(end[key], []).append(end)
    return found


def assert_ends(ends: list[dict[str, Any]], key: str, expected: dict[int, tuple[str, int, list[str]]]):
    """Compare how members ended, as the journal or the status tells it."""
    by_member = of_member(ends, key)
    assert by_member.keys() == expected.keys()
    for member, (status, n_attempts, words) in expected.items():
        assert [end["attempt"] for end in by_member[member]] == list(range(n_attempts))
        assert {end["status"] for end in by_member[member]} == {status}
        for end in by_member[member]:
            assert (end["phase"], end["step"]) == ("forecast", 0)
            assert all(word in end["reason"] for word in words), end["reason"]


@pytest.fixture(scope="module")
def ill(shared_place: Path):
    """A run in which members end in every way there is."""
    workflow = written(
        shared_place / "ill",
        CALLABLE.replace("steps: 2", "steps: 1")
        + "policy: {retries: {invalid: 1, lost: 1}, timeout: 6, min_members: 6}\n",
        ILL,
    )
    folder = shared_place / "ill-run"
    return folder, command("run", workflow, "--run", folder)


def test_that_members_that_fail_in_every_way_are_left_behind_and_the_run_ends(ill, place):
    folder, ended = ill
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for member in ENDS:
        assert f"forecast 0, member {member}, attempt 0: " in ended.stdout
    workflow = written(place / "well", CALLABLE.replace("steps: 2", "steps: 1"), WELL)
    without = run_inline(workflow, place / "run", "ensemble.exclude=[1, 2, 3, 4, 5, 6]")
    assert_same_bits(finals(daflow.open_run(folder)), finals(without))


def test_that_journal_and_status_name_member_attempts_and_reason(ill):
    folder, _ = ill
    facts = [fact for fact in read_journal(folder / "journal.jsonl") if fact["fact"] == "ended"]
    assert_ends([fact for fact in facts if fact["status"] != "ok"], "index", ENDS)
    status = json.loads(told("status", folder, "--json"))
    assert_ends(status["failures"], "member", ENDS)
    assert (status["state"], status["members"]) == ("finished", 6)
    forecast = next(stage for stage in status["stages"] if (stage["phase"], stage["step"]) == ("forecast", 0))
    assert (forecast["done"], forecast["failed"], forecast["total"]) == (6, 6, 12)
    assert "ArithmeticError: the solver did not converge" in told("status", folder)


def test_that_the_report_names_them_with_reason_and_log(ill):
    folder, _ = ill
    page = (folder / "report.html").read_text()
    assert "ArithmeticError: the solver did not converge" in page
    assert "policy.timeout = 6 s" in page
    assert "logs/step=0/member=00001/attempt=0" in page
    assert "Members left behind, by the policy of the workflow: 1, 2, 3, 4, 5, 6." in page


@pytest.mark.parametrize("member", LOGS)
def test_that_logs_show_the_traceback_or_where_it_hung(ill, member):
    folder, _ = ill
    logs = told("logs", folder, "--member", member)
    assert all(words in logs for words in LOGS[member]), logs


PROGRAM = """
import sys, time
member, step, ill = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
with open("level.csv") as file:
    level = [float(value) for value in file.read().replace(",", " ").split()]
predicted = [level[i] ** 2 + level[i + 4] for i in range(3)]
if ill == "ill" and step == 0 and member == 1:
    sys.exit("no licence left")
if ill == "ill" and step == 0 and member == 2:
    print("here it hangs", flush=True)
    time.sleep(3600)
rows = ["predicted", *(f"{value!r}" for value in predicted)]
if ill == "ill" and step == 0 and member == 3:
    rows.pop()
if step >= 0:
    print("done", file=sys.stderr)
with open("out.csv", "w") as file:
    file.write("\\n".join(rows) + "\\n")
"""
RUNS_PROGRAM = (
    CALLABLE.replace("steps: 2", "steps: 1")
    .replace("size: 12", "size: 8")
    .replace(
        "model: {kind: callable, function: 'model:forecast', observables: 'model:observables'}",
        f"""
model:
  kind: command
  command: ['{sys.executable}', '-S', '-E', '{{folder}}/program.py', '{{member}}', '{{step}}', HEALTH]
  files: [{{kind: array, target: level.csv, variable: level, format: csv}}]
  output: {{kind: csv, file: out.csv, column: predicted}}
  observables: 'model:observables'
  timeout: 6
""",
    )
)
PROGRAM_ENDS: dict[int, tuple[str, int, list[str]]] = {
    1: ("failed", 1, ["exit", "1"]),
    2: ("timed out", 1, ["timeout: 6 s"]),
    3: ("invalid", 2, ["out.csv"]),
}
PROGRAM_LOGS = {1: "no licence left", 2: "here it hangs", 3: "done"}


def test_that_programs_that_fail_hang_or_stop_short_are_named_with_what_they_said(place):
    workflow = written(place, RUNS_PROGRAM.replace("HEALTH", "ill") + "policy: {retries: 1}\n", WELL)
    (place / "program.py").write_text(PROGRAM)
    folder = place / "run"
    ended = command("run", workflow, "--run", folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    status = json.loads(told("status", folder, "--json"))
    assert_ends(status["failures"], "member", PROGRAM_ENDS)
    page = (folder / "report.html").read_text()
    for member, words in PROGRAM_LOGS.items():
        assert f"logs/step=0/member={member:05d}/attempt=0" in page
        assert words in told("logs", folder, "--member", member)
    workflow.write_text(RUNS_PROGRAM.replace("HEALTH", "well"))
    without = run_inline(workflow, place / "without", "ensemble.exclude=[1, 2, 3]")
    assert_same_bits(finals(daflow.open_run(folder)), finals(without))


MENDABLE = """
from pathlib import Path

def forecast(parameters, observations, member, step):
    if step == 1 and member in (0, 5) and not Path(__file__).with_name("mended").exists():
        raise RuntimeError("no licence left")
    return parameters["level"][:3] ** 2 + parameters["level"][4:7]
"""


@pytest.mark.parametrize(
    ("policy", "words", "retry"),
    [
        (
            "min_members: 11",
            ["10 of 12 members are left in the forecast of step 1", "asks for 11"],
            ["--retry-failed"],
        ),
        (
            "on_failure: {failed: stop}",
            ["of step 1 failed", "the policy is to stop"],
            ["--retry", "0,5", "--retry", "failed"],
        ),
    ],
)
def test_that_the_policy_stops_the_run_which_goes_on_when_the_cause_is_mended(
    place, monkeypatch, policy, words, retry
):
    workflow = written(place, f"{CALLABLE}policy: {{{policy}}}\n", MENDABLE)
    folder = place / "run"
    ended = command("run", workflow, "--run", folder)
    assert ended.returncode == 1
    for word in (*words, "no licence left", "daflow resume", "--retry-failed"):
        assert word in ended.stderr
    assert "Traceback" not in ended.stderr
    status = json.loads(told("status", folder, "--json"))
    assert (status["state"], status["resumable"]) == ("stopped", True)
    assert all(word in status["reason"] for word in words)

    again = daflow.open_run(folder).resume()
    assert again.kind != "finished", "a member's own failure is not forgotten"
    (place / "mended").touch()
    monkeypatch.setattr(launch, "_pool", pool_of([]))
    told("resume", folder, *retry)
    run = daflow.open_run(folder)
    assert run.status().members == 12
    (place / "well").mkdir()
    reference = run_inline(written(place / "well", CALLABLE, WELL), place / "reference")
    assert_same_bits(finals(run), finals(reference))


def test_that_an_operator_may_drop_members_and_go_on_with_fewer(place, monkeypatch):
    monkeypatch.setattr(launch, "_pool", pool_of([]))
    workflow = written(place, f"{CALLABLE}policy: {{min_members: 11}}\n", MENDABLE)
    folder = place / "run"
    with pytest.raises(EnsembleError, match="10 of 12"):
        run_inline(workflow, folder)
    assert "too few members would be left" in refused("resume", folder, "--drop", "3,7")
    told("resume", folder, "--drop", "3,7", "--min-members", "8")
    status = json.loads(told("status", folder, "--json"))
    assert (status["state"], status["members"]) == ("finished", 8)
    assert "Of these, the operator dropped 3, 7." in (folder / "report.html").read_text()
    ends = {end["status"]: end["members"] for end in status["ends"]}
    assert ends == {"failed": [0, 5], "cancelled": [3, 7]}
    # Only the forecast at hand was open: it can be neither tried again nor dropped from what is closed.
    assert "closed" in refused("resume", folder, "--retry", "3")
    left = written(place / "left", CALLABLE, MENDABLE.replace("(0, 5)", "(0, 3, 5, 7)"))
    assert_same_bits(
        finals(daflow.open_run(folder), [1, 2, 4, 6, 8, 9, 10, 11]),
        finals(run_inline(left, place / "reference"), [1, 2, 4, 6, 8, 9, 10, 11]),
    )
