"""What a run does next: a pure function of where it stands, what is planned, and the policy."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from daflow.errors import EnsembleError, RunError, StoreError
from daflow.names import Phase, Status
from daflow.records import Outcome, Task
from daflow.runs.facts import Progress, Stage
from daflow.runs.policy import Policy

MEMBER_PHASES = frozenset({Phase.PRIOR, Phase.FORECAST})
"""Phases with a task a member: one that cannot be had is left behind. Elsewhere it ends the run."""
SLICE_PHASES = frozenset({Phase.COORDINATES, Phase.SURVEY, Phase.UPDATE, Phase.SMOOTH})
"""Phases with a task a slice."""
BEFORE_ANALYSIS = frozenset({Phase.COORDINATES, Phase.TRUTH, Phase.PRIOR, Phase.FORECAST})
"""Phases of a step that the settings of its analysis do not touch."""

LAID_DOWN = frozenset({"interrupted", "walltime"})
"""Kinds of stops that are nobody's fault."""
OF_MEMBERS = frozenset({"too few members", "member failed"})
"""Kinds of stops because of members that were given up."""
GO_ON = "`daflow resume {}` goes on from here: nothing that was done is lost"


@dataclass(frozen=True)
class Plan:
    """All that a run is going to do."""

    members: tuple[int, ...]
    """Who starts."""
    n_steps: int
    """How many updates there are, at most where the method ends by itself; forecasts are one more."""
    n_slices: int
    twin: bool
    """Whether a truth is drawn and observed first."""
    keys: Mapping[Stage, str]
    """The key of each stage's inputs: outcomes under another key are not of this plan."""
    surveys: bool = False
    """Whether every slice is looked at before any is updated."""
    last_forecast: bool = True
    """Whether the posterior is forecast; the analyses of a filter end with the last observations."""
    branched: int | None = None
    """The step with whose analysis a branch begins; ``members`` are those that have come to it. ``None``: the
    run begins with the prior."""
    smooths: bool = False
    """Whether the states that steps start from are smoothed once the last update is done."""
    pause: int | None = None
    """The step after whose update the run is laid down, to be gone on with; ``None``: it goes to its end."""

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Every stage, in order, as if no method ended by itself."""
        return tuple(stage for stage in self._stages() if self._begun(stage) and not self._beyond(stage))

    def _begun(self, stage: Stage) -> bool:
        """Say whether a stage is this run's, not one of those that a branch took over."""
        if self.branched is None or stage[1] > self.branched:
            return True
        # The state that the branch begins from is its parent's, smoothed there.
        return stage[1] == self.branched and stage[0] not in {*BEFORE_ANALYSIS, Phase.SMOOTH}

    def _beyond(self, stage: Stage) -> bool:
        if self.pause is None:
            return False
        # Smoothing waits for all the analyses that there will be.
        return stage[1] > self.pause or (stage[0] is Phase.SMOOTH and self.pause < self.n_steps - 1)

    def _stages(self) -> Iterator[Stage]:
        yield Phase.COORDINATES, 0
        if self.twin:
            yield Phase.TRUTH, 0
        yield Phase.PRIOR, 0
        for step in range(self.n_steps):
            yield Phase.FORECAST, step
            yield Phase.PREPARE, step
            if self.surveys:
                yield Phase.SURVEY, step
                yield Phase.CONCLUDE, step
            yield Phase.UPDATE, step
        if self.last_forecast:
            yield Phase.FORECAST, self.n_steps
        if self.smooths:
            yield from ((Phase.SMOOTH, step) for step in range(self.n_steps))

    def indices(self, phase: Phase, members: tuple[int, ...]) -> Collection[int]:
        """Return the numbers of a phase's tasks, given the members that have come this far."""
        if phase in MEMBER_PHASES:
            return members
        return range(self.n_slices) if phase in SLICE_PHASES else range(1)

    def n_updates(self, progress: Progress) -> int:
        """Return how many updates there are, as far as that is known: the most there can be, or the end."""
        return self.n_steps if progress.last_update is None else progress.last_update + 1

    def stages_of(self, progress: Progress) -> tuple[Stage, ...]:
        """Return every stage that a run comes to, as far as it is known."""
        if progress.last_update is None:
            return self.stages
        end = progress.last_update + 1
        return tuple(s for s in self.stages if s[1] < end or s == (Phase.FORECAST, end))


@dataclass(frozen=True)
class Dispatch:
    """Run these tasks, and those that are already out, before asking again."""

    stage: Stage
    tasks: tuple[Task, ...]


@dataclass(frozen=True)
class Close:
    """The stage is settled; these members go on."""

    stage: Stage
    survivors: tuple[int, ...]


