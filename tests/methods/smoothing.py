"""A small inverse problem, and a method driven through its steps on it, in slices."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from daflow.methods import (
    AcceleratedEki,
    DiscrepancyEsMda,
    DistanceLocality,
    Eki,
    EsMda,
    Etki,
    GaussNewton,
    IterativeSmoother,
    LevenbergMarquardt,
    PerturbedUpdate,
    RestrictedEsMda,
    SmallStateSmoother,
)
from daflow.methods.kalman_inversion import plain_targets
from daflow.methods.step_lengths import DiscrepancyLengths, GivenLengths
from daflow.numerics.localization.distance import DistanceTaper
from daflow.numerics.obs_error.covariance import (
    BlockDiagonalCovariance,
    Covariance,
    DenseCovariance,
    DiagonalCovariance,
    LowRankPlusDiagonalCovariance,
)
from daflow.numerics.observations.perturbations import Perturbations
from daflow.ports import SlicePoints
from tests.methods.in_slices import InSlices

SEED = 5


def errors_of(n_obs: int) -> dict[str, Covariance]:
    """Return R in each of its forms."""
    rng = np.random.default_rng(n_obs)
    half = n_obs // 2
    blocks = [0.4 * np.eye(half) + 0.1, 0.3 * np.eye(n_obs - half) + 0.2]
    return {
        "diagonal": DiagonalCovariance(np.linspace(0.2, 0.9, n_obs)),
        "dense": DenseCovariance(0.3 * np.eye(n_obs) + 0.1),
        "block": BlockDiagonalCovariance(blocks),
        "low_rank": LowRankPlusDiagonalCovariance(
            rng.standard_normal((n_obs, 2)), np.linspace(0.2, 0.9, n_obs)
        ),
    }


@dataclass
class Problem:
    """Observations of a bent linear map; ``bend`` 0: of a linear one."""

    n_members: int = 9
    n_state: int = 40
    n_obs: int = 6
    bend: float = 0.0
    error: str = "diagonal"
    seed: int = 3
    far: float = 2.0
    """By what the observations are multiplied: how far they lie from the prior."""

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.prior = rng.standard_normal((self.n_members, self.n_state))
        self.map = rng.standard_normal((self.n_state, self.n_obs)) / np.sqrt(self.n_state)
        self.values = self.far * rng.standard_normal(self.n_obs)
        self.covariance = errors_of(self.n_obs)[self.error]

    def predict(self, state):
        linear = state @ self.map
        return linear + self.bend * linear**3

    @property
    def source(self) -> Perturbations:
        return Perturbations(self.values, self.covariance, SEED)

    def update(self, locality=None, inversion="exact_cholesky") -> PerturbedUpdate:
        return PerturbedUpdate(self.source, inversion, 1.0, locality)

    def locality(self, tapers):
        """Return a localization by place along x: numbers and observations are spread from 0 to 40."""
        places = np.full((self.n_obs, 3), np.nan)
        places[:, 0] = np.linspace(0, 40, self.n_obs)
        taper = DistanceTaper("gaspari_cohn", (9.0, None, None))
        return DistanceLocality(tapers, places, np.zeros(self.n_obs, np.int64), {(0, 0): taper})

    @property
    def points(self) -> SlicePoints:
        coordinates = np.full((self.n_state, 3), np.nan)
        coordinates[:, 0] = np.linspace(0, 40, self.n_state)
        return SlicePoints(np.zeros(self.n_state, np.int64), coordinates)

    def es(self, n_steps=1):
        return EsMda((float(n_steps),) * n_steps, self.values, self.covariance, SEED)

    def methods(self, locality=None):
        """Return a method of each kind that takes this localization."""
        update, search, given = self.update(locality), DiscrepancyLengths(6), GivenLengths((3.0, 2.0, 6.0))
        found = {
            "discrepancy": DiscrepancyEsMda(search, update),
            "restricted": RestrictedEsMda(6, update, trials=5),
            "eki": Eki(given, update),
            "eki_discrepancy": Eki(search, update, plain_targets),
            "nesterov": AcceleratedEki(Eki(given, update, plain_targets)),
        }
        if locality is not None:
            return found
        steps = GaussNewton((0.6, 0.5, 1.0)), LevenbergMarquardt(4, self.n_obs)
        return found | {
            "etki": Etki(given, self.source),
            "ies": IterativeSmoother(steps[0], self.source),
            "enrml": IterativeSmoother(steps[1], self.source),
            "small_ies": SmallStateSmoother(steps[0], self.source),
            "small_enrml": SmallStateSmoother(steps[1], self.source),
        }


@dataclass
class History:
    """What a method did."""

    states: list = field(default_factory=list)
    """(n_members, n_state) the prior and what each step gave."""
    members: list = field(default_factory=list)
    """Of each of these."""
    prepared: list = field(default_factory=list)

    def figures(self, name):
        return [one.figures[name] for one in self.prepared if name in one.figures]

    @property
    def final(self):
        return self.states[-1]


def driven(problem: Problem, method, cuts=(), *, dropped=None, n_steps=None, predicted_by=None) -> History:
    """Drive a method to its end.

    ``dropped`` says which members each step's forecast fails for. The model predicts from the states of the
    history ``predicted_by``, of the same members, instead of its own: what rounding makes of one step is then
    not magnified by the steps that follow.
    """
    dropped = dropped or {}
    slices = InSlices(method, problem.points, cuts)
    members = list(range(problem.n_members))
    history = History([problem.prior], [list(members)])
    for step in range(method.n_steps if n_steps is None else n_steps):
        members = [member for member in members if member not in dropped.get(step, ())]
        base = method.base(step)

        def of(number, members=members):
            return history.states[number][[history.members[number].index(member) for member in members]]

        seen = of(step) if predicted_by is None else predicted_by.states[step]
        posterior, prepared = slices.step(step, of(base), problem.predict(seen), members)
        history.states.append(posterior)
        history.members.append(list(members))
        history.prepared.append(prepared)
        if prepared.last:
            break
    return history


def close(actual, expected, rtol=1e-12):
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * scale)
