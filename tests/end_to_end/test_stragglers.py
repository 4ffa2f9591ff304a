"""Members that hang are cut off when nearly all others are done, and all that they started with them."""

from __future__ import annotations

import pytest

import daflow
from daflow.runs.journal import read_journal
from tests.end_to_end.small_run import (
    CALLABLE,
    WELL,
    assert_same_bits,
    finals,
    run_by_workers,
    run_inline,
    written,
)

pytestmark = pytest.mark.slow

HANGS = """
import time

def forecast(parameters, observations, member, step, work_dir):
    time.sleep(0.1)
    if step == 0 and member == 3:
        time.sleep(3600)
    return parameters["level"][:3] ** 2 + parameters["level"][4:7]
"""
POLICY = "policy: {stragglers: {factor: 40, least: 0.75}}\n"
"""Four seconds of a tenth: no member on a busy machine is taken for one that hangs."""


def test_that_a_member_that_hangs_is_cut_off_and_left_behind_and_the_run_ends_without_it(place):
    text = CALLABLE.replace("steps: 2", "steps: 1")
    folder = place / "run"
    run_by_workers(written(place / "hangs", text + POLICY, HANGS), folder)
    bad = [f for f in read_journal(folder / "journal.jsonl") if f["fact"] == "ended" and f["status"] != "ok"]
    assert [(fact["phase"], fact["step"], fact["index"], fact["status"]) for fact in bad] == [
        ("forecast", 0, 3, "cancelled")
    ]
    assert "policy.stragglers" in bad[0]["reason"]
    well = written(place / "well", text, WELL)
    without = run_inline(well, place / "without", "ensemble.exclude=[3]")
    assert_same_bits(finals(daflow.open_run(folder)), finals(without))
