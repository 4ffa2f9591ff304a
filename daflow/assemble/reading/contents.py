"""What a report tells, gathered from a run's journal and store."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np

from daflow.assemble.folder import RunFolder
from daflow.assemble.reading.cycle_scores import cycle_scores
from daflow.assemble.reading.diagnosis import diagnostics_of
from daflow.assemble.reading.shown import shown
from daflow.assemble.reading.step_scores import Scoring
from daflow.assemble.sections.inflations import inflations_told
from daflow.assemble.sections.methods import starts_from_prior, summary_of
from daflow.assemble.sections.quality import told
from daflow.execution.tasks.change import SPREAD_AFTER, SPREAD_BEFORE
from daflow.execution.tasks.member import log_folder
from daflow.names import TRUTH, Phase, Status
from daflow.ports import FloatArray, ObservationTable, Store
from daflow.records import Grid, Outcome, Variable
from daflow.report import (
    EndSummary,
    FieldMaps,
    MemberFailure,
    Moments,
    PhaseTiming,
    ReportContents,
    StepSpread,
)
from daflow.runs.decide import Plan
from daflow.runs.ends import EndGroup, ends_of, listed, told_hosts, told_messages
from daflow.runs.facts import Progress
from daflow.runs.journal import read_journal
from daflow.runs.status import RunStatus

MAP_CELLS = 400
"""A map shows at most so many cells along each side; a larger field is thinned evenly."""
TWO_DIMS = 2


def report_contents(
    run: RunFolder, plan: Plan, store: Store, progress: Progress, status: RunStatus
) -> ReportContents:
    """Return what the report of a run tells now; memory does not grow with the state."""
    outcomes = outcomes_of(run)
    seen = shown(plan, store, progress)
    observed = seen.of(store.read_observations().table)
    has_truth = plan.twin and (Phase.TRUTH, 0) in progress.survivors
    return ReportContents(
        name=run.workflow.name,
        status=status.state,
        observations=observed,
        n_members=len(plan.members),
        n_state=run.layout.n_state,
        n_steps=sum(cycle.goes_on for cycle in run.layout.cycles) or plan.n_updates(progress),
        when=time.strftime("%Y-%m-%d %H:%M", time.localtime(_last_moment(outcomes))),
        predictions=seen.predictions,
        truth=store.read_predicted(0, [TRUTH], 0, store.layout.n_obs)[0][seen.rows] if has_truth else None,
        maps=list(_maps(run, plan, store, progress, observed)),
        failures=[_failure(run, outcome) for outcome in progress.bad_ends],
        ends=[_summed_up(group) for group in ends_of(progress)],
        timings=list(_timings(outcomes)),
        spread=[] if store.layout.cycles else list(_spread(run, plan, outcomes)),
        summary=_summary(run),
        notes=[
            *_notes(plan, progress, status),
            *told(store.read_observations(), outcomes),
            *filter(None, [seen.note]),
        ],
        cycles=cycle_scores(outcomes, store.layout),
        diagnostics=diagnostics_of(Scoring(plan, store, progress), outcomes),
    )


def outcomes_of(run: RunFolder) -> list[Outcome]:
    """Return how the tasks of a run ended, in the order in which they came home."""
    return [Outcome.from_json(fact) for fact in read_journal(run.journal) if fact["fact"] == "ended"]


def _notes(plan: Plan, progress: Progress, status: RunStatus) -> Iterator[str]:
    if status.reason and status.state != "finished":
        yield status.reason
    left_behind = sorted(set(plan.members) - set(_members_now(plan, progress)))
    if left_behind:
        numbers = ", ".join(map(str, left_behind))
        yield f"Members left behind, by the policy of the workflow: {numbers}. All pictures show the others."
    dropped = {member for members in progress.dropped.values() for member in members} & set(left_behind)
    if dropped:
        yield f"Of these, the operator dropped {listed(dropped)}."


def _members_now(plan: Plan, progress: Progress) -> tuple[int, ...]:
    closed = [stage for stage in plan.stages if stage in progress.survivors]
    return progress.survivors[closed[-1]] if closed else plan.members


def _last_moment(outcomes: list[Outcome]) -> float:
    return max((outcome.started + outcome.seconds for outcome in outcomes), default=time.time())


def _failure(run: RunFolder, outcome: Outcome) -> MemberFailure:
    task = outcome.task
    log = log_folder(run.folder, task)
    place = str(log.relative_to(run.folder)) if log.exists() else ""
    return MemberFailure(task.index, task.step, task.attempt, outcome.status, outcome.reason, place)


def _summed_up(group: EndGroup) -> EndSummary:
    hosts, messages = told_hosts(group.hosts), told_messages(group, "; ")
    return EndSummary(group.status, group.attempts, len(group.members), group.done_since, hosts, messages)


def _timings(outcomes: Iterable[Outcome]) -> Iterator[PhaseTiming]:
    """Yield what each phase of each step took, in the order of the run."""

    def stage(outcome: Outcome) -> tuple[bool, int, int]:
        phase, step = outcome.task.phase, outcome.task.step
        return phase is Phase.SMOOTH, step, list(Phase).index(phase)

    for _, of_stage in groupby(sorted(outcomes, key=stage), key=stage):
        group = list(of_stage)
        timed = [outcome for outcome in group if outcome.started]
        figures: dict[str, float] = {}
        for outcome in timed:
            for name, value in outcome.figures.items():
                figures[name] = figures.get(name, 0.0) + value
        wall = _covered((o.started, o.started + o.seconds) for o in timed)
        task = group[0].task
        yield PhaseTiming(task.phase, task.step, len(group), wall, sum(o.seconds for o in timed), figures)


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return how long at least one of these was under way: the hours between two sessions do not count."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        total += max(stop - max(start, end), 0.0)
        end = max(end, stop)
    return total


def _spread(run: RunFolder, plan: Plan, outcomes: list[Outcome]) -> Iterator[StepSpread]:
    """Yield the mean standard deviation of each variable, step by step, from what the updates noted."""
    sizes = {variable.name: variable.size for variable in run.layout.variables}
    by_step: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.task.phase is Phase.UPDATE and outcome.status is Status.OK:
            by_step.setdefault(outcome.task.step, []).append(outcome)

    def mean(which: str, of_step: list[Outcome]) -> dict[str, float]:
        return {name: sum(o.figures.get(which + name, 0.0) for o in of_step) / n for name, n in sizes.items()}

    whole = [step for step, of_step in sorted(by_step.items()) if len(of_step) == plan.n_slices]
    again = starts_from_prior(run.workflow)
    for step in whole:
        # What an update starts from is not what its step had where it is the prior again.
        before = again and step - 1 in whole
        yield StepSpread(
            step, mean(SPREAD_AFTER, by_step[step - 1]) if before else mean(SPREAD_BEFORE, by_step[step])
        )
    if whole:
        yield StepSpread(whole[-1] + 1, mean(SPREAD_AFTER, by_step[whole[-1]]))


def _summary(run: RunFolder) -> dict[str, str]:
    workflow = run.workflow
    layout = run.layout
    return {
        "model": workflow.model.kind,
        "method": summary_of(workflow),
        "localization": workflow.localization.kind,
        "inflation": inflations_told(workflow) or "none",
        "seed": str(workflow.seed),
        "state": f"{layout.n_state:,} numbers in {_slices(layout.n_slices)}, {layout.dtype}",
        "variables": ", ".join(workflow.parameters),
    }


def _slices(n_slices: int) -> str:
    return "one slice" if n_slices == 1 else f"{n_slices:,} slices"


def _maps(
    run: RunFolder, plan: Plan, store: Store, progress: Progress, table: ObservationTable
) -> Iterator[FieldMaps]:
    if (Phase.PRIOR, 0) not in progress.survivors:
        return
    updates = [s for s in range(plan.n_steps) if (Phase.UPDATE, s) in progress.survivors]
    final = updates[-1] + 1 if updates else 0
    members = progress.survivors[Phase.UPDATE, final - 1] if final else progress.survivors[Phase.PRIOR, 0]
    has_truth = (Phase.TRUTH, 0) in progress.survivors
    for variable in run.layout.variables:
        grid = variable.grid
        if grid is None or len(grid.shape) < TWO_DIMS or min(grid.shape[-2:]) < TWO_DIMS:
            continue
        layer = _Layer(store, variable, grid)
        yield FieldMaps(
            variable.name,
            layer.label,
            layer.extent,
            layer.moments(0, members),
            layer.moments(final, members) if final else None,
            _true_layer(store, variable, grid, final) if has_truth else None,
            _points(table, grid),
        )


def _true_layer(store: Store, variable: Variable, grid: Grid, final: int) -> FloatArray:
    """Return the truth when the last step is reached: a filter's moves on with its members."""
    if store.layout.cycles and final:
        ended = store.layout.first_of(final) - 1
        return _Layer(store.forecasts if ended >= 0 else store, variable, grid).read(max(ended, 0), TRUTH)
    return _Layer(store, variable, grid).read(0, TRUTH)


