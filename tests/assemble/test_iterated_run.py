"""A run whose cycles are forecast several times: opened, reported, scored, refused where it cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from daflow.assemble.looking_ahead.preview import preview
from daflow.assemble.reading.contents import outcomes_of
from daflow.assemble.reading.cycle_scores import cycle_scores
from daflow.config.load import load_workflow
from daflow.errors import CombinationError, ConfigError
from daflow.models.integrators import rk4_step
from daflow.models.lorenz96 import lorenz96_tendency
from daflow.numerics.filters.ensemble_transform import apply_transform
from daflow.numerics.filters.ienks import iteration, no_transform
from tests.assemble.branch_runs import branch
from tests.end_to_end.small_run import run_inline, written

N_CYCLES, ITERATIONS, EVERY = 3, 2, 3
"""Forecasts a cycle: two that are corrected, and one to go on from."""
WORKFLOW = f"""
name: iterated
seed: 5
ensemble: {{size: 14}}
parameters:
  x: {{shape: [12], dims: [component], prior: {{kind: normal, mean: 2.3, std: 1.0}}}}
model: {{kind: lorenz96, n: 12, n_times: {2 * N_CYCLES}}}
observations: {{kind: twin, error: {{default: {{absolute: 0.5}}}}}}
cycling: {{window: 0.1}}
method: {{kind: ienks, iterations: {ITERATIONS}}}
storage: {{slice_size: 5}}
"""


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    return written(tmp_path_factory.mktemp("iterated"), WORKFLOW)


@pytest.fixture(scope="module")
def run(workflow):
    return run_inline(workflow, workflow.parent / "run", seed=2)


def forecast(members):
    """Return where members are after the two times of a cycle, and what they predict of both."""
    seen = []
    for _ in range(2):
        members = rk4_step(lambda state: lorenz96_tendency(state, 8.0), members, 0.05)
        seen.append(members)
    return members, np.concatenate(seen, axis=1)


def test_that_the_run_is_the_loop_in_memory(run):
    values = run.observations()["value"].values.reshape(N_CYCLES, 24)
    ensemble = run.state(0)["x"].values
    for number, observed in enumerate(values):
        transform, state, first = no_transform(14), ensemble, number * EVERY
        for turn in range(ITERATIONS):
            ended, predicted = forecast(state)
            np.testing.assert_allclose(run.forecast(first + turn)["x"].values, ended, rtol=0, atol=1e-10)
            transform = iteration(transform, predicted, observed, np.full(24, 0.25)).transform
            state = apply_transform(transform, ensemble)
            np.testing.assert_allclose(run.state(first + turn + 1)["x"].values, state, rtol=0, atol=1e-9)
        ensemble, _ = forecast(state)
        np.testing.assert_allclose(run.state(first + EVERY)["x"].values, ensemble, rtol=0, atol=1e-9)
        # Chaos makes much of little: each cycle is compared from the same start.
        ensemble = run.state(first + EVERY)["x"].values


def test_that_states_truths_and_observations_are_of_the_time_that_they_say(run):
    times = [0.0] * 3 + [0.1] * 3 + [0.2] * 3 + [0.3]
    for step, time in enumerate(times):
        assert run.state(step)["time"] == run.truth(step)["time"] == pytest.approx(time)
    for step in range(9):
        assert run.forecast(step)["time"] == pytest.approx(0.1 * (step // EVERY + 1))
        assert run.predicted(step)["step"].values.tolist() == [step // EVERY * EVERY] * 24
    for step in (0, 1, 2):
        assert run.truth(step).drop_vars("time").equals(run.truth(0).drop_vars("time"))
    ended, _ = forecast(run.truth(2)["x"].values[np.newaxis])
    np.testing.assert_allclose(run.truth(3)["x"].values, ended[0], atol=1e-12)


def test_that_scores_are_one_a_cycle(run, tmp_path):
    scores = cycle_scores(outcomes_of(run._made), run._made.layout)
    assert [each.step for each in scores] == [2, 5, 8]
    for each in scores:
        error = run.state(each.step + 1)["x"].mean("member") - run.truth(each.step + 1)["x"]
        assert each.analysis_rmse["x"] == pytest.approx(float(np.sqrt((error**2).mean())), rel=1e-6)
        assert each.forecast_rmse == each.forecast_spread == {}
        assert each.chi_square is not None
    page = run.report(tmp_path / "page.html").read_text()
    assert "3 analyses of 3" in page
    assert "analysis error" in page
    assert np.isfinite(run.diagnostics().load()["chi_square"]).all()


def test_that_the_preview_counts_what_a_run_writes(workflow, run):
    seen = preview(load_workflow(workflow))
    files = [
        path
        for name in ("parameters", "forecast", "predicted")
        for path in (run.folder / "ensemble.zarr").glob(f"step=*/{name}/c/*/*")
    ]
    assert (seen.n_steps, seen.forecasts, seen.n_obs) == (9, 9 * 14, 72)
    assert seen.store_files == len(files)


def test_that_members_are_widened_at_the_end_of_a_cycle_alone(workflow, run, tmp_path):
    wider = "inflation={kind: multiplicative, factor: 1.5, on: posterior}"
    widened = run_inline(workflow, tmp_path / "run", wider)
    for step in range(3):
        assert widened.state(step)["x"].values.tobytes() == run.state(step)["x"].values.tobytes()
    ours, plain = widened.state(3)["x"].values, run.state(3)["x"].values
    np.testing.assert_allclose(ours.mean(axis=0), plain.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(ours.std(axis=0), 1.5 * plain.std(axis=0), atol=1e-12)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("cycling=null", "a section cycling"),
        ("inflation={kind: multiplicative, factor: 1.1}", "on: posterior"),
        ("inflation={kind: relaxation, to: prior_spread, strength: 0.5}", "inflation"),
        ("observations.background_check={threshold: 3}", "observations as they are"),
        ("policy.missing_predictions=drop_observations", "missing_predictions"),
        ("localization={kind: index, radius: 3}", "localization"),
        ("cycling.lag=2", "lag"),
    ],
)
def test_that_what_does_not_go_with_repeated_cycles_is_refused(workflow, setting, said):
    with pytest.raises((CombinationError, ConfigError), match=said):
        preview(load_workflow(workflow, [setting]))


@pytest.mark.parametrize("setting", ["method.kind=etkf", "method.iterations=3"])
def test_that_a_branch_cannot_repeat_cycles_otherwise(run, setting):
    with pytest.raises(ConfigError, match="more often"):
        branch(run.folder, setting, step=0)
