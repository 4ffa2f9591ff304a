"""Settings of the energy-balance model of the climate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from daflow.config.builtin_models import TOGETHER, Count, NumberOrName
from daflow.config.section import InputPath, Name, Problem, Section, kind_of_value

LEAST, MOST = 1e-4, 1e4
"""Of what describes a layer: far beyond any climate, and near enough to 1 to be exact."""
PhysicalOrName = Annotated[
    Annotated[float, Field(ge=LEAST, le=MOST), Tag("number")] | Annotated[Name, Tag("word")],
    Discriminator(kind_of_value),
]


class EnergyBalanceSettings(Section):
    """Two or three layers that store heat: the surface above a deep ocean, or two layers of it."""

    kind: Literal["energy_balance"] = Field(
        default="energy_balance", description="The energy-balance model of the global mean climate."
    )
    heat_capacities: tuple[PhysicalOrName, ...] = Field(
        min_length=2,
        max_length=3,
        description="Of each layer from the surface down, W yr m-2 K-1; each a number above 0, or a variable "
        "of one number.",
    )
    heat_transfers: tuple[PhysicalOrName, ...] = Field(
        min_length=2,
        max_length=3,
        description="First the climate feedback (from the surface to space), then from each layer to the next"
        ", W m-2 K-1; each a number above 0, or a variable of one number.",
    )
    efficacy: PhysicalOrName = Field(
        default=1.0,
        description="Of heat taken up by the deepest layer in changing the surface temperature, above 0, or "
        "a variable; 1: as any other. No unit.",
    )
    forcing: InputPath = Field(
        description="A table (.csv, .nc, .zarr) with a column of times and columns of forcings, W m-2. A row "
        "holds from its time to that of the next; times rise in equal steps."
    )
    time: str = Field(default="year", min_length=1, description="The column of the times, years.")
    terms: Mapping[str, NumberOrName] = Field(
        min_length=1,
        description="The columns that force the climate, each with what multiplies it: a number, or the name "
        "of a variable of one number. No unit.",
    )
    reference: tuple[float, float] | None = Field(
        default=None,
        description="First and last time of the period whose mean temperature counts as 0, years, both "
        "included; default: the state before the first time, which is in balance without forcing.",
    )
    observe: tuple[Literal["temperature", "imbalance"], ...] = Field(
        default=("temperature",),
        min_length=1,
        description="What is observed, as means from a time to the next: the temperature of the surface, K; "
        "the imbalance at the top of the atmosphere, W m-2.",
    )
    together: Count = Field(default=1, description=TOGETHER)

    def _problems(self) -> Iterator[Problem]:
        if len(self.heat_transfers) != len(self.heat_capacities):
            what = "the feedback, and a transfer from each layer to the next: as many as layers"
            yield Problem("heat_transfers", what, len(self.heat_transfers), len(self.heat_capacities))
        if len(set(self.observe)) < len(self.observe):
            yield Problem("observe", "one is named twice", list(self.observe), "each once")
        if self.reference is not None and self.reference[0] > self.reference[1]:
            yield Problem("reference", "ends before it starts", list(self.reference), "[first, last]")
