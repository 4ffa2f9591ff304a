import os
import signal
from functools import partial
from pathlib import Path

import pytest

from daflow.config.execution import LocalExecution
from daflow.errors import StoreError
from daflow.execution.clusters import connect
from daflow.execution.pools import DaskPool
from daflow.execution.under_way import forget_marks, has_begun, under_way
from daflow.names import Phase, Status
from daflow.records import Outcome, Task

FIRST = Task(Phase.FORECAST, 1, 0)
OTHERS = [Task(Phase.FORECAST, 1, index) for index in range(1, 6)]


def test_that_a_task_has_a_mark_while_it_is_under_way(tmp_path):
    assert not has_begun(tmp_path, FIRST)
    with under_way(tmp_path, FIRST):
        assert has_begun(tmp_path, FIRST)
        assert not has_begun(tmp_path, OTHERS[0])
    assert not has_begun(tmp_path, FIRST)


def test_that_marks_of_an_earlier_session_are_forgotten(tmp_path):
    with under_way(tmp_path, FIRST):
        forget_marks(tmp_path)
        assert not has_begun(tmp_path, FIRST)
    forget_marks(tmp_path)


def test_that_a_mark_that_cannot_be_made_says_what_to_do(tmp_path):
    (tmp_path / "work").write_text("")
    with pytest.raises(StoreError, match="daflow resume"), under_way(tmp_path, FIRST):
        pass


def outcome_of_first(folder, task):
    """Mark a task and do it; the first one is killed in the middle."""
    with under_way(folder, task):
        if task.index == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return Outcome(task, Status.OK)


def test_that_those_who_waited_behind_a_task_that_killed_their_worker_are_not_to_blame(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))  # workers take the path over
    with connect(LocalExecution(kind="local", workers=1), tmp_path / "scratch") as client:
        do = partial(outcome_of_first, tmp_path)
        pool = DaskPool(client, do, lambda task: None, partial(has_begun, tmp_path))
        for task in (FIRST, *OTHERS):
            pool.submit(task)
        outcomes = []
        while len(outcomes) < 6:
            outcomes += pool.wait(60)
        pool.close()
    assert {(o.task, o.status) for o in outcomes} == {
        (FIRST, Status.LOST),
        *((task, Status.OK) for task in OTHERS),
    }
