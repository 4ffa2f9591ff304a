"""The observer of a twin experiment: chooses what is observed of the truth, and adds the errors."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daflow.config.observations import DEFAULT_KIND, ErrorSize, TwinObservations
from daflow.config.section import nearest
from daflow.errors import ConfigError, DataError
from daflow.names import Purpose
from daflow.numerics.arrays.random import standard_normals
from daflow.ports import FloatArray, Observations, ObservationTable

NOISE_ADDRESS: Final = (0,)
"""A run has one truth, which is observed once."""


class TwinObserver:
    """What is observed of the truth, and how well.

    Laws: an observation has the same error whichever others are kept; the same seed gives the same
    observations; ``value`` is the truth's prediction plus a normal error of standard deviation ``error_std``.

    Parameters
    ----------
    settings
        Which observations are made, and how large their errors are.
    table
        All that the model can predict.
    seed
        The run's.

    Raises
    ------
    daflow.errors.ConfigError
        ``keep`` or ``error`` names a kind that the model does not predict; a kind that is kept has no
        error; nothing is left to observe.
    """

    def __init__(self, settings: TwinObservations, table: ObservationTable, seed: int) -> None:
        kinds = np.asarray(table["kind"]).astype(str)
        _check_kinds(settings, sorted(set(kinds.tolist())))
        self._kept = _kept_rows(settings, table, kinds)
        self._seed, self._n_observables = seed, len(kinds)
        self._table = {name: np.asarray(column)[self._kept] for name, column in table.items()}
        sizes = [_size_of(settings, kind) for kind in kinds[self._kept].tolist()]
        self._absolute = np.array([size.absolute for size in sizes])
        self._relative = np.array([size.relative for size in sizes])

    def table(self) -> ObservationTable:
        """Return what is observed: the rows of the model's table that are kept, in its order."""
        return self._table

    def observe(self, predicted: FloatArray) -> Observations:
        """Return the observations of a truth that predicts this (n_obs,), with independent normal errors.

        Raises
        ------
        daflow.errors.DataError
            An observation would have no error: it is relative only, and the true value is 0; or the truth's
            predictions do not fit the table.
        """
        truth = np.asarray(predicted, dtype=np.float64)
        if truth.shape != self._kept.shape or not np.isfinite(truth).all():
            raise DataError(
                "the truth's predictions cannot be observed",
                got=f"shape {truth.shape}, {int((~np.isfinite(truth)).sum())} of them not finite",
                allowed=f"{self._kept.size} finite numbers",
            )
        std = np.maximum(self._absolute, self._relative * np.abs(truth))
        if (std == 0).any():
            self._refuse_exact(std)
        # Numbered by the model's table, so that what else is kept does not matter.
        noise = standard_normals(
            self._seed, Purpose.OBSERVATION_NOISE, NOISE_ADDRESS, 0, self._n_observables
        )[self._kept]
        return Observations(self._table | {"value": truth + std * noise, "error_std": std}, {})

    def _refuse_exact(self, std: FloatArray) -> None:
        exact = np.flatnonzero(std == 0)
        name, kind = (str(self._table[column][exact[0]]) for column in ("name", "kind"))
        raise DataError(
            f"observation {exact[0]} ({kind} {name}) would have no error: its true value is 0",
            got=f"{exact.size} observations with a relative error of 0",
            allowed="standard deviations above 0",
            do=f"give an 'absolute' error as well, in observations.error for {kind}",
        )


def _size_of(settings: TwinObservations, kind: str) -> ErrorSize:
    return settings.error[kind] if kind in settings.error else settings.error[DEFAULT_KIND]


def _check_kinds(settings: TwinObservations, known: list[str]) -> None:
    for key, kinds in (("keep.kinds", settings.keep.kinds or ()), ("error", settings.error)):
        for kind in kinds:
            if kind not in known and not (key == "error" and kind == DEFAULT_KIND):
                near = nearest(kind, known)
                raise ConfigError(
                    f"observations.{key}: the model predicts no observation of kind {kind!r}",
                    got=kind,
                    allowed=", ".join(known),
                    do="name one of these kinds" if near is None else f"did you mean {near!r}?",
                )
    kept = known if settings.keep.kinds is None else settings.keep.kinds
    if DEFAULT_KIND in settings.error:
        return
    if without := [kind for kind in kept if kind not in settings.error]:
        raise ConfigError(
            f"observations.error: no error is given for {', '.join(without)}",
            got=", ".join(settings.error),
            allowed=f"an entry for every kind that is observed, or {DEFAULT_KIND!r}",
            do=f"add {without[0]}: {{absolute: ...}}, or leave the kind out of observations.keep.kinds",
        )


def _kept_rows(
    settings: TwinObservations, table: ObservationTable, kinds: NDArray[np.str_]
) -> NDArray[np.int64]:
    """Return the rows that are kept, rising: of each name and kind every so many, from the last back."""
    n_rows = len(kinds)
    wanted = np.full(n_rows, fill_value=True)
    if settings.keep.kinds is not None:
        wanted = np.isin(kinds, settings.keep.kinds)
    if not wanted.any():
        raise ConfigError("observations: the model predicts nothing that could be observed", got="no rows")
    time: NDArray[Any] = np.asarray(table["time"], dtype=np.float64)
    name = np.unique(np.asarray(table["name"]).astype(str), return_inverse=True)[1]
    kind = np.unique(kinds, return_inverse=True)[1]
    # By kind and name, in each by time; where there is no time, by row.
    order = np.lexsort((np.arange(n_rows), time, name, kind))
    same = (np.diff(kind[order]) == 0) & (np.diff(name[order]) == 0)
    last = np.flatnonzero(np.append(~same, [True]))
    place_of_last = last[np.searchsorted(last, np.arange(n_rows))]
    back = np.empty(n_rows, dtype=np.int64)
    back[order] = place_of_last - np.arange(n_rows)
    return np.flatnonzero(wanted & (back % settings.keep.every == 0))
