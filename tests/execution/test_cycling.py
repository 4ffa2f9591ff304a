"""A filter's tasks: from cycle to cycle through the store, as in memory."""

from contextlib import nullcontext
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from daflow.errors import ModelFailed
from daflow.execution.pools.inline_pool import InlinePool
from daflow.execution.tasks.carry_out import carry_out, carry_out_all
from daflow.execution.tasks.truth import ERROR_AFTER, ERROR_BEFORE
from daflow.names import TRUTH, Phase, Status
from daflow.ports import Advanced
from daflow.records import Outcome, Task
from daflow.runs import facts
from daflow.runs.driver import Driver
from daflow.runs.facts import fold
from daflow.runs.journal import Journal, read_journal
from daflow.runs.policy import Policy
from daflow.storage.memory import MemoryStore
from tests.contracts.toy_cycles import (
    CYCLES,
    LAYOUT,
    N_MEMBERS,
    STD,
    InLots,
    Model,
    Prior,
    ToyFilter,
    by_hand,
    flow,
    plan,
)


def driven(run, bench=None, seed=None):
    """Drive a run to its end in this process; return the outcomes of its tasks."""
    bench = run.bench() if bench is None else bench
    path = run.folder / "journal.jsonl"
    run.folder.mkdir(exist_ok=True)
    pool = InlinePool(lambda tasks: carry_out_all(bench, tasks), 1 if seed is None else 50, seed)
    with Journal(path) as journal:
        opened = facts.opened({"pid": 1})
        journal.append(opened)
        workers, watch = lambda: nullcontext(pool), lambda fact, progress: None
        stop = Driver(
            plan(run.store.layout), Policy(), run.store, workers, journal, fold([opened]), watch
        ).run()
    assert stop.kind == "finished", stop.reason
    return [Outcome.from_json(fact) for fact in read_journal(path) if fact["fact"] == "ended"]


def observed(run):
    return run.store.read_observations().table["value"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = ToyFilter(tmp_path_factory.mktemp("filter"))
    run.outcomes = driven(run)
    return run


def test_that_a_run_is_the_loop_in_memory(run):
    forecasts, analyses = by_hand(observed(run))
    for step in range(len(CYCLES)):
        np.testing.assert_allclose(run.store.forecasts.parameters(step), forecasts[step], rtol=1e-12)
        np.testing.assert_allclose(run.store.parameters(step + 1), analyses[step], rtol=1e-12)
        assert run.store.predicted(step).shape == (N_MEMBERS, len(LAYOUT.obs_of(step)))
    assert np.abs(analyses[-1].mean(axis=0) - forecasts[-1].mean(axis=0)).max() > 0.01


@pytest.mark.parametrize("seed", [1, 2])
def test_that_the_order_of_tasks_does_not_change_a_bit(run, tmp_path, seed):
    other = ToyFilter(tmp_path)
    driven(other, seed=seed)
    for step in range(len(CYCLES) + 1):
        assert other.store.parameters(step).tobytes() == run.store.parameters(step).tobytes()
        for ours, theirs in ((other.store, run.store),):
            assert ours.forecasts.parameters(step).tobytes() == theirs.forecasts.parameters(step).tobytes()


def test_that_there_is_no_forecast_after_the_last_analysis(run):
    forecasts = {o.task.step for o in run.outcomes if o.task.phase is Phase.FORECAST}
    assert forecasts == {0, 1, 2}
    assert np.isnan(run.store.forecasts.parameters(len(CYCLES))).all()


def test_that_the_truth_goes_through_the_cycles_as_if_there_were_none(run):
    state = np.concatenate(list(Prior().pieces(TRUTH)))
    assert (run.store.read_member(0, TRUTH, 0, 7) == state).all()
    for step, cycle in enumerate(CYCLES):
        truth = run.store.forecasts.read_member(step, TRUTH, 0, 7)
        np.testing.assert_allclose(truth[:6], flow(state[:6], state[6], 0.0, cycle.stop), rtol=1e-14)
        assert truth[6] == state[6]
    predicted = run.store.read_predicted(0, [TRUTH], 0, 6)[0]
    assert np.abs(observed(run) - predicted).max() < 5 * STD


def test_that_updates_say_how_far_the_mean_is_from_the_truth(run):
    updates = [o for o in run.outcomes if o.task.phase is Phase.UPDATE and o.task.step == 1]
    truth = run.store.forecasts.read_member(1, TRUTH, 0, 7)
    for which, states in (
        (ERROR_BEFORE, run.store.forecasts.parameters(1)),
        (ERROR_AFTER, run.store.parameters(2)),
    ):
        squares = (states.mean(axis=0) - truth) ** 2
        found = {name: sum(o.figures.get(which + name, 0.0) for o in updates) for name in ("state", "rate")}
        assert found["state"] == pytest.approx(squares[:6].sum(), abs=1e-5)
        assert found["rate"] == pytest.approx(squares[6], abs=1e-5)


def test_that_a_run_with_a_given_truth_s_observations_has_no_such_figures(run, tmp_path):
    store = MemoryStore(LAYOUT)
    store.write_observations(run.store.read_observations())
    other = ToyFilter(tmp_path, store=store)
    outcomes = driven(other, bench=other.bench(twin=None))
    updates = [o for o in outcomes if o.task.phase is Phase.UPDATE]
    assert not any(name.startswith("squared_error") for o in updates for name in o.figures)
    assert other.store.parameters(3).tobytes() == run.store.parameters(3).tobytes()


def test_that_a_member_that_fails_in_a_cycle_leaves_from_there_on(tmp_path):
    run = ToyFilter(tmp_path, {(2, 1): ModelFailed("it diverged")})
    driven(run)
    forecasts, analyses = by_hand(observed(run), leaves=[(2, 1)])
    others = [member for member in range(N_MEMBERS) if member != 2]
    np.testing.assert_allclose(run.store.parameters(1), analyses[0], rtol=1e-12)
    np.testing.assert_allclose(run.store.forecasts.parameters(2)[others], forecasts[2], rtol=1e-12)
    np.testing.assert_allclose(run.store.parameters(3)[others], analyses[2], rtol=1e-12)
    assert np.isnan(run.store.parameters(3)[2]).all()


def test_that_members_in_lots_end_as_members_one_by_one(run, tmp_path):
    other, model = ToyFilter(tmp_path), InLots({}, together=3)
    bench = other.bench(model=model)
    for task in (Task(Phase.TRUTH, 0, 0), *(Task(Phase.PRIOR, 0, member) for member in range(N_MEMBERS))):
        assert carry_out(bench, task).status is Status.OK
    tasks = [Task(Phase.FORECAST, 0, member) for member in range(N_MEMBERS)]
    outcomes = {o.task: o.digest for o in carry_out_all(bench, tasks)}
    assert model.lots == [[0, 1, 2], [3, 4, 5]]
    alone = {o.task: o.digest for o in run.outcomes}
    assert outcomes == {task: alone[task] for task in tasks}
    # A model that has the word but not the call takes them one by one.
    plain = Model({})
    plain.together = 3
    assert {o.task: o.digest for o in carry_out_all(other.bench(model=plain), tasks)} == outcomes


def test_that_states_are_kept_in_the_type_of_the_store(tmp_path):
    single = replace(LAYOUT, dtype="float32")
    run = ToyFilter(tmp_path, store=MemoryStore(single))
    driven(run)
    forecasts, _ = by_hand(observed(run))
    np.testing.assert_allclose(run.store.forecasts.parameters(0), forecasts[0], rtol=1e-6)
    assert run.store.slab(1).dtype == np.float32


class Answers(Model):
    def __init__(self, answer):
        super().__init__({})
        self.answer = answer

    def advance(self, given, start, stop):
        made = super().advance(given, start, stop)
        return self.answer(made) if given.member >= 0 else made


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda made: replace(made, state={"stat": np.zeros(6)}), "a variable that it cannot carry"),
        (lambda made: replace(made, state={"state": np.zeros(5)}), "in the wrong shape"),
        (lambda made: replace(made, state={"state": np.full(6, np.inf)}), "not finite in 'state'"),
        (lambda made: replace(made, predicted=made.predicted[:1]), "wrong shape"),
        (lambda made: replace(made, predicted=made.predicted * np.nan), "not finite"),
    ],
)
def test_that_a_state_that_cannot_be_used_is_invalid_and_nothing_of_it_is_written(tmp_path, answer, words):
    run = ToyFilter(tmp_path)
    bench = run.bench(model=Answers(answer))
    for task in (Task(Phase.TRUTH, 0, 0), Task(Phase.PRIOR, 0, 2)):
        assert carry_out(bench, task).status is Status.OK
    outcome = carry_out(bench, Task(Phase.FORECAST, 0, 2))
    assert outcome.status is Status.INVALID
    assert words in outcome.reason
    assert np.isnan(run.store.forecasts.parameters(0)).all()
    assert np.isnan(run.store.predicted(0)).all()


