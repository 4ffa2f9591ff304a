"""The page: sections in reading order, filled into the template, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from daflow.errors import StoreError
from daflow.ports import FloatArray
from daflow.report import figures, maps, match, tables
from daflow.report.analyses import comparison_pictures
from daflow.report.contents import ReportContents
from daflow.report.cycles import cycle_pictures
from daflow.report.diagnostics import diagnostic_section
from daflow.report.groups import group_misfits, member_misfits
from daflow.report.style import PALETTE, Picture, drawing
from daflow.report.wording import count, duration, number


@dataclass(frozen=True, slots=True)
class MapSection:
    """The panels of one field."""

    label: str
    panels: list[Picture]


def write_report(contents: ReportContents, path: Path) -> Path:
    """Write a run's report as one HTML file that needs no other, and return its path.

    Works on a run that is under way: what is not there yet is said to be missing.

    Parameters
    ----------
    contents
        What to tell.
    path
        The file; one that is there is replaced, in one move.

    Raises
    ------
    daflow.errors.StoreError
        The disk is full or not writable; a report that was there is still there.

    Notes
    -----
    Laws: the same contents give the same bytes; nothing in the contents can become markup; the page asks
    the network for nothing.
    Cost: a few seconds; memory grows with n_members x n_obs and the maps, not with the state.
    """
    page = render(contents)
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # A member's last words may hold bytes that are no text: they must not cost the report.
        with part.open("w", encoding="utf-8", errors="xmlcharrefreplace", newline="\n") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise StoreError(
            f"the report {path} cannot be written",
            got=error.strerror or str(error),
            do="free the disk or give another path, then ask for the report again; the run is untouched",
        ) from error
    return path


def render(contents: ReportContents) -> str:
    """Return the report as HTML."""
    environment = Environment(
        loader=PackageLoader("daflow", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    with drawing():
        return environment.get_template("page.html").render(_view(contents))


def _view(contents: ReportContents) -> dict[str, Any]:
    groups = group_misfits(contents)
    misfits = member_misfits(contents)
    steps = [each.step for each in contents.predictions]
    misfit_table = tables.forecast_table if contents.cycles else tables.misfit_table
    return {
        "run": contents,
        "palette": PALETTE,
        "headline": _headline(contents, misfits),
        "tiles": _tiles(contents, misfits),
        "stage": _stage(contents),
        "match": match.match_panels(contents, groups),
        "n_groups": len(groups),
        "misfit_table": misfit_table(groups) if groups else None,
        "overview": _overview(contents, misfits),
        "step_table": tables.step_table(steps, misfits, contents.spread)
        if steps or contents.spread
        else None,
        "maps": [
            MapSection(each.label, maps.map_panels(each, f"map{i}"))
            for i, each in enumerate(contents.maps[: maps.MAPS_SHOWN])
        ],
        "maps_left": max(len(contents.maps) - maps.MAPS_SHOWN, 0),
        "ends": tables.end_table(contents.ends) if contents.ends else None,
        "reasons": tables.reason_table(contents.failures),
        "failures": tables.failure_table(contents.failures),
        "failed_members": len({each.member for each in contents.failures}),
        "cycles": cycle_pictures(contents.cycles),
        "analyses": comparison_pictures(contents.analyses),
        "diagnostics": diagnostic_section(contents),
        **_time(contents),
    }


def _stage(contents: ReportContents) -> str:
    if not contents.predictions:
        return "No forecast is finished yet."
    step = contents.predictions[-1].step
    if contents.cycles:
        done = count(len(contents.cycles), "analysis", "analyses")
        return (
            f"Each cycle's observations are predicted from the analysis before; {done} of {contents.n_steps}."
        )
    if step == 0:
        return "Only the prior's forecast is finished: there is no posterior yet."
    if step < contents.n_steps:
        return f"“Posterior” means here the ensemble after update {step} of {contents.n_steps}."
    return f"The posterior is the ensemble after all {count(contents.n_steps, 'update')}."


def _headline(contents: ReportContents, misfits: list[FloatArray]) -> str:
    if not misfits:
        return ""
    first, last = float(misfits[0].mean()), float(misfits[-1].mean())
    if contents.cycles:
        return f"In the forecasts of all cycles, the mean misfit per observation is {number(first)}."
    if len(misfits) == 1:
        return f"Under the prior, the mean misfit per observation is {number(first)}."
    verb = "fell" if last < first else "rose"
    updates = contents.predictions[-1].step
    change = f"{verb} from {number(first)} to {number(last)}"
    return f"Mean misfit per observation {change} in {count(updates, 'update')}."


def _tiles(contents: ReportContents, misfits: list[FloatArray]) -> Mapping[str, str]:
    """Return the few figures at the top of the page."""
    last = contents.predictions[-1] if contents.predictions else None
    tiles = {
        "members": f"{len(last.members) if last else contents.n_members:,} of {contents.n_members:,}",
        "numbers a member": f"{contents.n_state:,}",
        "observations": f"{contents.n_obs:,}",
        "updates": f"{len(contents.cycles) or (last.step if last else 0)} of {contents.n_steps}",
    }
    if misfits:
        tiles["misfit per observation"] = " → ".join(
            number(float(each.mean())) for each in (misfits[:1] + misfits[1:][-1:])
        )
    if contents.timings:
        tiles["wall time"] = duration(sum(each.wall_seconds for each in contents.timings))
    return tiles


def _overview(contents: ReportContents, misfits: list[FloatArray]) -> list[Picture]:
    if not misfits:
        return []
    steps = [each.step for each in contents.predictions]
    mean_of = {step: float(each.mean()) for step, each in zip(steps, misfits, strict=True)}
    spread = [each for each in contents.spread if each.step in mean_of]
    path = figures.misfit_against_spread([mean_of[each.step] for each in spread], spread)
    return [figures.misfit_by_step(steps, misfits), *([] if path is None else [path])]


def _time(contents: ReportContents) -> dict[str, Any]:
    if not contents.timings:
        return {"time": [], "time_table": None, "time_note": ""}
    shown, note = figures.shown_timings(contents.timings)
    shares = figures.busy_shares(shown)
    pictures = [figures.wall_time(shown), *([] if shares is None else [shares])]
    return {"time": pictures, "time_table": tables.time_table(shown), "time_note": note}
