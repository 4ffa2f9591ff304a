"""Readers of what a command wrote: each turns files in the member's directory into predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from daflow.config.external_models import (
    CsvOutput,
    EclipseSummaryOutput,
    FunctionOutput,
    LabelledOutput,
    NpyOutput,
)
from daflow.config.section import nearest
from daflow.errors import ConfigError, OutputInvalid
from daflow.models.predictions import checked_predictions
from daflow.models.row_matching import match_rows
from daflow.models.summary import open_resfo, read_eclipse_summary
from daflow.models.user_functions import accepted_keywords, call_for_member, load_function
from daflow.ports import FloatArray, ObservationTable

if TYPE_CHECKING:
    import xarray as xr

Reader = Callable[[Path, Path, ObservationTable], FloatArray]
"""Reads from a member's directory, with its log folder and the observation table; returns (n_obs,)."""
OutputSettings = CsvOutput | NpyOutput | LabelledOutput | EclipseSummaryOutput | FunctionOutput


def prepare_reader(settings: OutputSettings, folder: Path) -> Reader:
    """Return the reader that the settings ask for; a user's function is looked for in ``folder``.

    What a reader returns has been checked: one finite real number for each observation.

    Raises
    ------
    daflow.errors.ConfigError
        The user's function, or a package that the reader needs, is not there.
    """
    return _PREPARE[settings.kind](settings, folder)


def _prepare_csv(settings: CsvOutput, folder: Path) -> Reader:
    del folder

    def read(work_dir: Path, log_dir: Path, observations: ObservationTable) -> FloatArray:
        del log_dir
        table = _read_table(_existing(work_dir, settings.file), settings.file)
        for column in (settings.column, *settings.keys):
            if column not in table:
                near = nearest(column, table)
                raise OutputInvalid(
                    f"{settings.file}: no column {column!r}",
                    allowed=", ".join(table),
                    do=f"did you mean {near!r}?" if near else None,
                )
        for column in settings.keys.values():
            if column not in observations:
                raise ConfigError(
                    f"model.output.keys: the observation table has no column {column!r}",
                    allowed=", ".join(observations),
                )
        values = table[settings.column]
        if settings.keys:
            rows = match_rows(table, observations, settings.keys, settings.tolerance, settings.file)
            values = values[rows]
        return checked_predictions(values, observations, f"{settings.file}, column {settings.column!r}")

    return read


def _read_table(path: Path, name: str) -> Mapping[str, np.ndarray[Any, Any]]:
    import pandas as pd  # noqa: PLC0415 - only where a command writes tables

    try:
        frame = pd.read_csv(path, skipinitialspace=True, index_col=False)
    except (ValueError, OSError) as problem:
        raise OutputInvalid(
            f"{name}: cannot be read as CSV", got=problem, do="was it cut short?"
        ) from problem
    return {str(column): frame[column].to_numpy() for column in frame.columns}


def _prepare_npy(settings: NpyOutput, folder: Path) -> Reader:
    del folder

    def read(work_dir: Path, log_dir: Path, observations: ObservationTable) -> FloatArray:
        del log_dir
        path = _existing(work_dir, settings.file)
        try:
            values = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as problem:
            raise OutputInvalid(
                f"{settings.file}: cannot be read as .npy", got=problem, do="was it cut short?"
            ) from problem
        if not isinstance(values, np.ndarray):
            raise OutputInvalid(f"{settings.file}: an .npz archive", allowed="an .npy file with one array")
        return checked_predictions(np.ravel(values), observations, settings.file)

    return read


def _prepare_labelled(settings: LabelledOutput, folder: Path) -> Reader:
    del folder

    def read(work_dir: Path, log_dir: Path, observations: ObservationTable) -> FloatArray:
        del log_dir
        path = _existing(work_dir, settings.file)
        try:
            with _OPEN[settings.kind](path) as dataset:
                offered = [str(name) for name in dataset.variables]
                found = settings.variable in offered
                values = dataset[settings.variable].to_numpy() if found else np.empty(0)
        except (ValueError, OSError, KeyError, RuntimeError) as problem:
            raise OutputInvalid(
                f"{settings.file}: cannot be read as {settings.kind}", got=problem, do="was it cut short?"
            ) from problem
        if not found:
            raise OutputInvalid(
                f"{settings.file}: no variable {settings.variable!r}", allowed=", ".join(offered)
            )
        where = f"{settings.file}, variable {settings.variable!r}"
        return checked_predictions(np.ravel(values), observations, where)

    return read


def _prepare_eclipse_summary(settings: EclipseSummaryOutput, folder: Path) -> Reader:
    del folder
    open_resfo()

    def read(work_dir: Path, log_dir: Path, observations: ObservationTable) -> FloatArray:
        del log_dir
        predicted = read_eclipse_summary(settings, work_dir, observations)
        return checked_predictions(predicted, observations, f"{settings.case}.UNSMRY")

    return read


def _prepare_function(settings: FunctionOutput, folder: Path) -> Reader:
    key = "model.output.function"
    function = load_function(settings.function, folder, key)
    accepted_keywords(function, positional=2, offered=(), asked={}, key=key)

    def read(work_dir: Path, log_dir: Path, observations: ObservationTable) -> FloatArray:
        values = call_for_member(lambda: function(work_dir, observations), settings.function, lambda: log_dir)
        return checked_predictions(values, observations, settings.function)

    return read


def _existing(work_dir: Path, name: str) -> Path:
    path = work_dir / name
    if not path.exists():
        there = ", ".join(sorted(found.name for found in work_dir.iterdir())[:20])
        raise OutputInvalid(
            f"{name}: the command did not write it",
            got=f"in the member's directory: {there or 'nothing'}",
            do="see the command's logs",
        )
    return path


def _open_netcdf(path: Path) -> xr.Dataset:
    import xarray as xr  # noqa: PLC0415 - only where a command writes labelled arrays

    return xr.open_dataset(path, engine="h5netcdf", decode_times=False)


def _open_zarr(path: Path) -> xr.Dataset:
    import xarray as xr  # noqa: PLC0415 - only where a command writes labelled arrays

    opened: xr.Dataset = xr.open_zarr(path, chunks=None, decode_times=False, consolidated=False)
    return opened


_OPEN: Final[Mapping[str, Callable[[Path], xr.Dataset]]] = {"netcdf": _open_netcdf, "zarr": _open_zarr}
_PREPARE: Final[Mapping[str, Callable[[Any, Path], Reader]]] = {
    "csv": _prepare_csv,
    "npy": _prepare_npy,
    "netcdf": _prepare_labelled,
    "zarr": _prepare_labelled,
    "eclipse_summary": _prepare_eclipse_summary,
    "function": _prepare_function,
}
