"""Random histories of a run against the run that nothing disturbed."""

import os
import tempfile
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError, ModelFailed
from daflow.execution.tasks.carry_out import carry_out_all
from daflow.names import BLAMELESS, Phase, Status
from daflow.records import Outcome
from daflow.runs import facts
from daflow.runs.checked_orders import check_orders
from daflow.runs.decide import MEMBER_PHASES
from daflow.runs.driver import Driver
from daflow.runs.facts import fold
from daflow.runs.journal import Journal, read_journal
from daflow.runs.orders import NONE, Orders
from daflow.runs.policy import Policy, retries_of
from tests.contracts.toy_run import N_MEMBERS, N_STEPS, ToyRun, plan

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - no secrets: syncs are free there
ONCE_MORE = frozenset({Status.INVALID, Status.TIMED_OUT, Status.CANCELLED, Status.LOST})
POLICY = Policy(retries_of(dict.fromkeys(ONCE_MORE, 1)), min_members=3)
CALM_AFTER = 8
"""Sessions after which nothing disturbs the run any more, so that it can end."""
EVENTS = (
    "handed back",
    "refused",
    "killed among them",
    "lost",
    "cut off",
    "blocked",
    "twice",
    "nothing",
    "death",
    "death after the receipt",
    "torn line",
)


UNDONE = {
    "lost": Outcome(None, Status.LOST, reason="its node died"),
    "blocked": Outcome(None, Status.BLOCKED, reason="the disk is full"),
    "lost, nobody to blame": Outcome(
        None, Status.LOST, reason="its job was cancelled", figures={BLAMELESS: 1.0}
    ),
    "timed out": Outcome(None, Status.TIMED_OUT, reason="it hung"),
    "cut off by a rule": Outcome(None, Status.CANCELLED, reason="it was the last"),
}
TOLD = ("timed out", "cut off by a rule", "lost, nobody to blame", "orders")
"""What follows from how members end, and from what the operator asks for."""


class WorkerDied(BaseException):
    """Ends what a worker does at once."""


class DriverDied(BaseException):
    """Ends a session at once, as SIGKILL would."""


@dataclass
class ChaoticPool:
    """Carries tasks out in any order and lets anything befall them."""

    bench: object
    random: Random
    rates: dict[str, float]
    journal: Path
    done_before: set[tuple[Phase, int, int]]
    out: list = field(default_factory=list)
    back: list = field(default_factory=list)

    @property
    def slots(self):
        return self.random.randint(1, 5)

    @property
    def n_out(self):
        return len(self.out)

    def expect(self, n_waiting, phase=None):
        assert n_waiting >= 0

    def submit(self, tasks, seconds=None):
        assert len({(task.phase, task.step) for task in tasks}) == 1
        out = {(t.phase, t.step, t.index) for group in self.out for t in group}
        for task in tasks:
            place = (task.phase, task.step, task.index)
            assert place not in self.done_before, "what has a receipt runs again"
            assert place not in out, "one task is out twice"
        self.out.append(tasks)

    def sent_back(self):
        back, self.back = self.back, []
        return back

    def running(self):
        return {}

    def wait(self, seconds):
        if not self.out or self._strikes("nothing"):
            return []
        if self._strikes("death"):
            raise DriverDied
        tasks = self.out.pop(self.random.randrange(len(self.out)))
        outcomes = self.done(tasks)
        home = {outcome.task for outcome in outcomes}
        self.back += [task for task in tasks if task not in home]
        return outcomes

    def done(self, tasks):
        """Do some of the tasks, or all."""
        task = self.random.choice(tasks)
        if self._strikes("refused"):
            return []
        for event, end in UNDONE.items():
            if (task.phase in MEMBER_PHASES or event in EVENTS) and self._strikes(event):
                return [replace(end, task=task)]
        if self._strikes("killed among them"):
            self.killed_in(tasks, task)
            return [Outcome(task, Status.LOST, reason="its worker was killed")]
        if self._strikes("handed back"):
            tasks = tasks[: tasks.index(task) + 1]
        outcomes = carry_out_all(self.bench, tasks)
        if self._strikes("cut off"):
            return [Outcome(task, Status.LOST, reason="cut off, though it was done")]
        if self._strikes("death after the receipt"):
            raise DriverDied
        if self._strikes("torn line"):
            with self.journal.open("ab") as file:
                file.write(b'{"fact":"ended","phase":"fore')
            raise DriverDied
        return outcomes * (2 if self._strikes("twice") else 1)

    def killed_in(self, tasks, victim):
        """Do tasks until the worker is killed with the victim's: data may be there, receipts are not."""

        def begin(task):
            if task == victim:
                raise WorkerDied

        with suppress(WorkerDied):
            carry_out_all(self.bench, tasks, begin)

    def _strikes(self, event):
        return self.random.random() < self.rates.get(event, 0.0)


def asked(progress, random):
    """Return what an operator asks for, as far as it can be had; one member is dropped at most."""
    member = random.randrange(N_MEMBERS)
    orders = random.choice(
        [
            Orders(retry=frozenset({random.choice([Status.FAILED, *ONCE_MORE])})),
            Orders(members=frozenset({member})),
            NONE if any(progress.dropped.values()) else Orders(drop=frozenset({member})),
        ]
    )
    try:
        return orders, check_orders(orders, progress, plan(), POLICY)
    except DataError:
        return NONE, None


