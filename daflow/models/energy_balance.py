"""The energy balance of the global mean climate: layers that take up and pass on the heat of a forcing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from daflow.config.energy_balance import LEAST, MOST, EnergyBalanceSettings
from daflow.config.section import nearest
from daflow.errors import DataError, ModelFailed
from daflow.inputs.tables import Columns, read_columns
from daflow.models.inputs import RowsAsked, refuse_entries, variable
from daflow.models.together import Result, alone, forecast_members
from daflow.ports import FloatArray, MemberInput, ObservationTable

WAYS: Final = (("kind", "time"), ("name", "time"))


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of one member, from the surface down (n_layers = 2 or 3).

    ``C_1 dT_1/dt = F - k_1 T_1 - k_2 (T_1 - T_2)``, ``C_i dT_i/dt = k_i (T_{i-1} - T_i) - k_{i+1} (T_i -
    T_{i+1})``, and of the deepest layer without what follows; its uptake counts ``efficacy`` times in the
    layer above (Geoffroy et al. 2013, eqs. 3-4; Cummins, Stephenson and Stott 2020, eq. 1).
    """

    capacities: FloatArray
    """(n_layers,) C, W yr m-2 K-1."""
    transfers: FloatArray
    """(n_layers,) k, the first one the climate feedback, W m-2 K-1."""
    efficacy: float

    def rates(self) -> FloatArray:
        """Return A (n_layers, n_layers), 1/yr, of ``dT/dt = A T`` where there is no forcing."""
        above, n = self.transfers, self.capacities.size
        below = np.append(self.transfers[1:], 0.0)
        below[-2] *= self.efficacy
        flows = np.diag(-above - below)
        flows[np.arange(n - 1), np.arange(1, n)] = below[:-1]
        flows[np.arange(1, n), np.arange(n - 1)] = above[1:]
        rates: FloatArray = flows / self.capacities[:, np.newaxis]
        return rates

    def propagator(self, years: float) -> FloatArray:
        """Return what makes temperatures and a constant forcing the temperatures later, and their mean.

        Returns
        -------
        (2 n_layers, n_layers + 1): the first half of its product with (T, F) are the temperatures after so
        many years, the other their means until then.

        Notes
        -----
        Law: exact, so that two halves of a step are the step.
        """
        n = self.capacities.size
        # Temperatures, their means so far, and the forcing, as one linear system.
        system = np.zeros((2 * n + 1, 2 * n + 1))
        system[:n, :n] = years * self.rates()
        system[0, -1] = years / self.capacities[0]
        system[n:-1, :n] = np.eye(n)
        whole: FloatArray = expm(system)
        return np.delete(whole[:-1], np.s_[n : 2 * n], axis=1)

    def imbalance(self, temperatures: FloatArray, forcing: FloatArray) -> FloatArray:
        """Return the imbalance at the top of the atmosphere, W m-2, from (..., n_layers) and (...).

        Law: it is the rate at which all layers together gain heat.
        """
        uptake = self.transfers[-1] * (temperatures[..., -2] - temperatures[..., -1])
        lost = self.transfers[0] * temperatures[..., 0]
        balance: FloatArray = forcing - lost + (1.0 - self.efficacy) * uptake
        return balance


def temperatures_of(propagators: FloatArray, forcing: FloatArray) -> FloatArray:
    """Return the mean temperatures of members' layers over each step, from balance without forcing.

    Parameters
    ----------
    propagators
        (n_members, 2 n_layers, n_layers + 1) of `Layers.propagator`.
    forcing
        (n_members, n_steps) W m-2, constant over a step.

    Returns
    -------
    (n_members, n_steps, n_layers), K.

    Notes
    -----
    Laws: twice the forcing, twice the temperatures; a member's do not depend, to the last bit, on the others.
    """
    n_members, n_steps = forcing.shape
    n_layers = propagators.shape[2] - 1
    # Members last: each operation then runs over all of them, and over all layers.
    columns = np.ascontiguousarray(np.moveaxis(propagators, 0, -1).swapaxes(0, 1))
    means = np.empty((n_steps, n_layers, n_members))
    now, both = np.zeros((n_layers, n_members)), np.empty((2 * n_layers, n_members))
    term = np.empty_like(both)
    for mean, driven in zip(means, np.ascontiguousarray(forcing.T), strict=True):
        np.multiply(columns[-1], driven, out=both)
        for column, layer in zip(columns[:-1], now, strict=True):
            np.multiply(column, layer, out=term)
            np.add(both, term, out=both)
        now[...], mean[...] = both[:n_layers], both[n_layers:]
    return np.ascontiguousarray(np.moveaxis(means, -1, 0))


