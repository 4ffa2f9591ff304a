"""A pool of jobs: each group of tasks is a batch job of its own, on as many nodes as it takes."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from daflow.errors import PoolError
from daflow.execution.member_jobs.batches import Note
from daflow.execution.member_jobs.desk import Element, JobDesk, seconds_since
from daflow.execution.member_jobs.ends import as_the_queue_says, outcome_of
from daflow.execution.pools.witnesses import Witness
from daflow.execution.queues.job_states import COMPLETED, FAILED, TIMEOUT, UNKNOWN, JobState
from daflow.names import BLAMELESS, Phase, Status
from daflow.ports import UnderWay
from daflow.records import Outcome, Task

LONGEST_ARRAY: Final = 1000
"""Elements of an array: one more is more than Slurm takes unless its site says so."""
LOOK_SECONDS = 0.5
"""How often the folder is looked at for receipts while they are waited for."""
ASK_SECONDS = 5.0
"""How often the queue is asked, once for all jobs."""
GRACE_SECONDS = 10.0
"""A job that has ended may leave its receipt so late: folders on a network are seen with a delay."""
LONG_GRACE_SECONDS = 60.0
"""The same for one that says that it has done its work."""
PATIENCE_SECONDS = 600.0
"""How long the queue may be out of reach before the run is laid down."""
MOST_STILLBORN: Final = 3
"""So many jobs one after the other that fail before they begin, and the run is laid down."""
TRANSIENT: Final = re.compile(
    r"timed? ?out|unable to contact|connection|communication|temporar|try again|busy|did not answer|"
    r"submit.{0,20}limit|limit.{0,20}(job|submit)|would exceed|qosmax|assocmax|assocgrp",
    re.IGNORECASE,
)
"""What a queue says of troubles that pass: it is restarting, or holds as many jobs as it takes."""


NEARLY: Final = 0.95
"""The share of its walltime after which a job that ended for no known reason has used it up."""
UNTOLD: Final = frozenset({FAILED, COMPLETED, ""})
"""Ends of which the queue does not tell the cause."""


@dataclass(slots=True)
class _Out:
    """A job that is in the queue, and what is known of it."""

    element: Element
    waiting: set[Task]
    """Its tasks that were submitted here and are not home."""
    state: JobState = UNKNOWN
    gone: float | None = None
    """Since when the queue says that it has ended, by the monotonic clock."""
    lost: dict[Task, Outcome] = field(default_factory=dict)
    """Receipts that say that a member was lost, until the queue says why."""

    @property
    def left(self) -> list[Task]:
        """The tasks that are not home, in their order."""
        return [task for task in self.element.tasks if task in self.waiting]


class JobPool:
    """Submits groups of tasks as batch jobs and takes home the receipts that these leave.

    Nothing connects the jobs with this process: what they did is told by receipts alone, so that they outlive
    a driver. Those of a driver that was killed are taken up again where the same tasks are submitted: they
    may have worked for hours on many nodes, and what they write is what others would.

    Laws: at most ``at_once`` jobs run at a time; the folder is looked at for receipts, the queue asked once
    for all jobs and seldom; an end that is no fault of the tasks (cancelled, node gone) is not held against
    them; a job that has used up its walltime has timed out.

    Parameters
    ----------
    desk
        Submits and cancels.
    witness
        Knows the receipts, and what was under way.
    at_once
        How many jobs may run at the same time.
    arrays
        Whether what waits goes as one array; else as one job each, as many as may run.
    keep
        Whether jobs go on when the pool is closed, for the next driver to take up.
    """

    def __init__(
        self, desk: JobDesk, witness: Witness, at_once: int, *, arrays: bool = True, keep: bool = False
    ) -> None:
        self._desk, self._witness, self._at_once = desk, witness, at_once
        self._arrays, self._keep = arrays and desk.system.has_arrays, keep
        self._group_of: dict[Task, int] = {}
        self._sizes: Counter[int] = Counter()
        self._number = 0
        self._held: list[tuple[Task, ...]] = []
        self._out: dict[str, _Out] = {}
        self._job_of: dict[Task, _Out] = {}
        self._left = {task: element for element in desk.left() for task in element.tasks}
        self._ready: list[Outcome] = []
        self._back: list[Task] = []
        self._avoided: set[str] = set()
        self._notes: Mapping[str, Note] = {}
        self._stillborn = 0
        self._asked = self._reached = time.monotonic()
        self._refused: float | None = None

    @property
    def slots(self) -> int:
        """How many groups it takes at once: an array's worth, for the queue shares them out."""
        return max(self._at_once, LONGEST_ARRAY) if self._arrays else self._at_once

    @property
    def n_out(self) -> int:
        """How many groups are out: in the queue, running, or about to be submitted."""
        return len(self._sizes)

    def expect(self, n_waiting: int, phase: Phase | None = None) -> None:
        """Take no notice: jobs are submitted as they come."""

    def submit(self, tasks: Sequence[Task], seconds: float | None = None) -> None:  # noqa: ARG002
        """Take a group, to go to the queue with the next `wait`; each job has a walltime of its own."""
        self._number += 1
        self._sizes[self._number] = len(tasks)
        self._group_of |= dict.fromkeys(tasks, self._number)
        new = [task for task in tasks if task not in self._left]
        for task in tasks:
            if task in self._left:
                self._goes_to(self._left.pop(task), [task])
        for task in new:
            self._end_earlier_attempts(task)
        if new:
            self._held.append(tuple(new))

    def _goes_to(self, element: Element, tasks: Iterable[Task]) -> None:
        out = self._out.setdefault(element.id, _Out(element, set()))
        out.waiting.update(tasks)
        self._job_of |= dict.fromkeys(tasks, out)

    def _end_earlier_attempts(self, task: Task) -> None:
        """Cancel a job of an earlier driver that is at another attempt of the same task."""
        stale = [t for t in self._left if (t.phase, t.step, t.index) == (task.phase, task.step, task.index)]
        elements = [self._left.pop(other) for other in stale]
        with suppress(PoolError):  # it is in vain at worst
            self._desk.cancel(element for element in elements if element.id not in self._out)

    def _send(self) -> None:
        """Submit what is held, as far as there may be so many jobs."""
        if not self._held or (self._refused and time.monotonic() - self._asked < ASK_SECONDS):
            return
        self._take_home_what_is_done()
        room = max(self._at_once - len(self._out), 0)
        if self._arrays and not self._out:
            room = LONGEST_ARRAY
        going = self._held[:room]
        for lot in [going] if self._arrays and going else [[group] for group in going]:
            try:
                elements = self._desk.submit(lot, self._at_once, self._avoided)
            except PoolError as error:
                self._bear(error)
                return
            self._refused = None
            del self._held[: len(lot)]
            for element in elements:
                self._goes_to(element, element.tasks)

    def _take_home_what_is_done(self) -> None:
        """Take home what an earlier driver's job has ended since this driver has looked."""
        for of_stage in _by_stage(task for group in self._held for task in group):
            for outcome in self._witness.word(of_stage, None):
                if outcome.task in self._group_of:
                    self._home(outcome)
        left = [tuple(task for task in group if task in self._group_of) for group in self._held]
        self._held = [group for group in left if group]

    def _bear(self, error: PoolError) -> None:
        """Go on without an answer of the queue for a while, if it is a trouble that passes."""
        self._asked = now = time.monotonic()
        self._refused = self._refused or now
        passes = TRANSIENT.search(f"{error.what} {error.got}")
        if not passes or (now - self._refused > PATIENCE_SECONDS and not self._out):
            raise error

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the outcomes that came home, waiting at most so long for the first thing that comes home."""
        until = time.monotonic() + seconds
        while True:
            self._send()
            self._look()
            left = until - time.monotonic()
            if self._ready or self._back or left <= 0 or not self._sizes:
                outcomes, self._ready = self._ready, []
                return outcomes
            time.sleep(min(LOOK_SECONDS, left))

    def sent_back(self) -> list[Task]:
        """Return the tasks that came home as they went; each is returned once."""
        back, self._back = self._back, []
        return back

    def _look(self) -> None:
        """Take in what jobs have left, and what the queue says of them."""
        if not self._out:
            return
        self._notes = self._desk.notes(out.element for out in self._out.values())
        self._stillborn = 0 if self._notes else self._stillborn
        for of_stage in _by_stage(self._job_of):
            for outcome in self._witness.word(of_stage, None):
                self._receive(outcome)
        for out in list(self._out.values()):
            note = self._notes.get(out.element.id)
            if note is not None and note.blocked is not None and note.blocked.task in out.waiting:
                self._home(note.blocked)
        self._ask()
        for out in list(self._out.values()):
            if out.gone is not None:
                self._end(out, time.monotonic() - out.gone)

    def _receive(self, outcome: Outcome) -> None:
        """Take a receipt home; one that says lost waits for what the queue says to that."""
        out = self._job_of.get(outcome.task)
        if out is None:
            return  # it was told before
        if outcome.status is Status.LOST and out.gone is None:
            out.lost[outcome.task] = outcome
        else:
            self._home(as_the_queue_says(outcome, out.element.id, out.state))

    def _ask(self) -> None:
        """Ask the queue for all jobs, now and then."""
        now = time.monotonic()
        if now - self._asked < ASK_SECONDS or not self._out:
            return
        self._asked = now
        try:
            states = self._desk.states(out.element for out in self._out.values())
        except PoolError:
            if now - self._reached > PATIENCE_SECONDS:
                raise
            return
        self._reached = now
        for out in self._out.values():
            out.state = states[out.element.id]
            out.gone = (out.gone or now) if out.state.gone else None

    def _end(self, out: _Out, since: float) -> None:
        """Settle a job that ended so many seconds ago, once its receipts had time to be seen."""
        for outcome in list(out.lost.values()):
            self._home(as_the_queue_says(outcome, out.element.id, out.state))
        untouched = len(out.waiting) == len(out.element.tasks)
        done = out.state.reason == COMPLETED
        if not out.waiting or since < (LONG_GRACE_SECONDS if done and untouched else GRACE_SECONDS):
            return
        begun = self._witness.begun(out.left)
        for outcome in self._witness.word(out.left, begun):
            self._home(outcome)
        if begun not in out.waiting:
            begun = out.left[0] if out.waiting and (untouched or not done) else None
        if begun is not None:
            self._home(self._lost(out, begun))
        # What is left then was handed back, or never begun.
        for task in out.left:
            self._back.append(task)
            self._settle(task)

    def _lost(self, out: _Out, task: Task) -> Outcome:
        """Return how the task that was under way ended; jobs that fail before they begin stop the run."""
        note, state = self._notes.get(out.element.id), out.state
        seconds = 0.0
        if note is not None:
            seconds = max(seconds_since(note.began) - (time.monotonic() - (out.gone or 0.0)), 0.0)
            if state.reason in UNTOLD and seconds >= self._desk.seconds * NEARLY:
                state = replace(state, reason=TIMEOUT)
        words = self._desk.last_words(out.element) if state.reason in UNTOLD else ""
        outcome = outcome_of(task, out.element.id, state, seconds, words)
        if note is not None or state.reason not in UNTOLD:
            return outcome
        outcome = replace(outcome, figures={BLAMELESS: 1.0})
        if not state.reason:
            return outcome
        self._stillborn += 1
        reason = f"{outcome.reason}\n  it had not begun its task: see the prologue, and python on the node"
        status = Status.BLOCKED if self._stillborn >= MOST_STILLBORN else Status.LOST
        return replace(outcome, status=status, reason=reason)

    def _home(self, outcome: Outcome) -> None:
        self._ready.append(outcome)
        self._settle(outcome.task)

    def _settle(self, task: Task) -> None:
        """Take a task off the lists; its group and its job too, if it was their last."""
        number = self._group_of.pop(task)
        self._sizes[number] -= 1
        if not self._sizes[number]:
            del self._sizes[number]
        out = self._job_of.pop(task, None)
        if out is None:
            return
        out.waiting.discard(task)
        out.lost.pop(task, None)
        if not out.waiting:
            del self._out[out.element.id]
            folder = out.element.batch.folder
            last = all(other.element.batch.folder != folder for other in self._out.values())
            self._desk.settle(out.element, last=last)

    def running(self) -> Mapping[Task, UnderWay]:
        """Return what is under way, as far as it is known: of each job that has begun its first task."""
        return {
            out.left[0]: UnderWay(note.host, seconds_since(note.began))
            for element_id, out in self._out.items()
            if (note := self._notes.get(element_id)) is not None
        }

    def cut(self, task: Task, reason: str) -> None:
        """End a task for good: its job is cancelled, wherever it stands."""
        out = self._job_of.get(task)
        if out is not None:
            with suppress(PoolError):  # a job that runs on is a waste, and no more than that
                self._desk.cancel([out.element])
            note = self._notes.get(out.element.id, Note())
            seconds = seconds_since(note.began) if note.began else 0.0
            self._home(Outcome(task, Status.CANCELLED, seconds, note.host, reason, note.began))
            for outcome in self._witness.word(out.left, None) if out.waiting else ():
                self._home(outcome)
            others = out.left
        elif task in self._group_of:
            group = next(group for group in self._held if task in group)
            self._held.remove(group)
            self._home(Outcome(task, Status.CANCELLED, reason=reason))
            others = [other for other in group if other != task]
        else:
            return
        for other in others:
            self._back.append(other)
            self._settle(other)

    def avoid(self, host: str) -> None:
        """Let no job that is submitted from now on run on a host, where the queue has a word for that."""
        self._avoided.add(host)

    def recall(self) -> None:
        """Take back what waits, here or in the queue: jobs that have not begun are cancelled."""
        self._notes = self._desk.notes(out.element for out in self._out.values())
        waiting = [out for out in self._out.values() if out.element.id not in self._notes]
        try:
            self._desk.cancel(out.element for out in waiting)
        except PoolError:
            waiting = []  # they will be asked again: whoever recalls does so until all are home
        held = [task for group in self._held for task in group]
        self._held.clear()
        for task in [*held, *(task for out in waiting for task in out.left)]:
            self._back.append(task)
            self._settle(task)

    def close(self) -> None:
        """Cancel what is in the queue, unless it is kept for the next driver."""
        elements = {element.id: element for element in self._left.values()}
        elements |= {out.element.id: out.element for out in self._out.values()}
        if not self._keep:
            # Whatever cannot be cancelled now is found by the next driver.
            with suppress(PoolError):
                self._desk.cancel(elements.values())
        for kept in (self._held, self._sizes, self._group_of, self._out, self._job_of, self._left):
            kept.clear()
        self._ready.clear()


def _by_stage(tasks: Iterable[Task]) -> list[list[Task]]:
    stages: dict[tuple[str, int], list[Task]] = {}
    for task in tasks:
        stages.setdefault((task.phase, task.step), []).append(task)
    return list(stages.values())
