"""What `daflow doctor` finds: figures of this machine, and findings about machines that are made up."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from daflow.assemble.looking_ahead import examination
from daflow.assemble.looking_ahead.examination import enough, examine, machine_here
from daflow.config.load import load_workflow
from daflow.errors import ConfigError
from daflow.storage.disk import Disk
from daflow.storage.disk_speed import CHUNKS, DiskSpeed, Speed
from daflow.storage.disk_ways import PLAIN

WORKFLOW = """
ensemble: {size: 6}
grids: {ring: {shape: [8], dims: [component], axes: [x]}}
parameters:
  start: {grid: ring, prior: {kind: normal, mean: 2, std: 1}}
  forcing: {prior: {kind: normal, mean: 8, std: 1}}
model: {kind: lorenz96, variable: start, forcing: forcing, n: 8}
observations: {kind: twin, error: {default: {absolute: 1}}}
method: {kind: es_mda, steps: 2}
storage: {slice_size: 4}
"""
GOOD = Disk("here", "ext4", "/", 10**12, 10**9, direct=True, sync_seconds=0.001)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "workflow.yaml"
    path.write_text(WORKFLOW)
    return path


@pytest.fixture
def fine():
    """A machine with which nothing is wrong."""
    return replace(machine_here(), cores=8, cores_there=8, memory_free=64 * 10**9)


def found_on(monkeypatch, disk, workflow=None, machine=None):
    monkeypatch.setattr(examination, "disk_of", lambda _: disk)
    if machine is not None:
        monkeypatch.setattr(examination, "machine_here", lambda: machine)
    return examine(None, None, workflow).findings


def test_that_the_machine_is_the_one_this_runs_on():
    machine = machine_here()
    assert machine.cores == len(os.sched_getaffinity(0)) <= machine.cores_there
    assert 0 < machine.memory_free < machine.memory_bytes
    assert {"python", "numpy", "zarr", "dask", "blas"} <= machine.versions.keys()


def test_that_nothing_is_said_of_a_machine_and_a_disk_that_are_fine(monkeypatch, fine):
    assert found_on(monkeypatch, GOOD, machine=fine) == ()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kind": "tmpfs"}, "gone after a reboot"),
        ({"kind": "nfs4"}, "shared over a network"),
        ({"direct": False}, "no direct I/O"),
        ({"sync_seconds": 0.05}, "50 ms until it is durable"),
        ({"free_files": 1000}, "1,000 more files"),
    ],
)
def test_that_what_is_slow_about_a_disk_is_said(monkeypatch, fine, changed, said):
    (finding,) = found_on(monkeypatch, replace(GOOD, **changed), machine=fine)
    assert said in finding


def test_that_few_cores_and_little_memory_are_said(monkeypatch):
    machine = replace(machine_here(), cores=1, cores_there=64, memory_free=10**9)
    findings = found_on(monkeypatch, GOOD, machine=machine)
    assert [
        said in finding for finding, said in zip(findings, ["1 of the machine's 64", "1.0 GB"], strict=True)
    ]


@pytest.mark.parametrize(
    ("override", "disk", "said"),
    [
        ([], replace(GOOD, free_bytes=100), "name another folder"),
        ([], replace(GOOD, free_files=20), "room for 20"),
        (["execution.workers=4", "execution.threads=2"], GOOD, "4 workers of 2 threads on 2 cores"),
        (
            ["parameters.start.prior.std=2", "ensemble.size=2000000", "execution.memory=100MB"],
            GOOD,
            "execution.memory = 100MB",
        ),
    ],
)
def test_that_a_workflow_that_does_not_fit_is_told_so(monkeypatch, path, override, disk, said):
    machine = replace(machine_here(), cores=2, cores_there=2, memory_free=64 * 10**9)
    findings = found_on(monkeypatch, disk, load_workflow(path, override), machine)
    assert any(said in finding for finding in findings), findings


def with_shares(shares):
    """Return a disk that was measured: chunks of these sizes reach these shares."""
    speeds = tuple(Speed(CHUNKS, size, 1e9, 1e9, share) for size, share in sorted(shares.items()))
    return DiskSpeed(GOOD, (Speed("raw", 0, 1e9, 1e9, 1.0), *speeds), PLAIN, 0, 0.0)


@pytest.mark.parametrize(
    ("share", "said"), [(0.2, ["are 4.0 times as fast here: storage.slice_size: 131072"]), (0.75, [])]
)
def test_that_a_workflow_whose_chunks_are_slow_here_is_told_better_ones(monkeypatch, fine, path, share, said):
    large = [
        "grids.ring.shape=[1000000]",
        "model.n=1000000",
        "model.observe_every=100000",
        "storage.slice_size=16384",
    ]
    measured = with_shares({2**16: 0.1, 2**17: share, 2**20: 0.8, 2**22: 0.82})
    monkeypatch.setattr(examination, "measure", lambda *_: measured)
    monkeypatch.setattr(examination, "machine_here", lambda: fine)
    findings = examine(None, 10**9, load_workflow(path, large)).findings
    assert len(findings) == len(said)
    assert all(some in finding for some, finding in zip(said, findings, strict=True)), findings


def test_that_chunks_that_do_not_fill_blocks_of_the_disk_are_named(monkeypatch, fine, path):
    large = [
        "grids.ring.shape=[1000000]",
        "model.n=1000000",
        "model.observe_every=100000",
        "storage.slice_size=100001",
    ]
    (finding,) = found_on(monkeypatch, GOOD, load_workflow(path, large), fine)
    assert "multiple of 1024" in finding


@pytest.mark.parametrize("numba", [None, "0.63"])
def test_that_local_analyses_without_numba_are_told_what_they_miss(monkeypatch, fine, path, numba):
    lengths = "lengths: {x: 2}, variables: {forcing: none}"
    local = f"localization={{kind: distance, {lengths}, tapers: observation_error}}"
    findings = found_on(monkeypatch, GOOD, load_workflow(path, [local]), replace(fine, numba=numba))
    assert ["daflow[fast]" in finding for finding in findings] == [True] * (numba is None)


def test_that_a_workflow_is_told_its_sizes_and_the_seconds_of_an_update(tmp_path, path, monkeypatch):
    monkeypatch.setattr("daflow.storage.disk_ways.MOST_ROWS", 10)
    monkeypatch.setattr("daflow.storage.disk_ways.MOST_FILES", 20)
    found = examine(tmp_path, 100 * 2**20, load_workflow(path, ["storage.slice_size=9"]))
    fit = found.fit
    assert (fit.chunk_bytes, fit.step_bytes, fit.step_files) == (72, 6 * 9 * 8, 6)
    assert fit.speed is found.speed.at(72)
    assert fit.step_seconds == pytest.approx(432 / fit.speed.read + 432 / fit.speed.write)
    plain = json.loads(json.dumps(found.to_json()))
    assert plain["fit"]["step_seconds"] == fit.step_seconds
    assert plain["disk"]["folder"] == str(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["workflow.yaml"]


def test_that_without_measuring_nothing_is_said_of_seconds(tmp_path, path):
    found = examine(tmp_path, None, load_workflow(path))
    assert found.speed is None
    assert found.fit.step_seconds is None
    assert found.to_json()["fit"]["preview"]["n_slices"] == 3


def test_that_a_workflow_that_cannot_be_used_is_refused_before_the_disk_is_tried(tmp_path, path):
    with pytest.raises(ConfigError, match="slice_size"):
        examine(tmp_path, None, load_workflow(path, ["storage.slice_size=0"]))


def test_that_the_smallest_chunks_are_named_that_come_near_the_best():
    shares = {2**16: 0.1, 2**18: 0.6, 2**20: 0.81, 2**22: 0.9}
    assert enough(with_shares(shares)).chunk_bytes == 2**20
