"""Workers that end while they are asked what they have and see."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from distributed.comm import CommClosedError

from daflow.assemble import first_workers
from daflow.errors import PoolError


class Client:
    """Workers' answers to any question, as `distributed.Client.run` returns them."""

    def __init__(self, answers):
        self.answers = answers

    def nthreads(self):
        if not self.answers:
            raise CommClosedError("Stream is closed")
        return dict.fromkeys(self.answers, 1)

    def run(self, question, *about, on_error):
        assert on_error == "return"
        return self.answers


def crew(answers):
    return SimpleNamespace(client=Client(answers), tend=lambda n_wanted: None, awaited=lambda: "")


def test_that_a_worker_that_ends_while_it_is_asked_is_not_missed():
    answers = {
        "one": {"folder": True},
        "two": CommClosedError("Stream is closed"),
        "three": OSError("timed out"),
    }
    assert first_workers._answers(crew(answers), print) == {"one": {"folder": True}}


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), ValueError("no"), ImportError("no daflow")])
def test_that_what_a_worker_cannot_do_is_heard(error):
    with pytest.raises(type(error)):
        first_workers._answers(crew({"one": {}, "two": error}), print)


def test_that_a_scheduler_that_is_gone_is_told():
    run = SimpleNamespace(workflow=SimpleNamespace(ensemble=SimpleNamespace(members=[0])))
    with pytest.raises(PoolError, match="the dask scheduler cannot be reached"):
        first_workers.check_workers(run, crew({}))
