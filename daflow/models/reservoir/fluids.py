"""Water and oil: Corey relative permeabilities, mobilities and the fractional flow of water.

Saturations here are *normalised*: ``s = (Sw - Swc) / (1 - Swc - Sor)``, 0 where only oil moves, 1 where
only water does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fluids:
    """Two immiscible liquids and the rock's way with them.

    ``krw = water_endpoint * s**water_exponent``, ``kro = oil_endpoint * (1 - s)**oil_exponent``
    (Brooks and Corey 1964); viscosities in cP; ``connate_water`` (Swc) and ``residual_oil`` (Sor) are
    fractions of the pore volume.
    """

    water_viscosity: float
    oil_viscosity: float
    connate_water: float
    residual_oil: float
    water_endpoint: float
    oil_endpoint: float
    water_exponent: float
    oil_exponent: float

    @property
    def movable(self) -> float:
        """The fraction of the pore volume that flow can exchange, 1 - Swc - Sor."""
        return 1.0 - self.connate_water - self.residual_oil

    def normalised(self, water_saturation: float) -> float:
        """Return the normalised saturation of a water saturation."""
        return (water_saturation - self.connate_water) / self.movable

    def mobilities(self, saturation: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the mobilities of water and oil, 1/cP, at normalised saturations of any shape.

        A saturation that rounding has pushed past 0 or 1 counts as 0 or 1.
        """
        wet = np.minimum(np.maximum(saturation, 0.0), 1.0)
        water = wet**self.water_exponent
        np.subtract(1.0, wet, out=wet)
        oil = wet**self.oil_exponent
        water *= self.water_endpoint / self.water_viscosity
        oil *= self.oil_endpoint / self.oil_viscosity
        return water, oil

    def total_mobility(self, saturation: FloatArray) -> FloatArray:
        """Return the mobility of both liquids together, 1/cP."""
        water, oil = self.mobilities(saturation)
        return water + oil

    def fractional_flow(self, saturation: FloatArray) -> FloatArray:
        """Return the share of water in what flows, in [0, 1].

        Laws: 0 at saturation 0, 1 at saturation 1, never falling in between.
        """
        water, oil = self.mobilities(saturation)
        oil += water
        water /= oil
        return water

    def steepest(self) -> float:
        """Return the largest slope of the fractional flow: the speed of the fastest wave.

        The slope is sought on 4001 points and taken 1 % larger, which covers what lies between them.
        """
        points = np.linspace(0.0, 1.0, 4001)
        return 1.01 * float(np.max(np.diff(self.fractional_flow(points)))) * (points.size - 1)