class EnergyBalance:
    """Predict surface temperatures, and the imbalance at the top of the atmosphere, from forcings.

    Observed are means from one time of the forcing table to the next; ``kind`` and ``name`` are
    ``temperature`` (K) or ``imbalance`` (W m-2), ``time`` is that at which the mean starts.

    Laws: a forcing that lasts warms the surface by itself over the feedback, whatever the efficacy; the
    layers gain what the imbalance brings; forcings add up.

    Raises
    ------
    daflow.errors.DataError
        The forcing table lacks a column, or has one that is not of finite numbers; its times do not rise in
        equal steps; no time lies in the reference period.
    """

    def __init__(self, settings: EnergyBalanceSettings) -> None:
        self.settings, self.together = settings, settings.together
        columns = read_columns(settings.forcing)
        self._times = _column(columns, settings.time, settings, "time")
        self._years = _equal_steps(self._times, settings)
        self._terms = np.stack([_column(columns, name, settings, "terms") for name in settings.terms])
        self._reference = _reference(self._times, settings)
        self._asked = RowsAsked(WAYS, "energy_balance")

    @property
    def needed(self) -> Mapping[str, tuple[int, ...]]:
        """The variables that the model takes, each of one number."""
        settings = self.settings
        given = (*settings.heat_capacities, *settings.heat_transfers, settings.efficacy)
        return {name: () for name in (*given, *settings.terms.values()) if isinstance(name, str)}

    def observables(self) -> ObservationTable:
        """Return a row for each time and kind, times outermost."""
        kinds, n_times = np.array(self.settings.observe), self._times.size
        nowhere = np.full(n_times * kinds.size, np.nan)
        return {
            "name": np.tile(kinds, n_times),
            "kind": np.tile(kinds, n_times),
            "time": np.repeat(self._times, kinds.size),
            "x": nowhere,
            "y": nowhere,
            "z": nowhere,
        }

    def forecast(self, given: MemberInput) -> FloatArray:
        """Return the predicted observations (n_obs,), in the order of ``given.observations``.

        Raises
        ------
        daflow.errors.DataError
            A variable is missing or not one number; an observation is none of `observables`.
        daflow.errors.ModelFailed
            A variable is not finite, or no layer can have it.
        """
        return alone(self.forecast_many([given]))

    def forecast_many(self, given: Sequence[MemberInput]) -> list[Result]:
        """Return for each member what `forecast` returns, or the error that it raises."""
        return forecast_members(given, self._read, self._run)

    def _read(self, given: MemberInput) -> _Start:
        settings = self.settings
        asked = self._asked.rows(self.observables, given.observations)

        def number(each: float | str) -> float:
            return float(variable(given, each, (), "energy_balance")) if isinstance(each, str) else each

        def physical(each: float | str) -> float:
            value = number(each)
            good = np.array([LEAST <= value <= MOST])
            refuse_entries(str(each), np.array([value]), good, f"{LEAST:g} to {MOST:g}")
            return value

        layers = Layers(
            np.array([physical(each) for each in settings.heat_capacities]),
            np.array([physical(each) for each in settings.heat_transfers]),
            physical(settings.efficacy),
        )
        forcing = np.zeros(self._times.size)
        with np.errstate(over="ignore", invalid="ignore"):
            for term, scale in zip(self._terms, settings.terms.values(), strict=True):
                forcing += number(scale) * term
        return _Start(asked, layers, forcing)

    def _run(self, starts: Sequence[_Start]) -> list[Result]:
        propagators = np.stack([start.layers.propagator(self._years) for start in starts])
        with np.errstate(over="ignore", invalid="ignore"):
            means = temperatures_of(propagators, np.stack([start.forcing for start in starts]))
            return [self._seen(each, start) for each, start in zip(means, starts, strict=True)]

    def _seen(self, means: FloatArray, start: _Start) -> Result:
        surface = means[:, 0]
        if self._reference is not None:
            surface = surface - surface[self._reference].mean()
        kinds = {"temperature": surface, "imbalance": start.layers.imbalance(means, start.forcing)}
        seen = np.stack([kinds[kind] for kind in self.settings.observe], axis=1)
        if not np.isfinite(seen).all():
            return ModelFailed(
                "the temperatures of the energy_balance model are not finite",
                do="look at the prior of the heat capacities, the heat transfers and the terms",
            )
        return seen.ravel()[start.asked]


@dataclass(frozen=True, slots=True)
class _Start:
    """What the model takes from a member's input."""

    asked: NDArray[np.int64]
    layers: Layers
    forcing: FloatArray


def _column(columns: Columns, name: str, settings: EnergyBalanceSettings, key: str) -> FloatArray:
    if name not in columns:
        near = nearest(name, columns)
        raise DataError(
            f"{settings.forcing}: the forcing table has no column {name!r}",
            got=", ".join(columns),
            do=f"did you mean {near!r}?" if near else f"correct 'model.{key}'",
        )
    try:
        values = columns[name].astype(np.float64)
    except ValueError as problem:
        raise DataError(
            f"{settings.forcing}: the column {name!r} is not of numbers", got=problem, allowed="numbers"
        ) from problem
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise DataError(
            f"{settings.forcing}: the column {name!r} is not finite in row {row + 1}",
            got=columns[name][row],
            allowed="finite numbers",
        )
    return values


def _equal_steps(times: FloatArray, settings: EnergyBalanceSettings) -> float:
    steps = np.diff(times)
    if not steps.size or steps[0] <= 0.0 or np.abs(steps - steps[0]).max() > 1e-6 * steps[0]:
        raise DataError(
            f"{settings.forcing}: the times in {settings.time!r} do not rise in equal steps",
            got=f"steps of {steps.min():g} to {steps.max():g} years" if steps.size else "one row",
            allowed="two rows or more, equally far apart",
            do="interpolate the forcings to equal steps",
        )
    return float(times[-1] - times[0]) / steps.size


def _reference(times: FloatArray, settings: EnergyBalanceSettings) -> NDArray[np.bool_] | None:
    if settings.reference is None:
        return None
    first, last = settings.reference
    within = (times >= first) & (times <= last)
    if not within.any():
        raise DataError(
            "model.reference: no time of the forcing table lies in the reference period",
            got=f"{first:g} to {last:g}",
            allowed=f"within {times[0]:g} to {times[-1]:g}",
        )
    return within
