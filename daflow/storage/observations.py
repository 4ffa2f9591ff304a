"""What was observed, as one zarr group of columns along ``obs``."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from daflow.errors import StoreError
from daflow.names import OBS, OBSERVATIONS
from daflow.ports import Observations
from daflow.storage.files import PARTIAL, make_folder, store_errors, sync_file, sync_folder

if TYPE_CHECKING:
    import xarray as xr

ERROR = "error_"
"""What the arrays of the observation-error covariance begin with."""
ERROR_ATTRIBUTE = "observation_error"
"""The group's attribute that names them: a column of the user's own may begin like them."""
NUMBERS = "numbers"
"""Beside these: the numbers of the observations in the table that they are part of."""
NOTES_ATTRIBUTE = "notes"
AS_THEY_ARE: Final = frozenset({"coordinates", "_FillValue"})
"""The attributes that xarray gives to arrays whose numbers it leaves as they are: a time has more."""


def write_observations(root: Path, observations: Observations) -> None:
    """Write the group beside its place and move it there whole; one that is there already stays."""
    target = root / OBSERVATIONS
    if target.exists():
        return
    make_folder(root)
    partial = root / f".{OBSERVATIONS}.{uuid.uuid4().hex}{PARTIAL}"
    with store_errors("write the observations in", root):
        dataset_of(observations).to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
        for path in partial.rglob("*"):
            (sync_folder if path.is_dir() else sync_file)(path)
        try:
            partial.rename(target)
        except OSError:
            # Another attempt was first. It wrote the same: the numbers are addressed.
            if not target.exists():
                raise
            shutil.rmtree(partial)
        sync_folder(root)


def read_observations(root: Path) -> Observations:
    """Return what was observed.

    Raises
    ------
    daflow.errors.StoreError
        There is nothing yet: the truth of a twin experiment was not observed so far.
    """
    path = root / OBSERVATIONS
    if not path.exists():
        raise no_observations(root)
    with store_errors("read", path):
        group = zarr.open_group(path, mode="r", zarr_format=3)
        arrays = dict(group.arrays())
        if all(array.attrs.keys() <= AS_THEY_ARE for array in arrays.values()):
            return _of_columns({name: np.asarray(array[...]) for name, array in arrays.items()}, group.attrs)
        import xarray as xr  # noqa: PLC0415 - every worker reads observations, and would wait for it

        with xr.open_zarr(path, consolidated=False, chunks=None) as dataset:
            return observations_in(dataset.load())


def no_observations(root: object) -> StoreError:
    """Return what is said of a store that has no observations yet."""
    return StoreError(
        f"there are no observations in {root} yet",
        do="wait until the truth of the twin experiment has been run",
    )


def dataset_of(observations: Observations) -> xr.Dataset:
    """Return what was observed as one dataset along ``obs``."""
    import xarray as xr  # noqa: PLC0415 - one worker of a run writes them, but every one reads them

    data = {name: _column(values) for name, values in observations.table.items()}
    beside = {} if observations.numbers is None else {NUMBERS: observations.numbers}
    arrays = {**observations.error, **beside}
    error = {ERROR + name: _error_array(name, values) for name, values in arrays.items()}
    measured = {name: data.pop(name) for name in ("value", "error_std")}
    attributes = {ERROR_ATTRIBUTE: sorted(error), NOTES_ATTRIBUTE: list(observations.notes)}
    return xr.Dataset(measured | error, coords=data, attrs=attributes)


def observations_in(loaded: xr.Dataset) -> Observations:
    """Return what was observed from such a dataset, loaded."""
    return _of_columns({str(name): v.values for name, v in loaded.variables.items()}, loaded.attrs)


def _of_columns(columns: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any]) -> Observations:
    arrays = {name: _plain(values) for name, values in columns.items()}
    error = {name.removeprefix(ERROR): arrays.pop(name) for name in attributes[ERROR_ATTRIBUTE]}
    numbers = error.pop(NUMBERS, None)
    # Older stores have no notes.
    return Observations(arrays, error, numbers, tuple(attributes.get(NOTES_ATTRIBUTE, ())))


def _column(values: NDArray[Any]) -> tuple[str, NDArray[Any]]:
    """Return a column for xarray; text as objects, which zarr stores as variable-length UTF-8."""
    array = np.asarray(values)
    return OBS, array.astype(object) if array.dtype.kind in "UST" else array


def _error_array(name: str, values: NDArray[Any]) -> tuple[tuple[str, ...], NDArray[Any]]:
    dims = {"matrix": (OBS, "obs_other"), "factor": (OBS, "rank"), "variances": (OBS,), NUMBERS: (OBS,)}
    return dims.get(name, (name,)), values


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    return np.array(values.tolist(), dtype=str) if values.dtype.kind in "OT" else values
