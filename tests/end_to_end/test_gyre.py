"""The ocean gyre and the ring as runs that cycle, and the gyre's comparison of filters, small."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import daflow
from daflow.config.load import load_workflow
from daflow.models.quasigeostrophic import spacings

WORKFLOWS = Path(__file__).parents[2] / "workflows"
FOLDER = WORKFLOWS / "quasigeostrophic"


@pytest.fixture
def gyre(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module("compare_gyre")


def test_that_a_restricted_field_is_the_smooth_field_it_came_from(gyre):
    coarse = gyre.Basin((31, 15), 8)
    fine = coarse.finer

    def smooth(shape):
        (height, width), (y, x) = spacings(shape), np.indices(shape)
        return np.sin(0.5 * np.pi * height * (y + 1)) * np.sin(np.pi * width * (x + 1))

    found = gyre.experiment.__globals__["restricted"](smooth(fine.shape)[np.newaxis], coarse.shape)
    # Full weighting of a sine is the sine times cos^2 of half a fine step along each axis.
    np.testing.assert_allclose(found[0].reshape(coarse.shape), smooth(coarse.shape), rtol=0.01)


def test_that_observed_points_are_spread_over_the_basin(gyre):
    basin = gyre.Basin((63, 31), 8)
    assert len(np.unique(basin.observed)) == 150
    places = basin.places[basin.observed]
    np.testing.assert_allclose(places.mean(axis=0), [0.5, 1.0], atol=0.02)


def test_that_the_comparison_goes_through_and_filters_learn(gyre, monkeypatch):
    monkeypatch.setattr(gyre, "N_SNAPSHOTS", 20)
    monkeypatch.setattr(gyre, "SPIN_UP", 2)
    monkeypatch.setattr(import_module("gyre_twin"), "SPIN_UP_DAYS", 20)
    results = gyre.compare(gyre.Basin((15, 7), 8), list(gyre.FILTERS), [6], n_runs=1, n_days=4)
    assert [each.name for each in results] == list(gyre.FILTERS)
    assert all(np.isfinite(each.rmse[0]) for each in results)
    assert len(gyre.table(results).splitlines()) == 2 + len(results)


@pytest.mark.parametrize(
    ("name", "variable", "fewer"),
    [
        ("lorenz96", "start", ["model.n_times=8"]),
        ("quasigeostrophic", "psi", ["model.n_times=2", "ensemble.size=12"]),
    ],
)
def test_that_a_filter_s_run_comes_close_to_the_truth(place, name, variable, fewer):
    workflow = load_workflow(WORKFLOWS / name / "workflow.yaml", fewer)
    run = daflow.run(workflow, place / name)
    steps = run.n_steps
    error = [
        float(np.sqrt(np.square(run.state(k).mean("member") - run.truth(k))[variable].mean()))
        for k in range(steps + 1)
    ]
    assert error[-1] < 0.4 * error[0]
    spread = float(run.state(steps)[variable].std("member").mean())
    assert 0.2 < spread / error[-1] < 5
