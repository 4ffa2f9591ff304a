import gc
import tracemalloc
from contextlib import nullcontext

import numpy as np
import pytest

from daflow.errors import OutputInvalid, StoreError
from daflow.execution.pools.inline_pool import InlinePool
from daflow.execution.tasks.carry_out import carry_out, carry_out_all
from daflow.names import Phase, Status
from daflow.records import Outcome, Task
from daflow.runs import facts
from daflow.runs.decide import Plan
from daflow.runs.driver import Driver
from daflow.runs.facts import Progress, fold
from daflow.runs.journal import Journal, read_journal
from daflow.runs.policy import Policy, retries_of
from daflow.runs.stragglers import StragglerRule
from daflow.storage.memory import MemoryStore
from tests.contracts.toy_run import LAYOUT, N_MEMBERS, N_STEPS, TRUTH_FAILS, ToyRun, failing, plan


def drive(run, policy=None, pool=None, watch=lambda fact, progress: None, *, retry_failed=False, group=None):
    """Drive a toy run for one session."""
    path = run.folder / "journal.jsonl"
    progress = fold(read_journal(path))
    bench = run.bench()
    pool = pool or InlinePool(lambda tasks: carry_out_all(bench, tasks))
    with Journal(path) as journal:
        fact = facts.opened({"pid": 1}, retry_failed=retry_failed)
        journal.append(fact)
        progress.take(fact)
        workers = lambda: nullcontext(pool)  # noqa: E731 - they are there already
        return Driver(plan(), policy or Policy(), run.store, workers, journal, progress, watch, group).run()


def results(run):
    return [run.store.parameters(step) for step in range(N_STEPS + 1)] + [
        run.store.predicted(step) for step in range(N_STEPS + 1)
    ]


def assert_same_bits(run, reference):
    for ours, theirs in zip(results(run), results(reference), strict=True):
        assert ours.tobytes() == theirs.tobytes()


@pytest.fixture
def reference(tmp_path):
    run = ToyRun(tmp_path / "reference")
    run.folder.mkdir()
    assert drive(run).kind == "finished"
    return run


@pytest.fixture
def run(tmp_path):
    made = ToyRun(tmp_path / "run")
    made.folder.mkdir()
    return made


def test_that_a_whole_run_is_driven_from_prior_to_posterior(reference):
    for step in range(N_STEPS + 1):
        assert np.isfinite(reference.store.parameters(step)).all()
        assert np.isfinite(reference.store.predicted(step)).all()
    observed = reference.store.read_observations().table["value"]
    misfits = [np.mean((reference.store.predicted(step) - observed) ** 2) for step in (0, N_STEPS)]
    assert misfits[1] < misfits[0]
    assert sorted(reference.store.points) == list(range(LAYOUT.n_slices))


def test_that_the_journal_tells_each_task_once_and_each_stage_s_close_after_its_tasks(reference):
    journal = read_journal(reference.folder / "journal.jsonl")
    ended = [Outcome.from_json(fact).task for fact in journal if fact["fact"] == "ended"]
    assert len(set(ended)) == len(ended)
    assert {task.attempt for task in ended} == {0}
    n_members_tasks = N_MEMBERS * (N_STEPS + 2)
    assert len(ended) == n_members_tasks + 1 + N_STEPS + LAYOUT.n_slices * (N_STEPS + 1)
    closed = [(Phase(fact["phase"]), fact["step"]) for fact in journal if fact["fact"] == "closed"]
    assert closed == list(plan().stages)
    assert [fact["fact"] for fact in (journal[0], journal[-1])] == ["opened", "stopped"]


@pytest.mark.parametrize(("slots", "seed"), [(3, 1), (100, 2)])
def test_that_slots_and_order_do_not_change_a_bit(run, reference, slots, seed):
    bench = run.bench()
    assert (
        drive(run, pool=InlinePool(lambda tasks: carry_out_all(bench, tasks), slots, seed)).kind == "finished"
    )
    assert_same_bits(run, reference)


