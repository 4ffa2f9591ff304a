"""The flood through time: pressure, then transport by its flow, and so on (IMPES).

Implicit pressure, explicit saturation (Aziz and Settari 1979, ch. 5): water and oil are incompressible and
immiscible; neither gravity nor capillary pressure acts. The mobility of a face is that of the cell upstream
in the solve before; the flow of a solve carries water until the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from daflow.errors import ModelFailed
from daflow.models.reservoir.fluids import Fluids
from daflow.models.reservoir.network import FloatArray, Network
from daflow.models.reservoir.pressure import Pattern, pattern, solve
from daflow.models.reservoir.transport import advance, transport

IMBALANCE = 1e-6
"""How much of all flow a solve may lose in a cell before it counts as failed.

Rounding loses 1e-13 or so in rock as it is. What is lost is all that can push a saturation past its bounds.
"""


@dataclass(frozen=True, slots=True)
class Flood:
    """All that stays the same while water flows.

    Wells with a rate come first in ``injects`` (n_wells,), ``rates`` (m3/day, n_rate_wells) and
    ``pressures`` (bar, the others); connections to wells are in ``network``. ``pore_volume`` (n_cells,)
    in m3, ``initial`` a normalised saturation. ``pressure_step`` is in pore volumes injected.
    """

    network: Network
    fluids: Fluids
    pore_volume: FloatArray
    injects: NDArray[np.bool_]
    rates: FloatArray
    pressures: FloatArray
    initial: float
    pressure_step: float
    max_steps: int


@dataclass(frozen=True, slots=True)
class Report:
    """The flood at one time; wells in the order of `Flood`.

    Volumes are totals since time 0, at reservoir conditions.
    """

    time: float
    """Days."""
    saturation: FloatArray
    """(n_cells,) normalised."""
    pressure: FloatArray
    """(n_cells,) bar."""
    well_pressure: FloatArray
    """(n_wells,) bottom-hole, bar."""
    water_rate: FloatArray
    """(n_wells,) m3/day; injected or produced, never negative."""
    oil_rate: FloatArray
    """(n_wells,) m3/day."""
    water_injected: float
    """m3."""
    water_produced: float
    """m3."""
    oil_produced: float
    """m3."""


@dataclass(frozen=True, slots=True)
class _Flow:
    """One solve of the pressure: every node's pressure, every connection's flux."""

    pressure: FloatArray
    flux: FloatArray


def simulate(flood: Flood, times: Sequence[float]) -> Iterator[Report]:
    """Yield the flood at each of these times (days, rising).

    Notes
    -----
    Laws: what is injected less what is produced is what stays, of water and of oil alike; saturations stay
    between connate water and residual oil, both to rounding; a symmetric flood stays symmetric; the same
    input gives the same bits. In one dimension it converges to the solution of Buckley and Leverett (1942).

    Cost: a factorization a solve of the pressure, and about 40 floating-point operations a cell a step of
    the transport.
    """
    network, fluids = flood.network, flood.fluids
    movable = flood.pore_volume * fluids.movable
    at_wells = slice(network.n_faces, None)
    well_cells = network.first[at_wells]
    where = pattern(network, network.n_cells + flood.rates.size)
    saturation = np.full(network.n_cells, flood.initial)
    flow = _solve(flood, where, saturation, None)
    now, totals = 0.0, np.zeros(3)
    for time in times:
        n_parts = _n_parts(flood, flow, time - now)
        for part in range(1, n_parts + 1):
            days = (time - now) / (n_parts - part + 1)
            carrier = transport(network, flow.flux, movable)
            saturation, passed = advance(carrier, fluids, saturation, days, flood.max_steps)
            produced = np.maximum(flow.flux[at_wells], 0.0)
            water = float(produced @ passed[well_cells])
            injected = float(np.maximum(-flow.flux[at_wells], 0.0).sum())
            totals += days * np.array([injected, water, float(produced.sum()) - water])
            now += days
            flow = _solve(flood, where, saturation, flow)
        now = time
        yield _report(flood, time, saturation, flow, totals)


def _n_parts(flood: Flood, flow: _Flow, days: float) -> int:
    injected = -float(np.minimum(flow.flux[flood.network.n_faces :], 0.0).sum()) * days
    return max(ceil(injected / (flood.pressure_step * float(flood.pore_volume.sum())) - 1e-9), 1)


def _solve(flood: Flood, where: Pattern, saturation: FloatArray, before: _Flow | None) -> _Flow:
    """Solve the pressure; connections through which a well would flow the wrong way are shut."""
    network = flood.network
    mobility = flood.fluids.total_mobility(saturation)
    upstream = network.first.copy()
    if before is not None:
        backward = np.flatnonzero(before.flux[: network.n_faces] < 0.0)
        upstream[backward] = network.second[backward]
    conductance = network.transmissibility * mobility[upstream]
    wells = network.second[network.n_faces :] - network.n_cells
    outward = np.where(flood.injects[wells], -1.0, 1.0)
    source = np.zeros(where.rank.size)
    source[network.n_cells :] = np.where(flood.injects[: flood.rates.size], flood.rates, -flood.rates)
    while True:
        pressure = solve(network, where, conductance, source, flood.pressures)
        flux = conductance * (pressure[network.first] - pressure[network.second])
        _check_balance(flood, flux)
        wrong = np.flatnonzero(outward * flux[network.n_faces :] < 0.0)
        if not wrong.size:
            break
        conductance[network.n_faces + wrong] = 0.0
        _refuse_shut_wells(flood, wells, conductance[network.n_faces :])
    return _Flow(pressure, flux)


def _refuse_shut_wells(flood: Flood, wells: NDArray[np.intp], conductance: FloatArray) -> None:
    is_open = np.bincount(wells, conductance, flood.injects.size) > 0.0
    n_rates = flood.rates.size
    if not is_open[:n_rates].all() or not is_open[n_rates:].any():
        raise ModelFailed(
            "the wells' rates and pressures contradict each other: some would have to flow backwards",
            got=f"{int((~is_open).sum())} of {is_open.size} wells shut",
            do="give injectors higher and producers lower pressures, or rates that can be balanced",
        )


def _check_balance(flood: Flood, flux: FloatArray) -> None:
    network = flood.network
    net = np.bincount(network.first, flux, network.n_cells)
    between = slice(0, network.n_faces)
    net -= np.bincount(network.second[between], flux[between], network.n_cells)
    through = float(np.abs(flux[network.n_faces :]).sum())
    worst = float(np.abs(net).max())
    if not worst <= IMBALANCE * through:
        raise ModelFailed(
            "the pressure of the reservoir model cannot be solved to sufficient accuracy",
            got=f"{worst:.3g} m3/day lost in a cell, of {through:.3g} through the wells",
            allowed=f"{IMBALANCE:g} of it",
            do="look for permeabilities that differ by very many orders of magnitude",
        )


def _report(flood: Flood, time: float, saturation: FloatArray, flow: _Flow, totals: FloatArray) -> Report:
    network = flood.network
    n_cells, n_wells = network.n_cells, flood.injects.size
    cells, nodes = network.first[network.n_faces :], network.second[network.n_faces :] - n_cells
    flux = np.abs(flow.flux[network.n_faces :])
    share = np.where(flood.injects[nodes], 1.0, flood.fluids.fractional_flow(saturation)[cells])
    water = np.bincount(nodes, flux * share, n_wells).astype(np.float64)
    oil = np.bincount(nodes, flux * (1.0 - share), n_wells).astype(np.float64)
    cell_pressure, well_pressure = flow.pressure[:n_cells], flow.pressure[n_cells:]
    injected, water_out, oil_out = (float(total) for total in totals)
    return Report(time, saturation, cell_pressure, well_pressure, water, oil, injected, water_out, oil_out)
