"""The loop of a run: decide, send tasks, journal what comes home, until there is nothing more to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from daflow.names import Phase, Status
from daflow.ports import Pool, Store
from daflow.records import Outcome
from daflow.runs import facts
from daflow.runs.agenda import Agenda
from daflow.runs.decide import Close, Plan, Stop
from daflow.runs.facts import Fact, Progress, Stage
from daflow.runs.groups import AT_ONCE, Pace, group_size, groups_ahead, worth_sending
from daflow.runs.halting import Halt
from daflow.runs.journal import Journal
from daflow.runs.oversight import Oversight
from daflow.runs.policy import Policy

POLL_SECONDS = 1.0
"""How long the loop waits for an outcome before it looks around."""

Workers = Callable[[], AbstractContextManager[Pool]]
"""Calls workers together, for as long as the context is open."""


def go_on() -> Halt | None:
    """Return that nobody wants the run laid down."""
    return None


@dataclass
class Driver:
    """What drives one run in one session.

    Laws: what it does for an outcome costs the same however many members there are; workers are called
    together only if there is something to send.

    Parameters
    ----------
    plan, policy
        What to do, and what follows when something fails.
    store, workers, journal
        Where arrays, tasks and facts go.
    progress
        Where the run stands: the fold of the journal so far.
    watch
        Called with every new fact and where the run stands then: progress bars, tests.
    group
        How many tasks are sent together; ``None``: what is best by what the last ones took.
    halt
        Asked every second or so whether the run is to be laid down before it has come to its end.
    """

    plan: Plan
    policy: Policy
    store: Store
    workers: Workers
    journal: Journal
    progress: Progress
    watch: Callable[[Fact, Progress], None]
    group: int | None = None
    halt: Callable[[], Halt | None] = go_on
    _pace: Pace = field(default_factory=Pace)
    _n_back: int = 0
    _halting: Halt | None = None
    _agenda: Agenda = field(init=False)
    _oversight: Oversight = field(init=False)

    def run(self) -> Stop:
        """Go on until the run stops; return why it did.

        Raises
        ------
        daflow.errors.RunError
            The store, the journal or the pool failed the driver itself.
        """
        self._agenda = Agenda(self.progress, self.plan, self.policy)
        self._oversight = Oversight(self.policy, self._left_of)
        self._take_in_receipts()
        stop = self._settle()
        if stop is not None:
            return stop
        with self.workers() as pool:
            while stop is None:
                self._halting = self.halt()
                if self._halting is not None and not (self._halting.drain and pool.n_out):
                    return self._lay_down(self._halting.stop)
                if self._halting is not None:
                    pool.recall()
                pool.expect(self._agenda.n_waiting, self._agenda.phase)
                self._fill(pool)
                self._collect(pool)
                self._note(self._oversight.look(pool, self._agenda))
                stop = self._settle()
        return stop

    def _take_in_receipts(self) -> None:
        """Journal what was finished while no driver looked: its receipt says so.

        What is closed is settled: nobody looks there again.
        """
        for stage in self.plan.stages:
            if stage in self.progress.survivors:
                continue
            left = self.store.receipts_of(*stage, self.progress.settles)
            of_plan = (outcome for outcome in left if outcome.key == self.plan.keys.get(stage))
            self._note([facts.ended(o) for o in of_plan if not self.progress.knows(o)])

    def _left_of(self, stage: Stage) -> Iterator[Outcome]:
        """Return the outcomes of a stage that left receipts."""
        of_stage = self.store.receipts_of(*stage, lambda _: False)
        return (outcome for outcome in of_stage if outcome.key == self.plan.keys.get(stage))

    def _settle(self) -> Stop | None:
        """Close stages and stop, as far as nothing has to be sent or waited for."""
        while (decision := self._agenda.settled()) is not None:
            match decision:
                case Close():
                    self._close(decision)
                case Stop():
                    return self._lay_down(decision)
        return None

    def _lay_down(self, stop: Stop) -> Stop:
        self._note([facts.stopped(stop.kind, stop.reason, resumable=stop.resumable)])
        return stop

    def _fill(self, pool: Pool) -> None:
        """Send what waits, until every worker has as much as it should."""
        agenda, phase = self._agenda, self._agenda.phase
        if phase is None or not agenda.n_waiting or self._halting is not None:
            return
        slots, seconds, sending = pool.slots, self._pace.of(phase), False
        while agenda.n_waiting:
            size = group_size(self.group, seconds, agenda.n_waiting, slots, AT_ONCE.get(phase, 1))
            if self._n_back:
                # Of tasks that came back one may end whatever worker takes it up: alone it harms no other.
                size = 1
            ahead = groups_ahead(size, seconds, slots)
            if self.policy.stragglers is not None and phase is Phase.FORECAST:
                # What stood behind a member that hangs would never be done: too few to cut that one off.
                size, ahead = 1, 0
            room = slots + ahead - pool.n_out
            if room < 1 or not (sending or worth_sending(room, ahead)):
                return
            sending = True
            self._n_back = max(self._n_back - 1, 0)
            pool.submit(agenda.send(size), self._pace.most(phase))

    def _collect(self, pool: Pool) -> None:
        """Journal what came home, all of it at once."""
        outcomes = pool.wait(POLL_SECONDS)
        for task in pool.sent_back():
            self._agenda.home(task)
            self._n_back += 1
        for outcome in outcomes:
            self._pace.take(outcome)
            self._oversight.take(outcome)
        if all(outcome.status is Status.OK for outcome in outcomes):
            # No worker waits for the journal: what else the stage has to do does not depend on these.
            self._fill(pool)
        for outcome in outcomes:
            self._agenda.home(outcome.task)
        self._note([facts.ended(outcome) for outcome in outcomes])

    def _close(self, decision: Close) -> None:
        phase, step = decision.stage
        if phase is Phase.FORECAST:
            self.store.write_survivors(step, decision.survivors)
        if phase is Phase.PREPARE:
            self.store.create_step(step + 1)
        self._n_back = 0
        self._note([facts.closed(decision.stage, decision.survivors)])

    def _note(self, news: Sequence[Fact]) -> None:
        self.journal.append_all(news)
        for fact in news:
            self._agenda.take(fact)
            self.watch(fact, self.progress)