def test_that_watchers_see_every_fact_after_it_is_durable(run):
    seen = []

    def watch(fact, progress):
        seen.append(fact)
        assert fact in read_journal(run.folder / "journal.jsonl")
        assert isinstance(progress, Progress)

    drive(run, watch=watch)
    assert len(seen) == len(read_journal(run.folder / "journal.jsonl")) - 1


def test_that_receipts_that_no_driver_saw_are_taken_in_and_their_tasks_are_not_run_again(run, reference):
    bench, left = run.bench(), []
    for index in (4, 0):
        left.append(Task(Phase.PRIOR, 0, index, 0))
        carry_out(bench, left[-1])
    foreign = Outcome(Task(Phase.PRIOR, 0, 1, 0), Status.OK, key="of other settings")
    run.store.write_receipts([foreign])
    ran = []
    pool = InlinePool(lambda tasks: (ran.extend(tasks), carry_out_all(bench, tasks))[1])
    assert drive(run, pool=pool).kind == "finished"
    assert not set(left) & set(ran)
    assert foreign.task in ran
    assert_same_bits(run, reference)


def test_that_a_finished_run_that_is_driven_again_runs_nothing(run):
    drive(run)
    ran = []
    assert drive(run, pool=InlinePool(ran.append)).kind == "finished"
    assert ran == []


def test_that_a_member_that_fails_is_left_behind_and_the_others_go_on_as_if_it_had_never_been(tmp_path, run):
    run.fails = failing((2, 1), (5, "prior"))
    assert drive(run).kind == "finished"
    progress = fold(read_journal(run.folder / "journal.jsonl"))
    assert progress.survivors[Phase.PRIOR, 0] == (0, 1, 2, 3, 4)
    assert progress.survivors[Phase.FORECAST, N_STEPS] == (0, 1, 3, 4)
    assert [outcome.task.attempt for outcome in progress.bad_ends] == [0, 0]
    posterior = run.store.parameters(N_STEPS)
    assert np.isnan(posterior[[2, 5]]).all()
    assert np.isfinite(posterior[[0, 1, 3, 4]]).all()


def test_that_an_invalid_output_is_tried_again_as_often_as_the_policy_says(run):
    run.fails = {(3, 0): OutputInvalid("cut short")}
    assert drive(run, Policy(retries_of(2))).kind == "finished"
    progress = fold(read_journal(run.folder / "journal.jsonl"))
    assert [(o.task.index, o.task.attempt) for o in progress.bad_ends] == [(3, 0), (3, 1), (3, 2)]


def test_that_too_few_members_stop_the_run_and_that_more_attempts_can_be_asked_for(run, reference):
    run.fails = failing(*((member, 0) for member in range(1, N_MEMBERS)))
    stop = drive(run)
    assert stop.kind == "too few members"
    assert stop.resumable
    assert "1 of 6 members are left" in stop.reason
    run.fails = {}
    assert drive(run).kind == "too few members"
    assert drive(run, retry_failed=True).kind == "finished"
    assert_same_bits(run, reference)


def test_that_a_policy_to_stop_stops_at_the_first_member_that_fails(run):
    run.fails = failing((1, 0))
    stop = drive(run, Policy(stop_on=frozenset({Status.FAILED})))
    assert (stop.kind, stop.resumable) == ("member failed", True)
    assert "member 1 of step 0 failed" in stop.reason


def test_that_a_truth_that_fails_stops_the_run_for_good(run):
    run.fails = TRUTH_FAILS
    stop = drive(run)
    assert (stop.kind, stop.resumable) == ("task failed", False)


def test_that_a_store_that_blocks_stops_the_run_until_it_is_mended(run, reference):
    bench, full = run.bench(), True

    def work(tasks):
        if full and Task(Phase.UPDATE, 1, 1, 0) in tasks:
            return [Outcome(tasks[0], Status.BLOCKED, reason="the disk is full")]
        return carry_out_all(bench, tasks)

    stop = drive(run, pool=InlinePool(work, slots=3))
    assert (stop.kind, stop.reason, stop.resumable) == ("blocked", "the disk is full", True)
    with pytest.raises(StoreError, match="the disk is full"):
        stop.check(run.folder)
    full = False
    assert drive(run, pool=InlinePool(work, slots=3)).kind == "finished"
    assert_same_bits(run, reference)


