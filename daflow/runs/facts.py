"""What a journal says, folded into where a run stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final

from daflow.errors import JournalError
from daflow.names import BLAMELESS, BY_OPERATOR, LAST, Phase, Status
from daflow.records import Outcome, Task
from daflow.runs.intervals import Intervals
from daflow.runs.orders import NONE, Orders

Fact = Mapping[str, Any]
"""One line of the journal: a JSON object with its kind under ``fact``."""

Stage = tuple[Phase, int]
"""A phase of a step."""


def opened(
    who: Mapping[str, Any], *, retry_failed: bool = False, orders: Orders = NONE, at: Stage | None = None
) -> Fact:
    """Return the fact that a driver took the run up.

    Parameters
    ----------
    who
        Which process on which host, and when.
    retry_failed
        Whether members that failed in the stage that is not closed yet get new attempts, however they failed.
    orders
        What else was asked for.
    at
        The stage in which the members are dropped that are to be.
    """
    where = {} if at is None or not orders.drop else {"drop_at": list(at)}
    return {"fact": "opened", "retry_failed": retry_failed, **orders.to_json(), **where, **who}


def ended(outcome: Outcome) -> Fact:
    """Return the fact that an attempt ended."""
    return {"fact": "ended", **outcome.to_json()}


def closed(stage: Stage, survivors: Iterable[int]) -> Fact:
    """Return the fact that a stage is settled, and who goes on from it."""
    return {"fact": "closed", "phase": stage[0], "step": stage[1], "survivors": list(survivors)}


def branched(parent: str, step: int, key: str) -> Fact:
    """Return the fact that a run takes over what its parent has made, up to the forecast of a step."""
    return {"fact": "branched", "parent": parent, "step": step, "key": key}


def stopped(kind: str, reason: str, *, resumable: bool) -> Fact:
    """Return the fact that the driver laid the run down."""
    return {"fact": "stopped", "kind": kind, "reason": reason, "resumable": resumable}


def avoided(host: str, reason: str, time: float) -> Fact:
    """Return the fact that a node is put aside for this session; ``time`` in seconds since the epoch."""
    return {"fact": "avoided", "host": host, "reason": reason, "time": time}


def _is_forgiven(outcome: Outcome, follows: bool) -> bool:  # noqa: FBT001 - what the fact says
    """Say whether a new driver holds an end against its member no longer."""
    return outcome.status is Status.LOST and not (follows and not outcome.figures.get(BLAMELESS))


_ENDING: Final = frozenset({Phase.PREPARE, Phase.CONCLUDE})
_PHASES: Final = {phase.value: phase for phase in Phase}
_STATUSES: Final = {status.value: status for status in Status}


@dataclass(frozen=True, slots=True)
class Avoided:
    """That a node is put aside."""

    reason: str
    time: float
    """Since when, in seconds since the epoch."""


@dataclass
class Progress:
    """Where a run stands: the fold of its facts, one at a time.

    `take` is the only thing that changes it, so that a journal read at once and a journal followed
    line by line end alike.

    Memory: O(tasks) of the stages that are not closed, and of closed ones O(tasks that did not end well at
    once).
    """

    done: dict[Stage, AbstractSet[int]] = field(default_factory=dict)
    """Stage -> the members or slices whose task is done for ever."""
    failures: dict[Stage, dict[int, list[Outcome]]] = field(default_factory=dict)
    """Stage -> member or slice -> the attempts that count against its retries."""
    attempts: dict[Stage, dict[int, int]] = field(default_factory=dict)
    """Stage -> member or slice -> how many attempts ended, if more than a first one that went well."""
    survivors: dict[Stage, tuple[int, ...]] = field(default_factory=dict)
    """Closed stage -> the members that go on."""
    bad_ends: list[Outcome] = field(default_factory=list)
    """Every attempt that did not end well, in the order they came home."""
    dropped: dict[Stage, dict[int, Outcome]] = field(default_factory=dict)
    """Stage -> member -> that the operator gave it up there."""
    min_members: int | None = None
    """With fewer members the present driver stops; ``None``: as its policy says."""
    sessions: int = 0
    """How many drivers have taken the run up."""
    blocked: str = ""
    """Why the store would not let the present driver go on."""
    last_stop: Fact | None = None
    """How the last driver laid the run down; nothing while one is at work or after it was killed."""
    last_update: int | None = None
    """The step whose update is the last, once the method has said so."""
    avoided: dict[str, Avoided] = field(default_factory=dict)
    """Host -> why the present driver sends nothing there any more."""
    seen: set[Task] = field(default_factory=set)
    """The attempts that ended, where they are more than a first one that went well: nearly all tasks are that
    and no more, and of a hundred thousand of them nothing is kept but that they are done."""

    def take(self, fact: Fact) -> None:
        """Fold one fact in; one that was seen before changes nothing."""
        match fact["fact"]:
            case "opened":
                self._open(fact)
            case "ended":
                self._end(fact)
            case "closed":
                self._close((Phase(fact["phase"]), fact["step"]), tuple(fact["survivors"]))
            case "avoided":
                self._avoid(fact["host"], Avoided(str(fact["reason"]), float(fact["time"])))
            case "stopped":
                self.last_stop = fact

    def knows(self, outcome: Outcome) -> bool:
        """Say whether an outcome would change nothing.

        An attempt ends once, but one that was given up as lost may have been done all the same, by a worker
        that was cut off: its receipt counts.
        """
        return self._knows(outcome.task, outcome.status)

    def _knows(self, task: Task, status: Status) -> bool:
        return self._has_ended(task) and (status != Status.OK or self._done(task))

    def settles(self, task: Task) -> bool:
        """Say whether an attempt ended and its task is done: no outcome of it changes anything."""
        return self._has_ended(task) and self._done(task)

    def _has_ended(self, task: Task) -> bool:
        return task in self.seen or (
            task.attempt == 0 and self._done_at_once((task.phase, task.step), task.index)
        )

    def _done_at_once(self, stage: Stage, index: int) -> bool:
        """Say whether a first attempt that went well is all that is known of a task."""
        return index in self.done.get(stage, ()) and index not in self.attempts.get(stage, ())

    def _done(self, task: Task) -> bool:
        return task.index in self.done.get((task.phase, task.step), ())

    def next_attempt(self, stage: Stage, index: int) -> int:
        """Return the number of the next attempt."""
        return self.attempts.get(stage, {}).get(index, int(self._done_at_once(stage, index)))

    def _open(self, fact: Fact) -> None:
        """Give what was lost new chances, for a new driver may have better nodes; and what is asked for.

        A driver that merely follows another one in a chain of jobs forgives only what no member is to blame
        for: nobody has mended anything in between, and short jobs are no reason to lose it more often.
        """
        fact["retry_failed"]  # every version wrote it: a fact without is not whole
        orders = Orders.from_json(fact)
        self.sessions += 1
        self.blocked, self.last_stop = "", None
        self.avoided, self.min_members = {}, orders.min_members
        follows = bool(fact.get("follows"))
        for stage, by_index in self.failures.items():
            if stage in self.survivors:
                continue
            for index, outcomes in by_index.items():
                asked = index in orders.members
                kept = (o for o in outcomes if o.status not in orders.retry and not _is_forgiven(o, follows))
                by_index[index] = [] if asked else list(kept)
        for stage, dropped in self.dropped.items():
            back = dropped.keys() if Status.CANCELLED in orders.retry else dropped.keys() & orders.members
            for index in () if stage in self.survivors else tuple(back):
                del dropped[index]
        if orders.drop:
            phase, step = fact["drop_at"]
            self._drop((Phase(phase), step), orders.drop, fact)

    def _drop(self, stage: Stage, members: Iterable[int], fact: Fact) -> None:
        if stage in self.survivors:
            return
        for member in sorted(members):
            outcome = Outcome(
                Task(*stage, member, self.next_attempt(stage, member)),
                Status.CANCELLED,
                host=str(fact.get("host", "")),
                reason="dropped by the operator",
                started=float(fact.get("time", 0.0)),
                figures={BY_OPERATOR: 1.0},
            )
            self._count(outcome.task)
            self.dropped.setdefault(stage, {})[member] = outcome
            self.bad_ends.append(outcome)

    def _end(self, fact: Fact) -> None:
        # Nearly every fact is a good end, and of that nothing but the address is kept.
        task = Task(_PHASES[fact["phase"]], fact["step"], fact["index"], fact["attempt"])
        status = _STATUSES[fact["status"]]
        if self._knows(task, status):
            return
        stage = (task.phase, task.step)
        if status is not Status.OK or task.attempt or self.next_attempt(stage, task.index):
            self._count(task)
        if status is Status.OK:
            done = self.done.get(stage)
            if not isinstance(done, set):
                done = self.done[stage] = set(done or ())
            done.add(task.index)
            if task.phase in _ENDING and fact["figures"].get(LAST):
                self.last_update = task.step
            return
        outcome = Outcome.from_json(fact)
        self.bad_ends.append(outcome)
        if status is Status.BLOCKED:
            self.blocked = outcome.reason
        elif not self._of_bad_node(outcome):
            self.failures.setdefault(stage, {}).setdefault(task.index, []).append(outcome)

    def _count(self, task: Task) -> None:
        """Note that an attempt ended."""
        stage, index = (task.phase, task.step), task.index
        if self._done_at_once(stage, index):
            self.seen.add(Task(*stage, index, 0))
        attempts = self.attempts.setdefault(stage, {})
        attempts[index] = max(self.next_attempt(stage, index), task.attempt + 1)
        self.seen.add(task)

    def _avoid(self, host: str, avoided: Avoided) -> None:
        """Hold nothing against members of what befell them on a node that was at fault."""
        self.avoided[host] = avoided
        for stage, by_index in self.failures.items():
            if stage not in self.survivors:
                for index, outcomes in by_index.items():
                    by_index[index] = [outcome for outcome in outcomes if outcome.host != host]

    def _of_bad_node(self, outcome: Outcome) -> bool:
        """Say whether an attempt had begun on a node before that was put aside."""
        avoided = self.avoided.get(outcome.host)
        return avoided is not None and 0 < outcome.started < avoided.time

    def _close(self, stage: Stage, survivors: tuple[int, ...]) -> None:
        """Keep little of what is settled: nearly always all are done, and the same go on as from the last."""
        if stage in self.survivors:
            return
        last = next(reversed(self.survivors.values()), None)
        self.survivors[stage] = last if last is not None and last == survivors else survivors
        if stage in self.done:
            self.done[stage] = Intervals(self.done[stage])


def fold(facts: Iterable[Fact]) -> Progress:
    """Return where a run with these facts stands.

    Raises
    ------
    daflow.errors.JournalError
        A fact has not what its kind has.
    """
    progress = Progress()
    for number, fact in enumerate(facts, start=1):
        try:
            progress.take(fact)
        except (KeyError, ValueError, TypeError) as error:
            raise JournalError(
                f"fact {number} of the journal is not complete",
                got=f"{str(fact)[:200]} ({type(error).__name__}: {error})",
                allowed="a fact as daflow writes it",
                do="restore the journal from a copy; the receipts beside it say what was done",
            ) from error
    return progress
