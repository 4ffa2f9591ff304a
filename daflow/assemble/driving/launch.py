"""Runs, from a workflow file or from where they stopped."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from daflow.assemble.branching import plan_for, store_for
from daflow.assemble.driving.first_workers import check_workers
from daflow.assemble.driving.main_guard import check_main_guard
from daflow.assemble.driving.member_jobs import members_at_work
from daflow.assemble.driving.members import with_members
from daflow.assemble.driving.ordered import ordered
from daflow.assemble.driving.orphans import (
    Cleared,
    clear,
    clear_attempts,
    end_processes,
    marked,
    strays_of,
    workers_live_on,
)
from daflow.assemble.driving.sessions import Session
from daflow.assemble.environment import differences, environment
from daflow.assemble.folder import RunFolder, write_resolved
from daflow.assemble.sections.build import model_of, observed_of, policy_of
from daflow.assemble.worker import work
from daflow.config.observations import FileObservations
from daflow.errors import DaflowError, OutOfTime, RunError
from daflow.execution.clusters.dask_clusters import connect
from daflow.execution.pools.crews import Crew
from daflow.execution.pools.dask_pool import DaskPool
from daflow.execution.tasks.member import log_folder
from daflow.execution.tasks.under_way import begun, forget_marks, seen
from daflow.execution.tasks.watchdog import hung
from daflow.names import Status
from daflow.ports import Observations, Pool, Store
from daflow.records import Outcome, Task
from daflow.runs import facts
from daflow.runs.decide import Stop
from daflow.runs.driver import Driver
from daflow.runs.facts import Fact, Progress, fold
from daflow.runs.halting import WALLTIME, Halting
from daflow.runs.journal import Journal, last_fact, whole_facts
from daflow.runs.lease import Holder, Lease
from daflow.runs.orders import NONE, Orders
from daflow.storage import ZarrStore
from daflow.storage.branch_store import BranchStore
from daflow.storage.files import make_folder, remove_partials

Watch = Callable[[Fact, Progress], None]

FOREGROUND = Session()
LONG_JOURNAL = 1 << 20
"""Bytes, some thousands of facts: reading less takes no time worth saving."""


def ignore(fact: Fact, progress: Progress) -> None:
    """Watch nothing."""


def drive(
    run: RunFolder,
    watch: Watch = ignore,
    *,
    orders: Orders = NONE,
    pause: int | None = None,
    called: Callable[[], Crew] | None = None,
    session: Session = FOREGROUND,
) -> Stop:
    """Drive a run from where it stands until it stops, and say why it did.

    Parameters
    ----------
    run
        A run that has been made.
    watch
        Called with every new fact and where the run stands then.
    orders
        Which members get new attempts or are given up, and with how few the run goes on.
    pause
        The step after whose update the run is laid down; ``None``: it goes to its end.
    called
        Returns workers that several runs share; ``None``: the run calls its own.
    session
        How it is driven this time, and until when.

    Raises
    ------
    daflow.errors.LeaseError
        Another driver holds the run.
    daflow.errors.InputError
        The orders cannot be kept to where the run stands.
    daflow.errors.RunError
        The store, the journal or the pool failed; the run can be resumed.
    KeyboardInterrupt
        The driver was interrupted; the run can be resumed.
    """
    check_main_guard(run.workflow.execution)
    lease = Lease(run.lease, session.holder(), session.patience)
    with lease, Halting(run.folder, lease.holder, session.ends) as halting:
        if called is not None:
            # Scratch and jobs may be those of the workers who were called; processes know their driver.
            cleared = Cleared(tuple(end_processes(run.folder)[0]))
            wishes = _Wishes(orders, pause, called, halting, lease.holder, lease.check, cleared, session)
            return _drive(run, watch, wishes)
        cleared = clear(run.folder)
        try:
            with called_for(run) as call:
                wishes = _Wishes(orders, pause, call, halting, lease.holder, lease.check, cleared, session)
                return _drive(run, watch, wishes)
        finally:
            # Its workers are gone now: what they had started is nobody's, what they were at has no receipt.
            end_processes(run.folder, strays_of)
            with suppress(DaflowError, OSError):
                lease.check()
                going = workers_live_on(run.workflow.execution) and not _is_finished(run.journal)
                if not (going or members_at_work(run)):
                    clear_attempts(run, store_for(run))


def _is_finished(journal: Path) -> bool:
    last = last_fact(journal)
    return last is not None and last["fact"] == "stopped" and last["kind"] == "finished"


@dataclass(frozen=True)
class _Wishes:
    """What one session of a driver is to do, and with whom."""

    orders: Orders
    pause: int | None
    call: Callable[[], Crew]
    halting: Halting
    holder: Holder
    check: Callable[[], None]
    """Raises an error once another driver has the run."""
    cleared: Cleared = field(default_factory=Cleared)
    session: Session = FOREGROUND


def _drive(run: RunFolder, watch: Watch, wishes: _Wishes) -> Stop:
    progress, end = _stands(run)
    run, at = ordered(run, progress, wishes.orders)
    if progress.last_stop is not None and progress.last_stop["kind"] == "finished":
        return Stop("finished", progress.last_stop["reason"], resumable=False)
    # Execution and policy may have changed since the run was made; its workers read them from here.
    write_resolved(run)
    if members_at_work(run):
        # What they write is not whole yet: nothing is tidied up.
        store = _made_ready(run, store_for(run))
    else:
        store = _ready_store(run)
        if not workers_live_on(run.workflow.execution):
            wishes = replace(wishes, cleared=wishes.cleared.and_folders(clear_attempts(run, store)))
    with Journal(run.journal, end, wishes.check) as journal, _stop_noted(journal, wishes.halting) as noted:
        fact = facts.opened(_who(run, wishes), orders=wishes.orders, at=at)
        journal.append(fact)
        progress.take(fact)
        watch(fact, progress)
        plan, group = replace(plan_for(run), pause=wishes.pause), run.workflow.execution.group
        return Driver(
            plan,
            policy_of(run.workflow),
            store,
            lambda: _pool(run, store, wishes),
            journal,
            progress,
            watch,
            None if group == "auto" else group,
            wishes.halting,
        ).run()
    return noted[0]


def _stands(run: RunFolder) -> tuple[Progress, int]:
    """Return where a run stands, and where its journal ends."""
    was_on = gc.isenabled()
    # A long journal is many small objects and no garbage: looking for some would take a third longer.
    gc.disable()
    try:
        known, end = whole_facts(run.journal)
        return fold(known), end
    finally:
        if was_on:
            gc.enable()


def _ready_store(run: RunFolder) -> ZarrStore | BranchStore:
    """Return the store, without what writers that were killed left unfinished."""
    store = store_for(run)
    store.make_ready()
    remove_partials(run.folder / "receipts")
    forget_marks(run.folder)
    return _made_ready(run, store)


def _made_ready(run: RunFolder, store: ZarrStore | BranchStore) -> ZarrStore | BranchStore:
    """Return the store with all that the first task needs; making it again changes nothing."""
    store.create_step(0)
    # A branch has the observations that its parent read.
    if isinstance(store, ZarrStore) and isinstance(run.workflow.observations, FileObservations):
        observed = observed_of(run.workflow, model_of(run.workflow))
        if isinstance(observed, Observations):
            store.write_observations(observed)
    return store


def _who(run: RunFolder, wishes: _Wishes) -> dict[str, object]:
    holder = wishes.holder
    return {
        "host": holder.host,
        "pid": holder.pid,
        "mode": holder.mode,
        **({"job": holder.job, "system": holder.system} if holder.job else {}),
        **({"follows": wishes.session.follows} if wishes.session.follows else {}),
        **({"cleared": wishes.cleared.told()} if wishes.cleared else {}),
        "time": time.time(),
        "differs": differences(run.environment, environment()),
    }


@contextmanager
def _stop_noted(journal: Journal, halting: Halting) -> Iterator[list[Stop]]:
    """Journal how the driver ended where the driver could not do it itself.

    Yields a list that holds how, once the context is left, where that is no accident: somebody asked the
    driver to stop and it was interrupted for that, or its workers' time was over.
    """
    noted: list[Stop] = []
    try:
        yield noted
    except KeyboardInterrupt:
        halt = halting.look()
        if halt is None:
            journal.append(facts.stopped("interrupted", "the driver was interrupted", resumable=True))
            raise
        noted.append(halt.stop)
        journal.append(facts.stopped(halt.stop.kind, halt.stop.reason, resumable=halt.stop.resumable))
    except OutOfTime as error:
        # The end of a job is none of the run's: it goes on like one whose driver had no time left.
        noted.append(Stop(WALLTIME, f"{error.what} ({error.got})", resumable=True))
        journal.append(facts.stopped(WALLTIME, noted[0].reason, resumable=True))
    except RunError as error:
        try:
            journal.append(facts.stopped("error", str(error), resumable=True))
        except RunError:
            # The journal is what failed: the error itself says so.
            raise error from None
        raise


@contextmanager
def called_for(run: RunFolder) -> Iterator[Callable[[], Crew]]:
    """Yield what returns the run's workers, once they are needed; they go when the context ends.

    Where the journal is long, workers are called while it is read: both take seconds.
    """
    with marked(run.folder), ExitStack() as stack, ThreadPoolExecutor(1) as meanwhile:

        def call() -> Crew:
            make_folder(run.folder / "work" / "dask")
            return stack.enter_context(connect(run.workflow.execution, run.folder))

        early = meanwhile.submit(call) if _much_to_read(run.journal) else None
        yield call if early is None else early.result


def _much_to_read(journal: Path) -> bool:
    if not journal.exists() or journal.stat().st_size < LONG_JOURNAL:
        return False
    return not _is_finished(journal)


@contextmanager
def _pool(run: RunFolder, store: Store, wishes: _Wishes) -> Iterator[Pool]:
    crew, witness = wishes.call(), _Witness(run, store)
    check_workers(run, crew)
    workers = DaskPool(crew, partial(work, str(run.folder)), witness)
    pool = with_members(run, workers, crew, witness)
    try:
        yield pool
    finally:
        wishes.halting.rest()
        pool.close()


class _Witness:
    """Reads from the run's folder what became of tasks whose worker died."""

    def __init__(self, run: RunFolder, store: Store) -> None:
        self._run, self._store = run, store

    def begun(self, tasks: Sequence[Task]) -> Task | None:
        """Return which one of these was under way; ``None``: none of them alone."""
        return begun(self._run.folder, tasks)

    def under_way(self, groups: Iterable[Sequence[Task]]) -> list[Task]:
        """Return the tasks of these groups that are under way now, at most one a group."""
        return seen(self._run.folder, groups)

    def word(self, tasks: Sequence[Task], begun: Task | None) -> list[Outcome]:
        """Return the outcomes of those that left a receipt, and of the one that left where it hung."""
        wanted = set(tasks)
        left = self._store.receipts_of(tasks[0].phase, tasks[0].step, lambda task: task not in wanted)
        outcomes = [outcome for outcome in left if outcome.task in wanted]
        if begun is not None and all(outcome.task != begun for outcome in outcomes):
            where = hung(log_folder(self._run.folder, begun))
            if where:
                seconds = self._run.workflow.policy.timeout or 0.0
                reason = f"took longer than policy.timeout = {seconds:g} s; where it hung is in its log"
                outcomes.append(Outcome(begun, Status.TIMED_OUT, seconds=seconds, reason=reason))
        return outcomes
