"""Settings of the forward models that daflow brings along: linear, Lorenz-96 and the water flood."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import hypot
from typing import Annotated, Final, Literal

from pydantic import Discriminator, Field, Tag

from daflow.config.section import InputPath, Name, Positive, Problem, Section, kind_of_value

Fraction = Annotated[float, Field(ge=0, lt=1)]
Index = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
NumberOrName = Annotated[
    Annotated[float, Tag("number")] | Annotated[Name, Tag("word")], Discriminator(kind_of_value)
]

TOGETHER: Final = (
    "How many members a worker may forecast in one call, of the group that it has (execution.group); 1: one "
    "at a time, as always where policy.timeout is set. It changes how long members take, not what they "
    "predict. In members."
)


class LinearSettings(Section):
    """Predicted observations are a matrix times the state, or some of one variable's entries."""

    kind: Literal["linear"] = Field(default="linear", description="A linear model.")
    matrix: InputPath | None = Field(
        default=None,
        description="An .npy file with the matrix (n_obs, n_state); it acts on all variables, one behind "
        "the other in the order of 'parameters'. Observed unit over the variables'.",
    )
    variable: Name | None = Field(default=None, description="Instead of a matrix: the variable observed.")
    n: Count | None = Field(default=None, description="How many entries that variable has.")
    every: Count = Field(default=1, description="Observe entries 0, every, 2 every...; in entries.")
    indices: tuple[Index, ...] | None = Field(
        default=None,
        min_length=1,
        description="Or these entries, counted from 0, the last dimension fastest.",
    )
    scale: float = Field(
        default=1.0, description="Multiplies each entry observed; observed unit over the variable's."
    )

    def _problems(self) -> Iterator[Problem]:
        if (self.matrix is None) == (self.variable is None):
            yield Problem("matrix", "give either 'matrix' or 'variable'")
        elif self.matrix is not None:
            for key in ("every", "indices", "n", "scale"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    yield Problem(key, "belongs to 'variable'; a matrix says all there is to say")
        elif self.n is None:
            yield Problem("n", "say how many entries the variable has")
        elif self.indices is not None:
            if self.every != 1:
                yield Problem("every", "give either 'every' or 'indices'", self.every)
            if beyond := [index for index in self.indices if index >= self.n]:
                yield Problem("indices", "the variable has no such entries", beyond, f"0 to {self.n - 1}")
            if len(set(self.indices)) < len(self.indices):
                yield Problem("indices", "an entry stands twice", allowed="each once")


class Lorenz96Settings(Section):
    """The model of Lorenz (1996): a ring of components that advect, damp and force each other."""

    kind: Literal["lorenz96"] = Field(default="lorenz96", description="The Lorenz-96 model.")
    variable: Name = Field(default="x", description="The variable that is the initial state, shape [n].")
    n: int = Field(default=40, ge=4, description="How many components the ring has.")
    forcing: NumberOrName = Field(
        default=8.0, description="The forcing F, or the name of a variable of one number that is it. No unit."
    )
    time_step: Positive = Field(default=0.05, description="Of the Runge-Kutta scheme, model time units.")
    every_steps: Count = Field(default=1, description="Time steps between two times of observation.")
    n_times: Count = Field(default=1, description="How many times of observation there are.")
    observe_every: Count = Field(
        default=1, description="Observe components 0, observe_every, 2 observe_every...; in components."
    )
    together: Count = Field(default=1, description=TOGETHER)


class FluidSettings(Section):
    """Water and oil: viscosities and Corey relative permeabilities."""

    water_viscosity: Positive = Field(default=0.5, description="cP.")
    oil_viscosity: Positive = Field(default=2.0, description="cP.")
    connate_water: Fraction = Field(default=0.2, description="Water that does not flow, of the pore volume.")
    residual_oil: Fraction = Field(default=0.2, description="Oil that does not flow, of the pore volume.")
    water_endpoint: Positive = Field(
        default=0.4, description="Relative permeability to water where only residual oil is left. No unit."
    )
    oil_endpoint: Positive = Field(
        default=1.0, description="Relative permeability to oil where only connate water is. No unit."
    )
    water_exponent: float = Field(default=2.0, ge=1, le=10, description="Corey exponent of water. No unit.")
    oil_exponent: float = Field(default=2.0, ge=1, le=10, description="Corey exponent of oil. No unit.")

    def _problems(self) -> Iterator[Problem]:
        fixed = self.connate_water + self.residual_oil
        if fixed >= 1.0:
            what = "connate water and residual oil leave nothing that moves"
            yield Problem("residual_oil", what, f"{fixed:g} together", "less than 1 together")


class WellSettings(Section):
    """A vertical well in one column of cells."""

    name: str = Field(min_length=1, description="What its observations are called after.")
    kind: Literal["injector", "producer"] = Field(description="Injects water, or produces what comes.")
    row: Index = Field(description="Its cell along y, counted from 0.")
    column: Index = Field(description="Its cell along x, counted from 0.")
    layers: tuple[Index, ...] | None = Field(
        default=None, min_length=1, description="Layers it is open in, counted from 0; default: all."
    )
    rate: Positive | None = Field(
        default=None, description="Water injected or liquid produced, m3/day at reservoir conditions."
    )
    pressure: float | None = Field(default=None, description="Or its bottom-hole pressure, bar.")
    radius: Positive = Field(default=0.1, description="Of the bore, m.")

    def _problems(self) -> Iterator[Problem]:
        if (self.rate is None) == (self.pressure is None):
            yield Problem("rate", f"give well {self.name!r} either 'rate' or 'pressure'")


class RegularTimes(Section):
    """Times that are equally far apart."""

    every: Positive = Field(description="Days between two times.")
    until: Positive = Field(description="Days; the last time is the last multiple of 'every' up to it.")


ReportTimes = Annotated[
    Annotated[tuple[Positive, ...], Tag("list")] | Annotated[RegularTimes, Tag("mapping")],
    Discriminator(kind_of_value),
]


class ReservoirSettings(Section):
    """Water drives oil to wells: two-phase, incompressible, immiscible flow on a regular grid."""

    kind: Literal["reservoir"] = Field(default="reservoir", description="The water flood.")
    shape: tuple[Count, ...] = Field(
        min_length=2,
        max_length=3,
        description="Cells of the grid: [rows, columns] or [layers, rows, columns].",
    )
    cell_size: tuple[Positive, Positive, Positive] = Field(
        description="Of a cell along x (columns), y (rows) and z (layers, or the thickness), m."
    )
    permeability: Name = Field(description="The variable that is the horizontal permeability, on the grid.")
    permeability_is: Literal["log", "linear"] = Field(
        default="log", description="'log': the natural logarithm of mD; 'linear': mD."
    )
    vertical_ratio: Positive = Field(
        default=0.1, description="Vertical over horizontal permeability; matters with layers. No unit."
    )
    porosity: NumberOrName = Field(
        default=0.2, description="Pore volume over volume, or the variable on the grid that is it."
    )
    fluids: FluidSettings = Field(default=FluidSettings(), description="Water and oil.")
    initial_water: Fraction | None = Field(
        default=None, description="Water saturation at time 0, of the pore volume; default: connate water."
    )
    wells: tuple[WellSettings, ...] = Field(min_length=1, description="The wells.")
    report_times: ReportTimes = Field(
        description="Days at which wells are observed: a list, or {every: days, until: days}."
    )
    pressure_step: Positive = Field(
        default=0.02, description="Pore volumes injected at most between two solves of the pressure."
    )
    max_steps: Count = Field(
        default=200_000, description="Transport steps at most between two solves; more, and the member fails."
    )

    @property
    def layers_rows_columns(self) -> tuple[int, int, int]:
        """The grid's shape in three dimensions; one layer if the settings name none."""
        rows, columns = self.shape[-2:]
        return (self.shape[0] if len(self.shape) == 3 else 1), rows, columns

    @property
    def times(self) -> tuple[float, ...]:
        """The report times, days, rising."""
        if not isinstance(self.report_times, RegularTimes):
            return self.report_times
        every, until = self.report_times.every, self.report_times.until
        return tuple(every * k for k in range(1, int(until / every * (1 + 1e-12)) + 1))

    def _problems(self) -> Iterable[Problem]:
        return [*self._problems_of_flow(), *self._problems_of_wells()]

    def _problems_of_flow(self) -> Iterator[Problem]:
        if not self.times or any(later <= earlier for earlier, later in pairwise(self.times)):
            yield Problem("report_times", "times must rise", allowed="at least one, each later than the last")
        low, high = self.fluids.connate_water, 1.0 - self.fluids.residual_oil
        if self.initial_water is not None and not low <= self.initial_water <= high:
            allowed = f"{low:g} (connate water) to {high:g} (1 - residual oil)"
            yield Problem("initial_water", "cannot be reached by flow", self.initial_water, allowed)
        if isinstance(self.porosity, float) and not 0.0 < self.porosity <= 1.0:
            yield Problem("porosity", "is a fraction of the volume", self.porosity, "above 0, at most 1")
        names = [well.name for well in self.wells]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            yield Problem("wells", "two wells have the same name", twice)
        if all(well.pressure is None for well in self.wells):
            what = "nothing can be compressed: some well must be free to take up the difference of rates"
            yield Problem("wells", what, "rates only", "at least one well with 'pressure'")

    def _problems_of_wells(self) -> Iterator[Problem]:
        layers, rows, columns = self.layers_rows_columns
        dx, dy, _ = self.cell_size
        for number, well in enumerate(self.wells):
            key, who = f"wells.{number}", f"well {well.name!r} "
            for name, value, limit in (("row", well.row, rows), ("column", well.column, columns)):
                if value >= limit:
                    yield Problem(f"{key}.{name}", who + "lies outside the grid", value, f"0 to {limit - 1}")
            opened = well.layers or ()
            if len(set(opened)) < len(opened) or any(layer >= layers for layer in opened):
                what = who + "is open in layers that are not there, or twice in one"
                yield Problem(f"{key}.layers", what, list(opened), f"0 to {layers - 1}, each once")
            if well.radius >= 0.14 * hypot(dx, dy):
                what = who + "is too wide for Peaceman's formula on these cells"
                yield Problem(f"{key}.radius", what, well.radius, f"below {0.14 * hypot(dx, dy):g} m")
