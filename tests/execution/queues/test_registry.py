"""The list of a run's jobs."""

import multiprocessing

import pytest

from daflow.errors import StoreError
from daflow.execution.queues.registry import REGISTRY, register, registered


def test_that_what_is_registered_is_found_in_its_order(tmp_path):
    assert registered(tmp_path) == []
    entries = [register(tmp_path, str(n), "slurm", kind) for n, kind in enumerate(["driver", "member"])]
    assert registered(tmp_path) == entries
    assert [entry.id for entry in entries] == ["0", "1"]


def test_that_a_torn_line_is_no_job_and_harms_no_other(tmp_path):
    first = register(tmp_path, "1", "slurm", "worker")
    path = tmp_path / REGISTRY
    path.write_bytes(path.read_bytes() + b'{"id":"2","syst')
    assert registered(tmp_path) == [first]
    third = register(tmp_path, "3", "slurm", "member", "work/member_jobs/x")
    assert registered(tmp_path) == [first, third]


def _register(folder, number):
    for k in range(20):
        register(folder, f"{number}.{k}", "pbs", "worker")


def test_that_processes_that_register_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_register, args=(tmp_path, n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert {e.id for e in registered(tmp_path)} == {f"{n}.{k}" for n in range(3) for k in range(20)}


def test_that_a_list_that_cannot_be_kept_is_an_error_with_a_cure(tmp_path):
    (tmp_path / "work").write_text("a file in the way")
    with pytest.raises(StoreError, match="list of the run's jobs") as error:
        register(tmp_path, "1", "slurm", "worker")
    assert "resume" in error.value.do
