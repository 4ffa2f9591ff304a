"""Real runs whose alphas are found on the way: they end by themselves, killed or not, with the same bits."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

import daflow
from daflow.names import Phase
from daflow.runs.facts import fold
from daflow.runs.journal import read_journal
from tests.end_to_end.small_run import CALLABLE, assert_same_bits, command, finals, run_inline, start, written

PATIENT = CALLABLE + "policy: {retries: 100}\nexecution: {kind: local, workers: 1, group: 3}\n"
WAYS = {"discrepancy": "discrepancy", "restricted": "{restricted: {trials: 6}}"}
SLOW = """
import time

def forecast(parameters, observations):
    time.sleep(0.02)
    return parameters["level"][:3] ** 2 + parameters["level"][4:7]
"""

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
def test_that_a_run_ends_by_itself_and_when_killed_on_the_way_with_the_same_bits(place, way):
    text = PATIENT.replace("{kind: es_mda, steps: 2}", f"{{kind: es_mda, alphas: {WAYS[way]}}}")
    workflow = written(place, text, SLOW)
    reference = run_inline(workflow, place / "reference")
    alphas = alphas_of(place / "reference")
    assert 2 <= len(alphas) < 50
    assert abs(sum(1 / alpha for alpha in alphas) - 1) < 1e-8
    folder = place / "run"
    driver = start("run", workflow, "--run", folder)
    # Among the updates of the second step.
    while driver.poll() is None and (Phase.PREPARE, 1) not in fold(facts_of(folder)).survivors:
        time.sleep(0.005)
    assert driver.poll() is None
    os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate()
    resumed = command("resume", folder)
    assert resumed.returncode == 0, resumed.stderr
    run = daflow.open_run(folder)
    assert run.status().state == "finished"
    assert alphas_of(folder) == alphas
    assert_same_bits(finals(run), finals(reference))
