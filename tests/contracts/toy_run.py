"""A whole run in miniature: a twin experiment, two steps of ES-MDA, three slices, in a few milliseconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from daflow.errors import ModelFailed
from daflow.execution.tasks.workbench import Margins, Workbench
from daflow.methods import EsMda
from daflow.names import TRUTH, Purpose
from daflow.numerics.arrays.random import standard_normals
from daflow.numerics.obs_error.covariance import DiagonalCovariance
from daflow.numerics.priors.transforms import Identity, Log
from daflow.ports import Observations
from daflow.records import Grid, Layout, Variable
from daflow.runs.decide import Plan
from daflow.storage.memory import MemoryStore

SEED, N_MEMBERS, N_STEPS = 7, 6, 2
GRID = Grid(("cell",), (6,), ("x",), (10.0,), (5.0,))
LAYOUT = Layout(
    (Variable("perm", ("cell",), (6,), 0, GRID), Variable("shift", ("part",), (5,), 6)),
    n_members=N_MEMBERS,
    n_obs=4,
    slice_size=4,
)
"""A slice of one variable, one of both, and one that is shorter."""


class Prior:
    def __init__(self, fails: Mapping[Any, BaseException]):
        self._fails = fails

    def pieces(self, member):
        if (member, "prior") in self._fails:
            raise self._fails[member, "prior"]
        normals = standard_normals(SEED, Purpose.PRIOR, (member,), 0, LAYOUT.n_state)
        yield np.exp(normals[:6])
        yield normals[6:]


class Model:
    """Mildly nonlinear; fails where it is told to."""

    def __init__(self, fails: Mapping[Any, BaseException]):
        self._fails = fails

    def observables(self):
        return {
            "name": np.array(["a", "b", "c", "d"]),
            "kind": np.array(["k"] * 4),
            "time": np.arange(4.0),
        } | {axis: np.arange(4.0) for axis in "xyz"}

    def forecast(self, given):
        if (given.member, given.step) in self._fails:
            raise self._fails[given.member, given.step]
        noise = np.random.default_rng(given.seed).standard_normal()
        perm, shift = given.parameters["perm"], given.parameters["shift"]
        return np.log(perm[[0, 2, 3, 5]]) + 0.3 * shift[:4] ** 2 + 0.01 * noise


class Twin:
    def table(self):
        return Model({}).observables()

    def observe(self, predicted):
        std = np.full(len(predicted), 0.5)
        noise = standard_normals(SEED, Purpose.OBSERVATION_NOISE, (0,), 0, len(predicted))
        return Observations(self.table() | {"value": predicted + std * noise, "error_std": std}, {})


def make_method(observations):
    table = observations.table
    error = DiagonalCovariance(table["error_std"] ** 2)
    return EsMda((2.0,) * N_STEPS, table["value"], error, SEED)


def plan():
    bare = Plan(tuple(range(N_MEMBERS)), N_STEPS, LAYOUT.n_slices, twin=True, keys={})
    return Plan(
        bare.members, N_STEPS, LAYOUT.n_slices, twin=True, keys={s: f"{s[0]}{s[1]}" for s in bare.stages}
    )


@dataclass
class ToyRun:
    """A toy run in a folder; ``fails`` says what a (member, step) or (member, "prior") raises."""

    folder: Path
    fails: Mapping[Any, BaseException] = field(default_factory=dict)
    store: MemoryStore = field(default_factory=lambda: MemoryStore(LAYOUT))

    def bench(self, **changes) -> Workbench:
        given = {
            "folder": self.folder,
            "seed": SEED,
            "store": self.store,
            "model": Model(self.fails),
            "prior": Prior(self.fails),
            "make_method": make_method,
            "margins": (Margins(Log()), Margins(Identity())),
            "keys": plan().keys,
            "twin": Twin(),
        }
        return Workbench(**(given | changes))


def failing(*where) -> dict[Any, BaseException]:
    return {place: ModelFailed(f"the model fails at {place}") for place in where}


TRUTH_FAILS = failing((TRUTH, 0))
