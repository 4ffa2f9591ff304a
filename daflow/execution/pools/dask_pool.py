"""Pools: where tasks are sent and outcomes come from."""

from __future__ import annotations

import pickle
import queue
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from threading import Thread
from typing import Final

from dask.base import annotate
from distributed import Client, Future
from distributed.scheduler import KilledWorker

from daflow.errors import DaflowError, PoolError
from daflow.execution.lifetimes import Life
from daflow.execution.pools.crews import Crew
from daflow.execution.pools.deaths import Death, Deaths
from daflow.execution.pools.forgetful import forget_spans
from daflow.execution.pools.refusals import Refusals
from daflow.execution.pools.roster import Roster
from daflow.execution.pools.sending import Answer, Work, carry_out_and_tell, not_among
from daflow.execution.pools.witnesses import Witness
from daflow.names import Phase, Status
from daflow.ports import UnderWay
from daflow.records import Outcome, Task

PATIENCE_SECONDS = 120.0
"""How long a pool may be without a single worker, and none awaited, before the run is laid down."""
LOOK_SECONDS: Final = 1.0
"""How often a pool looks at its workers."""
HURRY_SECONDS: Final = 0.2
"""How often while there is none."""
RESTART_SECONDS: Final = 60.0
"""How long a worker that was ended may take to come back before nobody waits for it."""
STALE_SECONDS: Final = 30.0
"""A group that is out for so long may wait at a worker that takes nothing up: that is looked at so often."""


@dataclass(slots=True)
class _Group:
    """Tasks that are at a worker together."""

    tasks: Sequence[Task]
    seconds: float | None
    address: str
    future: Future[Answer]
    since: float
    """When it was sent, or when its present task was first seen under way; by the monotonic clock."""
    present: Task | None
    """The task that has been under way since then; ``None``: the group may still wait behind another."""


def _unreachable(got: str) -> PoolError:
    return PoolError(
        "the dask scheduler cannot be reached", got=got, do="start it again, then `daflow resume` the run"
    )


