"""Updates in which an observation reaches only so far, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from side_by_side import peers
from side_by_side.contest import Aim, Case, Contender
from side_by_side.limits import GEMM, gemm, localized_operations
from side_by_side.ours import fed_es_mda, locality, updated
from side_by_side.problems import Field

GAIN, COVARIANCE = "daflow, tapered gain", "daflow, tapered covariance"
IES = "IES LocalizedESMDA"
INVERSIONS = ("woodbury", "subspace_rescaled")
PYESMDA = tuple(f"pyESMDA sparse taper, {inversion}" for inversion in INVERSIONS)


def _field_and_floor(n_state: int, n_obs: int, n_members: int, in_reach: float) -> tuple[Field, Contender]:
    field = Field(n_state, n_obs, n_members, in_reach)
    return field, gemm(localized_operations(field.taper.nnz, n_obs, n_members))


def tapered_gain(
    place: Path, n_state: int, n_obs: int, n_members: int, in_reach: float
) -> Sequence[Contender]:
    """Return who multiplies the gain by the taper."""
    field, floor = _field_and_floor(n_state, n_obs, n_members, in_reach)
    ours = updated(field, GAIN, fed_es_mda(field, locality(field, "gain")), PLANNED)
    return [floor, *peers.ies_localized(field), ours]


def tapered_covariance(
    place: Path, n_state: int, n_obs: int, n_members: int, in_reach: float
) -> Sequence[Contender]:
    """Return who multiplies the covariance of state and predictions by the taper."""
    field, floor = _field_and_floor(n_state, n_obs, n_members, in_reach)
    theirs = [contender for name in INVERSIONS for contender in peers.pyesmda_localized(field, name)]
    ours = updated(field, COVARIANCE, fed_es_mda(field, locality(field, "cross_covariance")), PLANNED)
    return [floor, *theirs, ours]


PLANNED = "the plan of cells, made once a run, is ready, as the peers' tapers are"
FLOOR = "4 x members operations a pair in reach, at the speed of a large matrix product"
TITLE = "{n_state:,} points x {n_members}, {n_obs:,} observations, {in_reach} in reach"
SMALL = {"n_state": 400, "n_obs": 30, "n_members": 10, "in_reach": 4}


def _cases(name: str, n_state: int) -> tuple[Case, Case]:
    size = {"n_state": n_state, "n_obs": 1_000, "n_members": 100, "in_reach": 18.6}
    return (
        Case(
            f"gain-{name}",
            f"tapered gain, {TITLE}",
            tapered_gain,
            size,
            SMALL,
            (Aim(GAIN, 0.06, (IES,)), Aim(GAIN, 6.0, (GEMM,))),
            FLOOR,
        ),
        Case(
            f"covariance-{name}",
            f"tapered covariance, {TITLE}",
            tapered_covariance,
            size,
            SMALL,
            (Aim(COVARIANCE, 0.06, PYESMDA), Aim(COVARIANCE, 6.0, (GEMM,))),
            FLOOR,
        ),
    )


CASES = (*_cases("1e5", 316**2), *_cases("1e6", 1_000**2))
