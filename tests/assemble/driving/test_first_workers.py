"""The first workers: waited for as long as they are on the way, and asked what they have and see."""

from __future__ import annotations

import platform
from threading import Event, Timer
from types import SimpleNamespace

import pytest
from distributed.comm import CommClosedError

from daflow.assemble.driving import first_workers
from daflow.errors import PoolError

HANGS = object()


class Client:
    """Workers' answers to any question, as `distributed.Client.run` returns them."""

    def __init__(self, answers):
        self.answers = answers

    def nthreads(self):
        if not self.answers:
            raise CommClosedError("Stream is closed")
        return dict.fromkeys(self.answers, 1)

    def run(self, question, *about, workers=None, on_error):
        assert on_error == "return"
        asked = self.answers if workers is None else workers
        if any(self.answers[address] is HANGS for address in asked):
            Event().wait(60)
        return {address: self.answers[address] for address in asked}


def crew(answers):
    return SimpleNamespace(client=Client(answers), tend=lambda n_wanted: None, awaited=lambda: "")


def test_that_a_worker_that_ends_while_it_is_asked_is_not_missed():
    answers = {
        "one": {"folder": True},
        "two": CommClosedError("Stream is closed"),
        "three": OSError("timed out"),
    }
    assert first_workers._answers(crew(answers), print) == {"one": {"folder": True}}


def test_that_a_worker_that_hangs_is_not_waited_for_where_others_answer(monkeypatch):
    monkeypatch.setattr(first_workers, "ANSWER_SECONDS", 0.3)
    answers = {"one": {"folder": True}, "two": HANGS, "three": {"folder": False}}
    found = first_workers._answers(crew(answers), print)
    assert found == {"one": {"folder": True}, "three": {"folder": False}}
    monkeypatch.setattr(first_workers, "SLOW_SECONDS", 0.5)
    with pytest.raises(PoolError, match="no worker answers"):
        first_workers._answers(crew({"two": HANGS}), print)


def test_that_one_who_is_slow_or_comes_late_is_heard_where_nobody_else_answers(monkeypatch):
    monkeypatch.setattr(first_workers, "ANSWER_SECONDS", 0.2)
    answers = {"one": HANGS}
    asked = crew(answers)
    Timer(0.5, lambda: answers.update({"two": {"folder": True}})).start()
    assert first_workers._answers(asked, print) == {"two": {"folder": True}}


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), ValueError("no"), ImportError("no daflow")])
def test_that_what_a_worker_cannot_do_is_heard(error):
    with pytest.raises(type(error)):
        first_workers._answers(crew({"one": {}, "two": error}), print)


def test_that_a_scheduler_that_is_gone_is_told():
    run = SimpleNamespace(workflow=SimpleNamespace(ensemble=SimpleNamespace(members=[0])))
    with pytest.raises(PoolError, match="the dask scheduler cannot be reached"):
        first_workers.check_workers(run, crew({}))


class Late:
    """A crew whose first worker comes when it has been looked for so often, by a clock moved by hand."""

    def __init__(self, monkeypatch, *, comes=None, awaited=""):
        self.now, self.n_looked, self.comes, self.said = 0.0, 0, comes, awaited
        self.wanted = []
        self.client = SimpleNamespace(nthreads=self.nthreads)
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep)
        monkeypatch.setattr(first_workers, "time", clock)

    def nthreads(self):
        self.n_looked += 1
        return {"one": 1} if self.comes is not None and self.n_looked > self.comes else {}

    def sleep(self, seconds):
        self.now += 10.0

    def tend(self, n_wanted):
        self.wanted.append(n_wanted)

    def awaited(self):
        return self.said


def test_that_the_first_worker_is_waited_for_as_long_as_one_is_on_the_way(monkeypatch, caplog):
    late = Late(monkeypatch, comes=10_000, awaited="2 jobs wait in the queue (Priority)")
    first_workers._await_one(late, 40)
    assert late.now > 24 * 3600
    assert set(late.wanted) == {40}
    assert caplog.messages == ["waiting for the first worker: 2 jobs wait in the queue (Priority)"]


def test_that_nobody_is_waited_for_who_is_not_on_the_way(monkeypatch):
    late = Late(monkeypatch)
    with pytest.raises(PoolError, match="there are no workers"):
        first_workers._await_one(late, 1)
    assert late.now <= first_workers.PATIENCE_SECONDS + 10


def checked(tmp_path, **other):
    """Check one worker that is as this process is, but for what is other."""
    settings = SimpleNamespace(
        ensemble=SimpleNamespace(members=[0]),
        model=SimpleNamespace(kind="command"),
        policy=SimpleNamespace(timeout=None),
        storage=SimpleNamespace(path=None),
    )
    answer = first_workers.of_this_worker(str(tmp_path)) | other
    client = SimpleNamespace(nthreads=lambda: {"one": 1}, run=lambda *_, **__: {"one": answer})
    run = SimpleNamespace(folder=tmp_path, workflow=settings)
    first_workers.check_workers(run, SimpleNamespace(client=client))


def test_that_a_worker_like_the_driver_will_do(tmp_path):
    checked(tmp_path)
    # The last number of Python's makes no difference.
    checked(tmp_path, python=platform.python_version().rpartition(".")[0] + ".99")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"daflow": "0.0.1"}, "daflow 0.0.1"),
        ({"python": "3.8.1"}, "python 3.8.1"),
        ({"distributed": "2020.1", "zarr": "2.0"}, "distributed 2020.1, zarr 2.0"),
    ],
)
def test_that_a_worker_of_another_version_is_told(tmp_path, other, said):
    with pytest.raises(PoolError, match="other versions than the driver") as error:
        checked(tmp_path, **other)
    assert said in error.value.got
    assert "execution.python" in error.value.do


def test_that_a_worker_that_does_not_see_the_run_folder_is_told_with_its_host(tmp_path):
    with pytest.raises(PoolError, match="do not see the run folder") as error:
        checked(tmp_path, folder=False, host="node7")
    assert f"{tmp_path} is not there on node7" in error.value.got


def test_that_a_worker_without_daflow_is_told(tmp_path):
    alone = crew({"one": ModuleNotFoundError("No module named 'daflow'")})
    with pytest.raises(PoolError, match="have no daflow, or another one") as error:
        first_workers._asked(SimpleNamespace(folder=tmp_path), alone)
    assert "No module named 'daflow'" in error.value.got
