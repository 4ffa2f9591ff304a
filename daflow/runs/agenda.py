"""What a run does next, kept up to date fact by fact: a decision costs the same however many members."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from heapq import heapify, heappop, heappush
from itertools import islice

from daflow.names import Phase
from daflow.records import Outcome, Task
from daflow.runs.decide import (
    MEMBER_PHASES,
    Close,
    Dispatch,
    Plan,
    Stop,
    fatal,
    finished,
    least_members,
    stage_at_hand,
    survivors_of,
)
from daflow.runs.facts import Fact, Progress, Stage
from daflow.runs.policy import Policy


class Agenda:
    """What waits, what is out and what is given up in the stage at hand.

    Laws: whatever facts came, `decision` is what `decide` says of the same progress and the same tasks out;
    `take`, `send` and `home` cost O(log n) of the stage's tasks, whatever came before; only the close of a
    stage and the start of a session look at all of them.

    Parameters
    ----------
    progress
        Where the run stands; `take` keeps it up to date.
    plan, policy
        What to do, and what follows when something fails.
    """

    def __init__(self, progress: Progress, plan: Plan, policy: Policy) -> None:
        self.progress = progress
        self._plan, self._policy = plan, policy
        self._out: dict[Task, None] = {}
        self._enter()

    def _enter(self) -> None:
        """Look at all tasks of the stage at hand."""
        self._stage, self._members = stage_at_hand(self.progress, self._plan)
        self._open: set[int] = set()
        self._ready: set[int] = set()
        self._given_up: dict[int, Outcome] = {}
        self._stopping: set[int] = set()
        self._queue: list[int] = []
        if self._stage is None:
            return
        indices = self._plan.indices(self._stage[0], self._members)
        self._indices = indices if isinstance(indices, range) else frozenset(indices)
        self._out_here = {task.index for task in self._out if (task.phase, task.step) == self._stage}
        for index in indices:
            self._look_at(index)
        heapify(self._queue)

    @property
    def _done(self) -> Collection[int]:
        return () if self._stage is None else self.progress.done.get(self._stage, ())

    @property
    def _dropped(self) -> Mapping[int, Outcome]:
        return {} if self._stage is None else self.progress.dropped.get(self._stage, {})

    def take(self, fact: Fact) -> None:
        """Fold one fact in."""
        self.progress.take(fact)
        match fact["fact"]:
            case "ended":
                if (fact["phase"], fact["step"]) == self._stage and fact["index"] in self._indices:
                    self._look_at(fact["index"])
            case "opened" | "closed" | "avoided":
                self._enter()

    def _look_at(self, index: int) -> None:
        """Settle where a task of the stage at hand belongs, from what is known of it."""
        stage = self._stage
        self._open.discard(index)
        self._ready.discard(index)
        self._given_up.pop(index, None)
        self._stopping.discard(index)
        if stage is None or (index in self._done and index not in self._dropped):
            return
        end = self._dropped.get(index)
        if end is None:
            end = self._policy.gives_up(self.progress.failures.get(stage, {}).get(index, ()))
        if end is not None:
            self._given_up[index] = end
            if self._policy.stops(end):
                self._stopping.add(index)
            return
        self._open.add(index)
        if index not in self._out_here:
            self._wait(index)

    def _wait(self, index: int) -> None:
        self._ready.add(index)
        # An index may stand in the queue twice: only where it is ready does it count, and it is sent once.
        heappush(self._queue, index)

    @property
    def phase(self) -> Phase | None:
        """The phase at hand; ``None`` when all is done."""
        return None if self._stage is None else self._stage[0]

    @property
    def stage(self) -> Stage | None:
        """The stage at hand; ``None`` when all is done."""
        return self._stage

    @property
    def n_members(self) -> int:
        """How many members have come to the stage at hand."""
        return len(self._members)

    @property
    def n_done(self) -> int:
        """How many tasks of the stage at hand are done, in whatever session."""
        return len(self._done)

    @property
    def n_waiting(self) -> int:
        """How many tasks wait to be sent."""
        return len(self._ready)

    def send(self, n: int) -> tuple[Task, ...]:
        """Return the next tasks, at most so many: they are out from now on."""
        return tuple(islice(self._sent(), n))

    def _sent(self) -> Iterable[Task]:
        while self._stage is not None and self._ready:
            index = heappop(self._queue)
            if index not in self._ready:
                continue
            self._ready.discard(index)
            task = Task(*self._stage, index, self.progress.next_attempt(self._stage, index))
            self._out[task] = None
            self._out_here.add(index)
            yield task

    def home(self, task: Task) -> None:
        """Note that a task is not out any more; unless its end is taken as well, it waits again."""
        if task not in self._out:
            return
        del self._out[task]
        if (task.phase, task.step) == self._stage:
            self._out_here.discard(task.index)
            if task.index in self._open:
                self._wait(task.index)

    def decision(self) -> Dispatch | Close | Stop:
        """Return what comes next, with all the tasks that wait: what `decide` returns."""
        settled = self.settled()
        if settled is not None or self._stage is None:
            return settled or finished(self._plan)
        stage = self._stage
        tasks = (Task(*stage, i, self.progress.next_attempt(stage, i)) for i in sorted(self._ready))
        return Dispatch(stage, tuple(tasks))

    def settled(self) -> Close | Stop | None:
        """Return what comes next if there is nothing to send or to wait for, else nothing."""
        if self.progress.blocked:
            return Stop("blocked", self.progress.blocked, resumable=True)
        if self._stage is None:
            return finished(self._plan)
        least = least_members(self.progress, self._policy)
        if self._given_up and self._is_fatal(least):
            return fatal(self._stage, self._members, self._given_up, self._policy, least)
        if self._open:
            return None
        return Close(self._stage, survivors_of(self._stage, self._members, self._done, self._dropped))

    def _is_fatal(self, least: int) -> bool:
        left = len(self._members) - len(self._given_up)
        return self.phase not in MEMBER_PHASES or bool(self._stopping) or left < least
