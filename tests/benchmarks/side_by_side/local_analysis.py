"""Analyses of each point by the observations in its reach, their errors weighed by distance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from side_by_side import peers
from side_by_side.contest import Aim, Case, Contender
from side_by_side.ours import fed_es_mda, locality, points_of, updated
from side_by_side.problems import Field

from daflow.numerics.localization.cells import LocalizationPlan
from daflow.numerics.localization.letkf import add_letkf_analysis

STOCHASTIC, LETKF, DAPPER = "daflow, stochastic local analysis", "daflow, LETKF", "DAPPER LETKF"
EVERY = 1 / 300
"""The part of the points that DAPPER is given."""


def letkf(field: Field) -> Contender:
    """Return the LETKF in place; the plan, made once a run, is ready."""
    plan = LocalizationPlan.from_arrays(locality(field, "observation_error").plan(points_of(field)))

    def update() -> None:
        mean = field.predicted.mean(axis=0)
        scale = 1.0 / np.sqrt(field.variances * (field.n_members - 1))
        anomalies, innovation = (field.predicted - mean) * scale, (field.values - mean) * scale
        add_letkf_analysis(plan, field.buffer, anomalies.T, innovation)

    columns = peers.spread(field, int(field.n_state * EVERY))
    return Contender(LETKF, update, field.refill, result=lambda: field.buffer[:, columns])


def local_analyses(
    place: Path, n_state: int, n_obs: int, n_members: int, in_reach: float
) -> Sequence[Contender]:
    """Return DAPPER on a part of the points, and both of ours on all."""
    field = Field(n_state, n_obs, n_members, in_reach)
    stochastic = fed_es_mda(field, locality(field, "observation_error"))
    return [
        *peers.dapper_letkf(field, int(n_state * EVERY)),
        updated(field, STOCHASTIC, stochastic, compared=False),
        letkf(field),
    ]


CASES = tuple(
    Case(
        f"local-{name}",
        "local analyses, {n_state:,} points x {n_members}, {n_obs:,} observations, {in_reach} in reach",
        local_analyses,
        {"n_state": n_state, "n_obs": 1_000, "n_members": 100, "in_reach": 18.6},
        {"n_state": 900, "n_obs": 30, "n_members": 10, "in_reach": 4},
        (Aim(STOCHASTIC, 0.01, (DAPPER,)), Aim(LETKF, 0.05, (DAPPER,))),
    )
    for name, n_state in (("1e5", 316**2), ("1e6", 1_000**2))
)