def test_that_a_driver_whose_journal_fails_says_so_and_loses_nothing(run, reference, tmp_path):
    class Full(Journal):
        def append_all(self, facts):
            if any(fact["fact"] == "closed" and fact["phase"] == "update" for fact in facts):
                raise StoreError("cannot write the journal")
            super().append_all(facts)

    bench = run.bench()
    with Journal(run.folder / "journal.jsonl"):
        pass
    with Full(run.folder / "journal.jsonl") as journal, pytest.raises(StoreError):
        Driver(
            plan(),
            Policy(),
            run.store,
            lambda: nullcontext(InlinePool(lambda tasks: carry_out_all(bench, tasks))),
            journal,
            Progress(),
            lambda fact, progress: None,
        ).run()
    assert drive(run).kind == "finished"
    assert_same_bits(run, reference)


@pytest.mark.parametrize("group", [1, 2, 7, None])
def test_that_the_size_of_groups_does_not_change_a_bit_and_every_task_has_one_receipt(run, reference, group):
    assert drive(run, group=group).kind == "finished"
    assert_same_bits(run, reference)
    assert {o.task for o in run.store.receipts()} == {o.task for o in reference.store.receipts()}


def test_that_groups_are_as_large_as_was_asked_and_what_comes_home_together_is_journalled_together(
    run, monkeypatch
):
    bench, sizes, lots = run.bench(), [], []

    def work(tasks):
        sizes.append((tasks[0].phase, len(tasks)))
        return carry_out_all(bench, tasks)

    append_all = Journal.append_all
    monkeypatch.setattr(
        Journal, "append_all", lambda self, news: (lots.append(len(news)), append_all(self, news))
    )
    assert drive(run, pool=InlinePool(work, slots=2), group=4).kind == "finished"
    assert [size for phase, size in sizes if phase is Phase.FORECAST] == [4, 2] * (N_STEPS + 1)
    assert [size for phase, size in sizes if phase is Phase.UPDATE] == [LAYOUT.n_slices] * N_STEPS
    assert lots.count(4) == N_STEPS + 2


def test_that_forecasts_are_sent_one_by_one_where_stragglers_are_to_be_cut_off(run):
    # Behind one that hangs others would wait for ever, and too few be done to cut it off.
    bench, sizes = run.bench(), []

    def work(tasks):
        sizes.append((tasks[0].phase, len(tasks)))
        return carry_out_all(bench, tasks)

    policy = Policy(stragglers=StragglerRule(3.0, 0.75))
    assert drive(run, pool=InlinePool(work, slots=2), group=4, policy=policy).kind == "finished"
    assert {size for phase, size in sizes if phase is Phase.FORECAST} == {1}
    assert {size for phase, size in sizes if phase is Phase.PRIOR} == {4, 2}


def test_that_short_tasks_come_to_be_sent_together_unasked(tmp_path):
    class Quick:
        slots = 2

        def __init__(self):
            self.sizes, self.terms, self.out, self.expected = [], [], [], []

        @property
        def n_out(self):
            return len(self.out)

        def expect(self, n_waiting, phase):
            self.expected.append((phase, n_waiting))

        def submit(self, tasks, seconds):
            self.sizes.append(len(tasks))
            self.terms.append(seconds)
            self.out.append(tasks)

        def wait(self, seconds):
            return [Outcome(task, Status.OK, 0.001, started=1.0) for task in self.out.pop(0)]

        def sent_back(self):
            return []

    pool, many = Quick(), Plan(tuple(range(1000)), 0, 1, twin=False, keys={})
    store = MemoryStore(LAYOUT)
    with Journal(tmp_path / "journal") as journal:
        workers = lambda: nullcontext(pool)  # noqa: E731 - they are there already
        driver = Driver(many, Policy(), store, workers, journal, Progress(), lambda fact, progress: None)
        assert driver.run().kind == "finished"
    assert sum(pool.sizes) == 2001
    assert max(pool.sizes) >= 200
    assert (Phase.FORECAST, 1000) in pool.expected
    # Nobody knows at first; then what the others of the phase took.
    assert pool.terms[0] is None
    assert pool.terms[-1] == pytest.approx(0.001)
    assert len(pool.sizes) < 60


