"""What became of tasks whose worker is no more, and whose fault that is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from daflow.execution.pools.crews import Crew, Fate
from daflow.execution.pools.roster import Roster
from daflow.execution.pools.sending import not_among
from daflow.execution.pools.witnesses import Witness
from daflow.names import BLAMELESS, BY_WALLTIME, Phase, Status
from daflow.records import Outcome, Task

MOST_SENT_AGAIN = 20
"""How often a task that has not begun is sent again: one that kills its worker before it begins must end."""
MOST_OUTLASTED: Final = 2
"""How often a task may outlast a worker of whose life it had at least half: it will always do so."""
END_SECONDS: Final = 10.0
"""A worker that dies so shortly before its end has come to its end."""


@dataclass(frozen=True, slots=True)
class Death:
    """That a worker is no more."""

    address: str
    words: str
    """What the scheduler knows of it."""
    expected: bool = False
    """Whether it was let go: whatever it had would have ended with it."""


class Deaths:
    """Tells what became of tasks from all evidence there is: marks, receipts, the queue's word, the clock.

    Laws: a death is held against the one task that was under way, if any; every other one is undone. It
    counts as blameless where the worker would have ended with any task: its time was over, its job or its
    node went, or it was we who ended it.

    Parameters
    ----------
    crew
        Asked what ended a worker, once each.
    roster
        Knows hosts, and when workers' time is over.
    witness
        Knows what was under way and what was left.
    """

    def __init__(self, crew: Crew, roster: Roster, witness: Witness) -> None:
        self._crew, self._roster, self._witness = crew, roster, witness
        self._fates: dict[str, Fate | None] = {}
        self._sent_again: Counter[Task] = Counter()
        self._outlasted: Counter[tuple[Phase, int, int]] = Counter()

    def by_us(self, address: str, reason: str) -> None:
        """Note that we end a worker, and why."""
        self._fates[address] = Fate(reason, blameless=True)

    def outcomes(
        self, tasks: Sequence[Task], death: Death, since: tuple[Task | None, float]
    ) -> list[Outcome]:
        """Return the outcomes of a group whose worker is no more; tasks without one were not done.

        Parameters
        ----------
        tasks
            The group.
        death
            What is known of the worker's end.
        since
            Which task was seen under way, and since when by the monotonic clock.
        """
        elapsed = time.monotonic() - since[1]
        begun = self._witness.begun(tasks)
        outcomes = [self._placed(outcome, death) for outcome in self._witness.word(tasks, begun)]
        if begun is None and not outcomes:
            self._sent_again[tasks[0]] += 1
            if self._sent_again[tasks[0]] > MOST_SENT_AGAIN:
                begun = tasks[0]
        if begun is not None and begun in not_among(tasks, outcomes):
            lost = self._lost(begun, death, round(elapsed, 6) if since[0] == begun else 0.0)
            outcomes.append(replace(lost, started=time.time() - elapsed))
        return outcomes

    def _placed(self, outcome: Outcome, death: Death) -> Outcome:
        """Return an outcome that says where it was: what hung was ended before it could."""
        if outcome.host:
            return outcome
        started = outcome.started or time.time() - outcome.seconds
        return replace(outcome, host=self._roster.host(death.address), started=started)

    def _lost(self, task: Task, death: Death, seconds: float) -> Outcome:
        # Nobody has to be asked about a worker that was let go.
        if death.address not in self._fates and not death.expected:
            self._fates[death.address] = self._crew.fate(death.address)
        fate = self._fates.get(death.address)
        reason = death.words if fate is None else f"{fate.reason} ({death.words})"
        host = self._roster.host(death.address)
        lost = Outcome(task, Status.LOST, seconds, host, reason)
        whole = self._roster.outlived(death.address, END_SECONDS)
        if whole is not None:
            return self._out_of_time(lost, whole, told=fate is not None and fate.blameless)
        if death.expected or (fate is not None and fate.blameless):
            return replace(lost, figures={BLAMELESS: 1.0})
        return lost

    def _out_of_time(self, lost: Outcome, whole: float, *, told: bool) -> Outcome:
        """Return the end of a task that was under way when its worker's time was over."""
        task = lost.task
        member = (task.phase, task.step, task.index)
        self._outlasted[member] += lost.seconds >= whole / 2
        if self._outlasted[member] >= MOST_OUTLASTED:
            reason = (
                f"it was under way for {lost.seconds:.0f} s when its worker's time was over, and not for the "
                f"first time: it takes longer than the {whole:.0f} s that a worker's job lasts"
            )
            return replace(lost, status=Status.TIMED_OUT, reason=reason)
        reason = lost.reason if told else f"its worker's time was over ({lost.reason})"
        return replace(lost, reason=reason, figures={BLAMELESS: 1.0, BY_WALLTIME: 1.0})
