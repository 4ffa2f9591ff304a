"""A `Model` forecasts members, one or several in a call, in one go or from time to time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from daflow.errors import DaflowError
from daflow.ports.arrays import FloatArray, ObservationTable


@dataclass(frozen=True, slots=True)
class MemberInput:
    """What a model gets to forecast one member."""

    member: int
    """The member's number; `daflow.names.TRUTH` is the truth of a twin experiment."""
    step: int
    parameters: Mapping[str, FloatArray]
    """Variable name -> array in that variable's shape, read from the store when first asked for."""
    observations: ObservationTable
    """What to predict, one row an observation."""
    seed: int
    """For the model's own noise: the same for the same member and step, whatever happened before."""
    work_dir: Path
    """An empty directory of this attempt's own, for files."""
    log_dir: Path
    """What is written here is kept with the run (``daflow logs``)."""


class Model(Protocol):
    """The forward model."""

    def observables(self) -> ObservationTable:
        """Return all that the model can predict, as the table that a twin experiment observes."""
        ...

    def forecast(self, given: MemberInput) -> FloatArray:
        """Return the predicted observations (n_obs,), in the order of ``given.observations``.

        Raises
        ------
        daflow.errors.MemberError
            The model failed, took too long, or its output cannot be used.
        """
        ...


class ManyMembers(Model, Protocol):
    """A forward model that can also forecast several members in one call, for less than one by one."""

    @property
    def together(self) -> int:
        """How many members one call may forecast, as the model's settings say; 1: no more than one."""
        ...

    def forecast_many(self, given: Sequence[MemberInput]) -> list[FloatArray | DaflowError]:
        """Return for each member what `forecast` returns, or the error that it raises, in their order.

        Laws: the same bits as one member at a time, whatever the company and its order; a member that fails
        does not fail the others. What is raised, rather than returned, befell the call: none of its members
        was forecast.
        """
        ...


@dataclass(frozen=True, slots=True)
class Advanced:
    """Where a model has carried a member's state, and what was seen on the way."""

    state: Mapping[str, FloatArray]
    """Variable name -> array in that variable's shape; a variable that is left out stays as it is."""
    predicted: FloatArray
    """(n_obs,) in the order of ``given.observations``, each at its own time."""


class Advancing(Model, Protocol):
    """A forward model whose parameters are a state that it can carry from one time to another."""

    def advance(self, given: MemberInput, start: float, stop: float) -> Advanced:
        """Return the state at ``stop``, and predicted observations whose times are in (start, stop].

        ``given.parameters`` is the state at ``start``, in the model's unit of time. Raises as `forecast`.

        Law: from start to a time between and on from there is from start to stop, up to rounding.
        """
        ...


class AdvancingMembers(ManyMembers, Advancing, Protocol):
    """A forward model that can also carry the states of several members in one call."""

    def advance_many(
        self, given: Sequence[MemberInput], start: float, stop: float
    ) -> list[Advanced | DaflowError]:
        """Return for each member what `advance` returns, or its error; laws as of `forecast_many`."""
        ...
