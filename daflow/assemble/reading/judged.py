"""What became of a run's observations, and what the run says of their errors."""

from __future__ import annotations

import numpy as np
import xarray as xr

from daflow.assemble.sections.quality import flags_of, scale_of
from daflow.errors import DataError
from daflow.execution.tasks.workbench import factors_of
from daflow.names import OBS, Phase
from daflow.numerics.obs_error.desroziers import desroziers_by_group
from daflow.ports import FloatArray, ObservationTable, Store
from daflow.runs.facts import Progress


def used_at(store: Store, step: int) -> FloatArray:
    """Return what multiplied the errors' standard deviations at a step (n,); infinite: left out."""
    return scale_of(store.read_arrays(factors_of(step)), len(store.layout.obs_of(step)))


def flags(store: Store, progress: Progress, questions: xr.Dataset, step: int) -> xr.DataArray:
    """Return what was found of a step's observations, in words along ``obs``, with their coordinates.

    ``used``, ``background``, ``outlier`` or ``missing``; the coordinate ``error_factor`` is what multiplied
    the standard deviation of each one's error, infinite where it was left out.

    Raises
    ------
    daflow.errors.DataError
        The step has not been prepared yet.
    """
    there = sorted(s for phase, s in progress.survivors if phase is Phase.PREPARE)
    if step == -1 and there:
        step = there[-1]
    if step not in there:
        raise DataError(
            f"the observations of step {step} have not been looked at yet",
            got=f"looked at: {', '.join(map(str, there)) or 'none'}",
            do="`daflow status` tells how far the run is, `daflow resume` goes on",
        )
    rows = store.layout.obs_of(step)
    words = flags_of(store.read_arrays(factors_of(step)), len(rows))
    asked = questions.drop_vars(["value", "error_std"]).isel({OBS: slice(rows.start, rows.stop)})
    coords = {**asked.coords, "error_factor": (OBS, used_at(store, step))}
    return xr.DataArray(words, dims=(OBS,), coords=coords, name="flag", attrs={"step": step})


def desroziers(store: Store, progress: Progress, last: int) -> xr.Dataset:
    """Return what departures before and after all updates say of the observation errors, along ``kind``.

    ``error_std`` is the root of the mean assumed variance, ``ratio`` the diagnosed standard deviation over it
    (1 where they agree), ``n_obs`` how many observations were used. Source: Desroziers et al. (2005),
    Q. J. R. Meteorol. Soc. 131, 3385; it supposes that the updates were nearly linear, and that the spread is
    right.

    Raises
    ------
    daflow.errors.DataError
        The forecasts before and after are not both there: the run is not finished, or goes in cycles.
    """
    if (
        store.layout.cycles
        or last < 1
        or not {(Phase.FORECAST, 0), (Phase.FORECAST, last)} <= set(progress.survivors)
    ):
        raise DataError(
            "the errors of the observations cannot be diagnosed",
            got="a run in cycles" if store.layout.cycles else "a run that is not finished",
            allowed="one whose observations were all forecast before and after all updates",
            do="of a filter, whose observations are forecast once, look at chi_square in run.diagnostics()"
            if store.layout.cycles
            else "finish the run with `daflow resume`",
        )
    members, n_obs = progress.survivors[Phase.FORECAST, last], store.layout.n_obs
    before, after = (store.read_predicted(s, members, 0, n_obs).mean(axis=0) for s in (0, last))
    table: ObservationTable = store.read_observations().table
    scale = used_at(store, last - 1)
    used = np.flatnonzero(np.isfinite(scale) & np.isfinite(before) & np.isfinite(after))
    if not used.size:
        raise DataError("no observation was used: there is nothing to diagnose errors from")
    values, std = (np.asarray(table[name], dtype=np.float64)[used] for name in ("value", "error_std"))
    kinds, codes = np.unique(np.asarray(table["kind"], dtype=str)[used], return_inverse=True)
    found = desroziers_by_group(
        values - before[used], values - after[used], np.square(std * scale[used]), codes
    )
    columns = {"n_obs": found.n_obs, "error_std": found.assumed, "ratio": found.ratio}
    return xr.Dataset({name: ("kind", column) for name, column in columns.items()}, {"kind": kinds})
