"""The water flood: two-phase, incompressible, immiscible flow of oil and water to wells.

Finite volumes on a Cartesian grid in two or three dimensions, two-point fluxes, single-point upstream
weighting, implicit pressure and explicit saturation.
"""

from daflow.models.reservoir.flood import Report
from daflow.models.reservoir.model import Reservoir

__all__ = ["Report", "Reservoir"]
