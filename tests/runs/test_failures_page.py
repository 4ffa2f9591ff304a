"""The page about failures says what the code does."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

import daflow.runs
from daflow.cli.orders import ENDS, orders_of
from daflow.config.policy import PolicySettings
from daflow.errors import MemberLost, ModelFailed, ModelTimeout, OutputInvalid, StoreError
from daflow.execution.member_jobs.ends import outcome_of
from daflow.execution.queues.job_states import TIMEOUT, JobState
from daflow.execution.tasks.carry_out import FULL, _verdict
from daflow.names import Phase, Status
from daflow.records import Task
from daflow.runs.nodes import CHANCE
from daflow.runs.orders import ALL_FAILURES
from daflow.runs.policy import MOST_BLAMELESS, RETRIES, Policy

PAGE = (Path(daflow.runs.__file__).parent / "FAILURES.md").read_text(encoding="utf-8")


def table(title):
    """Return the rows of the table under a title, without its head."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_that_the_page_has_every_end_with_its_attempts_and_its_word():
    rows = {Status(row[0]): row for row in table("The ends")}
    assert rows.keys() == set(Status) - {Status.OK}
    for status, (_, _, times, word) in rows.items():
        expected = f"{RETRIES[status]} times" if status in RETRIES else "not counted"
        assert times == expected
        assert word == next((f"`{word}`" for word, end in ENDS.items() if end is status), "")


def test_that_evidence_is_taken_for_what_the_page_says():
    said = {
        error: Status(end) for evidence, end in table("By what evidence") for error in errors_in(evidence)
    }
    raised = {
        "ModelFailed": ModelFailed("no"),
        "OutputInvalid": OutputInvalid("no"),
        "ModelTimeout": ModelTimeout("no"),
        "MemberLost": MemberLost("no"),
        "MemoryError": MemoryError("no"),
        "StoreError": StoreError("no"),
        "sys.exit": SystemExit(1),
        "any exception": ArithmeticError("no"),
    }
    assert said == {name: _verdict(error)[0] for name, error in raised.items()}
    for number in FULL:
        assert _verdict(OSError(number, "no"))[0] is Status.BLOCKED
    job = outcome_of(Task(Phase.FORECAST, 0, 1), "17", JobState("ended", TIMEOUT), 60.0)
    assert job.status is Status.TIMED_OUT


def errors_in(evidence):
    named = re.findall(r"`([A-Z]\w+|sys\.exit)`", evidence)
    return [*named, "any exception"] if "any exception" in evidence else named


def test_that_the_numbers_on_the_page_are_those_of_the_code():
    assert f"up to {MOST_BLAMELESS} times in a session" in PAGE
    assert f"given up after {RETRIES[Status.LOST] + 1} losses" in PAGE
    assert CHANCE == 0.01
    assert Policy().stragglers is None
    assert PolicySettings().on_failure == "drop"


def test_that_the_settings_on_the_page_can_be_used_as_they_stand():
    (block,) = blocks("yaml")
    settings = PolicySettings.model_validate(yaml.safe_load(block)["policy"])
    assert settings.consequence("lost") == "stop"
    keys = set(yaml.safe_load(block)["policy"])
    assert keys == set(PolicySettings.model_fields) - {"missing_predictions"}


@pytest.mark.parametrize("line", blocks("sh")[0].splitlines())
def test_that_the_commands_on_the_page_are_understood(line):
    words = shlex.split(line, comments=True)
    assert words[:3] == ["daflow", "resume", "RUN"]
    given = dict(zip(words[3::2], words[4::2], strict=False))
    assert given.keys() <= {"--retry", "--drop", "--min-members"}
    least = int(given["--min-members"]) if "--min-members" in given else None
    retry, drop = ([given[name]] if name in given else None for name in ("--retry", "--drop"))
    old = "--retry-failed" in words
    asked = orders_of(retry, drop, least, retry_failed=old)
    assert bool(asked) == (len(words) > 3)
    if old:
        assert asked.retry == ALL_FAILURES
        alias = re.search(r"the same as --retry (\S+)", line)
        assert orders_of([alias[1]], None, None, retry_failed=False) == asked
