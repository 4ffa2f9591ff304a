"""What sections of a workflow file say about each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from daflow.config.execution import ExecutionSettings, LocalExecution, QueueExecution
from daflow.config.grids import AXES, EnsembleSettings, GridSettings
from daflow.config.localization import DistanceWeights, LocalizationSettings, distances
from daflow.config.observations import ArrayTruth, DrawnTruth, ObservationSettings, TwinObservations
from daflow.config.parameters import ParameterSettings
from daflow.config.policy import PolicySettings
from daflow.config.priors import ArrayPrior, GaussianFieldPrior
from daflow.config.section import Problem, nearest

Parameters = Mapping[str, ParameterSettings]
Grids = Mapping[str, GridSettings]


def unknown(key: str, what: str, name: str, known: Mapping[str, object]) -> Problem:
    """Return the problem of a name that stands nowhere, with the nearest that does."""
    near = nearest(name, known)
    meant = "" if near is None else f" (did you mean {near!r}?)"
    return Problem(key, f"{what}{meant}", name, ", ".join(known) or f"none is declared: there is no {name!r}")


def of_places(parameters: Parameters, grids: Grids) -> Iterator[Problem]:
    """Yield what is wrong with grids and dimensions."""
    if not parameters:
        yield Problem("parameters", "nothing to estimate", "no variable", "at least one")
    for name, parameter in parameters.items():
        key = f"parameters.{name}"
        if parameter.grid is not None and parameter.grid not in grids:
            yield unknown(f"{key}.grid", "there is no such grid", parameter.grid, grids)
            continue
        grid = None if parameter.grid is None else grids[parameter.grid]
        if grid is not None and name in {*grid.axes, *grid.dims}:
            yield Problem(key, "a variable on this grid cannot have the name of one of its axes", name)
        if grid is not None and isinstance(parameter.prior, GaussianFieldPrior):
            yield from _of_lengths(f"{key}.prior.lengths", parameter.prior, grid)
    yield from _of_dimensions(parameters, grids)


def _of_lengths(key: str, prior: GaussianFieldPrior, grid: GridSettings) -> Iterator[Problem]:
    if set(prior.lengths) != set(grid.axes):
        yield Problem(key, "one length an axis of the grid", _joined(prior.lengths), _joined(grid.axes))


def dims_of(name: str, parameter: ParameterSettings, grids: Grids) -> dict[str, int]:
    """Return the dimensions of a variable and their sizes, in order."""
    if parameter.grid is not None:
        grid = grids[parameter.grid]
        return dict(zip(grid.dims, grid.shape, strict=True))
    shape = parameter.shape or ()
    dims = parameter.dims or tuple(f"{name}_{i}" for i in range(len(shape)))
    return dict(zip(dims, shape, strict=True))


def _of_dimensions(parameters: Parameters, grids: Grids) -> Iterator[Problem]:
    placed = {name: one for name, one in parameters.items() if one.grid is None or one.grid in grids}
    first: dict[str, tuple[str, tuple[int, str | None]]] = {}
    for name, parameter in placed.items():
        for dim, size in dims_of(name, parameter, grids).items():
            if dim in parameters:
                yield Problem(f"parameters.{name}", "a dimension has the name of a variable", dim)
            owner, (n, grid) = first.setdefault(dim, (name, (size, parameter.grid)))
            # Two variables share a dimension where they share its grid, or where neither has coordinates.
            if (n, grid) != (size, parameter.grid):
                what = (
                    f"dimension {dim!r} is another one in {owner!r}: name the dimensions of one of them anew"
                )
                yield Problem(f"parameters.{name}", what, f"{size} here", f"{n} there, on the same grid")


def of_ensemble(
    ensemble: EnsembleSettings, policy: PolicySettings, parameters: Parameters
) -> Iterator[Problem]:
    """Yield what is wrong with the numbers of members."""
    n_members = len(ensemble.members)
    if policy.min_members > n_members:
        what = "more than there are members"
        yield Problem("policy.min_members", what, policy.min_members, f"2 to {n_members}")
    for name, parameter in parameters.items():
        prior = parameter.prior
        if (
            isinstance(prior, ArrayPrior)
            and prior.members is not None
            and len(prior.members) != ensemble.size
        ):
            got = f"{len(prior.members)} rows"
            yield Problem(
                f"parameters.{name}.prior.members", "one row a member", got, f"{ensemble.size} rows"
            )


def of_truth(
    observations: ObservationSettings, ensemble: EnsembleSettings, parameters: Parameters
) -> Iterator[Problem]:
    """Yield what is wrong with the truth of a twin experiment."""
    if not isinstance(observations, TwinObservations):
        return
    truth = observations.truth
    if isinstance(truth, ArrayTruth):
        for name in truth.arrays:
            if name not in parameters:
                yield unknown("observations.truth.arrays", "there is no such variable", name, parameters)
    if isinstance(truth, DrawnTruth):
        for name, parameter in parameters.items():
            if isinstance(parameter.prior, ArrayPrior):
                yield from _of_true_row(f"parameters.{name}.prior.truth", parameter.prior, ensemble)


def _of_true_row(key: str, prior: ArrayPrior, ensemble: EnsembleSettings) -> Iterator[Problem]:
    if prior.truth is None:
        yield Problem(key, "a twin experiment needs a true row", "null", "a row that is no member's")
        return
    rows = prior.rows(ensemble.size)
    if taken := [member for member in ensemble.members if rows[member : member + 1] == (prior.truth,)]:
        yield Problem(key, f"the truth would be member {taken[0]}", prior.truth, "a row that is no member's")


def of_localization(
    localization: LocalizationSettings, parameters: Parameters, grids: Grids
) -> Iterator[Problem]:
    """Yield what is wrong with the lengths of variables."""
    for key, weights in distances(localization):
        yield from _of_distance(key, weights, parameters, grids)


def _of_distance(
    section: str, weights: DistanceWeights, parameters: Parameters, grids: Grids
) -> Iterator[Problem]:
    for name in weights.variables:
        if name not in parameters:
            yield unknown(f"{section}.variables.{name}", "there is no such variable", name, parameters)
    for name, parameter in parameters.items():
        if weights.reach(name) is None:
            continue
        key = f"{section}.variables.{name}"
        if parameter.grid is None:
            what = f"variable {name!r} lies on no grid: distance means nothing to it"
            yield Problem(key, what, "no grid", f"{name}: none")
        elif parameter.grid in grids:
            yield from _of_axes(key, name, grids[parameter.grid], weights)


def _of_axes(key: str, name: str, grid: GridSettings, weights: DistanceWeights) -> Iterator[Problem]:
    for kind in (None, *weights.observations):
        reach = weights.reach(name, kind)
        beyond = (
            () if reach is None else [axis for axis in AXES if axis in set(reach.lengths) - set(grid.axes)]
        )
        if beyond:
            whose = "" if kind is None else f" for {kind!r}"
            what = f"the lengths{whose} count along {_joined(beyond)}, where the grid of {name!r} has no axis"
            yield Problem(
                key, what, _joined(beyond), f"lengths of its own along {_joined(grid.axes)}, or none"
            )
            return


def of_timeout(policy: PolicySettings, execution: ExecutionSettings, model_kind: str) -> Iterator[Problem]:
    """Yield what is wrong with a time limit.

    A command is ended by ending its process group. All other models run inside the worker: to end one is
    to end the worker, and whatever else runs in it.
    """
    in_process = model_kind != "command"
    if policy.timeout is None or not in_process:
        return
    # What the threads of other kinds are, their workers tell.
    if isinstance(execution, (LocalExecution, QueueExecution)) and execution.threads > 1:
        what = f"policy.timeout ends the worker in which a {model_kind!r} model runs, and the tasks beside it"
        more = "workers" if isinstance(execution, LocalExecution) else "processes"
        yield Problem("execution.threads", what, execution.threads, f"1 (and more {more}), or timeout: null")


def _joined(names: object) -> str:
    return ", ".join(map(str, names)) if isinstance(names, (list, tuple, Mapping)) else str(names)
