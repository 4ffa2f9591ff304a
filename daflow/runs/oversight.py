"""What a driver looks after beside sending and collecting: nodes at fault, and members that hang."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from daflow.names import Status
from daflow.ports import Pool, UnderWay
from daflow.records import Outcome, Task
from daflow.runs import facts
from daflow.runs.agenda import Agenda
from daflow.runs.decide import MEMBER_PHASES, least_members
from daflow.runs.facts import Fact, Stage
from daflow.runs.nodes import Nodes, at_fault
from daflow.runs.policy import Policy
from daflow.runs.stragglers import stragglers

LOOK_SECONDS: Final = 1.0
"""How often what is under way is looked at."""
SHARE: Final = 0.05
"""Looking takes at most this share of the driver's time: it asks a disk about every worker."""


class Oversight:
    """Puts nodes aside and cuts members off, as the policy says; the rules themselves are pure.

    Laws: an outcome costs the same however many members there are; workers are asked only where there is
    something to find out: members that ended badly, or nearly all of a stage done.

    Parameters
    ----------
    policy
        What makes a node or a member suspicious.
    done_before
        Returns the outcomes of a stage that earlier sessions left; asked once a stage, if at all.
    """

    def __init__(self, policy: Policy, done_before: Callable[[Stage], Iterable[Outcome]]) -> None:
        self._policy, self._done_before = policy, done_before
        self._nodes = Nodes()
        self._stage: Stage | None = None
        self._seconds: list[float] = []
        self._n_bad = 0
        self._next = 0.0

    def take(self, outcome: Outcome) -> None:
        """Take in how an attempt ended."""
        task = outcome.task
        if task.phase not in MEMBER_PHASES:
            return
        self._enter((task.phase, task.step))
        self._nodes.take(outcome)
        if outcome.status is not Status.OK:
            self._n_bad += 1
        elif outcome.started:
            self._seconds.append(outcome.seconds)

    def _enter(self, stage: Stage) -> None:
        if stage != self._stage:
            self._stage, self._seconds = stage, []

    def look(self, pool: Pool, agenda: Agenda) -> list[Fact]:
        """Put nodes aside and cut members off, if it is time to look; return the facts to note."""
        now = time.monotonic()
        if agenda.phase not in MEMBER_PHASES or now < self._next:
            return []
        n_needed = self._n_needed(agenda)
        cuts = n_needed is not None and agenda.n_done >= n_needed
        if not cuts and not self._has_suspects():
            return []
        running = pool.running()
        if n_needed is not None and cuts:
            self._cut(pool, agenda, running, n_needed)
        news = self._put_aside(pool, agenda, running) if self._has_suspects() else []
        self._next = now + max(LOOK_SECONDS, (time.monotonic() - now) / SHARE)
        return news

    def _n_needed(self, agenda: Agenda) -> int | None:
        """Return how many members must be done before any is cut off; ``None``: none ever is."""
        rule = self._policy.stragglers
        if rule is None:
            return None
        return rule.n_needed(agenda.n_members, least_members(agenda.progress, self._policy))

    def _has_suspects(self) -> bool:
        return self._policy.node_failures is not None and self._n_bad >= self._policy.node_failures

    def _cut(self, pool: Pool, agenda: Agenda, running: Mapping[Task, UnderWay], n_needed: int) -> None:
        rule, stage = self._policy.stragglers, agenda.stage
        if rule is None or stage is None:
            return
        self._enter(stage)
        here = {task: way.seconds for task, way in running.items() if (task.phase, task.step) == stage}
        if here and not self._seconds:
            good = (o for o in self._done_before(stage) if o.status is Status.OK)
            self._seconds = [outcome.seconds for outcome in good]
        for task, reason in stragglers(rule, self._seconds, here, agenda.n_done, n_needed).items():
            pool.cut(task, reason)

    def _put_aside(self, pool: Pool, agenda: Agenda, running: Mapping[Task, UnderWay]) -> list[Fact]:
        others = [(way.host, way.seconds) for way in running.values() if way.host]
        avoided = agenda.progress.avoided
        found = at_fault(self._nodes.records, self._policy.node_failures, others, avoided)
        for host in found:
            pool.avoid(host)
        return [facts.avoided(host, reason, time.time()) for host, reason in found.items()]
