"""The climate workflow's scripts as modules, and data of a climate that is known."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import yaml

from daflow.models.energy_balance import Layers, temperatures_of

CLIMATE = Path(__file__).parents[2] / "workflows" / "climate"
DATA = Path(os.environ.get("DAFLOW_DATA", "nowhere")) / "climate"
REAL = pytest.mark.skipif(
    not (DATA / "hadcrut5_ensemble.npz").is_file(), reason="the climate data are not there: set DAFLOW_DATA"
)
FIRST, YEARS = 1750, np.arange(1850, 2025)


def script(name):
    """Return one of the workflow's scripts as a module: the folder is no package."""
    spec = importlib.util.spec_from_file_location(f"climate_{name}", CLIMATE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


prepare, summarise = script("prepare"), script("summarise")
with mock.patch.dict(sys.modules, {"summarise": summarise}):  # which it finds beside itself, run as a script
    exact = script("exact")
WORKFLOW = yaml.safe_load((CLIMATE / "workflow.yaml").read_text())


def write_known_climate(folder):
    """Write the data of a climate of ECS 3 K, of factors 1, and of errors as the scripts take them."""
    rng = np.random.default_rng(5)
    years = np.arange(FIRST, YEARS[-1] + 1)
    since = (years - FIRST) / 274.0
    best = pd.DataFrame(0.0, pd.Index(years, name="year"), list(WORKFLOW["model"]["terms"]))
    best["CO2"], best["aerosol"] = 2.3 * since**2, -since
    best["volcanic"] = np.where(rng.random(years.size) < 0.04, -2.0, 0.1)
    for agent in best.columns.drop(["CO2", "aerosol", "volcanic"]):
        best[agent] = 0.05 * since
    for name, factor in ((prepare.BEST, 1.0), (prepare.LOW, 0.8), (prepare.HIGH, 1.3)):
        table = factor * best
        table.assign(total=table.sum(axis=1)).to_csv(folder / name)
    layers = Layers(prepare.CMIP6.layers.capacities, np.array([3.93 / 3.0, 2.34, 0.77]), 1.27)
    forced = temperatures_of(layers.propagator(1.0)[np.newaxis], best.sum(axis=1).to_numpy()[np.newaxis])
    truth = forced[0, YEARS[0] - FIRST :, 0]
    variability = prepare.internal_variability(prepare.CMIP6, YEARS.size)
    truth = truth + np.linalg.cholesky(variability) @ rng.standard_normal(YEARS.size)
    truth = truth - truth[(YEARS >= 1961) & (YEARS <= 1990)].mean()
    realizations = (
        truth + 0.03 * rng.standard_normal((200, 1)) + 0.02 * rng.standard_normal((200, YEARS.size))
    )
    anomalies = pd.DataFrame({"year": YEARS, "anomaly_degC": realizations.mean(axis=0)})
    anomalies.to_csv(folder / prepare.SERIES, index=False)
    np.savez(
        folder / prepare.ENSEMBLE,
        anomaly_degC=realizations.astype(np.float32),
        coverage_std_degC=np.full(YEARS.size, 0.02),
        year=YEARS,
    )


def prepared(data, folder):
    """Return the workflow file in a folder of its own, beside what the data make."""
    prepare.prepare(data, folder / "derived")
    return Path(shutil.copy(CLIMATE / "workflow.yaml", folder))
