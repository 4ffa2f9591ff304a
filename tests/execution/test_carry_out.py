import errno

import numpy as np
import pytest

from daflow.errors import (
    ConfigError,
    DataError,
    MemberLost,
    ModelFailed,
    ModelTimeout,
    OutputInvalid,
    StoreError,
)
from daflow.execution.carry_out import TASKS, carry_out
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
        (ModelTimeout("took longer"), Status.FAILED, "took longer"),
        (OutputInvalid("cut short"), Status.INVALID, "cut short"),
        (MemberLost("ended by signal 9"), Status.LOST, "ended by signal 9"),
        (MemoryError("1 TiB"), Status.LOST, "out of memory: 1 TiB"),
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
