"""The filter with a shrunk covariance: its snapshots, and how the model observes a state at one time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from daflow.assemble.sections.cycles import cycles_of
from daflow.config.filters import ShrinkageEtkfSettings
from daflow.config.parameters import IdentityTransform
from daflow.config.schema import Workflow
from daflow.errors import CombinationError
from daflow.inputs.snapshots import StateSnapshots, open_snapshots
from daflow.methods.filters_networks import Networks
from daflow.methods.filters_shrinkage import (
    GaussianDraws,
    LaplaceDraws,
    LocalShrinkageFilter,
    Observe,
    ShrinkageFilter,
)
from daflow.methods.observed import Observed
from daflow.methods.shrinkage_choices import (
    Gamma,
    GivenGamma,
    Root,
    dynamic,
    ledoit_wolf,
    low_rank,
    rao_blackwell,
)
from daflow.models import KuramotoSivashinsky, Lorenz63, Lorenz96, LorenzTwoScale, Quasigeostrophic
from daflow.models.inputs import rows_asked
from daflow.models.trajectories import Trajectories
from daflow.ports import FloatArray, ObservationTable
from daflow.records import Cycle

OBSERVING: Final[Mapping[str, Callable[[Any], Trajectories]]] = {
    "lorenz63": Lorenz63,
    "lorenz96": Lorenz96,
    "lorenz96_two_scale": LorenzTwoScale,
    "kuramoto_sivashinsky": KuramotoSivashinsky,
    "quasigeostrophic": Quasigeostrophic,
}
"""The models that can say what would be observed of a state at one time."""
GAMMAS: Final[Mapping[str, Gamma]] = {"rblw": rao_blackwell, "ledoit_wolf": ledoit_wolf}
ROOTS: Final[Mapping[str, Root | None]] = {"symmetric": None, "low_rank": low_rank, "dynamic": dynamic}
SAME: Final = 1e-9
"""Times that differ by less than this fraction are one."""


def shrinkage_filter(
    workflow: Workflow,
    observed: Callable[[int], Observed],
    tables: Sequence[ObservationTable],
    networks: Networks | None,
) -> ShrinkageFilter:
    """Return the filter, fitted to its snapshots and to the observations of each cycle.

    Parameters
    ----------
    workflow
        Its section ``method`` is the filter's.
    observed, tables
        What is observed at each cycle, and from where.
    networks
        How far observations reach; ``None``: everywhere.

    Raises
    ------
    daflow.errors.CombinationError
        There are no cycles, or a cycle has observations before its end; the model cannot observe a state; the
        variables are not the model's state as it is.
    daflow.errors.DataError
        The snapshots cannot be used.
    """
    settings = cast("ShrinkageEtkfSettings", workflow.method)
    check_shrinkage(workflow)
    _check_times(workflow, tables)
    gamma = GAMMAS[settings.gamma] if isinstance(settings.gamma, str) else GivenGamma(settings.gamma)
    draw = LaplaceDraws if settings.draws == "laplace" else GaussianDraws
    make = ShrinkageFilter if networks is None else partial(LocalShrinkageFilter, networks=networks)
    return make(
        observed,
        len(tables),
        _snapshots(workflow),
        _observing(workflow, tables),
        settings.synthetic,
        draw(workflow.seed),
        gamma,
        ROOTS[settings.root],
    )


def check_shrinkage(workflow: Workflow) -> None:
    """See that a workflow has all that the filter needs.

    Raises
    ------
    daflow.errors.CombinationError
        It has not.
    """
    if workflow.cycling is None or workflow.model.kind not in OBSERVING:
        raise CombinationError(
            "method.kind shrinkage_etkf has to know what would be observed of a state that is no forecast",
            got=f"{'no' if workflow.cycling is None else 'a'} section cycling, model.kind: "
            f"{workflow.model.kind}",
            allowed=f"a section cycling, and model.kind: {' | '.join(OBSERVING)}",
            do="choose another method, such as etkf or enkf_n",
        )
    settings = cast("ShrinkageEtkfSettings", workflow.method)
    if settings.root != "symmetric" and workflow.localization.kind != "none":
        raise CombinationError(
            "method.root: each number's own analysis has the symmetric root",
            got=f"method.root: {settings.root}, localization.kind: {workflow.localization.kind}",
            allowed="method.root: symmetric, or localization.kind: none",
            do="leave one of them out",
        )
    changed = [
        name
        for name, parameter in workflow.parameters.items()
        if not isinstance(parameter.transform, IdentityTransform)
    ]
    state = list(OBSERVING[workflow.model.kind](workflow.model).system.state)
    if changed or list(workflow.parameters) != state:
        raise CombinationError(
            "method.kind shrinkage_etkf compares snapshots with the state as the model has it",
            got=f"parameters: {', '.join(workflow.parameters)}"
            + (f"; with a transform: {', '.join(changed)}" if changed else ""),
            allowed=f"parameters: {', '.join(state)}, without transforms, in this order",
            do="leave other variables and transforms out, or choose another method, such as etkf",
        )


def _check_times(workflow: Workflow, tables: Sequence[ObservationTable]) -> None:
    whole = {"time": np.concatenate([np.asarray(table["time"], np.float64) for table in tables])}
    cycles: tuple[Cycle, ...] = cycles_of(workflow, whole)
    for number, (cycle, table) in enumerate(zip(cycles, tables, strict=True)):
        early = np.abs(np.asarray(table["time"], np.float64) - cycle.stop) > SAME * max(abs(cycle.stop), 1.0)
        if early.any():
            raise CombinationError(
                "method.kind shrinkage_etkf observes states at the end of a cycle",
                got=f"cycle {number} has {int(early.sum())} observations before its end",
                allowed="observations at the end of their cycle",
                do="set cycling.window: null",
            )


def _snapshots(workflow: Workflow) -> StateSnapshots:
    target = cast("ShrinkageEtkfSettings", workflow.method).target
    return open_snapshots(workflow.layout_variables(), target.file, target.array)


def _observing(workflow: Workflow, tables: Sequence[ObservationTable]) -> Observe:
    model = OBSERVING[workflow.model.kind](workflow.model)
    seen = model.system.components
    known: ObservationTable = {"name": seen.name, "component": seen.component}

    @lru_cache(maxsize=1)
    def rows(step: int) -> NDArray[np.int64]:
        return rows_asked(known, tables[step], (("component",), ("name",)), model.system.name)

    def observe(step: int, states: FloatArray) -> FloatArray:
        return model.system.observe(states)[:, rows(step)]

    return observe
