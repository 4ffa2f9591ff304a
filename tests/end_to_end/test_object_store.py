"""Runs whose arrays lie on S3: a server of moto's, behind a front that is killed, slow or refuses.

That shows what the run, its client and their retries do. It does not show what a provider promises: that a
PUT that was acknowledged lasts, and is seen by whoever reads or lists after it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import numpy as np
import pytest
import xarray as xr

import daflow
from daflow.assemble.folder import make_run, open_folder
from daflow.config.load import load_workflow
from daflow.errors import DataError, StoreError
from daflow.runs.journal import read_journal
from daflow.storage.object_access import connect
from tests.assemble.branch_runs import branch, pool_of
from tests.end_to_end.small_run import (
    CALLABLE,
    assert_same_bits,
    command,
    finals,
    held,
    run_inline,
    slow,
    start,
    written,
)
from tests.storage.s3_server import BUCKET, KEYS, Front, moto

PATIENT = CALLABLE + "policy: {retries: 100}\nexecution: {kind: local, workers: 2}\n"
N_KILLS = int(os.environ.get("DAFLOW_KILLS_S3", "2"))
"""The driver and its workers are killed, then the server, and so on."""
N_BEFORE_LAST = 1 + 12 + 2 * (12 + 1 + 4)
"""Tasks before the last forecast: the truth, the prior, and two steps of forecasts and an analysis."""
PACKED = ("storage.codec=zstd", "storage.sharding=aligned")


@pytest.fixture(scope="module")
def server():
    with moto() as url:
        yield url


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    connect.cache_clear()


@pytest.fixture
def front(server, tmp_path):
    front = Front(server, tmp_path / "asked")
    front.start()
    yield front
    front.kill()


@pytest.fixture(scope="module")
def workflow(shared_place: Path) -> Path:
    return written(shared_place, PATIENT, slow(0.05))


@pytest.fixture(scope="module")
def reference(workflow, shared_place):
    """The arrays of a run on the disk."""
    return finals(run_inline(workflow, shared_place / "reference"))


def on_s3(url, prefix, retry=1.0):
    options = f"{{endpoint_url: '{url}', retry_seconds: {retry}}}"
    return f"storage.path=s3://{BUCKET}/{prefix}", f"storage.options={options}"


@pytest.fixture(scope="module")
def in_bucket(server, workflow, shared_place):
    """A run in a bucket, that nothing disturbed."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in KEYS.items():
            patched.setenv(name, value)
        return run_inline(workflow, shared_place / "run", *on_s3(server, "run"), seed=3)


def test_that_a_run_in_a_bucket_gives_the_bits_of_one_on_the_disk(
    in_bucket, reference, workflow, server, place
):
    folder = in_bucket.folder
    assert_same_bits(finals(in_bucket), reference)
    assert not (folder / "ensemble.zarr").exists()
    assert "not-a-secret" not in (folder / "resolved.json").read_text()
    assert "daflow" in in_bucket.report().read_text()
    assert np.isfinite(in_bucket.observations().value).all()
    with xr.open_zarr(in_bucket._store.root, group="step=2", consolidated=False) as step:
        assert dict(step.sizes) == {"member": 12, "state": 14, "obs": 3}
    with pytest.raises(DataError, match="run is in use"):
        make_run(load_workflow(workflow, on_s3(server, "run")), place / "other", "")


def test_that_packed_steps_in_a_bucket_have_the_same_bits(workflow, reference, server, place):
    run = run_inline(workflow, place / "run", *on_s3(server, "packed"), *PACKED)
    assert_same_bits(finals(run), reference)


def test_that_a_branch_goes_beside_its_run(in_bucket, monkeypatch):
    monkeypatch.setattr("daflow.assemble.driving.launch._pool", pool_of([]))
    branch(in_bucket.folder, "inflation={kind: multiplicative, factor: 1.1}", step=0, name="b")
    inflated = in_bucket.branches()["b"]
    assert inflated.workflow.storage.path == f"s3://{BUCKET}/run.branches/b"
    levels = [[run.parameters(step).level.values for run in (inflated, in_bucket)] for step in (0, 1)]
    assert np.array_equal(*levels[0])
    assert not np.array_equal(*levels[1])


