"""The peers, each called the way that is best for it, and the way that its users call it.

A peer takes part where it is installed; ``make bench`` installs all of them, the tests do without. All work
on arrays that hold members fastest, (n_state, n_members), but dageo and DAPPER: these get members first.
"""

# ruff: noqa: PLC0415 - peers are imported where they are installed

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from side_by_side.contest import Contender
from side_by_side.problems import Field, Problem

BATCH = 5_000
"""The batch of pyESMDA's default, and a good one for iterative_ensemble_smoother."""
PROJECTING = frozenset({"subspace", "subspace_rescaled"})
"""pyESMDA's inversions on the space of the predictions: with a taper that is another estimator."""
OWN_DRAWS = "draws its own perturbations"


def installed(*names: str) -> bool:
    """Say whether all of these packages can be imported."""
    return all(find_spec(name) is not None for name in names)


def batches(n_state: int, size: int = BATCH) -> Iterator[slice]:
    """Yield slices of a state."""
    return (slice(start, min(start + size, n_state)) for start in range(0, n_state, size))


def ies(problem: Problem, name: str, batch: int) -> list[Contender]:
    """Return iterative_ensemble_smoother's ES-MDA, in place, in batches of that size."""
    if not installed("iterative_ensemble_smoother"):
        return []
    from iterative_ensemble_smoother import ESMDA

    noise = np.ascontiguousarray((problem.perturbed - problem.values).T)
    predicted = np.ascontiguousarray(problem.predicted.T)

    def update() -> None:
        smoother = ESMDA(covariance=problem.variances, observations=problem.values, alpha=1)
        smoother.prepare_assimilation(Y=predicted, truncation=1.0, observation_perturbations=noise)
        for rows in batches(problem.n_state, batch):
            smoother.assimilate_batch(X=problem.buffer_columns[rows], overwrite=True)

    return [_in_columns(problem, name, update)]


def ies_default(problem: Problem) -> list[Contender]:
    """Return iterative_ensemble_smoother's ES-MDA as its documentation shows it."""
    if not installed("iterative_ensemble_smoother"):
        return []
    from iterative_ensemble_smoother import ESMDA

    predicted = np.ascontiguousarray(problem.predicted.T)

    def update() -> None:
        smoother = ESMDA(covariance=problem.variances, observations=problem.values, alpha=1, seed=1)
        smoother.prepare_assimilation(Y=predicted)
        smoother.assimilate_batch(X=problem.prior_columns)

    return [Contender("IES default", update, note=f"{OWN_DRAWS}, truncation 0.99")]


def pyesmda(problem: Problem, inversion: str) -> list[Contender]:
    """Return one of pyESMDA's inversions, in one batch, added as its analysis adds it: into a new array."""
    if not installed("pyesmda"):
        return []
    increment = _pyesmda_increment(problem, inversion)
    made: dict[str, Any] = {}

    def update() -> None:
        made["posterior"] = problem.buffer_columns + increment()

    name = f"pyESMDA {inversion}"
    return [Contender(name, update, problem.refill_columns, result=lambda: made["posterior"].T)]


def pyesmda_in_place(problem: Problem, inversion: str) -> list[Contender]:
    """Return the same, its increment added in place: no way of its users, but what its formulas allow."""
    if not installed("pyesmda"):
        return []
    increment = _pyesmda_increment(problem, inversion)

    def update() -> None:
        state = problem.buffer_columns
        state += increment()

    return [_in_columns(problem, f"pyESMDA {inversion}, added in place by us", update)]


def _pyesmda_increment(problem: Problem, inversion: str) -> Callable[[], Any]:
    from covmats import CovViaDiagonal
    from pyesmda._inversion import ESMDAInversionType
    from pyesmda._inversion import inversion as increment

    observed, predicted = (np.ascontiguousarray(rows.T) for rows in (problem.perturbed, problem.predicted))
    error, kind = CovViaDiagonal(problem.variances), ESMDAInversionType(inversion)
    return lambda: increment(kind, 1.0, error, observed, predicted, problem.buffer_columns, truncation=1.0)


def pyesmda_as_shipped(problem: Problem) -> list[Contender]:
    """Return pyESMDA with every default: batches dealt to processes by joblib."""
    if not installed("pyesmda"):
        return []
    from covmats import CovViaDiagonal
    from pyesmda import ESMDA

    predicted = np.ascontiguousarray(problem.predicted.T)

    def update() -> None:
        ESMDA(
            obs=problem.values,
            m_init=problem.prior_columns,
            cov_obs=CovViaDiagonal(problem.variances),
            forward_model=lambda _: predicted,
            n_assimilations=1,
            is_forecast_for_last_assimilation=False,
        ).solve()

    return [Contender("pyESMDA as shipped", update, note=f"{OWN_DRAWS}, a process a core")]


