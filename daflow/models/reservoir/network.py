"""The grid and its wells as one network: nodes that hold a pressure, connections that carry a flow.

Cells come first, in the order of the grid (x fastest); behind them the wells whose rate is given, whose
pressure is unknown too; last the wells whose pressure is given. A connection lies between two cells that
share a face, or between a cell and a well completed in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, log

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

DARCY = 9.869232667160130e-16 * 1e5 / 1e-3 * 86400.0
"""From mD m bar / cP to m3/day: the millidarcy in m2, bar in Pa, cP in Pa s, day in s (0.00852702)."""


@dataclass(frozen=True, slots=True)
class Network:
    """Who is connected to whom, and how well at a mobility of 1/cP.

    ``first`` and ``second`` (n_connections,) are node numbers: ``first`` is always a cell, ``second``
    a cell in the first ``n_faces`` connections and a well behind them. ``transmissibility``
    (n_connections,) is in m3/day/bar cP.
    """

    first: IntArray
    second: IntArray
    transmissibility: FloatArray
    n_cells: int
    n_faces: int


def faces(shape: tuple[int, int, int]) -> tuple[tuple[IntArray, IntArray], ...]:
    """Return the pairs of cells that share a face, along z, y and x, of a grid (nz, ny, nx)."""
    cells = np.arange(np.prod(shape), dtype=np.intp).reshape(shape)
    return (
        (cells[:-1].ravel(), cells[1:].ravel()),
        (cells[:, :-1].ravel(), cells[:, 1:].ravel()),
        (cells[:, :, :-1].ravel(), cells[:, :, 1:].ravel()),
    )


def face_transmissibilities(
    permeability: FloatArray, cell_size: tuple[float, float, float], vertical_ratio: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the faces of a grid and their two-point transmissibilities.

    Parameters
    ----------
    permeability
        (nz, ny, nx), mD, horizontal.
    cell_size
        dx, dy, dz in m.
    vertical_ratio
        Vertical over horizontal permeability.

    Returns
    -------
    first, second, transmissibility
        (n_faces,) the cells on both sides, and m3/day/bar cP: area over distance times the harmonic
        mean of both permeabilities (Aziz and Settari 1979, ch. 3).

    Notes
    -----
    Law: exact for flow across layers, each a whole number of cells thick.
    """
    dx, dy, dz = cell_size
    nz, ny, nx = permeability.shape
    shapes = (vertical_ratio * dx * dy / dz, dx * dz / dy, dy * dz / dx)
    flat = permeability.ravel()
    pairs = faces((nz, ny, nx))
    values = [
        DARCY * factor * 2.0 / (1.0 / flat[first] + 1.0 / flat[second])
        for factor, (first, second) in zip(shapes, pairs, strict=True)
    ]
    first = np.concatenate([pair[0] for pair in pairs])
    second = np.concatenate([pair[1] for pair in pairs])
    return first, second, np.concatenate(values)


def well_index(permeability: FloatArray, cell_size: tuple[float, float, float], radius: float) -> FloatArray:
    """Return the well index of vertical completions, m3/day/bar cP (Peaceman 1983, eqs. 4b and 9).

    Parameters
    ----------
    permeability
        (n,) of the cells completed, mD, the same along x and y.
    cell_size
        dx, dy, dz in m.
    radius
        Of the well, m; less than `equivalent_radius`.
    """
    thickness = cell_size[2]
    drop = log(equivalent_radius(cell_size) / radius)
    return (DARCY * 2.0 * np.pi * thickness / drop) * permeability


def equivalent_radius(cell_size: tuple[float, float, float]) -> float:
    """Return the distance from a well, m, at which the pressure is that of its cell (Peaceman 1983)."""
    dx, dy, _ = cell_size
    return 0.14 * hypot(dx, dy)
