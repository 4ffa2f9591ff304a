"""A run as one watches it: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from daflow.names import Phase, Status
from daflow.runs.decide import Plan
from daflow.runs.ends import alike
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


INDEX: Mapping[Phase, str] = {
    Phase.PRIOR: "member ",
    Phase.FORECAST: "member ",
    Phase.SURVEY: "slice ",
    Phase.UPDATE: "slice ",
}
"""What the tasks of a phase are numbered by."""
SAID = 5
"""How many attempts of a stage that ended alike are told one by one."""
BESIDE = 4
"""Lines of a terminal that bars leave free."""


@contextmanager
def watching(plan: Plan, console: Console) -> Iterator[Watch]:
    """Return a watcher of a run, fit for where its output goes."""
    if not console.is_terminal:
        yield _Lines(plan, console).take
        return
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=28 if console.width > 90 else 16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}", style="red"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        _Left(),
    )
    with Progress(*columns, console=console) as bars:
        yield _Bars(plan, bars).take


class _Left(TimeRemainingColumn):
    """How long a stage will take, as long as it is under way."""

    def render(self, task: Task) -> Text:
        """Return it, or nothing."""
        if task.total is None or task.finished or task.stop_time is not None:
            return Text()
        return Text.assemble(super().render(task), " left")


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
    """A bar a stage, the latest ones."""

    def __init__(self, plan: Plan, bars: Progress) -> None:
        self._totals, self._bars, self._bad_ends = _Totals(plan), bars, _BadEnds()
        self._ids: dict[Stage, TaskID] = {}
        self._began: dict[Stage, tuple[float, int]] = {}
        self._starting: TaskID | None = bars.add_task("starting", total=None, failed="", rate="")

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
            self._make_room()
            self._ids[stage] = self._bars.add_task(_name(stage), total=count.total, failed="", rate="")
            self._began[stage] = (time.monotonic(), done)
        began, before = self._began[stage]
        seconds = time.monotonic() - began
        rate = f"{(done - before) / seconds:.1f}/s" if seconds > 1 and done > before else ""
        self._bars.update(self._ids[stage], completed=done, total=count.total, failed=count.bad, rate=rate)
        if fact["fact"] == "closed":
            self._bars.stop_task(self._ids[stage])
        for line in self._bad_ends.told(fact):
            self._bars.console.print(line, style="red", markup=False, highlight=False)

    def _make_room(self) -> None:
        """Take away what no terminal shows: it would show the first bars, not the last."""
        if self._starting is not None:
            self._bars.remove_task(self._starting)
            self._starting = None
        while len(self._bars.task_ids) > max(1, self._bars.console.height - BESIDE):
            self._bars.remove_task(self._bars.task_ids[0])


class _Lines:
    """A line a stage, and some for attempts that did not end well."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._totals, self._console, self._bad_ends = _Totals(plan), console, _BadEnds()

    def take(self, fact: Fact, progress: RunProgress) -> None:
        """Show a fact."""
        if fact["fact"] == "opened":
            for line in fact.get("differs", []):
                self._say(f"not as when the run was made: {line}")
            if "cleared" in fact:
                self._say(fact["cleared"])
        for line in self._bad_ends.told(fact):
            self._say(line)
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


class _BadEnds:
    """How attempts ended that did not end well: of many that ended alike in a stage, the first few."""

    def __init__(self) -> None:
        self._said: Counter[tuple[Stage, str]] = Counter()

    def told(self, fact: Fact) -> Iterator[str]:
        """Yield what is to be said of a fact."""
        if fact["fact"] != "ended" or fact["status"] == Status.OK:
            return
        first_line = str(fact["reason"]).partition("\n")[0]
        stage = phase, _ = _stage(fact)
        which = f"{INDEX.get(phase, '')}{fact['index']}, attempt {fact['attempt']}"
        like = stage, f"{fact['status']}: {alike(first_line)}"
        self._said[like] += 1
        if self._said[like] <= SAID:
            yield f"{_name(stage)}, {which}: {fact['status']}: {first_line}"
        elif self._said[like] == SAID + 1:
            yield f"{_name(stage)}: others ended so too; `daflow status` counts them"
