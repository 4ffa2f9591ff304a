"""The Egg workflow with the real simulator, cut down to three members and one step."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import daflow
from daflow.config.load import load_workflow

WORKFLOW = Path(__file__).parents[2] / "workflows" / "egg" / "workflow.yaml"
DATA = Path(os.environ.get("DAFLOW_DATA", "")) / "egg" / "egg_permx.npz"
SMALL = ("ensemble.size=3", "method.steps=1", "policy.min_members=3")


@pytest.mark.flow
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("flow") is None, reason="OPM Flow is not installed")
@pytest.mark.skipif(not DATA.is_file(), reason="the Egg data are not there: set DAFLOW_DATA")
def test_that_the_egg_model_is_matched_better_after_a_step(tmp_path):
    run = daflow.run(load_workflow(WORKFLOW, SMALL), tmp_path / "run")
    observed = run.observations()
    assert observed.sizes["obs"] == 288
    misfit = [
        float((((run.predicted(step) - observed.value) / observed.error_std) ** 2).mean()) for step in (0, 1)
    ]
    assert misfit[1] < misfit[0]
    permeability = run.parameters(0).log_permx
    assert permeability.dims == ("member", "layer", "row", "column")
    with np.load(DATA) as archive:
        np.testing.assert_array_equal(permeability[2], np.log(archive["permx"][3].astype(np.float64)))
    assert (run.folder / "report.html").stat().st_size > 10_000
