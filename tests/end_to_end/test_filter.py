"""A filter on Lorenz-96: killed amid forecasts, analyses, smoothing the same bits, and the loop in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import daflow
from daflow.assemble.driving import launch
from daflow.assemble.folder import make_run
from daflow.assemble.reading.contents import outcomes_of
from daflow.assemble.reading.cycle_scores import cycle_scores
from daflow.config.load import load_workflow
from daflow.models.integrators import rk4_step
from daflow.models.lorenz96 import lorenz96_tendency
from daflow.numerics.filters.cycling import Twin, cycle, filtering
from daflow.numerics.filters.ensemble_transform import apply_transform
from daflow.numerics.filters.filter_transforms import etkf
from tests.assemble.branch_runs import pool_of
from tests.end_to_end.small_run import killed_at, run_inline, written

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

N_CYCLES = 10
FILTER = f"""
name: filter
seed: 7
ensemble: {{size: 28}}
parameters:
  x: {{shape: [40], dims: [component], prior: {{kind: normal, mean: 2.3, std: 2.0}}}}
model: {{kind: lorenz96, n: 40, n_times: {N_CYCLES}}}
observations: {{kind: twin, error: {{default: {{absolute: 1.0}}}}}}
cycling: {{lag: 3}}
method: {{kind: etkf}}
storage: {{slice_size: 8}}
execution: {{kind: local, workers: 1, group: 4}}
policy: {{retries: 100}}
"""


@pytest.fixture(scope="module")
def workflow(shared_place: Path) -> Path:
    return written(shared_place, FILTER)


@pytest.fixture(scope="module")
def reference(workflow: Path, shared_place: Path) -> daflow.Run:
    """A run that nothing disturbed, its tasks in an order of their own."""
    return run_inline(workflow, shared_place / "reference", seed=3)


def states(run: daflow.Run) -> list[np.ndarray]:
    """Return the forecasts and analyses of all cycles, and what they start from, smoothed."""
    analyses = [run.state(step)["x"].values for step in range(N_CYCLES + 1)]
    smoothed = [run.smoothed(step)["x"].values for step in range(N_CYCLES)]
    return analyses + smoothed + [run.forecast(step)["x"].values for step in range(N_CYCLES)]


def test_that_a_filter_killed_in_mid_forecast_analysis_and_smoothing_ends_with_the_same_bits(
    workflow, reference, place, monkeypatch
):
    made = make_run(load_workflow(workflow), place / "run", workflow.read_text())
    for phase, step in (("forecast", 3), ("update", 6), ("smooth", 1)):
        killed_at({"phase": phase, "step": step}, "resume", made.folder)
        assert daflow.open_run(made.folder).status().state == "interrupted"
    monkeypatch.setattr(launch, "_pool", pool_of([]))
    assert daflow.open_run(made.folder).resume().kind == "finished"
    for ours, theirs in zip(states(daflow.open_run(made.folder)), states(reference), strict=True):
        assert np.isfinite(ours).all()
        assert ours.tobytes() == theirs.tobytes()


def test_that_a_run_is_the_loop_in_memory_with_the_same_draws(reference):
    observed = reference.observations()
    truth = np.stack([reference.truth(step + 1)["x"].values for step in range(N_CYCLES)])
    values = observed["value"].values.reshape(N_CYCLES, 40)

    def forecast(members):
        return rk4_step(lambda state: lorenz96_tendency(state, 8.0), members, 0.05)

    def analysis(number, members, seen):
        transforms.append(etkf(members, seen, np.ones(40)))
        return apply_transform(transforms[-1], members)

    analyses, transforms = [], []
    scores = cycle(
        filtering(forecast, analysis),
        reference.state(0)["x"].values,
        Twin(truth, values),
        lambda number, members: analyses.append(members),
    )
    for step, expected in enumerate(analyses):
        np.testing.assert_allclose(reference.state(step + 1)["x"].values, expected, rtol=1e-12, atol=1e-12)
    for step in range(N_CYCLES):
        expected = reference.state(step)["x"].values
        for transform in transforms[step : step + 3]:
            expected = apply_transform(transform, expected)
        np.testing.assert_allclose(reference.smoothed(step)["x"].values, expected, rtol=1e-11, atol=1e-11)
    noted = cycle_scores(outcomes_of(reference._made), reference._made.layout)
    assert [each.time for each in noted] == pytest.approx(0.05 * np.arange(1, N_CYCLES + 1))
    np.testing.assert_allclose([each.forecast_rmse["x"] for each in noted], scores.forecast_rmse, atol=1e-6)
    np.testing.assert_allclose([each.analysis_rmse["x"] for each in noted], scores.analysis_rmse, atol=1e-6)
