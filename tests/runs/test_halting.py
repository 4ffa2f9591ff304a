import signal
import threading
import time
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daflow.errors import RunError
from daflow.execution.pools.inline_pool import InlinePool
from daflow.execution.tasks.carry_out import carry_out_all
from daflow.runs import facts
from daflow.runs import halting as module
from daflow.runs.decide import Policy, Stop
from daflow.runs.driver import Driver
from daflow.runs.facts import fold
from daflow.runs.halting import Halt, Halting, Request, ask, asked
from daflow.runs.journal import Journal, read_journal
from daflow.runs.lease import Holder
from tests.contracts.toy_run import N_STEPS, ToyRun, plan

ASKED = Stop("interrupted", "somebody asked for it", resumable=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.005)


def drive(run, halt, slots=3):
    """Drive a toy run for one session; return why it stopped and what was under way then."""
    path = run.folder / "journal.jsonl"
    progress, bench = fold(read_journal(path)), run.bench()
    pool = InlinePool(lambda tasks: carry_out_all(bench, tasks), slots)
    with Journal(path) as journal:
        opened = facts.opened({"pid": 1})
        journal.append(opened)
        progress.take(opened)
        driver = Driver(
            plan(),
            Policy(),
            run.store,
            lambda: nullcontext(pool),
            journal,
            progress,
            lambda *_: None,
            1,
            halt,
        )
        return driver.run(), pool.n_out


def after(n_calls, halt):
    """Return a halt that begins when it has been asked for so often."""
    calls = iter(range(10**6))
    return lambda: halt if next(calls) >= n_calls else None


@given(n_calls=st.integers(0, 40), drain=st.booleans(), slots=st.integers(1, 5))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_that_a_run_laid_down_anywhere_goes_on_to_the_same_bits(tmp_path_factory, n_calls, drain, slots):
    run, whole = ToyRun(tmp_path_factory.mktemp("run")), ToyRun(tmp_path_factory.mktemp("whole"))
    drive(whole, lambda: None)
    stop, n_out = drive(run, after(n_calls, Halt(ASKED, drain)), slots)
    if stop == ASKED:
        assert n_out == 0 or not drain
        assert read_journal(run.folder / "journal.jsonl")[-1] == facts.stopped(
            "interrupted", ASKED.reason, resumable=True
        )
        stop, _ = drive(run, lambda: None)
    assert stop.kind == "finished"
    for step in range(N_STEPS + 1):
        assert run.store.parameters(step).tobytes() == whole.store.parameters(step).tobytes()
        assert np.array_equal(run.store.predicted(step), whole.store.predicted(step))
    ended = [fact for fact in read_journal(run.folder / "journal.jsonl") if fact["fact"] == "ended"]
    assert len({(f["phase"], f["step"], f["index"]) for f in ended}) == len(ended), "something was done twice"


def test_that_a_run_laid_down_is_said_to_go_on_and_not_to_be_mended():
    with pytest.raises(RunError, match="was laid down: somebody asked") as error:
        ASKED.check("here")
    assert error.value.do.startswith("`daflow resume here` goes on")


@pytest.fixture
def me():
    return Holder.this_process()


def until(found):
    deadline = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return found()


def test_that_a_request_is_heard_and_can_become_more_urgent(tmp_path, me):
    with Halting(tmp_path, me) as halting:
        assert halting() is None
        ask(tmp_path, Request.to(me, "ann@there", now=False))
        halt = until(halting)
        assert (halt.stop.kind, halt.drain) == ("interrupted", True)
        assert "ann@there" in halt.stop.reason
        ask(tmp_path, Request.to(me, "ann@there", now=True))
        assert not until(lambda: (h := halting()) and not h.drain and h).drain
    assert asked(tmp_path) is None


def test_that_a_request_to_an_earlier_driver_is_not_heard(tmp_path, me):
    for other in (replace(me, pid=me.pid + 1), replace(me, host="elsewhere")):
        with Halting(tmp_path, me) as halting:
            ask(tmp_path, Request.to(other, "ann@there", now=True))
            assert halting.look() is None
    ask(tmp_path, Request.to(replace(me, process_started=1.0), "before it began", now=True))
    with Halting(tmp_path, me) as halting:
        assert halting.look() is None
        assert asked(tmp_path) is None


def test_that_a_request_that_comes_while_the_driver_begins_is_heard(tmp_path, me):
    ask(tmp_path, Request.to(me, "ann@there", now=True))
    with Halting(tmp_path, me) as halting:
        assert "ann@there" in halting.look().stop.reason


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}'])
def test_that_a_request_that_cannot_be_read_is_none(tmp_path, me, text):
    (tmp_path / module.REQUEST).parent.mkdir()
    with Halting(tmp_path, me) as halting:
        (tmp_path / module.REQUEST).write_text(text)
        assert halting.look() is None


def test_that_a_driver_whose_time_is_over_is_told_so(tmp_path, me):
    with Halting(tmp_path, me, time.monotonic() + 3600) as halting:
        assert halting.look() is None
    with Halting(tmp_path, me, time.monotonic() + 0.03) as halting:
        halt = until(halting)
    assert (halt.stop.kind, halt.stop.resumable, halt.drain) == ("walltime", True, False)


@pytest.fixture
def interruptible():
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


def test_that_a_driver_that_does_not_ask_is_interrupted_where_it_waits(
    tmp_path, me, monkeypatch, interruptible
):
    monkeypatch.setattr(module, "DEAF_SECONDS", 0.02)

    def interrupt(*_):
        # Once: another one might come when nobody expects it here.
        module.DEAF_SECONDS = 3600.0
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    with Halting(tmp_path, me) as halting:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it may come as soon as the request is there
            ask(tmp_path, Request.to(me, "ann@there", now=False))
            time.sleep(60)
        assert halting.look() is not None


def test_that_a_driver_that_was_told_is_left_to_tidy_up(tmp_path, me, monkeypatch, interruptible):
    with Halting(tmp_path, me) as halting:
        ask(tmp_path, Request.to(me, "ann@there", now=True))
        until(halting)
        monkeypatch.setattr(module, "DEAF_SECONDS", 0.01)
        time.sleep(0.1)
    with Halting(tmp_path, me) as halting:
        halting.rest()
        halting._looker.join(60)
        halting._ends = time.monotonic()
        time.sleep(0.1)
        assert halting() is None


def test_that_a_driver_outside_the_main_thread_is_not_interrupted_there(
    tmp_path, me, monkeypatch, interruptible
):
    monkeypatch.setattr(module, "DEAF_SECONDS", 0.01)

    def drive_in_thread():
        with Halting(tmp_path, me, time.monotonic()):
            time.sleep(0.1)

    thread = threading.Thread(target=drive_in_thread)
    thread.start()
    thread.join()
