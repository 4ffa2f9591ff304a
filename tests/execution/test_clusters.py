"""Clusters that cannot be had."""

from __future__ import annotations

import pytest

from daflow.config.execution import AddressExecution, LocalExecution
from daflow.errors import PoolError
from daflow.execution.clusters import connect


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
