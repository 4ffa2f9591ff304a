"""The twin experiment of Sakov & Oke (2008), Tellus A 60, 361: Lorenz-96, everything observed, in memory."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from daflow.models.integrators import RungeKutta4
from daflow.models.lorenz96 import Ring
from daflow.models.trajectories import member_fastest
from daflow.names import TRUTH, Purpose
from daflow.numerics.arrays.random import stream
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.filters.cycling import Forecast, Twin, twin

N: Final = 40
FORCING: Final = 8.0
TIME_STEP: Final = 0.05
SPIN_UP: Final = 400
"""Times that are not scored: 20 units of time."""
START: Final = np.eye(1, N)[0]
START_VARIANCE: Final = 0.001


def model(every_steps: int = 1, time_step: float = TIME_STEP) -> Forecast:
    """Return a forecast of states (n_members, n) over so many time steps, whatever their number."""

    def forecast(states: FloatArray) -> FloatArray:
        moving = member_fastest(states)
        ring = Ring(len(moving), moving.shape[1], FORCING)
        return RungeKutta4(ring.tendency, ring.stage, time_step, moving).carry(every_steps)

    return forecast


def experiment(seed: int, n_cycles: int, every_steps: int = 1) -> Twin:
    """Return a truth, started near a point of rest, and observations of all of it with variance 1."""
    start = START + np.sqrt(START_VARIANCE) * stream(seed, Purpose.PRIOR, TRUTH).standard_normal(N)
    errors = stream(seed, Purpose.OBSERVATION_NOISE).standard_normal((n_cycles, N))
    return twin(model(every_steps), start, errors)


def prior(seed: int, n_members: int) -> FloatArray:
    """Return members (n_members, 40) drawn as the truth is."""
    draws = np.array([stream(seed, Purpose.PRIOR, member).standard_normal(N) for member in range(n_members)])
    members: FloatArray = START + np.sqrt(START_VARIANCE) * draws
    return members


def between(text: str, begin: str, end: str, content: str) -> str:
    """Return a text with what stands between two marks replaced."""
    pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}{content}\n{found[2]}", text)