def test_that_a_variable_that_is_left_out_stays_and_one_seen_otherwise_cannot_be_carried(tmp_path):
    run, still = ToyFilter(tmp_path), Answers(lambda made: Advanced({}, made.predicted))
    bench = run.bench(model=still)
    for task in (Task(Phase.TRUTH, 0, 0), Task(Phase.PRIOR, 0, 2), Task(Phase.FORECAST, 0, 2)):
        assert carry_out(bench, task).status is Status.OK
    before = run.store.read_member(0, 2, 0, 7)
    np.testing.assert_array_equal(run.store.forecasts.read_member(0, 2, 0, 7), before)
    doubled = run.bench(model=still, views={"rate": lambda rate: 2.0 * rate})
    assert carry_out(doubled, Task(Phase.FORECAST, 0, 2)).status is Status.OK
    np.testing.assert_array_equal(run.store.forecasts.read_member(0, 2, 0, 7), before)
    seen = run.bench(views={"state": lambda state: 2.0 * state})
    assert "cannot carry" in carry_out(seen, Task(Phase.FORECAST, 0, 2)).reason


def test_that_a_resumed_run_goes_on_from_any_moment(run, tmp_path):
    """Whatever receipts are there, the rest is done, to the same bits."""
    random = Random(4)
    for number in range(3):
        other = ToyFilter(tmp_path / str(number))
        bench, left = other.bench(), random.randrange(10, 50)
        other.folder.mkdir()

        def until(tasks, bench=bench):
            nonlocal left
            left -= len(tasks)
            if left < 0:
                raise KeyboardInterrupt
            return carry_out_all(bench, tasks)

        path = other.folder / "journal.jsonl"
        for pool in (InlinePool(until), InlinePool(lambda tasks, bench=bench: carry_out_all(bench, tasks))):
            progress = fold(read_journal(path)) if path.exists() else fold([])
            with Journal(path) as journal:
                opened = facts.opened({"pid": 1})
                journal.append(opened)
                progress.take(opened)
                workers, watch = lambda pool=pool: nullcontext(pool), lambda fact, so_far: None
                driver = Driver(plan(), Policy(), other.store, workers, journal, progress, watch)
                try:
                    stop = driver.run()
                except KeyboardInterrupt:
                    stop = None
        assert stop.kind == "finished"
        assert other.store.parameters(3).tobytes() == run.store.parameters(3).tobytes()
