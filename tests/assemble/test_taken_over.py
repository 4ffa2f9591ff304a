"""A driver whose run was taken over by another one, from the lease to what it leaves behind."""

from dataclasses import replace

import pytest

import daflow
from daflow.assemble.driving import launch
from daflow.assemble.folder import make_run
from daflow.config.load import load_workflow
from daflow.errors import LeaseError
from daflow.runs.journal import read_journal
from daflow.runs.lease import Holder, Lease
from tests.assemble.branch_runs import pool_of
from tests.end_to_end.small_run import CALLABLE, WELL, written


def test_that_a_driver_that_lost_its_lease_ends_without_a_word_in_the_journal(tmp_path, monkeypatch):
    workflow = written(tmp_path, CALLABLE, WELL)
    run = make_run(load_workflow(workflow), tmp_path / "run", workflow.read_text())
    other = replace(Holder.this_process(), host="another-host")
    leases, taken = [], Lease.__enter__

    def remembered(lease):
        leases.append(lease)
        return taken(lease)

    def loses(fact, progress):
        if fact["fact"] == "closed" and fact["phase"] == "prior":
            leases[0]._taken_by = other

    cleared = []
    monkeypatch.setattr(Lease, "__enter__", remembered)
    monkeypatch.setattr(launch, "_pool", pool_of([]))
    monkeypatch.setattr(launch, "clear_attempts", lambda *given: cleared.append(given) or 0)
    with pytest.raises(LeaseError, match="another-host"):
        launch.drive(run, loses)
    facts = read_journal(run.journal)
    assert (facts[-1]["fact"], facts[-1]["phase"]) == ("closed", "prior")
    assert len(cleared) == 1  # as it began; what is there now is the other driver's
    monkeypatch.undo()
    run.lease.unlink()  # the other driver has ended as well
    monkeypatch.setattr(launch, "_pool", pool_of([]))
    assert launch.drive(run).kind == "finished"
    assert daflow.open_run(run.folder).status().state == "finished"
