"""Clusters that cannot be had."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from typing import ClassVar

import pytest

from daflow.config.clusters import SlurmExecution
from daflow.config.execution import AddressExecution, LocalExecution
from daflow.errors import PoolError
from daflow.execution.clusters import dask_clusters
from daflow.execution.clusters.dask_clusters import connect, job_script_of
from tests.execution.fake_commands import FakeCommands


def test_that_workers_that_do_not_start_are_an_error_with_a_cure(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with (
        pytest.raises(PoolError, match="did not start") as error,
        connect(LocalExecution(), in_the_way / "x"),
    ):
        pass
    assert "daflow resume" in error.value.do


def test_that_a_scheduler_that_is_not_there_is_an_error_with_a_cure(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_clusters, "ANSWER_SECONDS", 1)
    nowhere = AddressExecution(address="tcp://127.0.0.1:9")
    with pytest.raises(PoolError, match="no dask scheduler") as error, connect(nowhere, tmp_path):
        pass
    assert "dask scheduler" in error.value.do


class Client:
    """A client that keeps how patient it was asked to be."""

    asked: ClassVar[list[int]] = []

    def __init__(self, address, *, set_as_default, timeout):
        self.asked.append(timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def test_that_a_scheduler_that_was_lost_is_looked_for_longer_and_without_tracebacks(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_clusters, "Client", Client)
    logger = logging.getLogger("distributed.client")
    before = logger.level
    with connect(AddressExecution(address="tcp://somewhere:8786"), tmp_path) as crew:
        assert isinstance(crew.client, Client)
        assert not logger.isEnabledFor(logging.ERROR)
    assert logger.level == before
    assert Client.asked == [dask_clusters.ANSWER_SECONDS, dask_clusters.RETURN_SECONDS]


IMPORTED = """
import signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell starts in the background
before = signal.getsignal(signal.SIGINT)
def load():
    import daflow.execution.clusters.queue_clusters
thread = threading.Thread(target=load)
if sys.argv[1] == "thread":
    thread.start(); thread.join()
else:
    load()
assert "daflow.execution.clusters.queue_clusters" in sys.modules
assert signal.getsignal(signal.SIGINT) is before
signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.parametrize("where", ["thread", "main"])
def test_that_ctrl_c_means_what_it_did_once_dask_jobqueue_is_imported(where):
    ended = subprocess.run(
        [sys.executable, "-c", IMPORTED, where], capture_output=True, text=True, check=False
    )
    assert "KeyboardInterrupt" in ended.stderr
    assert "Error" not in ended.stderr
    assert ended.returncode == -signal.SIGINT


def test_that_a_network_that_is_not_there_is_told_before_a_job_is_submitted(tmp_path, monkeypatch):
    commands = FakeCommands(tmp_path / "bin", monkeypatch)
    commands.say("sbatch", "Submitted batch job 1")
    execution = SlurmExecution(interface="nowhere0", walltime="00:10:00")
    with (
        pytest.raises(PoolError, match="the slurm cluster cannot be made") as error,
        connect(execution, tmp_path),
    ):
        pass
    assert "nowhere0" in error.value.got
    assert "execution.interface" in error.value.do
    assert commands.called == []


def test_that_packages_that_are_not_there_are_told_with_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "daflow.execution.clusters.queue_clusters", raising=False)
    monkeypatch.setitem(sys.modules, "daflow.execution.clusters.jobqueue", None)
    with pytest.raises(PoolError, match="dask-jobqueue is not installed") as error:
        job_script_of(SlurmExecution(walltime="00:10:00"), tmp_path)
    assert "pip install" in error.value.do
