"""The filters as a whole, each at its setting, on the Lorenz-96 model: a short run near its known error."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "workflows" / "lorenz96"
N_CYCLES = 300
# The error of one run of 300 cycles varies by about 0.011 from seed to seed.
MARGIN = 0.05


@pytest.fixture
def comparison(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module("compare_filters")


@pytest.mark.parametrize(
    "name", ["enkf", "etkf", "denkf", "ensrf", "local_eakf", "letkf", "enkf_n", "enkf_n_certain"]
)
def test_that_filters_stay_close_to_the_truth(comparison, name):
    scheme = comparison.SCHEMES[name]
    scores = comparison.run(scheme, 1, N_CYCLES)
    assert scores.analysis_rmse.mean() < scheme.reference.rmse + MARGIN
    assert scores.analysis_rmse.mean() < scores.forecast_rmse.mean()
    assert 0.95 < scores.analysis_spread.mean() / scores.analysis_rmse.mean() < 1.35


def test_that_an_iterative_smoother_follows_what_other_filters_lose(comparison):
    """Observed every 0.6 only, forecasts are far from linear; the climatology's deviation is 3.6."""
    scheme = comparison.SCHEMES["ienks"]
    scores = comparison.run(scheme, 1, 40, spin_up=20)
    assert scores.analysis_rmse.mean() < 0.7
    assert scores.forecast_rmse.mean() > 2 * scores.analysis_rmse.mean()


def test_that_the_command_prints_what_it_found(tmp_path):
    command = [
        sys.executable,
        FOLDER / "compare_filters.py",
        "--cycles",
        "40",
        "--seeds",
        "2",
        "--only",
        "etkf",
    ]
    table = subprocess.run(command, capture_output=True, text=True, check=False)
    assert table.returncode in {0, 1}, table.stderr
    assert table.stdout.splitlines()[2].startswith("| ETKF | inflation 1.02, rotated | 28 | 0.")
    found = json.loads(
        subprocess.run([*command, "--json"], capture_output=True, text=True, check=False).stdout
    )
    assert [each["scheme"] for each in found] == ["etkf"]
    assert len(found[0]["analysis_rmse"]) == 2
    refused = subprocess.run([*command, "--only", "4dvar"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "denkf" in refused.stderr


@pytest.fixture
def shrinkage(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module("compare_shrinkage")


def test_that_the_target_of_shrinkage_is_the_climatology(shrinkage):
    target = shrinkage.climatology()
    row = ((target.basis * target.eigenvalues) @ target.basis.T)[0]
    # Of another implementation, 10,000 members over 900 times.
    np.testing.assert_allclose(row[:5], [13.248, 0.867, -4.793, -1.703, 0.838], atol=0.03)
    assert target.eigenvalues[[0, -1]] == pytest.approx([31.3, 5.45], rel=0.01)


def test_that_shrinkage_keeps_a_filter_of_few_members_from_diverging(shrinkage):
    target = shrinkage.climatology(n_members=200)
    few, adaptive, plain = (
        shrinkage.run(shrinkage.Setting(*setting, 0.0, 0.0), target, 1, 200)
        for setting in ((5, 100, 0.85), (14, 100, None), (5, 100, 0.0))
    )
    assert few[0] < 0.5
    assert adaptive[0] < 0.45
    assert 0.6 < adaptive[2] < 0.75
    assert plain[0] > 1.0