class _Layer:
    """The middle layer of a gridded variable, thinned to what a picture can show."""

    def __init__(self, store: Store, variable: Variable, grid: Grid) -> None:
        self._store = store
        self._rows, self._columns = grid.shape[-2:]
        self._step_rows, self._step_columns = (-(-n // MAP_CELLS) for n in grid.shape[-2:])
        n_layers = variable.size // (self._rows * self._columns)
        middle = n_layers // 2
        self._start = variable.start + middle * self._rows * self._columns
        self.label = variable.name if n_layers == 1 else f"{variable.name}, {grid.dims[0]} {middle}"
        (dy, dx), (y0, x0) = grid.spacing[-2:], grid.origin[-2:]
        self.extent = (
            x0 - dx / 2,
            x0 + dx * (self._columns - 0.5),
            y0 - dy / 2,
            y0 + dy * (self._rows - 0.5),
        )

    def read(self, step: int, member: int) -> FloatArray:
        """Return a member's layer, thinned."""
        if self._step_rows == 1:
            stop = self._start + self._rows * self._columns
            layer = self._store.read_member(step, member, self._start, stop)
            return layer.reshape(self._rows, self._columns)[:, :: self._step_columns]
        starts = (self._start + row * self._columns for row in range(0, self._rows, self._step_rows))
        rows = [self._store.read_member(step, member, start, start + self._columns) for start in starts]
        return np.stack(rows)[:, :: self._step_columns]

    def moments(self, step: int, members: tuple[int, ...]) -> Moments:
        """Return the ensemble's mean and spread, one member in memory at a time (Welford, 1962)."""
        mean = np.zeros_like(self.read(step, members[0]))
        squares = np.zeros_like(mean)
        for count, member in enumerate(members, start=1):
            layer = self.read(step, member)
            off = layer - mean
            mean += off / count
            squares += off * (layer - mean)
        return Moments(mean, np.sqrt(squares / max(len(members) - 1, 1)))


def _points(table: ObservationTable, grid: Grid) -> dict[str, tuple[float, float]]:
    """Return where the observations lie in the plane of the map, each place once."""
    horizontal, vertical = grid.axes[-1], grid.axes[-2]
    names = table.get("well", table["name"])
    points: dict[tuple[float, float], str] = {}
    for name, x, y in zip(names, table[horizontal], table[vertical], strict=True):
        if np.isfinite(x) and np.isfinite(y):
            points.setdefault((float(x), float(y)), str(name))
    return {name: place for place, name in points.items()}
