"""How far observations reach: the section ``localization``, fitted to what was observed."""

from __future__ import annotations

import numpy as np

from daflow.assemble.kinds import inversion_of
from daflow.config.localization import DistanceLocalization
from daflow.config.observations import BlockError, DenseError, LowRankError
from daflow.config.schema import Workflow
from daflow.errors import CombinationError, DataError
from daflow.methods import DistanceLocality, Locality
from daflow.numerics.localization.distance import DistanceTaper, Rules
from daflow.ports import ObservationTable


def locality_of(workflow: Workflow, table: ObservationTable) -> Locality | None:
    """Return how far each observation reaches; None: everywhere.

    Raises
    ------
    daflow.errors.DataError
        The localization names a kind of observation that there is not.
    """
    settings = workflow.localization
    if not isinstance(settings, DistanceLocalization):
        return None
    kinds, codes = np.unique(np.asarray(table["kind"], dtype=str), return_inverse=True)
    for kind in settings.observations:
        if kind not in kinds:
            raise DataError(
                f"localization.observations.{kind}: there are no observations of that kind",
                got=kind,
                allowed=", ".join(kinds),
                do="name one of these kinds, or leave the entry out",
            )
    rules: Rules = {
        (variable, kind): _taper(settings, name, str(kinds[kind]))
        for variable, name in enumerate(workflow.parameters)
        for kind in range(len(kinds))
    }
    points = np.stack([np.asarray(table[axis], dtype=np.float64) for axis in ("x", "y", "z")], axis=1)
    if inversion_of(workflow) == "subspace" and settings.tapers == "cross_covariance":
        _refuse_subspace(len(codes), len(workflow.ensemble.members))
    if settings.tapers == "observation_error":
        _refuse_what_is_not_local(workflow)
    return DistanceLocality(settings.tapers, points, codes.astype(np.int64), rules)


def _refuse_subspace(n_obs: int, n_members: int) -> None:
    if n_obs >= n_members:
        raise CombinationError(
            "method.inversion subspace projects out what a tapered cross-covariance needs",
            got=f"{n_obs} observations, {n_members} members",
            allowed="fewer observations than members, localization.tapers: gain, or another inversion",
            do="set method.inversion: subspace_rescaled",
        )


def _refuse_what_is_not_local(workflow: Workflow) -> None:
    inversion, error = inversion_of(workflow), workflow.observations.error
    if inversion not in (None, "exact_cholesky"):
        raise CombinationError(
            "localization.tapers observation_error has an inversion of its own, each number's",
            got=f"method.inversion: {inversion}",
            allowed="method.inversion: exact_cholesky, or localization.tapers: gain | cross_covariance",
            do="set method.inversion: exact_cholesky",
        )
    if isinstance(error, DenseError | BlockError | LowRankError):
        raise CombinationError(
            "localization.tapers observation_error weighs errors one by one, and these depend on each other",
            got=f"observations.error.kind: {error.kind}",
            allowed="observations.error.kind: diagonal, or localization.tapers: gain | cross_covariance",
            do="set localization.tapers: gain",
        )


def _taper(settings: DistanceLocalization, variable: str, kind: str) -> DistanceTaper | None:
    reach = settings.reach(variable, kind)
    if reach is None:
        return None
    lengths = (reach.lengths.get("x"), reach.lengths.get("y"), reach.lengths.get("z"))
    return DistanceTaper(settings.family, lengths, reach.angle, settings.cutoff, settings.exponent)