class DaskPool:
    """Sends tasks to the workers of a dask scheduler, a few bytes each way.

    The pool itself says which worker gets what, so that it knows whose end each task met, and so that nothing
    runs a second time behind its back. The scheduler holds no results: an outcome is taken home and its
    future dropped at once, so that a worker that dies takes nothing finished with it.

    Parameters
    ----------
    crew
        The workers.
    work
        What to do with tasks; it is pickled by name.
    witness
        Knows what became of tasks whose worker died. What had only waited there, and what was done but not
        kept, comes back as `sent_back`: nothing is held against it.
    """

    def __init__(self, crew: Crew, work: Work, witness: Witness) -> None:
        self._crew, self._work, self._witness = crew, work, witness
        self._roster, self._refusals = Roster(), Refusals()
        self._deaths = Deaths(crew, self._roster, witness)
        self._home: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._unsent: list[tuple[int, Sequence[Task], float | None]] = []
        self._out: dict[int, _Group] = {}
        self._ready: list[Outcome] = []
        self._back: list[Task] = []
        self._n_waiting = 0
        self._last_worker = self._reached = time.monotonic()
        self._looked, self._stale_looked = 0.0, time.monotonic()
        self._number = 0
        self._topic = f"daflow-{uuid.uuid4().hex}"
        self._told: dict[int, Answer] = {}
        forget_spans(self._client)
        self._client.subscribe_topic(self._topic, self._hear)

    @property
    def _client(self) -> Client:
        return self._crew.client

    def _hear(self, event: tuple[float, tuple[int | str, bytes]]) -> None:
        sender, said = event[1]
        told: Answer | Life = pickle.loads(said)  # noqa: S301 - a task of ours wrote it
        if isinstance(told, Life):
            self._roster.tell_life(str(sender), told)
        else:
            self._told[int(sender)] = told

    @property
    def slots(self) -> int:
        """How many groups can run at once now.

        Raises
        ------
        daflow.errors.PoolError
            There has been no worker for a long time, none lives long enough, or the scheduler is gone.
        """
        self._look_around()
        return self._roster.slots

    def _look_around(self) -> None:
        """Take in who is there, once a second or so, and see that it goes on."""
        now = time.monotonic()
        if self._has_given_up():
            raise _unreachable("the connection was lost, and it did not come back")
        if now - self._looked < (LOOK_SECONDS if self._roster.slots else HURRY_SECONDS):
            return
        self._looked = now
        self._crew.tend(self._n_waiting + self.n_out)
        threads = self._count()
        if threads is None:
            return
        self._reached = now
        self._roster.see(threads)
        for number, group in list(self._out.items()):
            if self._roster.has_gone(group.address) and group.future.status == "pending":
                self._bury(number, Death(group.address, f"the worker at {group.address} went", expected=True))
        if now - self._stale_looked > STALE_SECONDS:
            self._stale_looked = now
            self._take_back_from_idlers(now)
        self._see_that_it_leads_somewhere(now)

    def _count(self) -> Mapping[str, int] | None:
        """Return who is there; ``None``: the scheduler cannot be asked just now."""
        try:
            threads: Mapping[str, int] = self._client.nthreads()
        except (OSError, TimeoutError) as error:
            if self._has_given_up() or time.monotonic() - self._reached > PATIENCE_SECONDS:
                raise _unreachable(str(error)) from error
            return None
        return threads

    def _has_given_up(self) -> bool:
        """Say whether the client looks no longer for a scheduler that it has lost."""
        return self._client.status in {"closing", "closed"}

    def _see_that_it_leads_somewhere(self, now: float) -> None:
        if not self._out:
            self._refusals.check(self._roster.most)
        if self._roster.slots or self._crew.awaited():
            self._last_worker = now
        elif now - self._last_worker > PATIENCE_SECONDS:
            raise self._refusals.explain() or PoolError(
                "the pool has no workers",
                got=f"none for {PATIENCE_SECONDS:.0f} s",
                do="see why they end (memory, walltime) in the logs, then `daflow resume` the run",
            )

    def _take_back_from_idlers(self, now: float) -> None:
        """Take back what waits at workers that take nothing up because their memory is full."""
        idle: set[str] = set()
        if any(now - group.since > STALE_SECONDS for group in self._out.values()):
            workers = self._client.scheduler_info()["workers"]
            idle = {address for address, worker in workers.items() if worker["status"] == "paused"}
        self._roster.rest(idle)
        if idle:
            self._take_back(lambda group: group.address in idle and now - group.since > STALE_SECONDS)

    def _take_back(self, those: Callable[[_Group], bool]) -> None:
        """Take back the groups of these that have not begun."""
        found = {number: group for number, group in self._out.items() if those(group)}
        begun = set(self._witness.under_way(group.tasks for group in found.values())) if found else set()
        for number, group in found.items():
            if begun.isdisjoint(group.tasks):
                self._let_go(number)
                self._back += group.tasks

    @property
    def n_out(self) -> int:
        """How many groups are out: running, waiting at a worker, or about to be sent."""
        return len(self._out) + len(self._unsent)

    def expect(self, n_waiting: int, phase: Phase | None = None) -> None:  # noqa: ARG002 - all alike here
        """Hear how many tasks wait to be submitted."""
        self._n_waiting = n_waiting

    def submit(self, tasks: Sequence[Task], seconds: float | None = None) -> None:
        """Send tasks to one worker, with the next `wait`: groups that go together cost half."""
        self._number += 1
        self._unsent.append((self._number, tuple(tasks), seconds))

    def _send(self) -> None:
        """Send what is to be sent; keys are new each time, so that no result of before is served."""
        where: dict[str, str] = {}
        sent: list[tuple[int, Sequence[Task], float | None]] = []
        heads: list[bool] = []
        while len(sent) < len(self._unsent) and (address := self._roster.place()) is not None:
            number, tasks, _ = group = self._unsent[len(sent)]
            where[f"{tasks[0].label}-{self._topic[-6:]}{number:x}"] = address
            sent.append(group)
            heads.append(self._roster.sent(address) == 1)
        if not sent:
            return
        del self._unsent[: len(sent)]
        tell = partial(carry_out_and_tell, self._work, self._topic)
        # Each to the worker that was chosen for it, and to no other: it would run twice if that one left.
        with annotate(workers=where.get):
            futures = self._client.map(tell, *zip(*sent, strict=True), key=list(where), pure=False, retries=0)
        now = time.monotonic()
        for (number, tasks, seconds), address, head, future in zip(
            sent, where.values(), heads, futures, strict=True
        ):
            self._out[number] = _Group(tasks, seconds, address, future, now, tasks[0] if head else None)
            future.add_done_callback(lambda _, number=number: self._home.put(number))

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the outcomes that came home, waiting at most so long for the first thing to come home."""
        until = time.monotonic() + seconds
        while True:
            self._look_around()
            self._send()
            outcomes, self._ready = self._ready, []
            left = 0.0 if outcomes or self._back else until - time.monotonic()
            # Not longer than until it is time to look at the workers again.
            outcomes += self._come_home(max(min(left, LOOK_SECONDS), 0.0))
            if outcomes or self._back or left <= LOOK_SECONDS:
                return outcomes

    def _come_home(self, seconds: float) -> list[Outcome]:
        """Take home what comes, and what came together with it."""
        outcomes: list[Outcome] = []
        try:
            number = self._home.get(timeout=seconds)
            while True:
                outcomes += self._take_home(number)
                number = self._home.get_nowait()
        except queue.Empty:
            return outcomes

    def sent_back(self) -> list[Task]:
        """Return the tasks that came home as they went; each is returned once."""
        back, self._back = self._back, []
        return back

    def _take_home(self, number: int) -> list[Outcome]:
        group = self._out.pop(number, None)
        if group is None:
            return []
        self._roster.home(group.address)
        outcomes = self._outcomes(number, group)
        group.future.release()
        self._back += not_among(group.tasks, outcomes)
        return outcomes

    def _outcomes(self, number: int, group: _Group) -> list[Outcome]:
        told = self._told.pop(number, None)
        if told is not None:
            return self._heard(group, told)
        try:
            return self._heard(group, group.future.result(timeout=10))
        except KilledWorker:
            death = Death(group.address, f"the worker at {group.address} died")
        except Exception as error:  # noqa: BLE001 - told apart by where it comes from
            if group.future.status == "error":  # the task could not even start: no fault of the member
                reason = str(error) if isinstance(error, DaflowError) else repr(error)
                reason = f"a worker could not start the task: {reason}"
                return [Outcome(group.tasks[0], Status.BLOCKED, reason=reason)]
            # It was done, but its worker died before its outcome was fetched; or the scheduler was lost.
            words, lost = f"its outcome did not come home: {error!r}", group.future.status == "cancelled"
            death = Death(group.address, words, expected=lost)
            if lost and not self._has_given_up():
                self._client.subscribe_topic(self._topic, self._hear)
        if not death.expected:
            self._roster.died(group.address)
        self._looked = 0.0
        return self._deaths.outcomes(group.tasks, death, (group.present, group.since))

    def _heard(self, group: _Group, answer: Answer) -> list[Outcome]:
        if answer.refused is not None:
            self._roster.close(group.address)
            self._refusals.heard(group.address, group.seconds, answer.refused)
        else:
            self._refusals.over()
            self._roster.tell_host(group.address, answer.outcomes[0].host if answer.outcomes else "")
        return answer.outcomes

    def _let_go(self, number: int) -> _Group:
        """Take a group off the list of those that are out; the scheduler forgets it."""
        group = self._out.pop(number)
        group.future.cancel()
        self._roster.home(group.address)
        return group

    def _bury(self, number: int, death: Death) -> None:
        """Settle a group whose worker is no more and of which the scheduler will not tell."""
        group = self._let_go(number)
        self._end(group.tasks, self._deaths.outcomes(group.tasks, death, (group.present, group.since)))

    def running(self) -> Mapping[Task, UnderWay]:
        """Return what is under way, as far as it is seen."""
        now, groups = time.monotonic(), list(self._out.values())
        seen = set(self._witness.under_way(group.tasks for group in groups))
        found = {}
        for group in groups:
            for task in seen.intersection(group.tasks):
                if task != group.present:
                    group.present, group.since = task, now
                found[task] = UnderWay(self._roster.host(group.address), now - group.since)
        return found

    def cut(self, task: Task, reason: str) -> None:
        """End a task for good: its worker is restarted, and with it whatever it started."""
        cancelled = Outcome(task, Status.CANCELLED, reason=reason)
        for unsent in self._unsent:
            if task in unsent[1]:
                self._unsent.remove(unsent)
                self._end(unsent[1], [cancelled])
                return
        for number, group in self._out.items():
            if task in group.tasks:
                self._let_go(number)
                under_way = self._witness.begun(group.tasks)
                if under_way is not None:
                    self._restart(group.address, f"it was restarted to end {under_way.label}: {reason}")
                if under_way == group.present == task:
                    seconds, host = time.monotonic() - group.since, self._roster.host(group.address)
                    started = time.time() - seconds
                    cancelled = replace(cancelled, seconds=round(seconds, 6), host=host, started=started)
                done = self._witness.word(group.tasks, None)
                self._end(
                    group.tasks, [*done, *([cancelled] if task in not_among(group.tasks, done) else [])]
                )
                return

    def _end(self, tasks: Sequence[Task], outcomes: list[Outcome]) -> None:
        """Let these outcomes come home, and the other tasks of their group come back."""
        self._ready += outcomes
        self._back += not_among(tasks, outcomes)

    def _restart(self, address: str, reason: str) -> None:
        self._deaths.by_us(address, reason)
        self._roster.close(address)

        def restart() -> None:
            with suppress(Exception):  # it is gone already, or goes with its scheduler
                self._client.restart_workers([address], timeout=RESTART_SECONDS, raise_for_error=False)

        Thread(target=restart, name="daflow-restart", daemon=True).start()

    def avoid(self, host: str) -> None:
        """Send nothing more to a host, and let no worker start there, as long as there are others."""
        if self._roster.avoid(host):
            self._crew.avoid(host)
            self._take_back(lambda group: self._roster.host(group.address) == host)

    def recall(self) -> None:
        """Take back what was not sent; what waits at a worker is short, and soon done."""
        self._back += [task for _, tasks, _ in self._unsent for task in tasks]
        self._unsent.clear()

    def close(self) -> None:
        """Let go of what is still out; the workers may finish it, which harms nothing."""
        # Where the scheduler is gone there is nothing left to let go of, and why it is gone has been said.
        with suppress(Exception):
            for group in self._out.values():
                group.future.cancel()
            self._client.unsubscribe_topic(self._topic)
        self._out.clear()
        self._unsent.clear()
        self._ready.clear()
