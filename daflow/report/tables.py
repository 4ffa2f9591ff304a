"""The tables of a report, every cell a finished word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from daflow.ports import FloatArray
from daflow.report.contents import EndSummary, MemberFailure, PhaseTiming, StepSpread
from daflow.report.figures import SHARES, busy_split, timing_label
from daflow.report.groups import GroupMisfit
from daflow.report.wording import count, duration, number

GROUPS_SHOWN: Final = 40
FAILURES_SHOWN: Final = 100
REASONS_SHOWN: Final = 12
REASON_LENGTH: Final = 300
NOTHING: Final = "—"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of words; the first ``words`` columns are set left, the others, numbers, right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    note: str = ""
    """What is not shown, if anything."""


def misfit_table(misfits: Sequence[GroupMisfit]) -> Table:
    """Return misfit by group before and after, the worst first."""
    rows = [
        (
            each.group.label,
            f"{len(each.group.rows):,}",
            number(each.prior),
            NOTHING if each.posterior is None else number(each.posterior),
            _change(each),
        )
        for each in misfits[:GROUPS_SHOWN]
    ]
    head = ("group", "observations", "prior", "posterior", "ratio")
    return Table(head, rows, note=_rest(len(misfits), GROUPS_SHOWN, "group", "with smaller misfits"))


def forecast_table(misfits: Sequence[GroupMisfit]) -> Table:
    """Return misfit by group in the forecasts of a filter, the worst first."""
    rows = [
        (each.group.label, f"{len(each.group.rows):,}", number(each.prior)) for each in misfits[:GROUPS_SHOWN]
    ]
    head = ("group", "observations", "forecasts")
    return Table(head, rows, note=_rest(len(misfits), GROUPS_SHOWN, "group", "with smaller misfits"))


def step_table(steps: Sequence[int], misfits: Sequence[FloatArray], spread: Sequence[StepSpread]) -> Table:
    """Return each step's misfit over the members, and its spread by variable."""
    variables = sorted({name for each in spread for name in each.mean_std})
    std_of: dict[int, Mapping[str, float]] = {each.step: each.mean_std for each in spread}
    misfit_of = dict(zip(steps, misfits, strict=True))
    rows = [
        (str(step), *_misfit_cells(misfit_of.get(step)), *_spread_cells(std_of.get(step, {}), variables))
        for step in sorted(misfit_of.keys() | std_of.keys())
    ]
    head = (
        "step",
        "members",
        "mean misfit",
        "10 % quantile",
        "median",
        "90 % quantile",
        *(f"spread of {name}" for name in variables),
    )
    return Table(head, rows)


def failure_table(failures: Sequence[MemberFailure]) -> Table:
    """Return every attempt that did not end well, in order of step and member."""
    ordered = sorted(failures, key=lambda each: (each.step, each.member, each.attempt))
    rows = [
        (
            str(each.member),
            str(each.step),
            str(each.attempt),
            str(each.status),
            _shortened(each.reason),
            each.log or NOTHING,
        )
        for each in ordered[:FAILURES_SHOWN]
    ]
    head = ("member", "step", "attempt", "status", "reason", "log")
    return Table(
        head, rows, words=6, note=_rest(len(ordered), FAILURES_SHOWN, "attempt", "of later steps or members")
    )


def end_table(ends: Sequence[EndSummary]) -> Table:
    """Return how many attempts ended in each way that is not good, where, and what they said first."""
    rows = [
        (
            str(each.status),
            each.hosts or NOTHING,
            _shortened(each.messages) or NOTHING,
            f"{each.attempts:,}",
            f"{each.members:,}",
            f"{each.done_since:,}",
        )
        for each in ends
    ]
    return Table(("end", "hosts", "messages", "attempts", "members", "done since"), rows, words=3)


def reason_table(failures: Sequence[MemberFailure]) -> Table:
    """Return how often each reason came up, and for how many members."""
    attempts = Counter((str(each.status), each.reason) for each in failures)
    members: dict[tuple[str, str], set[int]] = {}
    for each in failures:
        members.setdefault((str(each.status), each.reason), set()).add(each.member)
    ordered = sorted(attempts, key=lambda key: (-attempts[key], key))
    rows = [
        (key[0], _shortened(key[1]), f"{attempts[key]:,}", f"{len(members[key]):,}")
        for key in ordered[:REASONS_SHOWN]
    ]
    note = _rest(len(ordered), REASONS_SHOWN, "reason", "that came up less often")
    return Table(("status", "reason", "attempts", "members"), rows, words=2, note=note)


def time_table(timings: Sequence[PhaseTiming]) -> Table:
    """Return wall and busy time of each phase and step, and what the tasks were busy with."""
    rows = [
        (
            timing_label(each),
            f"{each.tasks:,}",
            duration(each.wall_seconds),
            duration(each.busy_seconds),
            number(each.busy_seconds / each.wall_seconds, 2) if each.wall_seconds > 0 else NOTHING,
            *_share_cells(each),
        )
        for each in timings
    ]
    head = (
        "phase and step",
        "tasks",
        "wall",
        "busy",
        "at once",
        *(f"{name} %" for name in SHARES),
        "other %",
    )
    return Table(head, rows)


def _shortened(reason: str) -> str:
    """Keep what tells: the log has the rest."""
    return reason if len(reason) <= REASON_LENGTH else reason[: REASON_LENGTH - 1] + "…"


def _change(misfit: GroupMisfit) -> str:
    if misfit.posterior is None or misfit.prior == 0:
        return NOTHING
    return f"{number(100 * misfit.posterior / misfit.prior, 2)} %"


def _misfit_cells(misfits: FloatArray | None) -> list[str]:
    if misfits is None:
        return [NOTHING] * 5
    figures = (misfits.mean(), *np.quantile(misfits, (0.1, 0.5, 0.9)))
    return [f"{len(misfits):,}", *(number(float(each)) for each in figures)]


def _spread_cells(mean_std: Mapping[str, float], variables: Sequence[str]) -> list[str]:
    return [number(mean_std[name]) if name in mean_std else NOTHING for name in variables]


def _share_cells(timing: PhaseTiming) -> list[str]:
    if not timing.busy_seconds or not any(f"{name}_seconds" in timing.figures for name in SHARES):
        return [NOTHING] * (len(SHARES) + 1)
    return [f"{share:.0f}" for share in busy_split(timing).values()]


def _rest(total: int, shown: int, one: str, which: str) -> str:
    return f"Not shown: {count(total - shown, one)} {which}." if total > shown else ""
