"""Compressed and sharded runs: the same bits, also after kills, in files that xarray opens."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import xarray as xr
import zarr

import daflow
from daflow.assemble.driving import launch
from daflow.assemble.folder import make_run
from daflow.config.load import load_workflow
from tests.assemble.branch_runs import pool_of
from tests.end_to_end.small_run import (
    CALLABLE,
    RING,
    assert_same_bits,
    finals,
    held,
    run_inline,
    slow,
    start,
    written,
)

WAYS = [
    ("storage.codec=lz4",),
    ("storage.sharding=aligned",),
    ("storage.codec=zstd", "storage.sharding=aligned"),
]
FAILS = """
def forecast(parameters, observations, member, step):
    if step == 1 and member in (0, 7):
        raise ArithmeticError("no convergence")
    return parameters["level"][:3] ** 2 + parameters["level"][4:7]
"""


@pytest.fixture(scope="module")
def workflow(shared_place: Path) -> Path:
    return written(shared_place, RING)


@pytest.fixture(scope="module")
def reference(workflow: Path, shared_place: Path):
    return finals(run_inline(workflow, shared_place / "reference"))


@pytest.mark.parametrize("packed", WAYS, ids=",".join)
def test_that_how_steps_are_packed_does_not_change_a_bit(workflow, reference, place, packed):
    run = run_inline(workflow, place / "run", *packed, seed=1)
    assert_same_bits(finals(run), reference)
    for step in range(run.n_steps + 1):
        array = zarr.open_array(run.folder / "ensemble.zarr" / f"step={step}" / "parameters", mode="r")
        assert array.chunks == (1, 10)
        if "storage.sharding=aligned" in packed:
            assert array.shards == ((1, 30) if step == 0 else (20, 10))
        with xr.open_zarr(run.folder / "ensemble.zarr", group=f"step={step}", consolidated=False) as opened:
            assert opened.parameters.notnull().all()
    assert run.report().exists()


def test_that_members_left_behind_are_nan_in_the_files_of_those_that_go_on(place):
    workflow = written(place, CALLABLE, FAILS)
    plain = run_inline(workflow, place / "plain")
    packed = run_inline(workflow, place / "packed", *WAYS[2])
    assert_same_bits(finals(packed), finals(plain))
    with xr.open_zarr(packed.folder / "ensemble.zarr", group="step=2", consolidated=False) as opened:
        left = opened.parameters.isnull().all("state").values
        assert opened.member[left].values.tolist() == [0, 7]


@pytest.mark.slow
def test_that_a_packed_run_that_is_killed_goes_on_and_ends_with_the_same_bits(place, monkeypatch):
    text = CALLABLE + "policy: {retries: 100}\nexecution: {kind: local, workers: 2}\n"
    workflow = written(place, text, slow(0.1))
    reference = finals(run_inline(workflow, place / "reference"))
    made = make_run(load_workflow(workflow, WAYS[2]), place / "run", workflow.read_text())
    with held(workflow):
        for seconds in (0.3, 1.0):
            driver = start("resume", made.folder)
            journal = made.folder / "journal.jsonl"
            before = journal.stat().st_size if journal.exists() else 0
            while not journal.exists() or journal.stat().st_size <= before + 600:
                assert driver.poll() is None, driver.communicate()
                time.sleep(0.05)
            time.sleep(seconds)
            os.killpg(driver.pid, signal.SIGKILL)
            driver.communicate(timeout=60)
            assert driver.returncode == -signal.SIGKILL
    monkeypatch.setattr(launch, "_pool", pool_of([]))
    assert daflow.open_run(made.folder).resume().kind == "finished"
    assert_same_bits(finals(daflow.open_run(made.folder)), reference)
    assert not list(made.folder.rglob("*.partial"))
