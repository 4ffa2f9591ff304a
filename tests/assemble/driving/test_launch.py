from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from daflow.assemble.driving import launch
from daflow.errors import OutOfTime, PoolError
from daflow.runs import facts
from daflow.runs.decide import Stop
from daflow.runs.journal import Journal, last_fact

FINISHED = facts.stopped("finished", "all steps are done", resumable=False)
INTERRUPTED = facts.stopped("interrupted", "the driver was interrupted", resumable=True)


@pytest.fixture
def run(tmp_path):
    workflow = SimpleNamespace(execution="two workers")
    return SimpleNamespace(folder=tmp_path, journal=tmp_path / "journal.jsonl", workflow=workflow)


@pytest.fixture
def calls(monkeypatch):
    seen = []

    @contextmanager
    def connect(execution, scratch):
        assert scratch.is_dir()
        seen.append("come")
        yield f"a client of {execution}"
        seen.append("gone")

    monkeypatch.setattr(launch, "connect", connect)
    monkeypatch.setattr(launch, "LONG_JOURNAL", 1)
    return seen


def journal_of(run, *last):
    with Journal(run.journal) as journal:
        journal.append_all([facts.opened({}), *last])


@pytest.mark.parametrize("last", [(), (INTERRUPTED,)])
def test_that_workers_are_called_while_a_long_journal_is_read_and_go_at_the_end(run, calls, last):
    journal_of(run, *last)
    with launch.called_for(run) as client:
        assert client() == client() == "a client of two workers"
        assert calls == ["come"]
    assert calls == ["come", "gone"]


def test_that_workers_who_were_called_go_though_nobody_needed_them(run, calls):
    journal_of(run)
    with launch.called_for(run):
        pass
    assert calls == ["come", "gone"]


def test_that_nobody_is_called_for_a_run_that_is_finished_or_has_little_to_read(run, calls, monkeypatch):
    with launch.called_for(run):
        pass
    journal_of(run, FINISHED)
    with launch.called_for(run):
        pass
    monkeypatch.setattr(launch, "LONG_JOURNAL", 1 << 20)
    journal_of(run)
    with launch.called_for(run) as client:
        assert calls == []
        client()
    assert calls == ["come", "gone"]


def test_that_workers_who_do_not_come_are_missed_when_they_are_needed(run, monkeypatch):
    def refuse(execution, scratch):
        raise PoolError("nobody comes")

    monkeypatch.setattr(launch, "connect", refuse)
    monkeypatch.setattr(launch, "LONG_JOURNAL", 1)
    journal_of(run)
    with launch.called_for(run) as client, pytest.raises(PoolError, match="nobody comes"):
        client()


def test_that_workers_without_time_lay_a_run_down_as_the_end_of_its_job_does(run):
    with Journal(run.journal) as journal, launch._stop_noted(journal, None) as noted:
        raise OutOfTime("no time is left", got="50 s")
    assert noted == [Stop("walltime", "no time is left (50 s)", resumable=True)]
    assert last_fact(run.journal) == facts.stopped("walltime", "no time is left (50 s)", resumable=True)
