"""What ``daflow diagnose`` prints, for people and for machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from rich.table import Table
from rich.text import Text

from daflow.report.wording import number

SHOWN: Final = 24
"""Rows of a table; `--json` has them all."""
COLUMNS: Final[Mapping[str, tuple[str, str]]] = {
    "mean_misfit": ("misfit", "1"),
    "chi_square": ("chi²", "1"),
    "dfs": ("DFS", ""),
    "effective_rank": ("rank", ""),
    "moved": ("moved", "< 1"),
    "left": ("left", "> 0.1"),
    "rmse": ("error", "spread"),
    "prediction_spread": ("spread", "error"),
    "crps": ("CRPS", ""),
    "rank_divergence": ("KL", "0"),
}
"""What is told of a step -> heading, and what it should be near."""
LEGEND: Final = (
    "misfit: in units of the observations' errors. chi²: below 1 where data were used before. DFS: degrees "
    "of freedom for signal. rank: directions of the predictions. moved: the mean, in prior standard "
    "deviations; left: of the spread; both of the variable with the most and the least."
)
OF_TWINS: Final = (
    " error, spread, CRPS: against the truth, in the same units. KL: divergence of the rank histogram from "
    "a flat one, 0.5 added to each count."
)


def as_plain(found: xr.Dataset) -> dict[str, Any]:
    """Return a dataset as plain JSON: what is not there is null."""
    return dict(found.attrs) | {
        "coordinates": {str(name): array.values.tolist() for name, array in found.coords.items()},
        "variables": {
            str(name): {"dims": list(array.dims), **array.attrs, "data": _without_nan(array)}
            for name, array in found.data_vars.items()
        },
    }


def _without_nan(array: xr.DataArray) -> Any:
    return array.astype(object).where(np.isfinite(array), None).values.tolist()


def diagnosis_told(found: xr.Dataset) -> Iterator[Table | Text]:
    """Yield what is told on a terminal."""
    if "step" not in found.dims:
        yield Text("no forecast and no update is complete yet: there is nothing to diagnose")
        return
    yield _by_step(found)
    yield Text(LEGEND + (OF_TWINS if "rmse" in found else ""), style="dim")
    if "spread_before" in found:
        yield _by_variable(found)
    if "group_misfit" in found:
        yield _by_group(found)
    if "error_ratio" in found:
        yield _by_kind(found)


def _by_step(found: xr.Dataset) -> Table:
    columns: dict[str, Any] = {name: found[name].values for name in COLUMNS if name in found}
    if "spread_before" in found:
        columns["moved"] = _extreme(found["update_rms_in_spread"].values, np.fmax)
        columns["left"] = _extreme(1 - found["spread_reduction"].values, np.fmin)
    told = [name for name in COLUMNS if name in columns]
    title = Text(f"{found.attrs.get('run', '')}, step by step")
    table = Table(title=title, title_justify="left", box=None)
    for heading in ("step", *(COLUMNS[name][0] for name in told)):
        table.add_column(heading, justify="right")
    kept = _kept(found.sizes["step"])
    for step in kept:
        table.add_row(str(found["step"].values[step]), *(_word(columns[name][step]) for name in told))
    table.add_row("near", *(COLUMNS[name][1] for name in told), style="dim")
    if len(kept) < found.sizes["step"]:
        table.caption = f"{len(kept)} of {found.sizes['step']} steps; --json has them all"
    return table


def _extreme(values: Any, which: np.ufunc) -> Any:
    """Return the largest or smallest of each row, but of what is there."""
    return which.reduce(values, axis=1)


def _by_variable(found: xr.Dataset) -> Table:
    table = _table("variables", ("variable", "spread at first", "now", "left", "moved most, prior std"))
    for name in found["variable"].values[:SHOWN]:
        own = found.sel(variable=name)
        first, now = _ends(own["spread_before"].values), _ends(own["spread_after"].values)
        left = now[1] / first[0] if first[0] > 0 else np.nan
        moved = np.fmax.reduce(own["update_rms_in_spread"].values)
        table.add_row(Text(str(name)), *map(_word, (first[0], now[1], left, moved)))
    return _counted(table, found.sizes["variable"])


def _by_group(found: xr.Dataset) -> Table:
    table = _table("misfit per observation", ("group", "observations", "first", "latest"))
    ends = [_ends(found["group_misfit"].values[:, group]) for group in range(found.sizes["group"])]
    for group in np.argsort([-np.nan_to_num(latest) for _, latest in ends], kind="stable")[:SHOWN]:
        size = f"{found['group_size'].values[group]:,}"
        table.add_row(Text(str(found["group"].values[group])), size, *map(_word, ends[group]))
    return _counted(table, found.sizes["group"])


def _by_kind(found: xr.Dataset) -> Table:
    table = _table("observation errors, diagnosed over assumed: near 1", ("kind", "ratio"))
    for kind, ratio in zip(found["kind"].values[:SHOWN], found["error_ratio"].values, strict=False):
        table.add_row(Text(str(kind)), _word(ratio))
    return _counted(table, found.sizes["kind"])


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", box=None, min_width=len(title) + 2)
    for column, heading in enumerate(headings):
        table.add_column(heading, justify="right" if column else "left", overflow="fold")
    return table


def _counted(table: Table, total: int) -> Table:
    if total > SHOWN:
        table.caption = f"{SHOWN} of {total}; --json has them all"
    return table


def _kept(total: int) -> list[int]:
    """Return which of so many steps are told: the first, the last and some evenly between."""
    if total <= SHOWN:
        return list(range(total))
    return [int(step) for step in np.linspace(0, total - 1, SHOWN).round()]


def _ends(values: Any) -> tuple[float, float]:
    """Return the first and the last value that is there."""
    there = values[np.isfinite(values)]
    return (float(there[0]), float(there[-1])) if there.size else (np.nan, np.nan)


def _word(value: float) -> str:
    return number(float(value)) if np.isfinite(value) else "-"
