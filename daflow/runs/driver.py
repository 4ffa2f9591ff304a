"""The loop of a run: decide, send tasks, journal what comes home, until there is nothing more to do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from daflow.names import Phase
from daflow.ports import Pool, Store
from daflow.records import Task
from daflow.runs import facts
from daflow.runs.decide import Close, Dispatch, Plan, Policy, Stop, decide
from daflow.runs.facts import Fact, Progress
from daflow.runs.journal import Journal

POLL_SECONDS = 1.0
"""How long the loop waits for an outcome before it looks around."""


@dataclass
class Driver:
    """What drives one run in one session.

    Parameters
    ----------
    plan, policy
        What to do, and what follows when something fails.
    store, pool, journal
        Where arrays, tasks and facts go.
    progress
        Where the run stands: the fold of the journal so far.
    watch
        Called with every new fact and where the run stands then: progress bars, tests.
    """

    plan: Plan
    policy: Policy
    store: Store
    pool: Pool
    journal: Journal
    progress: Progress
    watch: Callable[[Fact, Progress], None]
    _out: set[Task] = field(default_factory=set)

    def run(self) -> Stop:
        """Go on until the run stops; return why it did.

        Raises
        ------
        daflow.errors.RunError
            The store, the journal or the pool failed the driver itself.
        """
        self._take_in_receipts()
        while True:
            decision = decide(self.progress, self.plan, self.policy, self._out)
            match decision:
                case Dispatch():
                    self._dispatch(decision)
                case Close():
                    self._close(decision)
                case Stop():
                    self._note(facts.stopped(decision.kind, decision.reason, resumable=decision.resumable))
                    return decision

    def _take_in_receipts(self) -> None:
        """Journal what was finished while no driver looked: its receipt says so."""
        for outcome in self.store.receipts():
            stage = (outcome.task.phase, outcome.task.step)
            if outcome.key == self.plan.keys.get(stage) and not self.progress.knows(outcome):
                self._note(facts.ended(outcome))

    def _dispatch(self, decision: Dispatch) -> None:
        """Keep every slot busy with one task, so that a worker that dies takes no waiting task with it."""
        queue = deque(decision.tasks)
        while True:
            while queue and len(self._out) < self.pool.slots:
                task = queue.popleft()
                self.pool.submit(task)
                self._out.add(task)
            failed = self._collect()
            # Ask again as soon as there is a choice to make: something failed, or all that was
            # waiting is out. While the queue is long, an outcome costs the same however long it is.
            if failed or not queue:
                return

    def _collect(self) -> bool:
        """Journal what came home; say whether any of it failed."""
        failed = False
        for outcome in self.pool.wait(POLL_SECONDS):
            self._out.discard(outcome.task)
            self._note(facts.ended(outcome))
            failed = failed or outcome.status != "ok"
        return failed

    def _close(self, decision: Close) -> None:
        phase, step = decision.stage
        if phase is Phase.FORECAST:
            self.store.write_survivors(step, decision.survivors)
        if phase is Phase.PREPARE:
            self.store.create_step(step + 1)
        self._note(facts.closed(decision.stage, decision.survivors))

    def _note(self, fact: Fact) -> None:
        self.journal.append(fact)
        self.progress.take(fact)
        self.watch(fact, self.progress)
