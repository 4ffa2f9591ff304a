"""The transport of water by a given flow: explicit, first order, upstream weighted, conservative.

``dS/dt = A f(S) + b`` with f the fractional flow, A the upstream flow between cells and b the water
injected, both over the movable pore volume. An explicit step keeps saturations in their bounds as long as
no cell passes on more than the fastest wave can carry through it (Courant-Friedrichs-Lewy). A handful of
cells around wells set a limit a hundred times smaller than all the others need, so these few take many small
steps within each step of the grid. What they pass on over a step is their mean fractional flow: each face
carries one amount, which leaves one cell and enters the next, and mass is conserved to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from daflow.errors import ModelFailed
from daflow.models.reservoir.fluids import Fluids
from daflow.models.reservoir.network import FloatArray, IntArray, Network

OVERHEAD = 2000
"""What a step costs however few its cells, in cells: measured with numpy, and only a matter of speed."""


@dataclass(frozen=True, slots=True)
class Transport:
    """The flow of one pressure solve, over the movable pore volume of each cell, 1/day."""

    matrix: sparse.csr_array
    """(n_cells, n_cells) what fractional flows of 1 would bring and take."""
    injected: FloatArray
    """(n_cells,) water that wells bring."""
    throughput: FloatArray
    """(n_cells,) what leaves each cell."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How an interval is cut: ``steps`` for all cells, each cut into ``parts`` for the cells ``busy``."""

    steps: int
    parts: int
    busy: IntArray


def transport(network: Network, flux: FloatArray, movable_volume: FloatArray) -> Transport:
    """Return the transport by the fluxes (n_connections,), m3/day, from ``first`` to ``second``.

    Flow between a cell and a well counts as well: into the cell it is water, out of it what the cell holds.
    """
    n, between = network.n_cells, flux[: network.n_faces]
    first, second = network.first[: network.n_faces], network.second[: network.n_faces]
    forward = between >= 0.0
    upstream, downstream = np.where(forward, first, second), np.where(forward, second, first)
    amount = np.abs(between)
    wells, at_wells = network.first[network.n_faces :], flux[network.n_faces :]
    leaving = np.bincount(upstream, amount, n) + np.bincount(wells, np.maximum(at_wells, 0.0), n)
    entering = np.bincount(wells, np.maximum(-at_wells, 0.0), n)
    cells = np.arange(n)
    rows, columns = np.concatenate((downstream, cells)), np.concatenate((upstream, cells))
    values = np.concatenate((amount, -leaving)) / movable_volume[rows]
    matrix = sparse.csr_array((values, (rows, columns)), shape=(n, n))
    return Transport(matrix, entering / movable_volume, leaving / movable_volume)


def plan(throughput: FloatArray, days: float, steepest: float) -> Plan:
    """Choose how many cells take small steps so that the whole costs least.

    Parameters
    ----------
    throughput
        (n_cells,) 1/day.
    days
        The length of the interval.
    steepest
        The largest slope of the fractional flow.
    """
    needed = days * steepest * throughput
    falling = -np.sort(-needed)
    counts = np.array([0, *(2**k for k in range(needed.size.bit_length() - 1))])
    steps = np.maximum(np.ceil(falling[counts]), 1.0)
    parts = np.ceil(falling[0] / steps)
    cost = steps * (OVERHEAD + needed.size + np.where(parts > 1.0, parts * (OVERHEAD + counts), 0.0))
    best = int(np.argmin(cost))
    # All cells above the limit, not a number of them: mirror images are treated alike.
    return Plan(int(steps[best]), max(int(parts[best]), 1), np.flatnonzero(needed > steps[best]))


def advance(
    flow: Transport, fluids: Fluids, saturation: FloatArray, days: float, max_steps: int
) -> tuple[FloatArray, FloatArray]:
    """Carry normalised saturations (n_cells,) on by an interval.

    Returns
    -------
    saturation
        (n_cells,) at the end.
    passed
        (n_cells,) the mean fractional flow of what left each cell.

    Raises
    ------
    daflow.errors.ModelFailed
        More than ``max_steps`` small steps would be needed.

    Notes
    -----
    Laws: water is neither made nor lost; saturations stay within 0 and 1.
    """
    cut = plan(flow.throughput, days, fluids.steepest())
    if cut.steps * cut.parts > max_steps:
        raise ModelFailed(
            f"the flow of {days:g} days would take {cut.steps * cut.parts} steps",
            got=f"a cell that is flushed {float(flow.throughput.max()):.3g} times a day",
            allowed=f"at most {max_steps} steps between two solves of the pressure",
            do="look for cells with almost no pore volume, or for wells with extreme rates",
        )
    step = days / cut.steps
    busy = _Busy.of(flow, cut, step)
    saturation = saturation.copy()
    passed = np.zeros_like(saturation)
    for _ in range(cut.steps):
        share = fluids.fractional_flow(saturation)
        if cut.parts > 1:
            share[cut.busy] = busy.mean_share(fluids, saturation, share)
        passed += share
        change = flow.matrix @ share
        change += flow.injected
        change *= step
        saturation += change
    return saturation, passed / cut.steps


@dataclass(frozen=True, slots=True)
class _Busy:
    """The cells that take small steps, as a system of their own within the grid's."""

    cells: IntArray
    rows: sparse.csr_array
    among: sparse.csr_array
    injected: FloatArray
    part: float
    parts: int

    @classmethod
    def of(cls, flow: Transport, cut: Plan, step: float) -> _Busy:
        rows = flow.matrix[cut.busy]
        among = rows[:, cut.busy].tocsr()
        return cls(cut.busy, rows, among, flow.injected[cut.busy], step / cut.parts, cut.parts)

    def mean_share(self, fluids: Fluids, saturation: FloatArray, share: FloatArray) -> FloatArray:
        """Return the mean fractional flow out of these cells over a step; their surroundings hold still."""
        here, now = saturation[self.cells], share[self.cells]
        brought = self.rows @ share - self.among @ now + self.injected
        total = np.zeros_like(now)
        for _ in range(self.parts):
            total += now
            change = self.among @ now
            change += brought
            change *= self.part
            here += change
            now = fluids.fractional_flow(here)
        return total / self.parts
