"""The ocean gyre of Popov, Sandu, Nino-Ruiz & Evensen (2021), Tellus A 73, 1, section 4.2, at any resolution.

The truth lives on a grid twice as fine as the filters' (in the paper: four times) and is restricted to
theirs. Speeds of the flow are observed once a day at points spread evenly over the basin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from daflow.config.quasigeostrophic import ONE_DAY
from daflow.models.quasigeostrophic import Gyres, spacings, speed
from daflow.names import Purpose
from daflow.numerics.arrays.random import stream
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.filters.cycling import Forecast, Twin
from daflow.numerics.filters.shrinkage_target import ShrinkageTarget, target_of
from daflow.numerics.localization.tapers import gaspari_cohn

REYNOLDS: Final = 450.0
ROSSBY: Final = 0.0036
ERROR_VARIANCE: Final = 4.0
PAPER_RADIUS: Final = 15.0 / 64.0
"""Fifteen points of the paper's 63 x 127 grid, in units of the basin's width."""
SPIN_UP_DAYS: Final = 400
SNAPSHOT_DAYS: Final = 12
"""About the paper's 283 hours: what the gyre does by then has little to do with what it did."""


@dataclass(frozen=True)
class Basin:
    """The filters' grid, and what is observed on it.

    Parameters
    ----------
    shape
        Rows and columns of points inside the basin.
    steps_a_day
        Time steps of Runge and Kutta in a day.
    n_observed
        Rows and columns of observed points.
    """

    shape: tuple[int, int]
    steps_a_day: int
    n_observed: tuple[int, int] = (15, 10)

    @property
    def finer(self) -> Basin:
        """The grid that has a point between any two of this one."""
        rows, columns = self.shape
        return Basin((2 * rows + 1, 2 * columns + 1), 2 * self.steps_a_day)

    @property
    def places(self) -> FloatArray:
        """(n_points, 2): x and y of every point, in units of the basin's width."""
        height, width = spacings(self.shape)
        y, x = np.indices(self.shape)
        return np.column_stack([width * (x.ravel() + 1.0), height * (y.ravel() + 1.0)])

    @property
    def observed(self) -> np.ndarray:
        """(n_obs,): which points are observed, spread evenly and away from the walls."""
        rows, columns = (
            np.round((np.arange(n) + 0.5) * size / n - 0.5).astype(int)
            for n, size in zip(self.n_observed, self.shape, strict=True)
        )
        return (rows[:, np.newaxis] * self.shape[1] + columns).ravel()

    def days(self, n: int) -> Forecast:
        """Return the forecast of states (n_members, n_points) over so many days."""

        def forecast(states: FloatArray) -> FloatArray:
            gyres = Gyres(states.reshape(-1, *self.shape), (REYNOLDS, ROSSBY), ONE_DAY / self.steps_a_day)
            return gyres.carry(n * self.steps_a_day)

        return forecast

    def observe(self, states: FloatArray) -> FloatArray:
        """Return the speed of the flow at the observed points (n, n_obs)."""
        flow = speed(states.reshape(-1, *self.shape))
        return flow.reshape(len(flow), -1)[:, self.observed]


def restricted(fine: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Return fields (n, 2 rows + 1, 2 columns + 1) on the grid of every second point, by full weighting."""
    rows = 0.25 * fine[:, :-2:2] + 0.5 * fine[:, 1::2] + 0.25 * fine[:, 2::2]
    both = 0.25 * rows[:, :, :-2:2] + 0.5 * rows[:, :, 1::2] + 0.25 * rows[:, :, 2::2]
    return np.ascontiguousarray(both.reshape(len(fine), shape[0] * shape[1]))


def snapshots(basin: Basin, n: int, seed: int) -> FloatArray:
    """Return states (n, n_points) of a long run, far enough apart to be each other's climatology."""
    small = 0.01 * stream(seed, Purpose.PRIOR).standard_normal((1, basin.shape[0] * basin.shape[1]))
    state = basin.days(SPIN_UP_DAYS)(small)
    states = np.empty((n, state.shape[1]))
    forecast = basin.days(SNAPSHOT_DAYS)
    for number in range(n):
        state = forecast(state)
        states[number] = state[0]
    return states


def climatology(basin: Basin, states: FloatArray) -> ShrinkageTarget:
    """Return the covariance of snapshots, tapered by distance, as a target."""
    places = basin.places
    near = cKDTree(places).sparse_distance_matrix(
        cKDTree(places), 2.0 * PAPER_RADIUS, output_type="coo_matrix"
    )
    taper = np.zeros((len(places), len(places)))
    taper[near.row, near.col] = gaspari_cohn(near.data / PAPER_RADIUS)
    np.fill_diagonal(taper, 1.0)
    return target_of(np.cov(states.T) * taper)


def experiment(basin: Basin, seed: int, n_days: int) -> tuple[FloatArray, Twin]:
    """Return the truth's first state on the filters' grid, and what follows day by day, with observations."""
    fine = basin.finer
    small = 0.01 * stream(seed, Purpose.PRIOR, 1).standard_normal((1, fine.shape[0] * fine.shape[1]))
    state = fine.days(SPIN_UP_DAYS + 97 * seed)(small)
    start = restricted(state.reshape(1, *fine.shape), basin.shape)[0]
    truth = np.empty((n_days, len(start)))
    forecast = fine.days(1)
    for number in range(n_days):
        state = forecast(state)
        truth[number] = restricted(state.reshape(1, *fine.shape), basin.shape)[0]
    seen = basin.observe(truth)
    noise = stream(seed, Purpose.OBSERVATION_NOISE).standard_normal(seen.shape)
    return start, Twin(truth, seen + np.sqrt(ERROR_VARIANCE) * noise)
