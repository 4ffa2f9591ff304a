"""The update without localization, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from side_by_side import peers
from side_by_side.contest import Aim, Case, Contender
from side_by_side.limits import GEMM, gemm, global_operations
from side_by_side.ours import es_mda, fed_es_mda, updated
from side_by_side.problems import Problem

from daflow.numerics.inversion.global_update import update_in_place

OURS = "daflow"
IN_A_RUN = "daflow, as a run's worker"
DRAWN = "daflow, as a run's worker, perturbations drawn"
IN_BATCHES, IN_ONE = "IES in place, batches of 5,000", "IES in place, one batch"
INVERSIONS = ("woodbury", "subspace_rescaled")
BEST_PYESMDA = tuple(f"pyESMDA {inversion}" for inversion in INVERSIONS)
PYESMDA_IN_PLACE = f"pyESMDA {INVERSIONS[0]}, added in place by us"
FASTEST = (IN_BATCHES, IN_ONE, *BEST_PYESMDA)


def in_place(problem: Problem) -> Contender:
    """Return the update of an ensemble in memory."""

    def update() -> None:
        update_in_place(problem.buffer, problem.predicted, problem.perturbed, problem.variances)

    return Contender(OURS, update, problem.refill, result=lambda: problem.buffer)


def at_best(place: Path, n_state: int, n_obs: int, n_members: int) -> Sequence[Contender]:
    """Return each peer's best way."""
    problem = Problem(n_state, n_obs, n_members)
    return [
        gemm(global_operations(n_state, n_obs, n_members)),
        *peers.ies(problem, IN_BATCHES, peers.BATCH),
        *peers.ies(problem, IN_ONE, n_state),
        *(contender for inversion in INVERSIONS for contender in peers.pyesmda(problem, inversion)),
        *peers.pyesmda_in_place(problem, INVERSIONS[0]),
        updated(problem, IN_A_RUN, fed_es_mda(problem)),
        in_place(problem),
    ]


def as_shipped(place: Path, n_state: int, n_obs: int, n_members: int) -> Sequence[Contender]:
    """Return what users get who change nothing."""
    problem = Problem(n_state, n_obs, n_members)
    return [
        *peers.pyesmda_as_shipped(problem),
        *peers.ies_default(problem),
        updated(problem, DRAWN, es_mda(problem)),
    ]


def everybody(place: Path, n_state: int, n_obs: int, n_members: int) -> Sequence[Contender]:
    """Return every peer there is, those as well that make the gain or a system of all observations."""
    problem = Problem(n_state, n_obs, n_members)
    return [
        *peers.dageo(problem),
        *peers.dapper_enkf(problem),
        *at_best(place, n_state, n_obs, n_members),
    ]


SMALL = {"n_state": 200, "n_obs": 30, "n_members": 10}
TITLE = "global update, {n_state:,} x {n_members}, {n_obs:,} observations"
FLOOR = "the floating-point operations that no update does without, at the speed of a large matrix product"

CASES = (
    Case(
        "global-A",
        f"{TITLE} (A)",
        everybody,
        {"n_state": 100_000, "n_obs": 1_000, "n_members": 100},
        SMALL,
        (
            Aim(OURS, 0.0, (IN_BATCHES,), sense="beside"),
            Aim(OURS, 0.0, ("dageo",), sense="beside"),
            Aim(OURS, 0.0, ("DAPPER EnKF",), sense="beside"),
        ),
        FLOOR,
    ),
    Case(
        "global-B",
        f"{TITLE} (B)",
        at_best,
        {"n_state": 1_000_000, "n_obs": 1_000, "n_members": 100},
        SMALL,
        (
            Aim(OURS, 0.50, (IN_BATCHES,)),
            Aim(OURS, 0.35, BEST_PYESMDA),
            Aim(OURS, 0.0, (PYESMDA_IN_PLACE,), sense="beside"),
            Aim(OURS, 0.55, (GEMM,), sense="at least"),
            Aim(OURS, 20, figure="extra", unit="MB"),
        ),
        FLOOR,
        memory=(OURS, IN_BATCHES, IN_ONE, *BEST_PYESMDA),
    ),
    Case(
        "global-shipped",
        f"{TITLE}, as shipped",
        as_shipped,
        {"n_state": 1_000_000, "n_obs": 1_000, "n_members": 100},
        SMALL,
        (
            Aim(DRAWN, 0.04, ("pyESMDA as shipped",), figure="wall"),
            Aim(DRAWN, 0.16, ("IES default",)),
        ),
    ),
    Case(
        "global-D",
        f"{TITLE} (D)",
        at_best,
        {"n_state": 1_000_000, "n_obs": 10_000, "n_members": 100},
        SMALL,
        (Aim(OURS, 0.40, FASTEST),),
        FLOOR,
    ),
    Case(
        "global-E",
        f"{TITLE} (E)",
        at_best,
        {"n_state": 200_000, "n_obs": 5_000, "n_members": 500},
        SMALL,
        (Aim(OURS, 0.70, FASTEST), Aim(OURS, 0.80, (GEMM,), sense="at least")),
        FLOOR,
    ),
)