def session(run, random, rates, group):
    """Drive for one session; return how it stopped, or nothing if the driver died."""
    path = run.folder / "journal.jsonl"
    progress = fold(read_journal(path))
    bench = run.bench()
    done = {(o.task.phase, o.task.step, o.task.index) for o in run.store.receipts() if o.status == Status.OK}
    pool = ChaoticPool(bench, random, rates, path, done)
    with Journal(path) as journal:
        orders, at = Orders(retry=ONCE_MORE), None  # once it is calm, whoever may come through does
        if rates:
            orders, at = (
                asked(progress, random) if random.random() < rates.get("orders", 0.0) else (NONE, None)
            )
        fact = facts.opened({"pid": 1}, orders=orders, at=at)
        journal.append(fact)
        progress.take(fact)
        watch = lambda fact, so_far: None  # noqa: E731 - nothing to watch
        try:
            workers = lambda: nullcontext(pool)  # noqa: E731 - they are there already
            stop = Driver(plan(), POLICY, run.store, workers, journal, progress, watch, group).run()
        except DriverDied:
            stop = None
    if stop is not None:
        assert fold(read_journal(path)) == progress
    return stop


def driven(run, seed, rates, group=None):
    """Drive session after session until the run is finished or can get no further."""
    random = Random(seed)
    for number in range(CALM_AFTER + 2):
        stop = session(run, random, rates if number < CALM_AFTER else {}, group)
        if stop is not None and (stop.kind == "finished" or not stop.resumable):
            return stop
    return stop


def dropped(progress):
    """Return where each member that did not come through was left behind."""
    before, left = set(range(N_MEMBERS)), set()
    for stage in plan().stages:
        if stage not in progress.survivors:
            break
        if stage[0] in MEMBER_PHASES:
            after = set(progress.survivors[stage])
            place = "prior" if stage[0] is Phase.PRIOR else stage[1]
            left |= {(member, place) for member in before - after}
            before = after
    return left


def fresh(folder, name, fails):
    run = ToyRun(Path(folder) / name, {place: ModelFailed("no") for place in fails})
    run.folder.mkdir()
    return run


PLACES = st.tuples(st.integers(0, N_MEMBERS - 1), st.sampled_from(["prior", *range(N_STEPS + 1)]))
GROUPS = st.sampled_from([None, 1, 2, 4, 7])
RATES = st.fixed_dictionaries(
    {event: st.sampled_from([0.0, 0.0, 0.02, 0.1, 0.3]) for event in EVENTS + TOLD}
    | {"orders": st.sampled_from([0.0, 0.5, 1.0])}
)


@pytest.mark.slow
@settings(max_examples=30)
@given(st.integers(0, 2**32), RATES, st.sets(PLACES, max_size=2), GROUPS)
def test_that_any_history_ends_as_the_run_that_nothing_disturbed(seed, rates, fails, group):
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        run = fresh(folder, "disturbed", fails)
        stop = driven(run, seed, rates, group)
        progress = fold(read_journal(run.folder / "journal.jsonl"))
        # With two failures and one dropped at most, only ends beyond the retries can bring the members below
        # three, and they are forgiven: once it is calm, every run is finished unless it closed with too few.
        last = min(len(members) for members in progress.survivors.values())
        assert stop.kind == "finished" or (stop.kind == "too few members" and last <= POLICY.min_members + 2)
        left = dropped(progress)
        reference = fresh(folder, "reference", left)
        calm = driven(reference, 0, {})
        assert_ends_alike(run, progress, reference)
        if stop.kind == "finished":
            assert calm.kind == "finished"
            assert_done_once(progress)


def assert_ends_alike(run, progress, reference):
    other = fold(read_journal(reference.folder / "journal.jsonl"))
    for stage, members in progress.survivors.items():
        assert other.survivors[stage] == members
    closed = [stage for stage in plan().stages if stage in progress.survivors]
    for phase, step in closed:
        members = list(progress.survivors[phase, step])
        ours, theirs = (written(made.store, phase, step) for made in (run, reference))
        if ours is not None:
            assert np.isfinite(ours[members]).all()
            assert ours[members].tobytes() == theirs[members].tobytes()


def written(store, phase, step):
    """Return what the members of a stage have written, nothing where a stage is not of members."""
    match phase:
        case Phase.PRIOR:
            return store.parameters(0)
        case Phase.FORECAST:
            return store.predicted(step)
        case Phase.UPDATE:
            return store.parameters(step + 1)
        case _:
            return None


def assert_done_once(progress):
    """Every stage's tasks are done for exactly those that go on, or for every slice."""
    members = tuple(range(N_MEMBERS))
    for stage in plan().stages:
        if stage[0] in MEMBER_PHASES:
            assert set(progress.survivors[stage]) <= progress.done[stage] <= set(members)
        else:
            assert progress.done[stage] == set(plan().indices(stage[0], members))
        members = progress.survivors[stage]


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.sets(PLACES, max_size=2), GROUPS)
def test_that_deaths_and_duplicates_alone_cost_no_member_and_no_attempt(seed, fails, group):
    rates = dict.fromkeys(
        ("handed back", "refused", "twice", "nothing", "death", "death after the receipt", "torn line"), 0.03
    )
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        run, reference = fresh(folder, "disturbed", fails), fresh(folder, "reference", fails)
        assert driven(run, seed, rates, group).kind == driven(reference, 0, {}).kind == "finished"
        progress = fold(read_journal(run.folder / "journal.jsonl"))
        assert progress.survivors == fold(read_journal(reference.folder / "journal.jsonl")).survivors
        assert {outcome.task.attempt for outcome in run.store.receipts()} == {0}
        assert_ends_alike(run, progress, reference)
