"""How a run stands, in plain words and numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from daflow.names import Phase, Status
from daflow.runs.decide import Plan
from daflow.runs.ends import EndGroup, ends_of
from daflow.runs.facts import Progress
from daflow.runs.lease import Holder


@dataclass(frozen=True, slots=True)
class StageStatus:
    """How a phase of a step stands."""

    phase: Phase
    step: int
    done: int
    failed: int
    """Members or slices whose last attempt did not end well."""
    total: int
    closed: bool


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """An attempt that did not end well."""

    phase: Phase
    step: int
    member: int
    attempt: int
    status: Status
    reason: str
    host: str = ""
    """Where it ran, if that is known."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How a run stands."""

    name: str
    state: str
    """``not started``, ``running``, ``finished``, ``analysed`` (a branch that may be gone on with),
    ``stopped`` or ``interrupted`` (its driver died)."""
    reason: str
    resumable: bool
    driver: str
    """Who drives it now, and how; empty if nobody does."""
    members: int
    """How many members are in it now."""
    stages: tuple[StageStatus, ...]
    failures: tuple[MemberStatus, ...]
    lease: Holder | None = None
    """Who holds its lease, alive or not."""
    ends: tuple[EndGroup, ...] = ()
    """The failures, a group for each way to end."""
    avoided: dict[str, str] = field(default_factory=dict)
    """Node -> why the last driver put it aside."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        alive = {} if self.lease is None else {"lease": asdict(self.lease) | {"alive": self.lease.alive()}}
        return asdict(self) | alive


def status_of(name: str, plan: Plan, progress: Progress, holder: Holder | None) -> RunStatus:
    """Return how a run stands, from its journal and from who holds its lease."""
    stages, members = [], plan.members
    for stage in plan.stages_of(progress):
        indices = plan.indices(stage[0], members)
        failures = progress.failures.get(stage, {})
        dropped, done = progress.dropped.get(stage, {}).keys(), progress.done.get(stage, set())
        bad = {index for index, outcomes in failures.items() if outcomes and index not in done}
        failed = len(bad | dropped)
        n_done = len(done) - sum(index in done for index in dropped)
        closed = stage in progress.survivors
        stages.append(StageStatus(*stage, n_done, failed, len(indices), closed))
        members = progress.survivors.get(stage, members)
    driven = holder is not None and holder.alive()
    state, reason, resumable = _state(progress, driven=driven)
    driver = holder.told() if driven and holder is not None else ""
    if holder is not None and not driven and progress.last_stop is None and progress.sessions:
        reason += f": {holder.told()}, since {holder.told_since()}"
    ends = tuple(
        MemberStatus(o.task.phase, o.task.step, o.task.index, o.task.attempt, o.status, o.reason, o.host)
        for o in progress.bad_ends
    )
    return RunStatus(
        name,
        state,
        reason,
        resumable,
        driver,
        len(members),
        tuple(stages),
        ends,
        holder,
        ends_of(progress),
        {host: avoided.reason for host, avoided in progress.avoided.items()},
    )


def _state(progress: Progress, *, driven: bool) -> tuple[str, str, bool]:
    if driven:
        return "running", "", True
    stop = progress.last_stop
    if stop is not None:
        kind, reason = stop["kind"], stop["reason"]
        state = kind if kind in {"finished", "interrupted", "analysed"} else "stopped"
        return state, reason, bool(stop["resumable"])
    if progress.sessions == 0:
        return "not started", "", True
    return "interrupted", "the driver died", True