@dataclass(frozen=True)
class Stop:
    """There is nothing more to do, or no way on."""

    kind: str
    """``finished``, ``analysed``, ``too few members``, ``member failed``, ``task failed``, ``blocked``;
    ``interrupted`` or ``walltime`` where its driver was made to lay it down."""
    reason: str
    resumable: bool

    def check(self, where: object) -> None:
        """Raise unless the run is finished, or has come as far as it was asked to.

        Raises
        ------
        daflow.errors.EnsembleError
            Too few members are left, or one failed and the policy is to stop.
        daflow.errors.StoreError
            The store would not let it.
        daflow.errors.RunError
            A task of the analysis failed.
        """
        if self.kind in {"finished", "analysed"}:
            return
        errors = {"too few members": EnsembleError, "member failed": EnsembleError, "blocked": StoreError}
        if self.kind in LAID_DOWN:
            raise RunError(f"the run in {where} was laid down: {self.reason}", do=GO_ON.format(where))
        do = "change what causes it in the workflow file and run that in a new folder"
        if self.resumable:
            do = f"mend the cause, then `daflow resume {where}`"
            if self.kind in OF_MEMBERS:
                do += " (--retry-failed or --retry 17: members again; --min-members: on with fewer)"
        raise errors.get(self.kind, RunError)(f"the run in {where} stopped: {self.reason}", do=do)


def decide(
    progress: Progress, plan: Plan, policy: Policy, in_flight: Collection[Task] = ()
) -> Dispatch | Close | Stop:
    """Return what comes next; ``in_flight`` are the tasks that are out now."""
    if progress.blocked:
        return Stop("blocked", progress.blocked, resumable=True)
    stage, members = stage_at_hand(progress, plan)
    if stage is None:
        return finished(plan)
    phase, step = stage
    indices = plan.indices(phase, members)
    done, dropped = progress.done.get(stage, set()), progress.dropped.get(stage, {})
    given_up = {
        index: end
        for index, outcomes in progress.failures.get(stage, {}).items()
        if index in indices and index not in done and (end := policy.gives_up(outcomes)) is not None
    }
    given_up |= {index: outcome for index, outcome in dropped.items() if index in indices}
    if given_up:
        stop = fatal(stage, members, given_up, policy, least_members(progress, policy))
        if stop is not None:
            return stop
    out = {task.index for task in in_flight if (task.phase, task.step) == stage}
    waiting = [i for i in indices if i not in done and i not in given_up]
    if waiting:
        tasks = (Task(phase, step, i, progress.next_attempt(stage, i)) for i in waiting if i not in out)
        return Dispatch(stage, tuple(tasks))
    return Close(stage, survivors_of(stage, members, done, dropped))


def least_members(progress: Progress, policy: Policy) -> int:
    """Return with how many members at least the run goes on."""
    return policy.min_members if progress.min_members is None else progress.min_members


def stage_at_hand(progress: Progress, plan: Plan) -> tuple[Stage | None, tuple[int, ...]]:
    """Return the first stage that is not closed, and the members that have come to it."""
    members = plan.members
    for stage in plan.stages_of(progress):
        if stage not in progress.survivors:
            return stage, members
        members = progress.survivors[stage]
    return None, members


def finished(plan: Plan) -> Stop:
    """Return the end of a run that has done all that was planned."""
    if plan.pause is not None and (plan.last_forecast or plan.pause < plan.n_steps - 1):
        return Stop("analysed", f"the analysis of step {plan.pause} is done", resumable=True)
    return Stop("finished", "all steps are done", resumable=False)


def survivors_of(
    stage: Stage, members: tuple[int, ...], done: Collection[int], dropped: Collection[int]
) -> tuple[int, ...]:
    """Return who goes on from a stage where these are done and these were dropped."""
    if stage[0] not in MEMBER_PHASES:
        return members
    return tuple(member for member in members if member in done and member not in dropped)


def fatal(
    stage: Stage, members: tuple[int, ...], given_up: Mapping[int, Outcome], policy: Policy, least: int
) -> Stop | None:
    """Return how the run stops because these tasks are given up; ``None``: it goes on without them.

    ``least`` is with how many members at least it goes on.
    """
    phase, step = stage
    first = min(given_up)
    named = _named(given_up[first])
    if phase not in MEMBER_PHASES:
        # Lost: another session may have better luck. Failed: the same input would end the same way.
        resumable = given_up[first].status == Status.LOST
        return Stop("task failed", f"{phase} {first} of step {step} {named}", resumable=resumable)
    stopping = policy.first_stopping(given_up)
    if stopping is not None:
        reason = f"member {stopping} of step {step} {_named(given_up[stopping])}; the policy is to stop"
        return Stop("member failed", reason, resumable=True)
    n_left = sum(member not in given_up for member in members)
    if n_left < least:
        reason = (
            f"{n_left} of {len(members)} members are left in the {phase} of step {step}, the policy asks for "
            f"{least}; the first, member {first}, {named}"
        )
        return Stop("too few members", reason, resumable=True)
    return None


def _named(end: Outcome) -> str:
    return f"{end.status}: {end.reason}"
