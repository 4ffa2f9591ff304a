"""A filter in miniature: a twin experiment, three cycles of an ETKF, three slices, in a few milliseconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from daflow.errors import DaflowError
from daflow.execution.tasks.workbench import Margins, Workbench
from daflow.methods.filters_global import TransformFilter, etkf_analysis
from daflow.methods.observed import Observed
from daflow.names import Purpose
from daflow.numerics.arrays.random import standard_normals
from daflow.numerics.filters.ensemble_transform import apply_transform
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.obs_error.covariance import DiagonalCovariance
from daflow.numerics.priors.transforms import Identity
from daflow.ports import Advanced, Observations
from daflow.records import Cycle, Layout, Variable
from daflow.runs.decide import Plan
from daflow.storage.memory import MemoryStore

SEED, N_MEMBERS = 3, 7
CYCLES = (Cycle(0.0, 1.0, 0, 2), Cycle(1.0, 2.5, 2, 5), Cycle(2.5, 3.0, 5, 6))
TIMES = np.array([1.0, 1.0, 2.0, 2.5, 2.5, 3.0])
PLACES = np.array([0, 3, 5, 1, 4, 2])
STATE, RATE = Variable("state", ("cell",), (6,), 0), Variable("rate", (), (), 6)
LAYOUT = Layout((STATE, RATE), N_MEMBERS, n_obs=6, slice_size=3, cycles=CYCLES)
"""A slice of one variable, one of the same, and one of a number that the model does not change."""
STD = 0.3


def flow(state, rate, start, stop):
    """Carry states (..., 6) in steps of a half."""
    for _ in range(round(2 * (stop - start))):
        state = np.roll(state, 1, axis=-1) + 0.3 * np.sin(state) + 0.1 * np.asarray(rate)[..., None]
    return state


class Prior:
    def pieces(self, member):
        normals = standard_normals(SEED, Purpose.PRIOR, (member,), 0, LAYOUT.n_state)
        yield 2.0 + normals[:6]
        yield 1.0 + 0.2 * normals[6:]


class Model:
    """Carries a state; fails where it is told to, at (member, step)."""

    def __init__(self, fails: Mapping[Any, BaseException]):
        self._fails = fails

    def observables(self):
        names = np.array([f"cell:{place}" for place in PLACES])
        table = {"name": names, "kind": np.array(["k"] * 6), "time": TIMES, "place": PLACES}
        return table | {axis: np.full(6, np.nan) for axis in "xyz"}

    def advance(self, given, start, stop):
        if (given.member, given.step) in self._fails:
            raise self._fails[given.member, given.step]
        state, rate = given.parameters["state"], given.parameters["rate"]
        asked = given.observations
        pairs = zip(asked["time"], asked["place"], strict=True)
        seen = [flow(state, rate, start, time)[place] for time, place in pairs]
        return Advanced({"state": flow(state, rate, start, stop)}, np.array(seen))


class InLots(Model):
    """The same, several members in a call."""

    def __init__(self, fails, together):
        super().__init__(fails)
        self.together, self.lots = together, []

    def advance_many(self, given, start, stop):
        self.lots.append([each.member for each in given])
        return [self._one(each, start, stop) for each in given]

    def _one(self, given, start, stop):
        try:
            return self.advance(given, start, stop)
        except DaflowError as failure:
            return failure


class Twin:
    def table(self):
        return Model({}).observables()

    def observe(self, predicted):
        noise = standard_normals(SEED, Purpose.OBSERVATION_NOISE, (0,), 0, len(predicted))
        measured = {"value": predicted + STD * noise, "error_std": np.full(len(predicted), STD)}
        return Observations(self.table() | measured, {})


def make_method(observations):
    def observed(step):
        rows = slice(CYCLES[step].first, CYCLES[step].last)
        variances = observations.table["error_std"][rows] ** 2
        return Observed(observations.table["value"][rows], DiagonalCovariance(variances))

    return TransformFilter(observed, len(CYCLES), etkf_analysis)


def plan(layout=LAYOUT):
    bare = Plan(
        tuple(range(N_MEMBERS)),
        len(CYCLES),
        layout.n_slices,
        twin=True,
        keys={},
        last_forecast=False,
        smooths=layout.lag > 0,
    )
    return replace(bare, keys={stage: f"{stage[0]}{stage[1]}" for stage in bare.stages})


@dataclass
class ToyFilter:
    """A toy run in a folder; ``fails`` says what a (member, step) raises."""

    folder: Path
    fails: Mapping[Any, BaseException] = field(default_factory=dict)
    store: MemoryStore = field(default_factory=lambda: MemoryStore(LAYOUT))

    def bench(self, **changes) -> Workbench:
        given = {
            "folder": self.folder,
            "seed": SEED,
            "store": self.store,
            "model": Model(self.fails),
            "prior": Prior(),
            "make_method": make_method,
            "margins": (Margins(Identity()), Margins(Identity())),
            "keys": plan(self.store.layout).keys,
            "twin": Twin(),
        }
        return Workbench(**(given | changes))


def by_hand(values, members=range(N_MEMBERS), leaves=()):
    """Return the forecasts and analyses of each cycle, each (n_members, 7), all in memory.

    ``leaves`` are (member, step): those who leave before that step's forecast.
    """
    ensemble = np.array([np.concatenate(list(Prior().pieces(member))) for member in members])
    forecasts, analyses, members = [], [], list(members)
    for step, cycle in enumerate(CYCLES):
        stay = [row for row, member in enumerate(members) if (member, step) not in leaves]
        members, ensemble = [members[row] for row in stay], ensemble[stay]
        rows = range(cycle.first, cycle.last)
        seen = [
            flow(ensemble[:, :6], ensemble[:, 6], cycle.start, TIMES[row])[:, PLACES[row]] for row in rows
        ]
        state = flow(ensemble[:, :6], ensemble[:, 6], cycle.start, cycle.stop)
        forecast = np.column_stack([state, ensemble[:, 6]])
        found = etkf(np.column_stack(seen), values[cycle.first : cycle.last], np.full(len(rows), STD**2))
        ensemble = apply_transform(found, forecast)
        forecasts.append(forecast)
        analyses.append(ensemble)
    return forecasts, analyses
