"""Workers of a cluster that a function makes: dask-kubernetes, dask-gateway, one's own."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from distributed import Client
from distributed.deploy.cluster import Cluster

from daflow.config.execution import PluginExecution
from daflow.errors import ConfigError, PoolError
from daflow.execution.pools.crews import Fate

AGAIN_SECONDS: Final = 30.0
"""How long after it was asked for workers a cluster is asked again, while some are missing."""


class ScaledCrew:
    """Workers that a cluster is asked for by its ``scale``, again while some are missing.

    Parameters
    ----------
    execution
        The section of the workflow file.
    cluster
        What the user's function made.
    client
        Connected to its scheduler.
    """

    def __init__(self, execution: PluginExecution, cluster: Cluster, client: Client) -> None:
        self.client = client
        self._execution, self._cluster = execution, cluster
        self._asked = self._whole = time.monotonic()
        self._n_there = 0
        self._ask()

    def _ask(self) -> None:
        self._asked = time.monotonic()
        if self._execution.workers is not None:
            self._cluster.scale(self._execution.workers)

    def tend(self, n_wanted: int) -> None:
        """Ask for the workers again where some have been missing for a while and are wanted."""
        now, wanted = time.monotonic(), self._execution.workers
        self._n_there = len(self._cluster.scheduler_info.get("workers", ()))
        if wanted is None or self._n_there >= wanted:
            self._whole = now
        elif self._n_there < n_wanted and now - self._asked > AGAIN_SECONDS:
            self._ask()

    def awaited(self) -> str:
        """Return how many workers are still to come, for as long as patience lasts."""
        wanted = self._execution.workers
        missing = 0 if wanted is None else wanted - self._n_there
        if missing <= 0 or time.monotonic() - self._whole > self._execution.patience:
            return ""
        return f"{missing} of {wanted} workers that the cluster was asked for"

    def fate(self, worker: str) -> Fate | None:  # noqa: ARG002
        """Return nothing: what ended it only the cluster knows."""
        return None

    def avoid(self, host: str) -> None:
        """Leave the host as it is: where workers go is the cluster's choice."""


@contextmanager
def plugin_crew(execution: PluginExecution) -> Iterator[ScaledCrew]:
    """Make the cluster and call its workers together; it is closed with the context.

    Raises
    ------
    daflow.errors.ConfigError
        There is no such function, or it returns something else.
    daflow.errors.PoolError
        It fails.
    """
    make = _found(execution)
    try:
        cluster = make(**execution.arguments)
    except Exception as error:
        raise PoolError(
            f"execution.cluster: {execution.cluster} made no cluster",
            got=f"{type(error).__name__}: {error}",
            do="see execution.arguments, and whether the place that it asks can be reached",
        ) from error
    if not isinstance(cluster, Cluster):
        raise ConfigError(
            f"execution.cluster: {execution.cluster} makes no cluster of dask",
            got=type(cluster).__name__,
            allowed="a distributed.deploy.Cluster",
            do="name a function or class that returns one; 'kind: address' takes a scheduler that runs",
        )
    with cluster, Client(cluster, set_as_default=False) as client:
        yield ScaledCrew(execution, cluster, client)


def _found(execution: PluginExecution) -> Callable[..., Any]:
    module, _, name = execution.cluster.partition(":")
    with _looked_for_first(execution.folder):
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"execution.cluster: {execution.cluster} is not there",
                got=str(error),
                allowed=f"a function or class in {execution.folder} or in a package that is installed",
                do="install the package: dask-kubernetes, dask-gateway...",
            ) from error
    make: Callable[..., Any] = found
    return make


@contextmanager
def _looked_for_first(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
