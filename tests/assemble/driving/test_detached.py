import json
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.assemble.driving import detached
from daflow.assemble.driving.detached import Follower, follow, start, stop_of
from daflow.errors import RunError
from daflow.names import Phase, Status
from daflow.records import Outcome, Task
from daflow.runs import facts
from daflow.runs.facts import fold
from daflow.runs.journal import Journal
from daflow.runs.lease import Lease

OPENED = facts.opened({"pid": 1})
FINISHED = facts.stopped("finished", "all steps are done", resumable=False)
TIME_OVER = facts.stopped("walltime", "its time is over", resumable=True)


def ended(index):
    return facts.ended(Outcome(Task(Phase.PRIOR, 0, index, 0), Status.OK))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(detached, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(detached, "LOOK_SECONDS", 0.02)


@pytest.fixture
def run(tmp_path):
    return SimpleNamespace(folder=tmp_path, journal=tmp_path / "journal.jsonl", lease=tmp_path / "lease.json")


def test_that_a_journal_that_is_not_there_yet_has_no_news(run):
    follower = Follower(run.journal)
    assert list(follower.news()) == []
    with Journal(run.journal) as journal:
        journal.append(OPENED)
    assert list(follower.news()) == [OPENED]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(0, 5))
def test_that_every_fact_is_news_once_however_its_bytes_come(tmp_path_factory, sizes, n_facts):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    known = [{"fact": "f", "n": n} for n in range(n_facts)]
    raw = "".join(json.dumps(fact) + "\n" for fact in known).encode()
    follower, seen, at = Follower(path), [], 0
    path.write_bytes(b"")
    for size in [*sizes, len(raw)]:
        with path.open("ab") as file:
            file.write(raw[at : at + size])
        at += size
        seen += list(follower.news())
    assert seen == known
    assert list(follower.news()) == []


def test_that_a_torn_line_is_no_news_and_what_is_written_in_its_place_is(run):
    run.journal.write_bytes(b'{"fact":"opened"}\n{"fact":"en')
    follower = Follower(run.journal)
    assert [fact["fact"] for fact in follower.news()] == ["opened"]
    with Journal(run.journal) as journal:
        journal.append(FINISHED)
    assert list(follower.news()) == [FINISHED]


def test_that_a_run_is_followed_until_its_driver_lays_it_down(run):
    seen = []

    def drive():
        for fact in (ended(1), ended(2), TIME_OVER):
            time.sleep(0.05)
            journal.append(fact)

    with Lease(run.lease), Journal(run.journal) as journal:
        journal.append_all([OPENED, facts.stopped("interrupted", "before", resumable=True), OPENED, ended(0)])
        driver = threading.Thread(target=drive)
        driver.start()
        stop = follow(run, lambda fact, progress: seen.append((fact, sum(map(len, progress.done.values())))))
        driver.join()
    assert (stop.kind, stop.resumable) == ("walltime", True)
    assert [fact for fact, _ in seen] == [ended(0), ended(1), ended(2), TIME_OVER]
    assert [n for _, n in seen] == [1, 2, 3, 3]


def test_that_one_who_follows_sees_that_a_driver_has_died(run):
    with Journal(run.journal) as journal, Lease(run.lease):
        journal.append_all([OPENED, ended(0)])
        found = []
        follower = threading.Thread(target=lambda: found.append(follow(run, lambda *_: None)))
        follower.start()
        time.sleep(0.1)
        assert not found
    follower.join()
    assert (found[0].kind, found[0].reason) == ("interrupted", "its driver died")


@pytest.mark.parametrize(
    ("known", "kind", "reason"),
    [
        ([], "interrupted", "it has not been begun"),
        ([OPENED], "interrupted", "its driver died"),
        ([OPENED, FINISHED], "finished", "all steps are done"),
        ([OPENED, TIME_OVER, OPENED], "interrupted", "its driver died"),
    ],
)
def test_that_of_a_run_that_nobody_drives_it_is_told_how_it_was_laid_down(run, known, kind, reason):
    with Journal(run.journal) as journal:
        journal.append_all(known)
    seen = []
    stop = follow(run, lambda fact, progress: seen.append(fact))
    assert (stop.kind, stop.reason) == (kind, reason)
    assert stop == stop_of(fold(known))
    assert seen == [fact for fact in known[-1:] if fact["fact"] == "stopped"]


def driver(monkeypatch, program):
    """Let a program be what is started as a driver."""
    monkeypatch.setattr(detached, "COMMAND", (sys.executable, "-c", program))


def test_that_a_driver_that_ends_at_once_is_quoted_with_its_exit_code(run, monkeypatch):
    driver(monkeypatch, "import sys; print('no such thing'); sys.exit(2)")
    (run.folder / "driver.log").write_text("of an earlier one\n")
    started = start(run.folder, ["run"])
    assert (started.exit_code, started.said) == (2, "no such thing")
    assert started.log.read_text() == "of an earlier one\nno such thing\n"


def test_that_a_driver_is_left_to_itself_once_it_has_taken_the_run_up(run, monkeypatch):
    driver(
        monkeypatch,
        "import json, os, sys, time\n"
        "assert os.environ['DAFLOW_MODE'] == 'detached' and os.getsid(0) == os.getpid()\n"
        "assert sys.argv[1:] == ['resume', 'x'] and not sys.stdin.read()\n"
        "time.sleep(0.2)\n"
        "fact = {'fact': 'opened', 'pid': os.getpid()}\n"
        f"open({str(run.journal)!r}, 'a').write(json.dumps(fact) + '\\n')\n"
        "while not os.path.exists('go'): time.sleep(0.05)\n",
    )
    monkeypatch.chdir(run.folder)
    run.journal.write_text(json.dumps(OPENED) + "\n")
    started = start(run.folder, ["resume", "x"])
    (run.folder / "go").touch()
    assert started.exit_code is None, started.said
    assert started.said == ""


def test_that_a_log_that_cannot_be_written_is_told(run):
    (run.folder / "driver.log").mkdir()
    with pytest.raises(RunError, match="cannot write"):
        start(run.folder, [])
