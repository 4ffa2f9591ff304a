"""Real runs whose alphas are found on the way: they end by themselves, killed or not, with the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest

import daflow
from daflow.assemble.driving import launch
from daflow.runs.journal import read_journal
from tests.assemble.branch_runs import pool_of
from tests.end_to_end.small_run import (
    CALLABLE,
    WELL,
    assert_same_bits,
    finals,
    killed_at,
    run_inline,
    written,
)

PATIENT = CALLABLE + "policy: {retries: 100}\nexecution: {kind: local, workers: 1, group: 3}\n"
WAYS = {"discrepancy": "discrepancy", "restricted": "{restricted: {trials: 6}}"}

pytestmark = pytest.mark.slow


def facts_of(folder: Path) -> list:
    journal = folder / "journal.jsonl"
    return list(read_journal(journal)) if journal.exists() else []


def alphas_of(folder: Path) -> list[float]:
    told = {
        fact["step"]: fact["figures"]["alpha"]
        for fact in facts_of(folder)
        if fact["fact"] == "ended" and "alpha" in fact.get("figures", {})
    }
    return [told[step] for step in sorted(told)]


@pytest.mark.parametrize("way", WAYS)
def test_that_a_run_ends_by_itself_and_when_killed_on_the_way_with_the_same_bits(place, monkeypatch, way):
    text = PATIENT.replace("{kind: es_mda, steps: 2}", f"{{kind: es_mda, alphas: {WAYS[way]}}}")
    workflow = written(place, text, WELL)
    reference = run_inline(workflow, place / "reference")
    alphas = alphas_of(place / "reference")
    assert 2 <= len(alphas) < 50
    assert abs(sum(1 / alpha for alpha in alphas) - 1) < 1e-8
    folder = place / "run"
    # Before, or among, the updates of the second step.
    killed_at({"phase": "prepare", "step": 1}, "run", workflow, "--run", folder)
    monkeypatch.setattr(launch, "_pool", pool_of([]))
    assert daflow.open_run(folder).resume().kind == "finished"
    run = daflow.open_run(folder)
    assert alphas_of(folder) == alphas
    assert_same_bits(finals(run), finals(reference))
