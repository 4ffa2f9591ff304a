"""The water flood as a forward model: settings and a member's rock in, well observations out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from daflow.config.builtin_models import ReservoirSettings, WellSettings
from daflow.models.inputs import RowsAsked, refuse_entries, variable
from daflow.models.reservoir.flood import Flood, Report, simulate
from daflow.models.reservoir.fluids import Fluids
from daflow.models.reservoir.network import Network, face_transmissibilities, well_index
from daflow.ports import FloatArray, MemberInput, ObservationTable

WAYS: Final = (("kind", "well", "time"), ("kind", "name", "time"))

PHYSICAL: Final = (1e-30, 1e30)
"""mD: far beyond any rock, and near enough to 1 that no transmissibility overflows."""

READINGS: Final[Mapping[str, Callable[[Report], FloatArray]]] = {
    "WBHP": lambda report: report.well_pressure,
    "WWIR": lambda report: report.water_rate,
    "WOPR": lambda report: report.oil_rate,
    "WWPR": lambda report: report.water_rate,
}
"""Kind of observation -> its value for every well: bottom-hole pressure (bar), water injection rate, oil
and water production rates (m3/day at reservoir conditions)."""


class Reservoir:
    """Predict what wells show at the report times of a two-phase flood.

    Observed are WBHP of wells whose rate is given, WWIR of injectors whose pressure is given, WOPR and WWPR
    of producers. The well's name stands in the columns ``name`` and ``well``, days in ``time``; x, y and z
    (m) are those of the well's cell, z that of the middle of its open layers, NaN on a grid of one layer.

    What is in: incompressible oil and water, Corey relative permeabilities, Peaceman wells that shut where
    they would flow the wrong way. What is not: gravity, capillary pressure, compressibility, gas.

    Laws: permeability times c divides the drop of pressure between wells of given rates by c; predictions do
    not depend on which others are asked for.
    """

    def __init__(self, settings: ReservoirSettings) -> None:
        self.settings = settings
        self._asked = RowsAsked(WAYS, "reservoir")
        # Wells of a given rate first: their pressures are unknowns, next to those of the cells.
        self._wells = sorted(settings.wells, key=lambda well: well.rate is None)

    def observables(self) -> ObservationTable:
        """Return a row for each report time, well and kind, times outermost."""
        rows = [
            (kind, well, time)
            for time in self.settings.times
            for well in self.settings.wells
            for kind in _kinds(well)
        ]
        dx, dy, _ = self.settings.cell_size
        return {
            "name": np.array([well.name for _, well, _ in rows]),
            "kind": np.array([kind for kind, _, _ in rows]),
            "time": np.array([time for _, _, time in rows]),
            "x": np.array([(well.column + 0.5) * dx for _, well, _ in rows]),
            "y": np.array([(well.row + 0.5) * dy for _, well, _ in rows]),
            "z": np.array([self._depth(well) for _, well, _ in rows]),
            "well": np.array([well.name for _, well, _ in rows]),
        }

    def forecast(self, given: MemberInput) -> FloatArray:
        """Return the predicted observations (n_obs,), in the order of ``given.observations``.

        Raises
        ------
        daflow.errors.DataError
            A variable is missing or of another shape; an observation is none of `observables`.
        daflow.errors.ModelFailed
            Permeability or porosity is not physical somewhere, wells contradict each other, or the flow is
            too fast for the steps allowed.
        """
        asked = self._asked.rows(self.observables, given.observations)
        if not asked.size:
            return np.empty(0)
        flood = self._flood(*self._rock(given))
        times = self.settings.times
        per_time = sum(len(_kinds(well)) for well in self.settings.wells)
        # Nobody asks what happens later.
        needed = times[: int(asked.max()) // per_time + 1]
        seen = [value for report in simulate(flood, needed) for value in self._read(report)]
        return np.array(seen)[asked]

    def simulate(self, given: MemberInput) -> Iterator[Report]:
        """Yield the whole flood at each report time, for those who want to look inside."""
        return simulate(self._flood(*self._rock(given)), self.settings.times)

    def _read(self, report: Report) -> Iterator[float]:
        for well in self.settings.wells:
            number = self._wells.index(well)
            for kind in _kinds(well):
                yield float(READINGS[kind](report)[number])

    def _rock(self, given: MemberInput) -> tuple[FloatArray, FloatArray]:
        """Return permeability (mD) and porosity on the grid (nz, ny, nx)."""
        settings = self.settings
        grid = settings.layers_rows_columns
        name = settings.permeability
        values = variable(given, name, settings.shape, "reservoir")
        low, high = PHYSICAL
        if settings.permeability_is == "log":
            good = (values >= np.log(low)) & (values <= np.log(high))
            refuse_entries(name, values, good, f"natural logarithms of {low:g} to {high:g} mD")
            permeability = np.exp(values)
        else:
            good = (values >= low) & (values <= high)
            refuse_entries(name, values, good, f"{low:g} to {high:g} mD")
            permeability = values
        if isinstance(settings.porosity, str):
            porosity = variable(given, settings.porosity, settings.shape, "reservoir")
            good = (porosity > 0.0) & (porosity <= 1.0)
            refuse_entries(settings.porosity, porosity, good, "above 0, at most 1")
        else:
            porosity = np.full(settings.shape, settings.porosity)
        return permeability.reshape(grid), porosity.reshape(grid)

    def _flood(self, permeability: FloatArray, porosity: FloatArray) -> Flood:
        settings, size = self.settings, self.settings.cell_size
        first, second, between = face_transmissibilities(permeability, size, settings.vertical_ratio)
        cells = [self._cells(well) for well in self._wells]
        flat = permeability.ravel()
        indices = [
            well_index(flat[opened], size, well.radius)
            for well, opened in zip(self._wells, cells, strict=True)
        ]
        nodes = np.repeat(np.arange(len(cells)), [len(opened) for opened in cells]) + permeability.size
        network = Network(
            np.concatenate((first, *cells)),
            np.concatenate((second, nodes)),
            np.concatenate((between, *indices)),
            permeability.size,
            first.size,
        )
        fluids = Fluids(**settings.fluids.model_dump())
        start = fluids.connate_water if settings.initial_water is None else settings.initial_water
        return Flood(
            network,
            fluids,
            porosity.ravel() * float(np.prod(size)),
            np.array([well.kind == "injector" for well in self._wells]),
            np.array([well.rate for well in self._wells if well.rate is not None]),
            np.array([well.pressure for well in self._wells if well.pressure is not None]),
            fluids.normalised(start),
            settings.pressure_step,
            settings.max_steps,
        )

    def _cells(self, well: WellSettings) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        _, rows, columns = self.settings.layers_rows_columns
        layers = np.array(self._layers(well), dtype=np.intp)
        return layers * (rows * columns) + well.row * columns + well.column

    def _layers(self, well: WellSettings) -> Sequence[int]:
        return range(self.settings.layers_rows_columns[0]) if well.layers is None else well.layers

    def _depth(self, well: WellSettings) -> float:
        if len(self.settings.shape) == 2:
            return float("nan")
        return float(np.mean(self._layers(well)) + 0.5) * self.settings.cell_size[2]


def _kinds(well: WellSettings) -> tuple[str, ...]:
    pressure = () if well.rate is None else ("WBHP",)
    if well.kind == "producer":
        return ("WOPR", "WWPR", *pressure)
    return pressure or ("WWIR",)
