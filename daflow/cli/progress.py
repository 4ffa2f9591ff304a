"""A run as one watches it: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from daflow.names import Phase, Status
from daflow.runs.decide import Plan
from daflow.runs.facts import Fact, Stage
from daflow.runs.facts import Progress as RunProgress

Watch = Callable[[Fact, RunProgress], None]

WORDS = {
    Phase.COORDINATES: "coordinates",
    Phase.TRUTH: "truth",
    Phase.PRIOR: "prior",
    Phase.FORECAST: "forecast",
    Phase.PREPARE: "prepare",
    Phase.SURVEY: "survey",
    Phase.CONCLUDE: "conclude",
    Phase.UPDATE: "update",
    Phase.SMOOTH: "smooth",
}


@contextmanager
def watching(plan: Plan, console: Console) -> Iterator[Watch]:
    """Return a watcher of a run, fit for where its output goes."""
    if not console.is_terminal:
        yield _Lines(plan, console).take
        return
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}", style="red"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield _Bars(plan, bars).take


@dataclass(frozen=True, slots=True)
class _Count:
    """How a stage stands."""

    done: int
    total: int
    bad: str
    """How many have not ended well so far, by how they did: "2 failed, 1 lost"."""


class _Totals:
    """How the tasks of the stage at hand stand: members are counted once a stage, not a fact."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._bad: dict[Stage, dict[int, Status]] = {}

    def of(self, stage: Stage, progress: RunProgress, fact: Fact) -> _Count:
        members = self._plan.members
        for earlier in self._plan.stages_of(progress):
            if earlier == stage:
                break
            members = progress.survivors.get(earlier, members)
        done, dropped = progress.done.get(stage, set()), progress.dropped.get(stage, {})
        failures = progress.failures.get(stage, {})
        if stage not in self._bad:
            bad = {i: ends[-1].status for i, ends in failures.items() if ends and i not in done}
            self._bad[stage] = bad | {i: outcome.status for i, outcome in dropped.items()}
        elif fact["fact"] == "ended" and fact["index"] not in dropped:
            index = fact["index"]
            self._bad[stage].pop(index, None)
            if failures.get(index) and index not in done:
                self._bad[stage][index] = failures[index][-1].status
        counts = Counter(self._bad[stage].values())
        told = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
        n_done = len(done) - sum(i in done for i in dropped)
        return _Count(n_done, len(self._plan.indices(stage[0], members)), told)

    def forget(self) -> None:
        """Count anew: what befell members on a node that was put aside is not held against them."""
        self._bad.clear()


def _stage(fact: Fact) -> Stage:
    return Phase(fact["phase"]), fact["step"]


def _name(stage: Stage) -> str:
    phase, step = stage
    return (
        WORDS[phase] if phase in {Phase.COORDINATES, Phase.TRUTH, Phase.PRIOR} else f"{WORDS[phase]} {step}"
    )


class _Bars:
    """A bar a stage."""

    def __init__(self, plan: Plan, bars: Progress) -> None:
        self._totals, self._bars = _Totals(plan), bars
        self._ids: dict[Stage, TaskID] = {}
        self._began: dict[Stage, tuple[float, int]] = {}

    def take(self, fact: Fact, progress: RunProgress) -> None:
        """Show a fact."""
        if fact["fact"] == "opened":
            for line in fact.get("differs", []):
                self._bars.console.print(f"[yellow]not as when the run was made:[/] {line}")
            if "cleared" in fact:
                self._bars.console.print(fact["cleared"], style="yellow", markup=False, highlight=False)
        if fact["fact"] == "avoided":
            self._totals.forget()
            self._bars.console.print(_avoided(fact), style="yellow", markup=False, highlight=False)
        if fact["fact"] not in {"ended", "closed"}:
            return
        stage = _stage(fact)
        count = self._totals.of(stage, progress, fact)
        done = count.done
        if stage not in self._ids:
            self._ids[stage] = self._bars.add_task(_name(stage), total=count.total, failed="", rate="")
            self._began[stage] = (time.monotonic(), done)
        began, before = self._began[stage]
        seconds = time.monotonic() - began
        rate = f"{(done - before) / seconds:.1f}/s" if seconds > 1 and done > before else ""
        self._bars.update(self._ids[stage], completed=done, total=count.total, failed=count.bad, rate=rate)
        if fact["fact"] == "ended" and fact["status"] != Status.OK:
            self._bars.console.print(_bad_end(fact), style="red", markup=False, highlight=False)


class _Lines:
    """A line a stage, and one for each attempt that did not end well."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._totals, self._console = _Totals(plan), console

    def take(self, fact: Fact, progress: RunProgress) -> None:
        """Show a fact."""
        if fact["fact"] == "opened":
            for line in fact.get("differs", []):
                self._say(f"not as when the run was made: {line}")
            if "cleared" in fact:
                self._say(fact["cleared"])
        if fact["fact"] == "ended" and fact["status"] != Status.OK:
            self._say(_bad_end(fact))
        if fact["fact"] == "avoided":
            self._totals.forget()
            self._say(_avoided(fact))
        if fact["fact"] == "closed":
            count = self._totals.of(_stage(fact), progress, fact)
            told = f"{_name(_stage(fact))}: {count.done} of {count.total} done"
            self._say(told + (f", {count.bad}" if count.bad else ""))

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _avoided(fact: Fact) -> str:
    return f"node {fact['host']} is put aside: {fact['reason']}"


def _bad_end(fact: Fact) -> str:
    first_line = str(fact["reason"]).partition("\n")[0]
    return (
        f"{_name(_stage(fact))}, {fact['index']}, attempt {fact['attempt']}: {fact['status']}: {first_line}"
    )