def test_that_tasks_that_came_back_are_sent_alone(run):
    bench, sizes = run.bench(), []

    def work(tasks):
        if tasks[0].phase is Phase.PRIOR:
            sizes.append(len(tasks))
        return carry_out_all(bench, tasks[:1] if sizes == [4] else tasks)

    assert drive(run, pool=InlinePool(work), group=4).kind == "finished"
    assert sizes == [4, 1, 1, 1, 2]


def test_that_no_workers_are_called_where_there_is_nothing_to_send(run):
    def nobody():
        raise AssertionError

    run.fails = failing(*((member, 0) for member in range(1, N_MEMBERS)))
    assert drive(run).kind == "too few members"
    path = run.folder / "journal.jsonl"
    progress = fold(read_journal(path))
    progress.take(facts.opened({}))
    with Journal(path) as journal:
        driver = Driver(plan(), Policy(), run.store, nobody, journal, progress, lambda fact, progress: None)
        assert driver.run().kind == "too few members"


def test_that_a_run_taken_up_looks_at_no_receipt_that_its_journal_knows(run, monkeypatch):
    drive(run)
    path = run.folder / "journal.jsonl"
    known = [fact for fact in read_journal(path) if fact["fact"] != "stopped"]
    cut = next(n for n, fact in enumerate(known) if fact["fact"] == "closed" and fact["phase"] == "update")
    progress, asked = fold(known[: cut - 1]), []

    def receipts_of(phase, step, known):
        asked.append((phase, step))
        told = [o for o in run.store.receipts() if (o.task.phase, o.task.step) == (phase, step)]
        return iter([outcome for outcome in told if not known(outcome.task)])

    monkeypatch.setattr(run.store, "receipts_of", receipts_of)
    seen = []
    with Journal(run.folder / "other") as journal:
        workers = lambda: nullcontext(InlinePool(seen.append))  # noqa: E731 - they are there already
        watch = lambda fact, progress: seen.append(fact)  # noqa: E731 - it looks on
        stop = Driver(plan(), Policy(), run.store, workers, journal, progress, watch).run()
    assert stop.kind == "finished"
    stages = plan().stages
    assert asked == list(stages[stages.index((Phase.UPDATE, 0)) :])
    # One end of the update at hand that the journal had lost, and all of the stages after it.
    ends = [
        fact for fact in seen if fact["fact"] == "ended" and (fact["phase"], fact["step"]) == ("update", 0)
    ]
    assert len(ends) == 1


class Nothing:
    """A store of a run whose members and slices have no numbers."""

    def receipts_of(self, phase, step, known):
        return iter(())

    def write_survivors(self, step, survivors):
        pass

    def create_step(self, step):
        pass


@pytest.mark.parametrize("fails", [(), (40, 90)])
def test_that_a_driver_keeps_nothing_of_a_member_for_the_steps_that_are_gone(tmp_path, fails):
    n, steps, settled, sizes = 300, 22, (5, 20), {}

    def work(tasks):
        bad = {task for task in tasks if task.phase is Phase.FORECAST and task.index in fails}
        return [Outcome(task, Status.FAILED if task in bad else Status.OK) for task in tasks]

    def watch(fact, progress):
        if fact["fact"] == "closed" and fact["phase"] is Phase.UPDATE and fact["step"] in settled:
            gc.collect()
            sizes[fact["step"]] = tracemalloc.get_traced_memory()[0]

    whole = Plan(tuple(range(n)), steps, n_slices=n, twin=False, keys={})
    workers = lambda: nullcontext(InlinePool(work, slots=4))  # noqa: E731 - they are there already
    tracemalloc.start(1)
    try:
        with Journal(tmp_path / "journal.jsonl") as journal:
            stop = Driver(whole, Policy(), Nothing(), workers, journal, Progress(), watch, 50).run()
    finally:
        tracemalloc.stop()
    assert stop.kind == "finished"
    kept = (sizes[20] - sizes[5]) / 15
    assert kept < 2_300, f"{kept} bytes a step; a number for each of {n} members takes {8 * n}"
