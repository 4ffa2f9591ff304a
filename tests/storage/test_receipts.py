import dataclasses
import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import StoreError
from daflow.names import Phase, Status
from daflow.records import Outcome, Task
from daflow.storage import receipts
from daflow.storage.receipts import read_receipt, read_receipts, read_stage, read_together, write_receipts

FINITE = st.floats(allow_nan=False)
OUTCOMES = st.builds(
    Outcome,
    task=st.builds(
        Task, st.sampled_from(Phase), st.integers(0, 20), st.integers(-1, 10**6), st.integers(0, 300)
    ),
    status=st.sampled_from(Status),
    seconds=FINITE,
    host=st.text(),
    reason=st.text(st.characters()),
    started=FINITE,
    key=st.text(),
    digest=st.text(),
    figures=st.dictionaries(st.text(), FINITE, max_size=3),
)
OUTCOME = Outcome(
    Task(Phase.FORECAST, 2, 17, 1), Status.OK, 3.5, "node", "", 1e9, "key", "digest", {"n": 1.0}
)


@settings(max_examples=20)
@given(st.lists(OUTCOMES, max_size=5, unique_by=lambda outcome: outcome.task))
def test_that_receipts_come_back_as_they_were_written(tmp_path_factory, outcomes):
    root = tmp_path_factory.mktemp("receipts")
    for outcome in outcomes:
        write_receipts(root, [outcome])
    assert {o.task: o for o in read_receipts(root)} == {o.task: o for o in outcomes}
    for outcome in outcomes:
        assert read_receipt(root, outcome.task) == outcome


def test_that_attempts_that_left_nothing_have_no_receipt(tmp_path):
    assert read_receipt(tmp_path, OUTCOME.task) is None
    assert list(read_receipts(tmp_path)) == []
    write_receipts(tmp_path, [OUTCOME])
    assert read_receipt(tmp_path, dataclasses.replace(OUTCOME.task, attempt=0)) is None


def test_that_a_receipt_being_written_is_not_one_yet(tmp_path):
    write_receipts(tmp_path, [OUTCOME])
    path = next(tmp_path.rglob("*.json"))
    path.rename(path.with_name(f".{path.name}.0.partial"))
    assert list(read_receipts(tmp_path)) == []


def test_that_a_receipt_cut_anywhere_is_named_with_a_cure(tmp_path):
    write_receipts(tmp_path, [dataclasses.replace(OUTCOME, reason="naïve")])
    path = next(tmp_path.rglob("*.json"))
    for length in range(path.stat().st_size - 1, -1, -1):
        os.truncate(path, length)
        with pytest.raises(StoreError, match="cannot be read") as error:
            list(read_receipts(tmp_path))
        assert str(path) in error.value.what
        assert "delete the file and resume" in error.value.do


@pytest.mark.parametrize("text", [b"\xff\xfe{", b"[]", b"7", b"{}", b'{"phase": "lunch"}', b"null"])
def test_that_a_receipt_of_something_else_is_named_with_a_cure(tmp_path, text):
    write_receipts(tmp_path, [OUTCOME])
    next(tmp_path.rglob("*.json")).write_bytes(text)
    with pytest.raises(StoreError, match="cannot be read"):
        read_receipt(tmp_path, OUTCOME.task)


def test_that_a_full_disk_leaves_no_receipt(small_disk, fill):
    fill(small_disk)
    with pytest.raises(StoreError):
        write_receipts(small_disk / "receipts", [OUTCOME])
    assert list(read_receipts(small_disk / "receipts")) == []


def group(indices, attempt=0):
    return [
        Outcome(Task(Phase.FORECAST, 1, index, attempt), Status.OK, digest=f"{index}") for index in indices
    ]


def names(root):
    return sorted(path.name for path in root.rglob("*.json"))


@settings(max_examples=30)
@given(st.sets(st.tuples(st.integers(-1, 60), st.integers(0, 2)), max_size=50))
def test_that_receipts_written_together_come_back_each_in_few_files(tmp_path_factory, addresses):
    root = tmp_path_factory.mktemp("receipts")
    outcomes = [
        Outcome(Task(Phase.PRIOR, 0, *address), Status.OK, digest=f"{address}") for address in addresses
    ]
    write_receipts(root, outcomes)
    assert {o.task: o for o in read_receipts(root)} == {o.task: o for o in outcomes}
    assert {o.task: o for o in read_stage(root, Phase.PRIOR, 0)} == {o.task: o for o in outcomes}
    for outcome in outcomes[:5]:
        assert read_receipt(root, outcome.task) == outcome
    assert read_receipt(root, Task(Phase.PRIOR, 0, 61, 0)) is None
    assert all(len(name) < 180 for name in names(root))
    # Up to 62 numbers have at most 31 runs, and there are three attempts.
    assert len(names(root)) <= 3 * 4


