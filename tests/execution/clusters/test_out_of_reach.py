"""Laws of Ctrl-C while workers of this machine start."""

from __future__ import annotations

import os
import signal
import time

import pytest

from daflow.config.execution import LocalExecution
from daflow.execution.clusters.dask_clusters import _out_of_reach


class Cluster:
    closed = False

    def close(self):
        self.closed = True


@pytest.fixture
def interruptible():
    """Let Ctrl-C mean what it does in a terminal: what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def blocked():
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_that_what_starts_workers_is_not_reached_and_the_driver_is(tmp_path):
    seen = []

    def start(execution, scratch):
        seen.append(blocked())
        return Cluster()

    assert not _out_of_reach(start, LocalExecution(), tmp_path).closed
    assert signal.SIGINT in seen[0]
    assert signal.SIGINT not in blocked()


@pytest.mark.usefixtures("interruptible")
def test_that_workers_that_start_meanwhile_are_ended(tmp_path):
    cluster = Cluster()

    def start(execution, scratch):
        time.sleep(0.3)  # until the driver waits
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        return cluster

    with pytest.raises(KeyboardInterrupt):
        _out_of_reach(start, LocalExecution(), tmp_path)
    assert cluster.closed