def dageo(problem: Problem) -> list[Contender]:
    """Return dageo's ES-MDA, which makes the gain as a matrix."""
    if not installed("dageo"):
        return []
    from dageo import esmda

    def update() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            esmda(
                problem.prior,
                lambda _: problem.predicted,
                problem.values,
                np.sqrt(problem.variances),
                alphas=[1.0],
                data_prior=problem.predicted,
                return_post_data=False,
                random=1,
            )

    return [Contender("dageo", update, note=f"{OWN_DRAWS}, the gain in full")]


def dapper_enkf(problem: Problem) -> list[Contender]:
    """Return DAPPER's EnKF with perturbed observations, which solves a system of all observations."""
    if not installed("dapper"):
        return []
    from dapper.da_methods.ensemble import EnKF_analysis
    from dapper.tools.randvars import GaussRV

    noise = GaussRV(C=problem.variances, M=problem.n_obs)

    def update() -> None:
        EnKF_analysis(problem.prior, problem.predicted, noise, problem.values, "PertObs")

    return [Contender("DAPPER EnKF", update, note=OWN_DRAWS)]


def ies_localized(field: Field) -> list[Contender]:
    """Return iterative_ensemble_smoother's ES-MDA with a tapered gain, in place, the taper ready as csr."""
    if not installed("iterative_ensemble_smoother"):
        return []
    from iterative_ensemble_smoother.esmda_localized import LocalizedESMDA

    noise = np.ascontiguousarray((field.perturbed - field.values).T)
    predicted = np.ascontiguousarray(field.predicted.T)
    taper = field.taper

    def tapered(rows: slice) -> Callable[[Any], Any]:
        return lambda gain: taper[rows].multiply(gain).tocsr()

    def update() -> None:
        smoother = LocalizedESMDA(covariance=field.variances, observations=field.values, alpha=1)
        smoother.prepare_assimilation(Y=predicted, truncation=1.0, observation_perturbations=noise)
        for rows in batches(field.n_state):
            smoother.assimilate_batch(
                X=field.buffer_columns[rows], localization_callback=tapered(rows), overwrite=True
            )

    return [_in_columns(field, "IES LocalizedESMDA", update)]


def pyesmda_localized(field: Field, inversion: str) -> list[Contender]:
    """Return pyESMDA with a tapered cross-covariance, in place, in its batches, the taper ready as csr."""
    if not installed("pyesmda"):
        return []
    from covmats import CovViaDiagonal
    from pyesmda import FixedLocalization
    from pyesmda._inversion import ESMDAInversionType
    from pyesmda._inversion import inversion as increment

    observed, predicted = (np.ascontiguousarray(rows.T) for rows in (field.perturbed, field.predicted))
    error = CovViaDiagonal(field.variances)
    taper = FixedLocalization(field.taper)

    def update() -> None:
        kind = ESMDAInversionType(inversion)
        for rows in batches(field.n_state):
            state = field.buffer_columns[rows]
            state += increment(
                kind,
                1.0,
                error,
                observed,
                predicted,
                state,
                C_MD_localization=taper,
                truncation=1.0,
                batch_slice=rows,
            )

    name = f"pyESMDA sparse taper, {inversion}"
    if inversion in PROJECTING:
        return [Contender(name, update, field.refill_columns, note="projects out part of what is tapered")]
    return [_in_columns(field, name, update)]


def dapper_letkf(field: Field, n_points: int) -> list[Contender]:
    """Return DAPPER's LETKF of evenly spread points, one a batch, its taper ready; seconds scaled to all."""
    if not installed("dapper"):
        return []
    from dapper.da_methods.ensemble import local_analyses
    from dapper.tools.matrices import CovMat

    points = spread(field, n_points)
    rows = field.taper[points]
    near = {
        point: (rows.indices[a:b], rows.data[a:b])
        for point, a, b in zip(points, rows.indptr[:-1], rows.indptr[1:], strict=True)
    }
    error = CovMat(field.variances, "diag")
    columns = [np.array([point]) for point in points]

    def update() -> None:
        local_analyses(
            field.buffer, field.predicted, error, field.values, columns, lambda which: near[which[0]]
        )

    return [
        Contender(
            "DAPPER LETKF",
            update,
            field.refill,
            result=lambda: field.buffer[:, points],
            scale=field.n_state / len(points),
            note=f"{len(points):,} points, seconds scaled to all",
        )
    ]


def spread(field: Field, n_points: int) -> NDArray[np.int64]:
    """Return the numbers of points that lie evenly spread."""
    return np.arange(0, field.n_state, max(1, field.n_state // max(n_points, 1)))


def _in_columns(problem: Problem, name: str, update: Callable[[], None]) -> Contender:
    return Contender(name, update, problem.refill_columns, result=lambda: problem.buffer_columns.T)
