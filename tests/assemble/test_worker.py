"""What a dask worker loads before it calls."""

import logging

import pytest

from daflow.assemble.worker import dask_setup, is_no_parting


@pytest.fixture
def tornado():
    dask_setup(None)
    logger = logging.getLogger("tornado.application")
    yield logger
    logger.removeFilter(is_no_parting)


def told(logger, error):
    """Say whether an error in a callback is printed."""
    record = logging.LogRecord(
        logger.name, logging.ERROR, "ioloop.py", 1, "Exception in callback", (), (type(error), error, None)
    )
    return bool(logger.filter(record))


def test_that_of_errors_in_callbacks_only_a_worker_s_parting_goes_unsaid(tornado):
    assert not told(tornado, RuntimeError("ConnectionPool is closed"))
    assert told(tornado, RuntimeError("no connection"))
    assert told(tornado, ValueError("ConnectionPool is closed"))
    assert tornado.filter(logging.LogRecord(tornado.name, logging.ERROR, "ioloop.py", 1, "so", (), None))