def test_that_a_put_that_fails_lays_the_run_down_and_a_resume_ends_it(workflow, reference, front, place):
    front.kill()
    front.start(refuse="PUT /daflow/refused/ensemble.zarr/step%3D1/parameters/c/5/2")
    with pytest.raises(StoreError, match="SlowDown"):
        run_inline(workflow, place / "run", *on_s3(front.url, "refused", retry=0.5))
    stop = read_journal(place / "run" / "journal.jsonl")[-1]
    assert (stop["fact"], stop["kind"], stop["resumable"]) == ("stopped", "blocked", True)
    assert "step=1/parameters/c/5/2" in stop["reason"]
    front.kill()
    front.start(delay=0.01)  # and slow from now on
    assert_same_bits(finals(run_inline(workflow, place / "run", *on_s3(front.url, "refused"))), reference)


def test_that_a_server_that_comes_back_in_time_goes_unnoticed(workflow, reference, front, place):
    def away():
        while len(front.asked) < 60:
            time.sleep(0.01)
        front.kill()
        time.sleep(1.0)
        front.start()

    with ThreadPoolExecutor(1) as meanwhile:
        gone = meanwhile.submit(away)
        run = run_inline(workflow, place / "run", *on_s3(front.url, "away", retry=60))
        gone.result()
    assert_same_bits(finals(run), reference)
    assert [fact["fact"] for fact in read_journal(place / "run" / "journal.jsonl")].count("stopped") == 1


def test_that_a_slow_server_is_waited_for_and_one_that_takes_too_long_is_told(workflow, front, place):
    front.kill()
    front.start(delay=1.5)
    sets = on_s3(front.url, "slow", retry=0)
    options = sets[1].replace("}", ", request_timeout: 0.3}")
    with pytest.raises(DataError, match="slow"):
        make_run(load_workflow(workflow, (sets[0], options)), place / "run", "")
    assert not (place / "run").exists()


def test_that_a_missing_bucket_is_told_before_anything_is_made_or_submitted(workflow, front, place):
    path, options = on_s3(front.url, "a")
    done = command(
        "run", workflow, "--run", place / "run", "--set", path.replace(BUCKET, "nowhere"), "--set", options
    )
    assert done.returncode == 2
    assert "NoSuchBucket" in done.stderr + done.stdout
    assert not (place / "run").exists()


def test_that_kills_of_driver_workers_and_server_change_no_bit(workflow, reference, front, place):
    """Every session but the last is killed, or its server is; what was acknowledged stays done."""
    random, folder = Random(7), place / "run"
    words = ["run", workflow, "--run", folder]
    for each in on_s3(front.url, "killed", retry=0.5):
        words += ["--set", each]
    n_ended = 0
    for kill in range(N_KILLS):
        with held(workflow):
            driver = start(*words)
            _wait_for_more(folder, n_ended, driver)
            time.sleep(random.uniform(0.0, 0.5))
            if kill % 2:
                front.kill()
            else:
                os.killpg(driver.pid, signal.SIGKILL)
        if kill % 2:
            assert driver.wait(timeout=120) == 1, driver.stdout.read()
            assert "daflow resume" in driver.stdout.read()
            front.start()
        else:
            driver.wait()
        driver.stdout.close()
        n_ended = len(_ended(folder))
        words = ["resume", folder]
    done = command(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same_bits(finals(daflow.open_run(folder)), reference)
    ok = [(f["phase"], f["step"], f["index"]) for f in _ended(folder) if f["status"] == "ok"]
    assert len(ok) == len(set(ok))
    assert open_folder(folder).workflow.storage.path == f"s3://{BUCKET}/killed"


def _ended(folder: Path) -> list[dict[str, object]]:
    path = folder / "journal.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    facts = []
    for line in lines:
        try:
            facts.append(json.loads(line))
        except ValueError:
            break
    return [fact for fact in facts if fact["fact"] == "ended"]


def _wait_for_more(folder: Path, n_ended: int, driver) -> None:
    end = time.monotonic() + 120
    while len(_ended(folder)) < min(n_ended + 4, N_BEFORE_LAST) and driver.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert driver.poll() is None, driver.stdout.read()
