"""A run as one watches it: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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


class _Totals:
    """How many tasks the stage at hand has, done and failed: members are counted once a stage, not a fact."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._failed: dict[Stage, set[int]] = {}

    def of(self, stage: Stage, progress: RunProgress, fact: Fact) -> tuple[int, int, int]:
        members = self._plan.members
        for earlier in self._plan.stages_of(progress):
            if earlier == stage:
                break
            members = progress.survivors.get(earlier, members)
        done = progress.done.get(stage, set())
        failures = progress.failures.get(stage, {})
        if stage not in self._failed:
            self._failed[stage] = {i for i, ends in failures.items() if ends and i not in done}
        elif fact["fact"] == "ended":
            index = fact["index"]
            self._failed[stage].discard(index)
            if failures.get(index) and index not in done:
                self._failed[stage].add(index)
        return len(done), len(self._failed[stage]), len(self._plan.indices(stage[0], members))


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
        if fact["fact"] not in {"ended", "closed"}:
            return
        stage = _stage(fact)
        done, failed, total = self._totals.of(stage, progress, fact)
        if stage not in self._ids:
            self._ids[stage] = self._bars.add_task(_name(stage), total=total, failed="", rate="")
            self._began[stage] = (time.monotonic(), done)
        began, before = self._began[stage]
        seconds = time.monotonic() - began
        rate = f"{(done - before) / seconds:.1f}/s" if seconds > 1 and done > before else ""
        told = f"{failed} failed" if failed else ""
        self._bars.update(self._ids[stage], completed=done, total=total, failed=told, rate=rate)
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
        if fact["fact"] == "closed":
            done, failed, total = self._totals.of(_stage(fact), progress, fact)
            self._say(
                f"{_name(_stage(fact))}: {done} of {total} done" + (f", {failed} failed" if failed else "")
            )

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _bad_end(fact: Fact) -> str:
    first_line = str(fact["reason"]).partition("\n")[0]
    return (
        f"{_name(_stage(fact))}, {fact['index']}, attempt {fact['attempt']}: {fact['status']}: {first_line}"
    )
