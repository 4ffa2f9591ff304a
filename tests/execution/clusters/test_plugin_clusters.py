"""Clusters that a function makes: asked for workers, asked again, closed with the run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from daflow.config.execution import PluginExecution
from daflow.errors import ConfigError, PoolError
from daflow.execution.clusters import plugin_clusters
from daflow.execution.clusters.dask_clusters import connect
from daflow.execution.clusters.plugin_clusters import AGAIN_SECONDS, ScaledCrew

OWN = """
from distributed import LocalCluster

def inside(**arguments):
    return LocalCluster(n_workers=0, processes=False, dashboard_address=":0", **arguments)

def fails():
    raise OSError("the gateway does not answer")

def makes_something_else():
    return 7
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "my_cluster.py").write_text(OWN)
    return tmp_path


def plugin(folder, function, **more):
    return PluginExecution(cluster=f"my_cluster:{function}", folder=str(folder), **more)


def test_that_workers_of_a_function_of_ones_own_are_called_and_closed_with_the_run(folder):
    asked = plugin(folder, "inside", arguments={"threads_per_worker": 3}, workers=2)
    with connect(asked, folder) as crew:
        crew.client.wait_for_workers(2, timeout=30)
        assert sorted(crew.client.nthreads().values()) == [3, 3]
        crew.tend(5)
        assert (crew.awaited(), crew.fate("tcp://a:1")) == ("", None)
        cluster = crew._cluster
    assert cluster.status.name == "closed"


@pytest.mark.parametrize(
    ("function", "kind", "said"),
    [
        ("no_such", ConfigError, "is not there"),
        ("fails", PoolError, "the gateway does not answer"),
        ("makes_something_else", ConfigError, "makes no cluster of dask"),
    ],
)
def test_that_what_makes_no_cluster_is_told(folder, function, kind, said):
    with pytest.raises(kind) as error, connect(plugin(folder, function), folder):
        pass
    assert said in str(error.value)


def test_that_a_package_that_is_not_installed_is_told(folder):
    with (
        pytest.raises(ConfigError, match="is not there") as error,
        connect(PluginExecution(cluster="dask_no_such.operator:KubeCluster"), folder),
    ):
        pass
    assert "dask-kubernetes" in error.value.do


class Cluster:
    """A cluster of which nothing comes until it is let."""

    def __init__(self):
        self.asked, self.scheduler_info = [], {"workers": {}}

    def scale(self, workers):
        self.asked.append(workers)


@pytest.fixture
def clock(monkeypatch):
    moved = SimpleNamespace(now=0.0)
    monkeypatch.setattr(plugin_clusters, "time", SimpleNamespace(monotonic=lambda: moved.now))
    return moved


def test_that_a_cluster_is_asked_again_while_workers_that_are_wanted_are_missing(folder, clock):
    cluster = Cluster()
    crew = ScaledCrew(plugin(folder, "inside", workers=4, patience=100.0), cluster, None)
    for second in range(1, 62):
        clock.now = float(second)
        crew.tend(10)
    assert cluster.asked == [4, 4]
    assert crew.awaited() == "4 of 4 workers that the cluster was asked for"
    cluster.scheduler_info["workers"] = {"a": {}, "b": {}, "c": {}}
    clock.now += AGAIN_SECONDS + 1
    # Three are enough for what is left.
    crew.tend(3)
    assert cluster.asked == [4, 4]
    assert crew.awaited() == "1 of 4 workers that the cluster was asked for"
    clock.now = 101.0
    assert crew.awaited() == ""
    cluster.scheduler_info["workers"]["d"] = {}
    crew.tend(10)
    clock.now = 150.0
    assert crew.awaited() == ""


def test_that_a_cluster_that_is_asked_for_no_number_is_left_to_itself(folder, clock):
    cluster = Cluster()
    crew = ScaledCrew(plugin(folder, "inside"), cluster, None)
    clock.now = 1000.0
    crew.tend(10)
    assert (cluster.asked, crew.awaited()) == ([], "")
