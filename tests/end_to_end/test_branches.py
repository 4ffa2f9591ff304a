"""An analysis of a stored forecast, killed in its middle, goes on with the same bits: by real workers."""

from __future__ import annotations

import pytest

import daflow
from daflow.assemble.driving import launch
from daflow.runs.journal import read_journal
from tests.assemble.branch_runs import files_in, pool_of
from tests.end_to_end.small_run import (
    RING,
    assert_same_bits,
    command,
    finals,
    killed_at,
    run_inline,
    written,
)

ONE_BY_ONE = (
    RING.replace("slice_size: 10", "slice_size: 1") + "execution: {kind: local, workers: 1, group: 1}\n"
)
"""Twenty-five slices, each sent alone."""

pytestmark = pytest.mark.slow


def test_that_an_analysis_that_was_killed_goes_on_and_on_to_the_end_as_a_run_with_its_settings(
    place, monkeypatch
):
    workflow = written(place / "given", ONE_BY_ONE)
    run = run_inline(workflow, place / "run")
    before = files_in(run.folder)
    asked = ("analyse", run.folder, "--step", 0, "--set", "localization.lengths.x=8", "--name", "wide")
    folder = run.folder / "branches" / "wide"
    killed_at({"phase": "update"}, *asked, times=3)
    updates = (folder / "journal.jsonl").read_bytes().count(b'"phase":"update"')
    assert 3 <= updates < 25
    assert daflow.open_run(folder).status().state == "interrupted"
    assert command(*asked).returncode == 0
    ended = [fact for fact in read_journal(folder / "journal.jsonl") if fact["fact"] == "ended"]
    assert len({fact["index"] for fact in ended if fact["phase"] == "update"}) == 25
    monkeypatch.setattr(launch, "_pool", pool_of([]))
    assert daflow.open_run(folder).resume().kind == "finished"
    whole = run_inline(workflow, place / "whole", "localization.lengths.x=8")
    assert_same_bits(finals(daflow.open_run(folder)), finals(whole))
    assert files_in(run.folder) == before
