import errno
from contextlib import contextmanager

import numpy as np
import pytest

from daflow.errors import (
    ConfigError,
    DataError,
    MemberLost,
    ModelFailed,
    ModelTimeout,
    OutputInvalid,
    PoolError,
    StoreError,
)
from daflow.execution.lifetimes import term
from daflow.execution.tasks import carry_out as carrying_out
from daflow.execution.tasks.carry_out import TASKS, carry_out, carry_out_all
from daflow.names import Phase, Status
from daflow.records import Task
from daflow.storage.memory import MemoryStore
from tests.contracts.store_contract import write_slice
from tests.contracts.toy_run import LAYOUT, Model, ToyRun

FORECAST = Task(Phase.FORECAST, 0, 2)


@pytest.fixture
def run(tmp_path):
    return ToyRun(tmp_path)


def ready(run, **changes):
    """Return a workbench at which member 2 can be forecast."""
    bench = run.bench(**changes)
    for task in (Task(Phase.TRUTH, 0, 0), Task(Phase.PRIOR, 0, 2)):
        assert carry_out(run.bench(), task).status == Status.OK
    return bench


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (ModelFailed("the solver diverged"), Status.FAILED, "the solver diverged"),
        (ModelTimeout("took longer"), Status.TIMED_OUT, "took longer"),
        (OutputInvalid("cut short"), Status.INVALID, "cut short"),
        (MemberLost("ended by signal 9"), Status.LOST, "ended by signal 9"),
        (MemoryError("1 TiB"), Status.LOST, "out of memory: 1 TiB"),
        (PoolError("no simulator here"), Status.BLOCKED, "no simulator here"),
        (StoreError("cannot write"), Status.BLOCKED, "cannot write"),
        (OSError(errno.ENOSPC, "No space left on device"), Status.BLOCKED, "No space left"),
        (OSError(errno.EDQUOT, "Quota exceeded"), Status.BLOCKED, "Quota exceeded"),
        (OSError(errno.EROFS, "Read-only"), Status.BLOCKED, "Read-only"),
        (FileNotFoundError(errno.ENOENT, "No such file", "deck.data"), Status.FAILED, "deck.data"),
        (DataError("a file is missing"), Status.FAILED, "a file is missing"),
        (ConfigError("a key"), Status.FAILED, "a key"),
        (ZeroDivisionError("division by zero"), Status.FAILED, "ZeroDivisionError: division by zero"),
        (SystemExit(3), Status.FAILED, "SystemExit: 3"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_that_what_goes_wrong_becomes_a_status_and_a_reason(run, error, status, words):
    run.fails = {(2, 0): error}
    outcome = carry_out(ready(run), FORECAST)
    assert outcome.task == FORECAST
    assert outcome.status == status
    assert words in outcome.reason
    # What the store would not let has no receipt: nothing is held against the member.
    assert run.store.receipt(FORECAST) == (None if status is Status.BLOCKED else outcome)
    assert np.isnan(run.store.predicted(0)).all()


def test_that_an_operator_s_interrupt_is_not_held_against_the_member(run):
    run.fails = {(2, 0): KeyboardInterrupt()}
    bench = ready(run)
    with pytest.raises(KeyboardInterrupt):
        carry_out(bench, FORECAST)
    assert run.store.receipt(FORECAST) is None


def test_that_an_unexpected_error_leaves_its_traceback_where_the_member_s_logs_are(run):
    run.fails = {(2, 0): ZeroDivisionError("by zero")}
    carry_out(ready(run), FORECAST)
    text = (run.folder / "logs/step=0/member=00002/attempt=0/traceback.txt").read_text()
    assert "in forecast" in text
    assert "ZeroDivisionError: by zero" in text


def test_that_a_slice_s_traceback_is_not_kept_with_a_member(run):
    ready(run)
    bench = run.bench(margins=())
    run.store.write_survivors(0, (0, 1))
    run.store.write_arrays("step=0/factors", {"transform": np.eye(2)})
    write_slice(run.store, 0, LAYOUT.slice(1), (0, 1), np.ones((2, 4)))
    outcome = carry_out(bench, Task(Phase.UPDATE, 0, 1))
    assert outcome.status == Status.FAILED
    assert [p.as_posix() for p in run.folder.glob("logs/*/*/*/*")] == [
        f"{run.folder}/logs/step=0/update=00001/attempt=0/traceback.txt"
    ]


def test_that_what_goes_wrong_where_no_log_can_be_written_still_comes_home(run):
    class Writer(Model):
        def forecast(self, given):
            (given.log_dir / "log.txt").write_text("begun")

    bench = ready(run, model=Writer({}))
    (run.folder / "logs").mkdir()
    (run.folder / "logs" / "step=1").write_text("a file in the way")
    outcome = carry_out(bench, Task(Phase.FORECAST, 1, 2))
    assert outcome.status == Status.BLOCKED
    assert "cannot make the folders" in outcome.reason
    run.store.write_survivors(1, (0, 1))
    run.store.write_arrays("step=1/factors", {"transform": np.eye(2)})
    write_slice(run.store, 1, LAYOUT.slice(1), (0, 1), np.ones((2, 4)))
    outcome = carry_out(run.bench(margins=()), Task(Phase.UPDATE, 1, 1))
    assert (outcome.status, outcome.reason[:10]) == (Status.FAILED, "IndexError")


def test_that_the_receipt_comes_after_the_data_and_names_them(run):
    class Ordered(MemoryStore):
        def write_receipts(self, outcomes):
            if outcomes[0].task.phase is Phase.FORECAST:
                assert np.isfinite(self.predicted(0)[2]).all()
            super().write_receipts(outcomes)

    run.store = Ordered(LAYOUT)
    outcome = carry_out(ready(run), FORECAST)
    assert outcome.status == Status.OK
    assert outcome.digest == run.store.write_predicted(0, 2, run.store.predicted(0)[2])
    assert outcome.key == "forecast0"
    assert outcome.host
    assert outcome.started > 1e9
    assert set(outcome.figures) == {"model_seconds", "read_seconds", "write_seconds"}
    assert run.store.receipt(FORECAST) == outcome


def test_that_a_receipt_that_cannot_be_written_blocks_the_run(run):
    class Full(MemoryStore):
        def write_receipts(self, outcomes):
            if outcomes[0].task.phase is Phase.FORECAST:
                raise StoreError("the disk is full")
            super().write_receipts(outcomes)

    run.store = Full(LAYOUT)
    outcome = carry_out(ready(run), FORECAST)
    assert (outcome.status, outcome.reason) == (Status.BLOCKED, "the disk is full")


def test_that_every_phase_has_its_task():
    assert set(TASKS) == set(Phase)


GROUP = [Task(Phase.FORECAST, 0, index) for index in (0, 1, 2, 4)]


def drawn(run, **changes):
    """Return a workbench at which all members can be forecast."""
    bench = run.bench(**changes)
    for task in (Task(Phase.TRUTH, 0, 0), *(Task(Phase.PRIOR, 0, index) for index in range(6))):
        assert carry_out(run.bench(), task).status == Status.OK
    return bench


class Durable(MemoryStore):
    """Keeps in which order what became durable."""

    def __init__(self, layout, fails_at=""):
        super().__init__(layout)
        self.order, self.fails_at = [], fails_at

    @contextmanager
    def together(self):
        yield self
        self.order.append("data")
        if self.fails_at == "data":
            raise StoreError("the disk is full")

    def write_receipts(self, outcomes):
        if len(outcomes) > 1:
            self.order.append([outcome.task.index for outcome in outcomes])
            if self.fails_at == "receipts":
                raise StoreError("the disk is full")
        super().write_receipts(outcomes)


def test_that_the_members_of_a_group_end_as_they_do_alone(run, tmp_path):
    run.fails = {(1, 0): ModelFailed("diverged"), (4, 0): OutputInvalid("cut short")}
    alone = ToyRun(tmp_path / "alone", run.fails)
    outcomes = carry_out_all(drawn(run), GROUP)
    singly = [carry_out(bench, task) for bench in [drawn(alone)] for task in GROUP]
    for ours, theirs in zip(outcomes, singly, strict=True):
        assert (ours.task, ours.status, ours.reason) == (theirs.task, theirs.status, theirs.reason)
        assert (ours.digest, ours.key) == (theirs.digest, theirs.key)
        assert run.store.receipt(ours.task) == ours
    assert run.store.predicted(0).tobytes() == alone.store.predicted(0).tobytes()


def test_that_a_group_s_data_are_durable_before_its_receipts_which_are_written_once(run):
    run.store, begun = Durable(LAYOUT), []
    outcomes = carry_out_all(drawn(run), GROUP, begun.append)
    assert run.store.order == ["data", [0, 1, 2, 4]]
    assert begun == [*GROUP, None]
    assert all(outcome.seconds >= outcome.figures["write_seconds"] > 0 for outcome in outcomes)


@pytest.mark.parametrize("fails_at", ["data", "receipts"])
def test_that_a_group_that_cannot_be_kept_blocks_the_run_and_is_done_again(run, fails_at):
    run.store = Durable(LAYOUT, fails_at)
    (outcome,) = carry_out_all(drawn(run), GROUP)
    assert (outcome.status, outcome.reason) == (Status.BLOCKED, "the disk is full")
    assert all(run.store.receipt(task) is None for task in GROUP)


def test_that_a_full_disk_ends_a_group_and_what_was_done_before_is_kept(run):
    run.fails = {(1, 0): StoreError("the disk is full")}
    outcomes = carry_out_all(drawn(run), GROUP)
    assert [(o.task, o.status) for o in outcomes] == [(GROUP[0], Status.OK), (GROUP[1], Status.BLOCKED)]
    assert [run.store.receipt(task) is not None for task in GROUP] == [True, False, False, False]
    run.fails = {(0, 0): StoreError("the disk is full")}
    (outcome,) = carry_out_all(drawn(run), GROUP)
    assert (outcome.task, outcome.status) == (GROUP[0], Status.BLOCKED)


def test_that_members_that_take_long_are_handed_back_and_slices_are_not(run, monkeypatch):
    monkeypatch.setattr(carrying_out, "LONGEST_SECONDS", 0.0)
    bench = drawn(run)
    (outcome,) = carry_out_all(bench, GROUP)
    assert outcome.task == GROUP[0]
    slices = [Task(Phase.COORDINATES, 0, index) for index in range(LAYOUT.n_slices)]
    assert [outcome.task for outcome in carry_out_all(bench, slices)] == slices


@pytest.mark.parametrize(("left", "n_done"), [(6.0, 1), (1e6, len(GROUP))])
def test_that_no_other_member_is_begun_once_the_worker_s_time_is_short(run, left, n_done):
    bench = drawn(run)
    with term(left, 60.0):
        assert [outcome.task for outcome in carry_out_all(bench, GROUP)] == GROUP[:n_done]


class Many(Model):
    """Forecasts two members a call; the call itself may fail."""

    together = 2

    def __init__(self, fails, error=None):
        super().__init__(fails)
        self.error, self.calls = error, []

    def forecast_many(self, given):
        self.calls.append([each.member for each in given])
        if self.error:
            raise self.error
        results = []
        for each in given:
            try:
                results.append(self.forecast(each))
            except ModelFailed as failure:
                results.append(failure)
        return results


@pytest.mark.parametrize("error", [None, ArithmeticError("of the call")])
def test_that_a_model_that_takes_several_members_gets_them_and_each_has_its_own_end(run, tmp_path, error):
    run.fails = {(1, 0): ModelFailed("diverged")}
    model, alone = Many(run.fails, error), ToyRun(tmp_path / "alone", run.fails)
    outcomes = carry_out_all(drawn(run, model=model), GROUP)
    assert model.calls == [[0, 1], [2, 4]]
    singly = carry_out_all(drawn(alone), GROUP)
    assert [(o.status, o.reason, o.digest) for o in outcomes] == [
        (o.status, o.reason, o.digest) for o in singly
    ]
    assert set(outcomes[0].figures) == {"model_seconds", "read_seconds", "write_seconds"}
    assert run.store.predicted(0).tobytes() == alone.store.predicted(0).tobytes()


def test_that_members_that_are_timed_are_forecast_alone(run):
    model = Many({})
    carry_out_all(drawn(run, model=model, timeout=60.0), GROUP)
    assert model.calls == []


def test_that_slices_of_a_group_are_updated_as_a_pipeline_and_have_their_receipts(run):
    bench = ready(run)
    run.store.write_survivors(0, (0, 1))
    for member in (0, 1):
        run.store.write_predicted(0, member, np.full(4, float(member)))
        run.store.write_member(0, member, [1.0 + member + np.arange(11.0)])
    assert carry_out(bench, Task(Phase.PREPARE, 0, 0)).status is Status.OK
    tasks = [Task(Phase.UPDATE, 0, index) for index in range(LAYOUT.n_slices)]
    alone = {task: carry_out(bench, task) for task in tasks}
    whole = run.store.parameters(1).tobytes()
    begun = []
    together = carry_out_all(bench, tasks, begun.append)
    assert begun == [None]
    assert {outcome.task: outcome.digest for outcome in together} == {t: o.digest for t, o in alone.items()}
    assert all(outcome.status is Status.OK and outcome.seconds > 0 for outcome in together)
    assert all(run.store.receipt(outcome.task) == outcome for outcome in together)
    assert run.store.parameters(1).tobytes() == whole
