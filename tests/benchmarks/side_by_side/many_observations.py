"""A step's preparation with very many observations, under errors of each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from side_by_side.contest import Aim, Case, Contender
from side_by_side.ours import es_mda
from side_by_side.problems import FloatArray, Problem

from daflow.inputs.obs_error import covariance_of
from daflow.numerics.obs_error.covariance import Covariance
from daflow.ports import Observations, StepInput

BLOCK = 100
RANK = 20
FEW, MANY = "a tenth of the observations", "all observations"


def _diagonal(n_obs: int) -> Error:
    return {}


def _block(n_obs: int) -> Error:
    near = np.exp(-np.abs(np.subtract.outer(np.arange(BLOCK), np.arange(BLOCK))) / 5.0)
    n_blocks = n_obs // BLOCK
    return {"blocks": np.tile(near.ravel(), n_blocks), "block_sizes": np.full(n_blocks, BLOCK)}


def _low_rank(n_obs: int) -> Error:
    return {"factor": np.random.default_rng(6).standard_normal((n_obs, RANK)), "variances": np.ones(n_obs)}


Error = Mapping[str, NDArray[Any]]
ERRORS: Mapping[str, Callable[[int], Error]] = {
    "diagonal": _diagonal,
    "block": _block,
    "low_rank": _low_rank,
}


def covariance(error: str, n_obs: int) -> Covariance:
    """Return R as a run has it, from the arrays of its store."""
    nowhere = np.zeros(n_obs)
    table = {"value": nowhere, "error_std": np.ones(n_obs)}
    return covariance_of(Observations(table, ERRORS[error](n_obs)))


def repeated(predicted: FloatArray) -> Callable[[int, int], FloatArray]:
    """Return a reader of predictions that go round and round these: as many as asked for, held nowhere."""
    n = predicted.shape[1]
    return lambda start, stop: predicted.take(np.arange(start, stop) % n, axis=1)


def preparations(place: Path, n_obs: int, n_members: int, error: str) -> Sequence[Contender]:
    """Return the preparation of a step with a tenth of the observations and with all of them."""
    return [_preparation(FEW, n_obs // 10, n_members, error), _preparation(MANY, n_obs, n_members, error)]


def _preparation(name: str, n_obs: int, n_members: int, error: str) -> Contender:
    made: list[Covariance] = []
    read = repeated(Problem(1, min(n_obs, 9_973), n_members).predicted)

    def make() -> None:
        made[:] = [covariance(error, n_obs)]

    def prepare() -> None:
        es_mda(Problem(1, n_obs, n_members), made[0]).prepare(StepInput(0, range(n_members), read, {}))

    return Contender(name, prepare, make, made.clear, note="perturbations drawn as well")


CASES = tuple(
    Case(
        f"observations-{error}",
        "prepare a step: {n_obs:,} observations, {n_members} members, R " + words,
        preparations,
        {"n_obs": 1_000_000, "n_members": 100, "error": error},
        {"n_obs": 2_000, "n_members": 8, "error": error},
        (Aim(MANY, 11.5, (FEW,)), Aim(MANY, 3_000, figure="peak", unit="MB")),
        "linear: ten times the observations, ten times the time",
        memory=(MANY,),
    )
    for error, words in (
        ("diagonal", "diagonal"),
        ("block", f"of blocks of {BLOCK}"),
        ("low_rank", f"of rank {RANK} and a diagonal"),
    )
)
