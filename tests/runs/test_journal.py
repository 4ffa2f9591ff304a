import json
import os
import resource
import signal
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import JournalError, StoreError
from daflow.runs import journal as journals
from daflow.runs.journal import Journal, last_fact, read_journal, whole_facts

WORDS = st.text(max_size=10)
FACTS = st.builds(
    lambda kind, rest: {"fact": kind} | rest, WORDS, st.dictionaries(WORDS.map("x{}".format), WORDS)
)


@contextmanager
def largest_file(n_bytes):
    """Let no file of this process grow beyond so many bytes: a write of more is cut short, then refused."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def written(path, facts):
    with Journal(path) as journal:
        for fact in facts:
            journal.append(fact)
    return path


@settings(max_examples=12)
@given(st.lists(FACTS, max_size=6), st.lists(FACTS, max_size=3))
def test_that_facts_come_back_in_order_whatever_session_wrote_them(tmp_path_factory, first, second):
    path = tmp_path_factory.mktemp("run") / "journal.jsonl"
    written(path, first)
    written(path, second)
    assert read_journal(path) == first + second


def test_that_a_run_without_a_journal_has_no_facts(tmp_path):
    assert read_journal(tmp_path / "journal.jsonl") == []


def test_that_a_last_line_torn_at_any_byte_is_dropped_and_the_next_append_is_clean(tmp_path):
    facts = [{"fact": "one"}, {"fact": "two", "n": 2}, {"fact": "three", "reason": "naïve \n {} \ud800"}]
    whole = written(tmp_path / "whole", facts).read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole)):
        torn = tmp_path / f"torn-{end}"
        torn.write_bytes(whole[:end])
        assert read_journal(torn) == facts[:2]
        written(torn, [{"fact": "four"}])
        assert read_journal(torn) == [*facts[:2], {"fact": "four"}]


@pytest.mark.parametrize("tail", [b"\0" * 40, b"\xff\xfe", b'{"fact": "x"}', b"[]", b"null", b"{}"])
def test_that_whatever_a_power_cut_left_after_the_last_line_is_dropped(tmp_path, tail):
    path = written(tmp_path / "journal", [{"fact": "one"}])
    path.write_bytes(path.read_bytes() + tail)
    assert read_journal(path) == [{"fact": "one"}]
    written(path, [{"fact": "two"}])
    assert read_journal(path) == [{"fact": "one"}, {"fact": "two"}]


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"7", b'{"kind": "x"}', b"\xff\xfe"])
def test_that_a_bad_line_before_the_last_is_an_error_that_names_it(tmp_path, line):
    path = tmp_path / "journal"
    path.write_bytes(b'{"fact":"one"}\n' + line + b'\n{"fact":"three"}\n')
    for read in (read_journal, Journal):
        with pytest.raises(JournalError, match=f"line 2 of {path}"):
            read(path)
    assert path.read_bytes().endswith(b'{"fact":"three"}\n')


def test_that_a_full_disk_leaves_the_journal_as_it_was_whatever_part_of_the_line_would_fit(tmp_path):
    fact = {"fact": "long", "reason": "x" * 60}
    path = tmp_path / "journal"
    with Journal(path) as journal:
        journal.append({"fact": "one"})
        before = path.read_bytes()
        for room in range(len(json.dumps(fact, separators=(",", ":"))) + 1):
            with (
                largest_file(len(before) + room),
                pytest.raises(StoreError, match="cannot write the journal"),
            ):
                journal.append(fact)
            assert path.read_bytes() == before
        journal.append(fact)
    assert read_journal(path) == [{"fact": "one"}, fact]


def test_that_an_interrupt_while_a_fact_is_written_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "journal"
    real = os.fsync

    def interrupted(descriptor):
        real(descriptor)
        signal.raise_signal(signal.SIGINT)

    with Journal(path) as journal:
        journal.append({"fact": "one"})
        # A test run started in the background has interrupts ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", interrupted)
            with pytest.raises(KeyboardInterrupt):
                journal.append({"fact": "two"})
        signal.signal(signal.SIGINT, before)
        assert read_journal(path) == [{"fact": "one"}]
        with largest_file(path.stat().st_size + 3), pytest.raises(StoreError):
            journal.append({"fact": "three"})
        journal.append({"fact": "four"})
    assert read_journal(path) == [{"fact": "one"}, {"fact": "four"}]


def test_that_a_journal_that_cannot_be_opened_is_an_error_with_a_cure(tmp_path):
    with pytest.raises(StoreError, match="cannot write the journal") as error:
        Journal(tmp_path / "absent" / "journal")
    assert "daflow resume" in error.value.do


@settings(max_examples=12)
@given(st.lists(st.lists(FACTS, max_size=4), max_size=4))
def test_that_facts_appended_together_are_facts_appended_one_by_one(tmp_path_factory, lots):
    folder = tmp_path_factory.mktemp("run")
    with Journal(folder / "together") as journal:
        for lot in lots:
            journal.append_all(lot)
    written(folder / "one by one", [fact for lot in lots for fact in lot])
    assert (folder / "together").read_bytes() == (folder / "one by one").read_bytes()


def test_that_facts_appended_together_are_made_durable_once_and_none_costs_none(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), real(descriptor)))
    with Journal(tmp_path / "journal") as journal:
        synced.clear()
        journal.append_all([])
        assert synced == []
        journal.append_all([{"fact": f"{number}"} for number in range(50)])
        assert len(synced) == 1


def test_that_of_facts_appended_together_a_full_disk_takes_none(tmp_path):
    facts = [{"fact": f"{number}", "reason": "x" * 40} for number in range(3)]
    path = tmp_path / "journal"
    with Journal(path) as journal:
        journal.append({"fact": "one"})
        before = path.read_bytes()
        for room in range(0, 190, 9):
            with largest_file(len(before) + room), pytest.raises(StoreError):
                journal.append_all(facts)
            assert path.read_bytes() == before
        journal.append_all(facts)
    assert read_journal(path) == [{"fact": "one"}, *facts]


def test_that_a_journal_opened_where_its_facts_are_known_to_end_is_the_same(tmp_path):
    for name in ("read", "told"):
        path = written(tmp_path / name, [{"fact": "one"}, {"fact": "two"}])
        path.write_bytes(path.read_bytes() + b'{"fact":"to')
        with Journal(path, whole_facts(path)[1] if name == "told" else None) as journal:
            journal.append({"fact": "three"})
        assert [fact["fact"] for fact in read_journal(path)] == ["one", "two", "three"]


def test_that_two_facts_in_one_line_are_none(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(b'{"fact":"one"},{"fact":"two"}\n')
    with pytest.raises(JournalError, match="line 1"):
        read_journal(path)


@settings(max_examples=30)
@given(st.lists(FACTS, max_size=4), st.integers(1, 60), st.sampled_from([b"", b'{"fact":"to']))
def test_that_the_last_fact_is_the_last_of_all_or_not_found(tmp_path_factory, facts, n_bytes, torn):
    path = written(tmp_path_factory.mktemp("run") / "journal.jsonl", facts)
    path.write_bytes(path.read_bytes() + torn)
    with pytest.MonkeyPatch.context() as patch:
        assert last_fact(path) == (facts[-1] if facts else None)
        patch.setattr(journals, "LAST_BYTES", n_bytes)
        assert last_fact(path) in ([facts[-1], None] if facts else [None])
