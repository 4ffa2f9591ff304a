"""Smoothers and inversions: what iterates over all observations, fitted to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from daflow.assemble.kinds import Kind
from daflow.assemble.localities import locality_of
from daflow.config.methods import EsMdaSettings, GeometricAlphas
from daflow.config.schema import Workflow
from daflow.inputs.observations import covariance_of
from daflow.methods import EsMda
from daflow.numerics.smoothers import schedules
from daflow.ports import Observations


def alphas_of(method: EsMdaSettings) -> tuple[float, ...]:
    """Return the alphas of the method, one a step."""
    if method.alphas == "constant":
        alphas = schedules.constant_alphas(method.steps)
    elif isinstance(method.alphas, GeometricAlphas):
        alphas = schedules.geometric_alphas(method.steps, method.alphas.ratio)
    else:
        alphas = schedules.given_alphas(method.alphas, normalise=method.normalise)
    return tuple(float(alpha) for alpha in alphas)


def _es_mda(workflow: Workflow, observations: Observations) -> EsMda:
    settings = workflow.method
    return EsMda(
        alphas_of(settings),
        np.asarray(observations.table["value"], dtype=np.float64),
        covariance_of(observations),
        workflow.seed,
        settings.inversion,
        settings.truncation,
        locality_of(workflow, observations.table),
        observations.numbers,
    )


SMOOTHERS: Final[Mapping[str, Kind]] = {
    "es_mda": Kind(_es_mda, lambda workflow: len(alphas_of(workflow.method))),
}
