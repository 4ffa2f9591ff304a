"""Config sections in, objects out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from daflow.assemble.sections.cycles import in_cycles, table_in_cycles
from daflow.assemble.sections.keys import stage_keys
from daflow.assemble.sections.methods import method_of, n_steps_of, surveys
from daflow.assemble.sections.quality import share_missing
from daflow.assemble.sections.resources import resources_of
from daflow.assemble.sections.storage_place import place_of
from daflow.config.execution import LocalExecution
from daflow.config.external_models import CommandSettings
from daflow.config.member_jobs import JobMember
from daflow.config.observations import TwinObservations
from daflow.config.parameters import (
    LogitTransform,
    LogTransform,
    NormalScoreTransform,
    ParameterSettings,
    TriangularTransform,
)
from daflow.config.policy import OnFailureSettings
from daflow.config.priors import GaussianFieldPrior, NormalPrior
from daflow.config.schema import Workflow
from daflow.errors import ConfigError
from daflow.execution.tasks.prior import ParameterPrior
from daflow.execution.tasks.twin import TwinObserver
from daflow.execution.tasks.workbench import Margins, View, Workbench
from daflow.inputs.observations import read_observations
from daflow.models import (
    EnergyBalance,
    KuramotoSivashinsky,
    Linear,
    Lorenz63,
    Lorenz96,
    LorenzTwoScale,
    Quasigeostrophic,
    Reservoir,
)
from daflow.models.callable import Callable as CallableModel
from daflow.models.command import Command
from daflow.names import Status
from daflow.numerics.priors import transforms
from daflow.numerics.priors.facies import Facies
from daflow.ports import Model, Observations, ObservationTable
from daflow.records import Cycle, Layout
from daflow.runs.decide import Plan
from daflow.runs.policy import Policy, retries_of
from daflow.runs.stragglers import StragglerRule
from daflow.storage import ZarrStore

MODELS: Mapping[str, Callable[[Any], Model]] = {
    "linear": Linear,
    "lorenz63": Lorenz63,
    "lorenz96": Lorenz96,
    "lorenz96_two_scale": LorenzTwoScale,
    "kuramoto_sivashinsky": KuramotoSivashinsky,
    "quasigeostrophic": Quasigeostrophic,
    "energy_balance": EnergyBalance,
    "reservoir": Reservoir,
    "callable": CallableModel,
    "command": Command,
}


def model_of(workflow: Workflow) -> Model:
    """Return the forward model."""
    settings = workflow.model
    if isinstance(settings, CommandSettings):
        # A command keeps its own time; both limits hold.
        limits = [each for each in (settings.timeout, workflow.policy.timeout) if each is not None]
        settings = settings.model_copy(update={"timeout": min(limits, default=None)})
        # On a cluster it is the nodes' modules and images that bring the program.
        here = isinstance(workflow.execution, LocalExecution)
        here = here and not isinstance(workflow.execution.member, JobMember)
        return Command(settings, resources_of(workflow.execution), elsewhere=not here)
    return MODELS[settings.kind](settings)


def prior_of(workflow: Workflow, layout: Layout) -> ParameterPrior:
    """Return where members, and the truth of a twin experiment, come from."""
    settings = workflow.observations
    truth = settings.truth if isinstance(settings, TwinObservations) else None
    return ParameterPrior(workflow.parameters, layout, workflow.seed, truth)


def observed_of(workflow: Workflow, model: Model) -> Observations | TwinObserver:
    """Return what was observed, or who observes the truth of a twin experiment."""
    settings = workflow.observations
    if isinstance(settings, TwinObservations):
        return TwinObserver(settings, table_in_cycles(workflow, _placed(model.observables())), workflow.seed)
    return in_cycles(workflow, read_observations(settings))


def _placed(table: ObservationTable) -> ObservationTable:
    """Return a table with a time and a place in every row, if only that it has none."""
    if missing := [column for column in ("name", "kind") if column not in table]:
        raise ConfigError(
            f"model.observables: the table has no column {' and no column '.join(missing)}",
            got=", ".join(table),
            allowed="name and kind, and if they matter time, x, y, z, and columns of the model's own",
            do="return them as well: who or where, and what, an observation is of",
        )
    nowhere = np.full(len(table["name"]), np.nan)
    return dict.fromkeys(("time", "x", "y", "z"), nowhere) | dict(table)


def table_of(observed: Observations | TwinObserver) -> ObservationTable:
    """Return the observation table, with or without its values."""
    return observed.table() if isinstance(observed, TwinObserver) else observed.table


def layout_of(workflow: Workflow, n_obs: int, cycles: tuple[Cycle, ...] = ()) -> Layout:
    """Return what the store's arrays look like; ``cycles`` are those of a filter."""
    return Layout(
        workflow.layout_variables(),
        workflow.ensemble.size,
        n_obs,
        workflow.layout_slice_size(),
        workflow.storage.dtype,
        workflow.storage.codec,
        workflow.storage.sharding,
        cycles,
        0 if workflow.cycling is None else workflow.cycling.lag,
    )


