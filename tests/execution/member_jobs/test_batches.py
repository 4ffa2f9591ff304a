"""Batches: groups of tasks in a folder, and what their jobs leave there."""

import pytest

from daflow.errors import StoreError
from daflow.execution.member_jobs.batches import (
    PLACE,
    note_begun,
    note_blocked,
    read_batch,
    write_batch,
    write_script,
)
from daflow.names import Phase, Status
from daflow.records import Outcome, Task

GROUPS = [(Task(Phase.FORECAST, 2, 3, 1), Task(Phase.FORECAST, 2, 4)), (Task(Phase.FORECAST, 2, 5),)]


def test_that_a_batch_is_read_as_it_was_written_until_it_is_forgotten(tmp_path):
    batch = write_batch(tmp_path, GROUPS)
    assert batch.folder.parent == tmp_path / PLACE
    assert batch.name.startswith("forecast-2-")
    write_script(batch, "#!/bin/sh\n")
    assert batch.script.read_text() == "#!/bin/sh\n"
    assert read_batch(batch.folder) == batch
    assert batch.groups == tuple(GROUPS)
    batch.forget()
    assert read_batch(batch.folder) is None
    assert batch.notes() == {}


def test_that_two_batches_of_the_same_tasks_do_not_meet(tmp_path):
    assert write_batch(tmp_path, GROUPS).folder != write_batch(tmp_path, GROUPS).folder


def test_that_jobs_are_heard_in_the_order_in_which_they_speak(tmp_path):
    batch = write_batch(tmp_path, GROUPS)
    assert batch.notes() == {}
    note_begun(batch.folder, 1, "node7")
    assert batch.notes()[1].host == "node7"
    blocked = Outcome(GROUPS[1][0], Status.BLOCKED, reason="full")
    note_blocked(batch.folder, 1, [blocked])
    (batch.folder / "0.begun").write_text("half a li")
    (batch.folder / "x.begun").write_text("{}")
    notes = batch.notes()
    assert set(notes) == {1}
    assert notes[1].blocked == blocked
    assert notes[1].host == "node7"
    assert notes[1].began > 0


def test_that_a_batch_that_was_never_whole_is_none(tmp_path):
    (tmp_path / "groups.json").write_text('[[["forecast", 2')
    assert read_batch(tmp_path) is None


def test_that_what_cannot_be_written_is_an_error_with_a_cure(tmp_path):
    (tmp_path / "work").write_text("a file in the way")
    with pytest.raises(StoreError, match="members' jobs") as error:
        write_batch(tmp_path, GROUPS)
    assert "resume" in error.value.do
    note_begun(tmp_path / "nowhere", 0, "here")  # it is at work all the same
