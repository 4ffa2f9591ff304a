"""daflow's own updates, by the port that a worker calls them through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from side_by_side.contest import Contender
from side_by_side.problems import Field, FloatArray, Problem

from daflow.methods import DistanceLocality, EsMda, Locality
from daflow.numerics.localization.distance import DistanceTaper
from daflow.numerics.obs_error.covariance import Covariance, DiagonalCovariance
from daflow.ports import Method, Prepared, SliceInput, SlicePoints, StepInput
from daflow.records import StateSlice


@dataclass(frozen=True, eq=False)
class FedEsMda(EsMda):
    """ES-MDA with the perturbations that the peers are given as well."""

    observed: FloatArray | None = None
    """(n_members, n_obs)"""

    def prepare(self, given: StepInput) -> Prepared:
        """Return the factors of an update with the observations that each member is to see."""
        observed = self.observed
        if observed is None:
            return super().prepare(given)
        return Prepared(
            self.update.factors(given, self.alphas[given.step], lambda: lambda where, _: observed[:, where])
        )


def fed_es_mda(problem: Problem, locality: Locality | None = None) -> Method:
    """Return ES-MDA of one step that perturbs the observations as the problem says."""
    error = DiagonalCovariance(problem.variances)
    return FedEsMda((1.0,), problem.values, error, 1, locality=locality, observed=problem.perturbed)


def es_mda(problem: Problem, error: Covariance | None = None) -> Method:
    """Return ES-MDA of one step as a run has it."""
    return EsMda((1.0,), problem.values, error or DiagonalCovariance(problem.variances), 1)


def locality(field: Field, tapers: str) -> Locality:
    """Return the taper of a field, as a workflow says it: of ``gain``, ``cross_covariance`` or
    ``observation_error``."""
    length = field.reach / 2.0
    return DistanceLocality(
        tapers=tapers,
        obs_points=_placed(field.obs_points),
        kind_codes=np.zeros(field.n_obs, np.int64),
        rules={(0, 0): DistanceTaper("gaspari_cohn", (length, length, None))},
    )


def points_of(field: Field) -> SlicePoints:
    """Return where the numbers of a field lie."""
    return SlicePoints(np.zeros(field.n_state, np.int64), _placed(field.points))


def _placed(points: FloatArray) -> FloatArray:
    return np.column_stack([points, np.full(len(points), np.nan)])


def updated(
    problem: Problem, name: str, method: Method, note: str = "", *, compared: bool = True
) -> Contender:
    """Return a step's preparation and the update of the whole state as one slice, in place.

    What is found once a run, where the slice lies, is not timed. Results are compared where perturbations
    are given, unless nobody else in the case computes the same.
    """
    places = method.localize(lambda: points_of(problem)) if isinstance(problem, Field) else {}

    def update() -> None:
        members = range(problem.n_members)
        given = StepInput(0, members, lambda a, b: problem.predicted[:, a:b].copy(), {})
        factors = method.prepare(given).arrays
        whole = StateSlice(0, 0, problem.buffer.shape[1])
        method.apply(SliceInput(0, whole, members, factors, places, {}), problem.buffer)

    fed = getattr(method, "observed", None) is not None
    result = (lambda: problem.buffer) if fed and compared else None
    return Contender(name, update, problem.refill, result=result, note=note)