def plan_of(workflow: Workflow, layout: Layout) -> Plan:
    """Return all that the run is going to do."""
    n_steps, looks = len(layout.cycles) or n_steps_of(workflow), surveys(workflow)
    return Plan(
        workflow.ensemble.members,
        n_steps,
        layout.n_slices,
        isinstance(workflow.observations, TwinObservations),
        stage_keys(workflow, n_steps, surveys=looks),
        looks,
        last_forecast=not layout.cycles,
        smooths=layout.lag > 0,
    )


def policy_of(workflow: Workflow) -> Policy:
    """Return what follows when something fails."""
    settings = workflow.policy
    ends = {name: Status(name.replace("_", " ")) for name in OnFailureSettings.model_fields}
    retries = settings.retries
    cut = settings.stragglers
    return Policy(
        retries_of(
            retries if isinstance(retries, int) else {e: getattr(retries, n) for n, e in ends.items()}
        ),
        settings.min_members,
        frozenset(end for name, end in ends.items() if settings.consequence(name) == "stop"),
        settings.node_failures,
        None if cut is None else StragglerRule(cut.factor, 0.0 if cut.least == "min_members" else cut.least),
    )


def store_of(workflow: Workflow, folder: Path, layout: Layout) -> ZarrStore:
    """Return the store of a run in this folder."""
    return ZarrStore(place_of(workflow, folder), folder / "receipts", layout)


def margins_of(parameter: ParameterSettings, dtype: str) -> Margins:
    """Return how a variable is updated."""
    bounds = parameter.clip
    clip = None
    if bounds is not None:
        lower = -inf if bounds.lower is None else bounds.lower
        clip = (lower, inf if bounds.upper is None else bounds.upper)
    return Margins(_transform(parameter, dtype), clip)


def _transform(parameter: ParameterSettings, dtype: str) -> transforms.Transform:
    match parameter.transform:
        case LogTransform():
            return transforms.Log(dtype)
        case LogitTransform(lower=lower, upper=upper):
            return transforms.Logit(lower, upper, dtype)
        case TriangularTransform(lower=lower, mode=mode, upper=upper):
            return transforms.TriangularScore(lower, mode, upper, dtype)
        case NormalScoreTransform():
            return transforms.NormalScore()
        case _:
            return transforms.Identity()


def views_of(parameters: Mapping[str, ParameterSettings]) -> dict[str, View]:
    """Return what models see of variables that they do not see as they are."""
    views: dict[str, View] = {}
    for name, parameter in parameters.items():
        prior = parameter.prior
        if parameter.facies is not None and isinstance(prior, GaussianFieldPrior | NormalPrior):
            values = tuple(each.value for each in parameter.facies)
            shares = tuple(each.share for each in parameter.facies)
            views[name] = Facies(values, shares, prior.mean, prior.std).of
    return views


def bench_of(workflow: Workflow, folder: Path, n_obs: int, cycles: tuple[Cycle, ...] = ()) -> Workbench:
    """Return what a worker needs to carry out the tasks of the run in this folder."""
    layout = layout_of(workflow, n_obs, cycles)
    model = model_of(workflow)
    twin = observed_of(workflow, model) if isinstance(workflow.observations, TwinObservations) else None
    # A command keeps its own time and leaves its worker alive.
    timeout = None if workflow.model.kind == "command" else workflow.policy.timeout
    return Workbench(
        folder,
        workflow.seed,
        store_of(workflow, folder, layout),
        model,
        prior_of(workflow, layout),
        lambda observations: method_of(workflow, observations),
        tuple(margins_of(each, layout.dtype) for each in workflow.parameters.values()),
        plan_of(workflow, layout).keys,
        twin if isinstance(twin, TwinObserver) else None,
        timeout,
        share_missing(workflow.policy),
        views=views_of(workflow.parameters),
    )


def uses_watchdog(workflow: Workflow) -> bool:
    """Say whether forecasts are timed by ending their worker, which then can run only one at a time."""
    return workflow.model.kind != "command" and workflow.policy.timeout is not None
