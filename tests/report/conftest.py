"""Contents of a small run, whole or cut short."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from daflow.names import Phase, Status
from daflow.report import (
    FieldMaps,
    MemberFailure,
    Moments,
    PhaseTiming,
    ReportContents,
    StepPredictions,
    StepSpread,
)


def field_maps(*, shape: tuple[int, int] = (6, 9), updated: bool = True, **changes: Any) -> FieldMaps:
    rng = np.random.default_rng(5)
    prior, posterior = (Moments(rng.normal(size=shape), rng.uniform(0.5, 1, shape)) for _ in range(2))
    given: dict[str, Any] = {
        "variable": "logk",
        "label": "log-permeability",
        "extent": (0.0, 90.0, 0.0, 60.0),
        "prior": prior,
        "posterior": posterior if updated else None,
        "truth": rng.normal(size=shape),
        "points": {"P1": (10.0, 10.0), "I1": (80.0, 50.0)},
    }
    return FieldMaps(**(given | changes))


def contents_of_run(*, n_forecasts: int = 3, n_times: int = 4, **changes: Any) -> ReportContents:
    rng = np.random.default_rng(4)
    wells, kinds = ("P1", "P2"), ("oil_rate", "pressure")
    rows = [(well, kind, 30.0 * time) for well in wells for kind in kinds for time in range(1, n_times + 1)]
    n_obs = len(rows)
    table = {
        "well": np.array([row[0] for row in rows]),
        "kind": np.array([row[1] for row in rows]),
        "time": np.array([row[2] for row in rows]),
        "value": rng.normal(10, 2, n_obs),
        "error_std": np.full(n_obs, 0.5),
    }
    predictions = [
        StepPredictions(step, range(8), table["value"] + rng.normal(0, 4 / (step + 1) ** 2, (8, n_obs)))
        for step in range(n_forecasts)
    ]
    given: dict[str, Any] = {
        "name": "small flood",
        "status": "finished",
        "when": "2030-01-02 03:04 UTC",
        "n_members": 8,
        "n_state": 54,
        "n_steps": 2,
        "observations": table,
        "predictions": predictions,
        "truth": table["value"] + 0.1,
        "maps": [field_maps(updated=n_forecasts > 1)],
        "failures": [
            MemberFailure(3, 1, 0, Status.FAILED, "no convergence", "logs/1/3/0"),
            MemberFailure(5, 1, 0, Status.LOST, "out of memory", "logs/1/5/0"),
            MemberFailure(5, 1, 1, Status.LOST, "out of memory", "logs/1/5/1"),
        ],
        "timings": [
            PhaseTiming(Phase.FORECAST, 0, 8, 4.0, 7.5, {"model_seconds": 6.0, "read_seconds": 0.5}),
            PhaseTiming(Phase.UPDATE, 0, 2, 1.0, 1.5, {"compute_seconds": 1.0, "write_seconds": 0.25}),
        ],
        "spread": [StepSpread(step, {"logk": 1 / (step + 1), "_hidden": 2.0}) for step in range(n_forecasts)],
        "summary": {"method": "ES-MDA, 2 steps"},
        "notes": ["A note to the reader."],
    }
    return ReportContents(**(given | changes))


@pytest.fixture
def make_maps() -> Callable[..., FieldMaps]:
    return field_maps


@pytest.fixture
def make_contents() -> Callable[..., ReportContents]:
    return contents_of_run


@pytest.fixture(scope="session")
def finished_contents() -> ReportContents:
    return contents_of_run()
