"""The doctor, as one meets it on a terminal."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress

import pytest
from typer.testing import CliRunner

from daflow.cli.app import app
from tests.end_to_end.small_run import start


def said(*words, code=0):
    result = CliRunner().invoke(app, ["doctor", *map(str, words)])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def test_that_the_machine_and_the_disk_are_told_in_eighty_columns(here):
    told = said()
    for word in ("python", "numpy", "BLAS", "cores", "memory", "file system", "direct I/O", "durable after"):
        assert word in told
    assert here.name in "".join(told.split())
    assert "of raw" not in told
    assert max(map(len, told.splitlines())) <= 80
    assert list(here.iterdir()) == []


def test_that_a_measured_disk_is_a_table_with_advice(here):
    told = said("--disk", ".", "--bytes", "80MB")
    for word in (
        "raw, one file",
        "page cache",
        "chunks of 64 KiB",
        "chunks of 4 MiB",
        "of the raw disk",
        "100%",
    ):
        assert word in " ".join(told.split())
    assert max(map(len, told.splitlines())) <= 80
    assert list(here.iterdir()) == []


def test_that_the_first_workflow_is_told_its_slices(here):
    CliRunner().invoke(app, ["init"])
    told = said("workflow.yaml", "--set", "storage.slice_size=20")
    assert "60 members of 41 numbers, in 3 slices of 20" in " ".join(told.split())
    assert "180 a step" in told


def test_that_json_holds_all_that_is_measured(here):
    seen = json.loads(said("--disk", here, "--bytes", "80MB", "--json"))
    assert [each["chunk_bytes"] for each in seen["speed"]["speeds"]] == [0, 0, 2**16, 2**18, 2**20, 2**22]
    assert seen["disk"]["folder"] == str(here)
    assert seen["machine"]["cores"] >= 1
    assert seen["fit"] is None


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--disk", "nowhere"), ("nowhere", "is there and is writable")),
        (("--disk", ".", "--bytes", "10MB"), ("--bytes", "or more")),
        (("--disk", ".", "--bytes", "plenty"), ("--bytes", "1GB", "plenty")),
        (("--disk", ".", "--bytes", "1000TB"), ("no room", "--disk")),
        (("nothing.yaml",), ("nothing.yaml", "no such file")),
    ],
)
def test_that_what_cannot_be_used_is_named_with_its_cure(here, words, named):
    told = said(*words, code=2)
    assert all(word in told for word in named), told


def until_it_writes(folder, doctor):
    for _ in range(1200):
        with suppress(FileNotFoundError):  # a folder that was removed while it was looked into
            if any(folder.glob(".daflow-doctor-*/*/*")) or doctor.poll() is not None:
                return
        time.sleep(0.05)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_that_an_interrupt_in_the_middle_leaves_nothing_behind(here, by):
    with start("doctor", "--disk", ".", "--bytes", "2GB", cwd=here) as doctor:
        try:
            until_it_writes(here, doctor)
            os.kill(doctor.pid, by)
            told, _ = doctor.communicate(timeout=60)
        finally:
            doctor.kill()
    assert doctor.returncode == 130, told
    assert "nothing is left behind" in told
    assert list(here.iterdir()) == []
