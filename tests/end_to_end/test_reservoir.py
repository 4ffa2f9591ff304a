"""The demonstration, cut down to twelve members and one step."""

from __future__ import annotations

from pathlib import Path

import pytest

import daflow
from daflow.config.load import load_workflow

WORKFLOW = Path(__file__).parents[2] / "workflows" / "reservoir" / "workflow.yaml"
SMALL = ("ensemble.size=12", "method.steps=1", "policy.min_members=12")


@pytest.mark.slow
def test_that_the_water_flood_is_matched_better_after_a_step(tmp_path):
    run = daflow.run(load_workflow(WORKFLOW, SMALL), tmp_path / "run")
    observed = run.observations()
    misfit = [
        float((((run.predicted(step) - observed.value) / observed.error_std) ** 2).mean()) for step in (0, 1)
    ]
    assert misfit[1] < misfit[0] / 2
    assert run.parameters(1).log_permeability.sizes == {"member": 12, "row": 64, "column": 160}
    page = (run.folder / "report.html").read_text()
    assert "P8" in page
    assert "Truth" in page
