"""Whether the parts of a workflow fit each other, found out before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from daflow.config.builtin_models import LinearSettings, ReservoirSettings
from daflow.config.section import nearest
from daflow.errors import DataError
from daflow.models.command import Command
from daflow.models.energy_balance import WAYS as ENERGY_BALANCE_WAYS
from daflow.models.energy_balance import EnergyBalance
from daflow.models.inputs import rows_asked
from daflow.models.reservoir.model import WAYS as RESERVOIR_WAYS
from daflow.models.trajectories import WAYS as TRAJECTORY_WAYS
from daflow.models.trajectories import Trajectories
from daflow.ports import Model, ObservationTable
from daflow.records import Cycle, Variable

WAYS: Final[Mapping[str, Sequence[tuple[str, ...]]]] = {
    "linear": (("index",), ("name",)),
    "energy_balance": ENERGY_BALANCE_WAYS,
    "reservoir": RESERVOIR_WAYS,
}
"""How observations say which predictions of a model they mean; models of the user's own know themselves."""


def check_fit(kind: str, model: Model, variables: Sequence[Variable], table: ObservationTable) -> None:
    """See that a model finds its variables, in the shape that it needs, and can predict what was observed.

    Raises
    ------
    daflow.errors.DataError
        It cannot: every member would fail.
    """
    shapes = {variable.name: variable.shape for variable in variables}
    for name, shape in _needed(model):
        if name not in shapes:
            near = nearest(name, shapes)
            raise DataError(
                f"the {kind} model needs the variable {name!r}, which is not among 'parameters'",
                got=name,
                allowed=", ".join(shapes),
                do=f"did you mean {near!r}?" if near else "add it there, or name another under 'model'",
            )
        if shape is not None and shapes[name] != shape and not (shape == () and shapes[name] == (1,)):
            raise DataError(
                f"variable {name!r} has not the shape that the {kind} model needs",
                got=shapes[name],
                allowed=shape,
                do="correct the variable's grid or shape, or the settings under 'model'",
            )
    settings = getattr(model, "settings", None)
    if isinstance(settings, LinearSettings):
        _check_linear(settings, variables)
    ways = TRAJECTORY_WAYS if isinstance(model, Trajectories) else WAYS.get(kind)
    if ways is not None:
        rows_asked(model.observables(), table, ways, kind)


def check_cycles(model: Model, cycles: Sequence[Cycle]) -> None:
    """See that a model can go from the start of each cycle to its end, by way of what is observed.

    Raises
    ------
    daflow.errors.DataError
        It cannot.
    """
    if isinstance(model, Trajectories):
        for cycle in cycles:
            model.check_way(cycle.start, cycle.stop)


def _needed(model: Model) -> Iterator[tuple[str, tuple[int, ...] | None]]:
    """Yield the variables that a model asks for; None: in any shape."""
    if isinstance(model, Trajectories | EnergyBalance):
        yield from model.needed.items()
        return
    settings = getattr(model, "settings", None)
    match settings:
        case LinearSettings(variable=str(name)):
            yield name, None
        case ReservoirSettings():
            yield settings.permeability, tuple(settings.shape)
            if isinstance(settings.porosity, str):
                yield settings.porosity, tuple(settings.shape)
        case _:
            names = model.variables if isinstance(model, Command) else frozenset[str]()
            yield from ((name, None) for name in sorted(names))


def _check_linear(settings: LinearSettings, variables: Sequence[Variable]) -> None:
    n_state = variables[-1].stop
    sizes = {variable.name: variable.size for variable in variables}
    if settings.matrix is not None:
        # Its header only: the matrix itself was read and looked at when the model was made.
        width = np.load(settings.matrix, mmap_mode="r", allow_pickle=False).shape[1]
        if width != n_state:
            raise DataError(
                f"{settings.matrix}: the matrix and the state do not fit together",
                got=f"{width} columns for a state of {n_state} ({', '.join(sizes)})",
                allowed=f"{n_state} columns",
                do="correct 'model.matrix', or the variables under 'parameters'",
            )
    elif sizes[str(settings.variable)] != settings.n:
        raise DataError(
            f"variable {settings.variable!r} has not as many entries as the linear model was told",
            got=f"model.n: {settings.n}",
            allowed=sizes[str(settings.variable)],
            do="correct 'model.n'",
        )


def check_place(path: Path, key: str) -> None:
    """See that a folder can be made, or be written to.

    Raises
    ------
    daflow.errors.DataError
        A file stands in its way, or the folder above is not writable.
    """
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if not there.is_dir():
        got = f"{there} is a file"
    elif not os.access(there, os.W_OK | os.X_OK):
        got = f"{there} is not writable"
    else:
        return
    raise DataError(
        f"{key}: {path} cannot be made",
        got=got,
        allowed="a folder on a disk that is writable",
        do="name another place, or mend the permissions there",
    )
