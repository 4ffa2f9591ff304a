import os
import signal
from functools import partial
from pathlib import Path

import pytest

from daflow.config.execution import LocalExecution
from daflow.errors import StoreError
from daflow.execution.clusters.dask_clusters import connect
from daflow.execution.pools import deaths
from daflow.execution.pools.crews import Unattended
from daflow.execution.pools.dask_pool import DaskPool
from daflow.execution.tasks.under_way import begun, forget_marks, seen, under_way
from daflow.names import Phase, Status
from daflow.records import Outcome, Task

FIRST = Task(Phase.FORECAST, 1, 0)
THIRD = 2
OTHERS = [Task(Phase.FORECAST, 1, index) for index in range(1, 6)]


def test_that_the_mark_of_a_group_tells_which_task_is_under_way(tmp_path):
    assert begun(tmp_path, OTHERS) is None
    for task in (*OTHERS, None, OTHERS[1]):
        with under_way(tmp_path, OTHERS) as mark:
            assert begun(tmp_path, OTHERS) is None
        with under_way(tmp_path, OTHERS) as mark:
            mark.begin(OTHERS[0])
            mark.begin(task)
            assert begun(tmp_path, [FIRST]) is None
            assert begun(tmp_path, OTHERS) == task
            assert begun(tmp_path, OTHERS) is None, "it was told once"


def test_that_a_worker_has_one_mark_and_that_nothing_is_under_way_after_the_group(tmp_path):
    for tasks in (OTHERS, [FIRST], OTHERS):
        with under_way(tmp_path, tasks) as mark:
            mark.begin(tasks[0])
        assert len(list((tmp_path / "work" / "under_way").iterdir())) == 1
    assert begun(tmp_path, OTHERS) is None


def test_that_a_mark_of_something_else_tells_nothing(tmp_path):
    with under_way(tmp_path, OTHERS) as mark:
        mark.begin(OTHERS[0])
        (path,) = (tmp_path / "work" / "under_way").iterdir()
        for text in ("", f"{OTHERS[0].label} x", f"{OTHERS[0].label} 99", f"{FIRST.label} 0"):
            path.write_text(text)
            assert begun(tmp_path, OTHERS) is None


def test_that_marks_of_an_earlier_session_are_forgotten(tmp_path):
    with under_way(tmp_path, [FIRST]) as mark:
        mark.begin(FIRST)
        forget_marks(tmp_path)
        assert begun(tmp_path, [FIRST]) is None
    forget_marks(tmp_path)


def test_that_a_mark_that_cannot_be_made_says_what_to_do(tmp_path):
    (tmp_path / "work").write_text("")
    with pytest.raises(StoreError, match="daflow resume"), under_way(tmp_path, [FIRST]):
        pass


class Marks:
    """What a pool asks where marks are kept."""

    def __init__(self, folder):
        self.folder = folder

    def begun(self, tasks):
        return begun(self.folder, tasks)

    def under_way(self, groups):
        return seen(self.folder, groups)

    def word(self, tasks, begun):
        return []


def outcomes_but_of_third(folder, tasks):
    """Mark tasks and do them; the third one is killed in the middle."""
    with under_way(folder, tasks) as mark:
        for task in tasks:
            mark.begin(task)
            if task.index == THIRD:
                os.kill(os.getpid(), signal.SIGKILL)
        return [Outcome(task, Status.OK) for task in tasks]


def killed_before_any_begins(folder, tasks):
    with under_way(folder, tasks):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(Path(__file__).parents[3]))  # workers take the path over
        scratch = tmp_path_factory.mktemp("scratch")
        with connect(LocalExecution(kind="local", workers=1), scratch) as connected:
            yield connected.client


@pytest.mark.parametrize("size", [1, 2, 6])
def test_that_a_death_is_held_against_the_task_under_way_and_no_other(client, tmp_path, size):
    pool = DaskPool(Unattended(client), partial(outcomes_but_of_third, tmp_path), Marks(tmp_path))
    tasks = [FIRST, *OTHERS]
    for start in range(0, 6, size):
        pool.submit(tasks[start : start + size])
    outcomes = []
    while len(outcomes) < 6:
        outcomes += pool.wait(60)
        # Those before it in its group, whose data had not been kept, and those behind it: sent again.
        for task in pool.sent_back():
            pool.submit([task])
    pool.close()
    assert sorted((o.task.index, o.status) for o in outcomes) == [
        (index, Status.LOST if index == THIRD else Status.OK) for index in range(6)
    ]


def test_that_tasks_that_kill_their_worker_before_one_begins_come_to_an_end(client, tmp_path, monkeypatch):
    monkeypatch.setattr(deaths, "MOST_SENT_AGAIN", 1)
    pool = DaskPool(Unattended(client), partial(killed_before_any_begins, tmp_path), Marks(tmp_path))
    for expected in ([], [FIRST]):
        pool.submit([FIRST, OTHERS[0]])
        outcomes, back = [], []
        while not (outcomes or back):
            outcomes, back = pool.wait(60), pool.sent_back()
        assert [outcome.task for outcome in outcomes] == expected
        assert back == [task for task in (FIRST, OTHERS[0]) if task not in expected]
    pool.close()
