"""The workflow file as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field

from daflow.config import checks
from daflow.config.builtin_models import LinearSettings, Lorenz96Settings, ReservoirSettings
from daflow.config.carrying import of_member
from daflow.config.chaotic_models import KuramotoSivashinskySettings, Lorenz63Settings, TwoScaleSettings
from daflow.config.cycling import CyclingSettings, of_cycling
from daflow.config.energy_balance import EnergyBalanceSettings
from daflow.config.execution import ExecutionSettings, LocalExecution
from daflow.config.external_models import CallableSettings, CommandSettings
from daflow.config.grids import EnsembleSettings, GridSettings
from daflow.config.inflation import DESCRIPTION as INFLATION
from daflow.config.inflation import InflationSettings, of_inflation
from daflow.config.localization import LocalizationSettings, NoLocalization
from daflow.config.methods import EsMdaSettings, MethodSettings
from daflow.config.observations import ObservationSettings
from daflow.config.parameters import ParameterSettings
from daflow.config.policy import PolicySettings
from daflow.config.quasigeostrophic import QuasigeostrophicSettings
from daflow.config.section import Name, Problem, Section
from daflow.config.storage import StorageSettings, slice_size
from daflow.records import Variable

LARGEST_SEED = 2**63 - 1

ModelSettings = Annotated[
    LinearSettings
    | Lorenz63Settings
    | Lorenz96Settings
    | TwoScaleSettings
    | KuramotoSivashinskySettings
    | QuasigeostrophicSettings
    | EnergyBalanceSettings
    | ReservoirSettings
    | CallableSettings
    | CommandSettings,
    Field(discriminator="kind"),
]


class Workflow(Section):
    """What to do: an ensemble, its model, what was observed, and how one follows from the other."""

    name: str = Field(default="workflow", min_length=1, description="What the run and its report are called.")
    seed: int = Field(
        default=0, ge=0, le=LARGEST_SEED, description="All random numbers follow from it. No unit."
    )
    ensemble: EnsembleSettings = Field(default=EnsembleSettings(), description="The members of the ensemble.")
    grids: Mapping[Name, GridSettings] = Field(
        default_factory=dict, description="Grids by name, for the variables that lie on one."
    )
    parameters: Mapping[Name, ParameterSettings] = Field(
        description="The variables that are estimated, by name; they lie along 'state' in this order."
    )
    model: ModelSettings = Field(description="The forward model.")
    observations: ObservationSettings = Field(description="What was observed, and its errors.")
    cycling: CyclingSettings | None = Field(
        default=None,
        description="Forecast and analysis in turn, by a filter; null: a smoother, all observations at once.",
    )
    method: MethodSettings = Field(default=EsMdaSettings(), description="How the ensemble is updated.")
    localization: LocalizationSettings = Field(
        default=NoLocalization(), description="How far an observation reaches."
    )
    inflation: InflationSettings = Field(default="none", description=INFLATION)
    execution: ExecutionSettings = Field(default=LocalExecution(), description="Where members run.")
    policy: PolicySettings = Field(default=PolicySettings(), description="What follows when something fails.")
    storage: StorageSettings = Field(default=StorageSettings(), description="How the arrays are stored.")

    def layout_variables(self) -> tuple[Variable, ...]:
        """Return the variables in the order of ``parameters``, one behind the other along ``state``."""
        variables: list[Variable] = []
        for name, parameter in self.parameters.items():
            dims = checks.dims_of(name, parameter, self.grids)
            grid = None if parameter.grid is None else self.grids[parameter.grid].record()
            start = variables[-1].stop if variables else 0
            variables.append(Variable(name, tuple(dims), tuple(dims.values()), start, grid))
        return tuple(variables)

    def layout_slice_size(self) -> int:
        """Return how many numbers of each member a slice holds: as ``storage`` says, at most all."""
        n_state = self.layout_variables()[-1].stop
        if self.storage.slice_size == "auto":
            return slice_size(n_state, self.ensemble.size, self.storage.dtype)
        return min(self.storage.slice_size, n_state)

    def _problems(self) -> Iterator[Problem]:
        yield from checks.of_places(self.parameters, self.grids)
        yield from checks.of_ensemble(self.ensemble, self.policy, self.parameters)
        yield from checks.of_truth(self.observations, self.ensemble, self.parameters)
        yield from checks.of_localization(self.localization, self.parameters, self.grids)
        yield from of_cycling(self.cycling, self.model, self.parameters)
        yield from of_inflation(self.inflation, tuple(self.parameters))
        yield from checks.of_timeout(self.policy, self.execution, self.model.kind)
        yield from of_member(self.execution, self.model.kind)
