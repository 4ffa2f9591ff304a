"""No update makes an array of state times observations, of state times state, or of the slice's size.

2 x 10^5 numbers of 20 members and 2,000 observations: the first would take 3.2 GB, the second 320 GB, the
slice takes 32 MB.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from daflow.assemble.sections.methods import KINDS, method_of, surveys
from daflow.config.load import workflow_from
from daflow.methods.filters_networks import Networks
from daflow.methods.filters_shrinkage import GaussianDraws, LocalShrinkageFilter, ShrinkageFilter
from daflow.methods.locality_by_distance import DistanceLocality
from daflow.methods.observed import Observed
from daflow.numerics.localization.distance import DistanceTaper
from daflow.numerics.obs_error.covariance import DiagonalCovariance
from daflow.ports import Observations, SliceInput, SlicePoints, StepInput
from daflow.records import StateSlice

N_STATE, N_MEMBERS, N_OBS = 200_000, 20, 2_000
SLICE = 8 * N_STATE * N_MEMBERS
BOUND = 16 * 2**20
"""Bytes beside the slice itself: half of it. Most updates take a third of that."""
EVERY = N_STATE // N_OBS
PLACES = np.column_stack([np.arange(N_STATE) + 0.5, np.full((N_STATE, 2), np.nan)])
PRIOR = np.random.default_rng(1).standard_normal((N_MEMBERS, N_STATE))
DRAWN = PRIOR[:, ::EVERY]
MEMBERS = tuple(range(N_MEMBERS))
NOWHERE = np.full(N_OBS, np.nan)
OBSERVED = Observations(
    {
        "name": np.array([f"o{i}" for i in range(N_OBS)]),
        "kind": np.full(N_OBS, "k"),
        "time": np.ones(N_OBS),
        "x": PLACES[::EVERY, 0],
        "y": NOWHERE,
        "z": NOWHERE,
        "value": np.random.default_rng(0).standard_normal(N_OBS),
        "error_std": np.full(N_OBS, 0.7),
    },
    {},
)
NEEDED = {"gain_inflated_enkf": {"zeta": 0.1}}
"""Kind of method -> the settings that have no default."""
SHARED = frozenset({"gain", "observation_error"})
"""Localizations that all methods with members' own observations share: they are tried with one of these."""
OFFERED = [
    (kind, tapers)
    for kind, known in KINDS.items()
    for tapers in sorted(known.localizations)
    if kind != "shrinkage_etkf" and (kind in ("es", "letkf") or tapers not in SHARED)
]
"""The filter that needs snapshots of its model's state is tried by itself."""


def workflow(method, tapers="none", inflation="none"):
    localization = {"kind": "none"}
    if tapers != "none":
        localization = {"kind": "distance", "tapers": tapers, "lengths": {"x": 150.0}}
    return workflow_from(
        {
            "grids": {"line": {"shape": [N_STATE], "axes": ["x"]}},
            "parameters": {"a": {"grid": "line", "prior": {"kind": "normal", "mean": 0.0, "std": 1.0}}},
            "model": {"kind": "callable", "function": "model:forecast"},
            "observations": {"kind": "twin", "error": {"default": {"absolute": 1.0}}},
            "ensemble": {"size": N_MEMBERS},
            "method": method,
            "localization": localization,
            "inflation": inflation,
        }
    )


def update(method, slab, *, looks):
    """Update the first so many numbers, in one slice; return the bytes that it takes beside the slice."""
    predicted, where = DRAWN.copy(), StateSlice(0, 0, slab.shape[1])
    points = SlicePoints(np.zeros(where.size, np.int64), PLACES[: where.size])
    places = method.localize(lambda: points)
    given = StepInput(0, MEMBERS, lambda a, b: predicted[:, a:b].copy(), {})
    tracemalloc.start()
    try:
        factors = dict(method.prepare(given).arrays)
        seen = SliceInput(0, where, MEMBERS, factors, places, {})
        if looks:
            found = method.survey(seen, slab)
            factors |= method.conclude(given, factors, iter([found])).arrays
        method.apply(seen, slab)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def peak_of(made):
    """Return the bytes that the first step of a workflow takes beside its slice."""
    method, looks = method_of(made, OBSERVED), surveys(made)
    # What is compiled when it is first used takes memory of its own.
    update(method, PRIOR[:, :EVERY].copy(), looks=looks)
    slab = PRIOR.copy()
    peak = update(method, slab, looks=looks)
    assert (np.abs(slab - PRIOR).max(axis=0) > 0).mean() > 0.9
    return peak


@pytest.mark.parametrize(("kind", "tapers"), OFFERED)
def test_that_an_update_makes_no_array_that_grows_with_the_state(kind, tapers):
    made = workflow({"kind": kind} | NEEDED.get(kind, {}), tapers)
    assert peak_of(made) < BOUND


@dataclass(frozen=True)
class Snapshots:
    """The members themselves, for snapshots."""

    n_snapshots: int = N_MEMBERS
    n_state: int = N_STATE

    def columns(self, start, stop):
        return PRIOR[:, start:stop].copy()


REACH = {(0, 0): DistanceTaper("gaspari_cohn", (150.0, None, None))}
NEAR = DistanceLocality("observation_error", PLACES[::EVERY], np.zeros(N_OBS, np.int64), REACH)
SHRINKING = {
    "everywhere": ShrinkageFilter,
    "local": partial(LocalShrinkageFilter, networks=Networks((NEAR,), (0,))),
}


@pytest.mark.parametrize("name", SHRINKING)
def test_that_a_shrunk_covariance_makes_no_array_that_grows_with_the_state_but_a_few_states(name):
    observed = Observed(OBSERVED.table["value"], DiagonalCovariance(np.full(N_OBS, 0.5)))
    method = SHRINKING[name](
        lambda _: observed, 1, Snapshots(), lambda _, states: states[:, ::EVERY].copy(), 100, GaussianDraws(5)
    )
    # What is compiled when it is first used takes memory of its own.
    update(method, PRIOR.copy(), looks=True)
    slab = PRIOR.copy()
    assert update(method, slab, looks=True) < 2 * BOUND
    assert np.abs(slab - PRIOR).max() > 0.1


INFLATIONS = {
    "prior": [{"kind": "multiplicative", "factor": 1.1}],
    "posterior": [{"kind": "multiplicative", "factor": 1.1, "on": "posterior"}],
    "adaptive": [{"kind": "adaptive"}],
    "RTPS": [{"kind": "relaxation", "to": "prior_spread", "strength": 0.5}],
    "noise": [{"kind": "additive", "std": {"a": 0.1}}],
}


@pytest.mark.parametrize("case", INFLATIONS)
def test_that_an_inflation_makes_no_array_of_the_slice_s_size(case):
    assert peak_of(workflow({"kind": "es"}, inflation=INFLATIONS[case])) < BOUND


def test_that_relaxing_perturbations_takes_one_more_slice():
    rtpp = {"kind": "relaxation", "to": "prior_perturbations", "strength": 0.5}
    assert SLICE < peak_of(workflow({"kind": "es"}, inflation=rtpp)) < SLICE + BOUND
