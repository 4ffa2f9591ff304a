"""Clusters that cannot be had."""

from __future__ import annotations

import logging

import pytest
from distributed import LocalCluster

from daflow.config.execution import AddressExecution, LocalExecution
from daflow.errors import PoolError
from daflow.execution.clusters import RETURN_SECONDS, connect


def test_that_workers_that_do_not_start_are_an_error_with_a_cure(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with (
        pytest.raises(PoolError, match="did not start") as error,
        connect(LocalExecution(), in_the_way / "x"),
    ):
        pass
    assert "daflow resume" in error.value.do


@pytest.mark.slow
def test_that_a_scheduler_that_is_not_there_is_an_error_with_a_cure(tmp_path):
    nowhere = AddressExecution(address="tcp://127.0.0.1:9")
    with pytest.raises(PoolError, match="no dask scheduler") as error, connect(nowhere, tmp_path):
        pass
    assert "dask scheduler" in error.value.do


def test_that_a_scheduler_that_was_lost_is_looked_for_longer_and_without_tracebacks(tmp_path):
    logger = logging.getLogger("distributed.client")
    with LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster:
        before = logger.level
        address = AddressExecution(address=cluster.scheduler.contact_address or cluster.scheduler_address)
        with connect(address, tmp_path) as crew:
            assert crew.client._timeout == RETURN_SECONDS
            assert not logger.isEnabledFor(logging.ERROR)
        assert logger.level == before