def test_that_a_name_tells_which_tasks_a_file_is_about(tmp_path):
    write_receipts(tmp_path, group([4]))
    write_receipts(tmp_path, group([*range(12), 13, *range(20, 30)], attempt=1))
    write_receipts(tmp_path, [])
    assert names(tmp_path) == ["00000..00011+00013+00020..00029-1.json", "00004-0.json"]


def test_that_files_of_which_every_task_is_known_are_not_opened(tmp_path, monkeypatch):
    for first in range(0, 40, 10):
        write_receipts(tmp_path, group(range(first, first + 10)))
    write_receipts(tmp_path, group([40]))
    (tmp_path / "step=1" / "forecast" / "a note of the user.json").write_text("{")
    opened = []
    read = receipts._read
    monkeypatch.setattr(receipts, "_read", lambda path: (opened.append(path.name), read(path))[1])
    assert list(read_stage(tmp_path, Phase.FORECAST, 1, lambda task: True)) == []
    assert opened == []
    found = read_stage(tmp_path, Phase.FORECAST, 1, lambda task: task.index not in {17, 40})
    assert {outcome.task.index for outcome in found} == {*range(10, 20), 40}
    assert sorted(opened) == ["00010..00019-0.json", "00040-0.json"]
    assert list(read_stage(tmp_path, Phase.UPDATE, 1)) == []


def test_that_a_group_s_receipt_cut_anywhere_is_named_with_a_cure(tmp_path):
    write_receipts(tmp_path, group([0, 1]))
    path = next(tmp_path.rglob("*.json"))
    for length in range(path.stat().st_size - 1, -1, -7):
        os.truncate(path, length)
        with pytest.raises(StoreError, match="cannot be read"):
            list(read_receipts(tmp_path))


def test_that_receipts_of_tasks_that_ended_together_are_found_by_just_these_tasks(tmp_path):
    for outcomes in (group(range(0, 60, 2)), group([5]), [*group([61, 62]), *group([63], attempt=1)]):
        tasks = [outcome.task for outcome in outcomes]
        assert read_together(tmp_path, tasks) == []
        write_receipts(tmp_path, outcomes)
        assert {o.task: o for o in read_together(tmp_path, tasks)} == {o.task: o for o in outcomes}
        if len(tasks) > 1:
            assert read_together(tmp_path, tasks[1:2]) == []


def test_that_a_stage_is_looked_at_anew_and_left_as_it_was(tmp_path, monkeypatch):
    """What a client of NFS changes in a folder makes it ask the server: in every folder on the way."""
    one = dataclasses.replace(OUTCOME, task=Task(Phase.FORECAST, 2, 3, 0))
    write_receipts(tmp_path, [one])
    changed, opened = [], os.open

    def noted(path, flags, *mode):
        if flags & os.O_EXCL:
            changed.append(Path(path).parent.relative_to(tmp_path).as_posix())
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", noted)
    assert list(read_stage(tmp_path, Phase.FORECAST, 2)) == [one]
    assert changed == [".", "step=2", "step=2/forecast"]
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["00003-0.json"]


def test_that_a_stage_is_read_where_nothing_can_be_written(tmp_path, monkeypatch):
    one = dataclasses.replace(OUTCOME, task=Task(Phase.FORECAST, 2, 3, 0))
    write_receipts(tmp_path, [one])
    opened = os.open

    def read_only(path, flags, *mode):
        if flags & os.O_WRONLY:
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", read_only)
    assert list(read_stage(tmp_path, Phase.FORECAST, 2)) == [one]
    assert list(read_stage(tmp_path, Phase.FORECAST, 9)) == []


@pytest.fixture
def two_hosts(tmp_path):
    """Return two views of one folder, each of which remembers for a minute what it did not find there."""
    remembers = "entry_timeout=60,attr_timeout=60,negative_timeout=60"
    views = [tmp_path / name for name in ("a", "b")]
    (tmp_path / "disk").mkdir()
    for view in views:
        view.mkdir()
        mount = ["bindfs", "-o", remembers, str(tmp_path / "disk"), str(view)]
        if shutil.which("bindfs") is None or subprocess.run(mount, check=False).returncode != 0:
            pytest.skip("two views of a folder take bindfs and FUSE")
    yield views
    for view in views:
        subprocess.run(["fusermount", "-u", "-z", str(view)], check=True)


@pytest.mark.parametrize("there", [[], [9]], ids=["no folder", "a folder"])
def test_that_a_host_that_has_just_looked_in_vain_sees_what_another_wrote_since(two_hosts, there):
    ours, theirs = (view / "receipts" for view in two_hosts)
    ours.mkdir()
    tasks = {index: Task(Phase.FORECAST, 2, index, 0) for index in (3, 9)}
    write_receipts(ours, [dataclasses.replace(OUTCOME, task=tasks[index]) for index in there])
    assert read_receipt(ours, tasks[3]) is None
    write_receipts(theirs, [dataclasses.replace(OUTCOME, task=tasks[3])])
    assert not (ours / "step=2" / "forecast" / "00003-0.json").exists()
    assert [o.task.index for o in read_stage(ours, Phase.FORECAST, 2)] == [3, *there]
