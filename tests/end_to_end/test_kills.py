"""SIGKILL at random moments, full disks and torn journals: a run goes on and ends with the same bits.

DAFLOW_KILLS says how many kills there are in all; DAFLOW_KILLS_SEED, when they come.
"""

from __future__ import annotations

import logging
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path
from random import Random

import psutil
import pytest

import daflow
from daflow.assemble.driving import launch
from daflow.assemble.folder import make_run
from daflow.config.load import load_workflow
from daflow.runs.journal import read_journal
from tests.assemble.branch_runs import pool_of
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

KILLS = int(os.environ.get("DAFLOW_KILLS", "10"))
SEED = int(os.environ.get("DAFLOW_KILLS_SEED", "2026"))
KILLS_A_RUN = 10
LOG = logging.getLogger(__name__)
PATIENT = CALLABLE + "policy: {retries: 100}\nexecution: {kind: local, workers: 2}\n"
"""A member whose worker is killed time and again is not given up."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def workflow(shared_place: Path) -> Path:
    return written(shared_place, PATIENT, slow(0.1))


@pytest.fixture(scope="module")
def reference(workflow: Path, shared_place: Path):
    """The arrays of a run that nothing disturbed."""
    return finals(run_inline(workflow, shared_place / "reference"))


def workers_of(driver: int) -> list[psutil.Process]:
    """Return the worker processes of a driver: its children, but for multiprocessing's tracker."""
    try:
        children = psutil.Process(driver).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [child for child in children if "spawn_main" in _command_line(child)]


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill_worker(driver: subprocess.Popen[str], random: Random) -> int:
    workers = workers_of(driver.pid)
    return _kill([random.choice(workers)] if workers else [])


def kill_all_workers(driver: subprocess.Popen[str], random: Random) -> int:
    return _kill(workers_of(driver.pid))


def kill_driver(driver: subprocess.Popen[str], random: Random) -> int:
    driver.kill()
    return 1


def kill_everything(driver: subprocess.Popen[str], random: Random) -> int:
    os.killpg(driver.pid, signal.SIGKILL)
    return 1


def _kill(processes: list[psutil.Process]) -> int:
    killed = 0
    for process in processes:
        try:
            process.kill()
            killed = 1
        except psutil.NoSuchProcess:
            continue
    return killed


KINDS = (kill_worker, kill_all_workers, kill_driver, kill_everything, kill_worker, kill_everything)


def receipts(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Return what every receipt says, and when it was written."""
    found = {}
    for path in (folder / "receipts").rglob("*.json"):
        try:
            found[path] = (path.stat().st_mtime_ns, path.read_bytes())
        except FileNotFoundError:
            continue
    return found


def facts_in(folder: Path) -> int:
    journal = folder / "journal.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def session(folder: Path, random: Random, kinds: list, seen: list) -> Counter[str]:
    """Drive the run until it ends or its driver is killed; take each kill from ``kinds`` at a random time."""
    driver = start("resume", folder)
    before, kills = facts_in(folder), Counter()
    try:
        while kinds and driver.poll() is None:
            # Half of the kills come early, in starting and taking in receipts; the others among tasks.
            if random.random() < 0.7:
                while facts_in(folder) <= before + 1 and driver.poll() is None:
                    time.sleep(0.01)
            time.sleep(random.uniform(0.0, 1.5))
            kind = kinds[-1]
            if driver.poll() is None and kind(driver, random):
                kinds.pop()
                kills[kind.__name__] += 1
                seen.append(receipts(folder))
            before = facts_in(folder)
        said, _ = driver.communicate(timeout=300)
        assert driver.returncode in {0, -signal.SIGKILL}, said
    finally:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)
    return kills


def made(workflow: Path, folder: Path) -> Path:
    """Make a run without driving it."""
    make_run(load_workflow(workflow), folder, workflow.read_text())
    return folder


def torment(workflow: Path, folder: Path, random: Random, n_kills: int) -> Counter[str]:
    """Kill a run time and again until it is finished; return how often what was killed."""
    made(workflow, folder)
    kinds = [random.choice(KINDS) for _ in range(n_kills)]
    kills: Counter[str] = Counter()
    seen: list[dict[Path, tuple[int, bytes]]] = []
    while daflow.open_run(folder).status().state != "finished":
        kills += session(folder, random, kinds, seen)
    last = receipts(folder)
    for then in seen:
        for path, receipt in then.items():
            assert last[path] == receipt, "what had a receipt ran again"
    ended = [fact for fact in read_journal(folder / "journal.jsonl") if fact["fact"] == "ended"]
    good = Counter((fact["phase"], fact["step"], fact["index"]) for fact in ended if fact["status"] == "ok")
    assert set(good.values()) == {1}, "a task was done twice"
    assert {fact["status"] for fact in ended} <= {"ok", "lost"}
    return kills


def test_that_no_kill_changes_a_bit(workflow, reference, place):
    random = Random(SEED)
    kills: Counter[str] = Counter()
    n_runs = 0
    while kills.total() < KILLS:
        folder = place / f"run-{n_runs}"
        kills += torment(workflow, folder, random, min(KILLS_A_RUN, KILLS - kills.total()))
        n_runs += 1
        assert_same_bits(finals(daflow.open_run(folder)), reference)
        LOG.info("%s runs, %s kills: %s", n_runs, kills.total(), dict(kills))
    assert kills.total() == KILLS


@pytest.fixture(scope="module")
def interrupted(workflow: Path, shared_place: Path) -> Path:
    """A run whose driver was killed among the forecasts, with half of what it does done."""
    folder = made(workflow, shared_place / "interrupted")
    with held(workflow):
        driver = start("resume", folder, stdout=subprocess.DEVNULL)
        while facts_in(folder) < 30 and driver.poll() is None:
            time.sleep(0.02)
        os.killpg(driver.pid, signal.SIGKILL)
        assert driver.wait() == -signal.SIGKILL
    assert 30 <= facts_in(folder) < 60
    return folder


AMONG = """
import os
import signal
from pathlib import Path

def forecast(parameters, observations, member, step):
    with open(Path(__file__).with_name("calls"), "a") as calls:
        calls.write(f"{step} {member}\\n")
    if step == 0 and member == 6 and Path(__file__).with_name("calls").read_text().count("0 6") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return parameters["level"][:3] ** 2 + parameters["level"][4:7]
"""


def test_that_a_death_in_a_group_is_held_against_the_member_under_way_alone(workflow, reference, place):
    beside = written(place, PATIENT.replace("workers: 2", "workers: 2, group: 12"), AMONG)
    folder = place / "run"
    assert command("run", beside, "--run", folder).returncode == 0
    ended = [fact for fact in read_journal(folder / "journal.jsonl") if fact["fact"] == "ended"]
    bad = [fact for fact in ended if fact["status"] != "ok"]
    assert [(fact["phase"], fact["step"], fact["index"], fact["status"]) for fact in bad] == [
        ("forecast", 0, 6, "lost")
    ]
    calls = Counter((place / "calls").read_text().split("\n"))
    # Those before it in its group had not been kept, those behind it had not begun.
    assert [calls[f"0 {member}"] for member in range(12)] == [2] * 7 + [1] * 5
    assert [calls[f"1 {member}"] for member in range(12)] == [1] * 12
    assert_same_bits(finals(daflow.open_run(folder)), reference)


@pytest.fixture
def here(monkeypatch):
    """Let workers be this process."""
    monkeypatch.setattr(launch, "_pool", pool_of([]))


@pytest.mark.parametrize("seed", [1, 2])
def test_that_a_torn_last_line_of_the_journal_is_done_without(interrupted, reference, place, here, seed):
    folder = shutil.copytree(interrupted, place / "run")
    journal, whole = folder / "journal.jsonl", receipts(folder)
    raw = journal.read_bytes()
    begins = raw.rstrip(b"\n").rindex(b"\n") + 1
    journal.write_bytes(raw[: Random(seed).randrange(begins + 1, len(raw))])
    assert daflow.open_run(folder).resume().kind == "finished"
    assert_same_bits(finals(daflow.open_run(folder)), reference)
    assert whole.items() <= receipts(folder).items()


def test_that_receipts_make_up_for_a_journal_that_is_gone(interrupted, reference, place, here):
    folder = shutil.copytree(interrupted, place / "run")
    whole = receipts(folder)
    (folder / "journal.jsonl").unlink()
    assert daflow.open_run(folder).status().state == "not started"
    assert daflow.open_run(folder).resume().kind == "finished"
    assert_same_bits(finals(daflow.open_run(folder)), reference)
    assert whole.items() <= receipts(folder).items()


class FullTmpfs:
    """A disk of a few megabytes in memory that a ballast fills at some moment."""

    def __init__(self, place: Path) -> None:
        self.folder = place / "disk"
        self.folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(self.folder)], check=True)

    def fill(self) -> None:
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            for block in (b"x" * 4096, b"x"):
                try:
                    while ballast.write(block):
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        (self.folder / "ballast").unlink()

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


def may_mount(place: Path) -> bool:
    """Say whether this process may mount a disk."""
    there = place / "mounted"
    there.mkdir()
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(there)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        return False
    subprocess.run(["umount", "--lazy", str(there)], check=True)
    return True


def limited_files(n_bytes: int) -> None:
    """Let no file of this process and its children grow beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


def assert_stopped_for_want_of_space(folder: Path, driver: subprocess.Popen[str]) -> None:
    said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 1, said
    assert "daflow resume" in said
    assert "free space" in said
    assert "Traceback" not in said
    seen = daflow.open_run(folder).status()
    assert seen.resumable
    assert not seen.driver


@pytest.mark.parametrize("n_facts", [5, 40])
def test_that_a_full_disk_stops_a_run_that_goes_on_when_there_is_space(
    workflow, reference, place, here, n_facts
):
    if not may_mount(place):
        stop_at_a_limit(workflow, reference, place, 2500 if n_facts == 5 else 12_000)
        return
    disk = FullTmpfs(place)
    try:
        folder = made(workflow, disk.folder / "run")
        with held(workflow):
            driver = start("resume", folder)
            while facts_in(folder) < n_facts:
                assert driver.poll() is None, driver.communicate()
                time.sleep(0.02)
            disk.fill()
        assert_stopped_for_want_of_space(folder, driver)
        disk.free()
        stop = daflow.open_run(folder).resume()
        assert stop.kind == "finished", stop.reason
        assert_same_bits(finals(daflow.open_run(folder)), reference)
    finally:
        disk.close()


def stop_at_a_limit(workflow, reference, place, n_bytes):
    """Run where files cannot grow beyond so many bytes, then where they can."""
    folder = made(workflow, place / "run")
    driver = start("resume", folder, preexec_fn=lambda: limited_files(n_bytes))
    assert_stopped_for_want_of_space(folder, driver)
    assert daflow.open_run(folder).resume().kind == "finished"
    assert_same_bits(finals(daflow.open_run(folder)), reference)


def test_that_a_journal_that_cannot_grow_stops_a_run_that_goes_on_when_it_can(
    workflow, reference, place, here
):
    stop_at_a_limit(workflow, reference, place, 8000)


def test_that_a_second_driver_is_refused_and_ctrl_c_leaves_a_run_that_resumes(
    workflow, reference, place, here
):
    folder = made(workflow, place / "run")
    with held(workflow):
        driver = start("resume", folder)
        while facts_in(folder) < 3:
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.02)
        second = command("resume", folder)
        assert second.returncode == 1
        assert f"process {driver.pid} on {socket.gethostname()}" in second.stderr
        assert "Traceback" not in second.stderr
        assert daflow.open_run(folder).status().driver == f"process {driver.pid} on {socket.gethostname()}"
        driver.send_signal(signal.SIGINT)
        said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 130, said
    assert "daflow resume" in said
    assert "Traceback" not in said
    seen = daflow.open_run(folder).status()
    assert (seen.state, seen.resumable, seen.driver) == ("interrupted", True, "")
    assert daflow.open_run(folder).resume().kind == "finished"
    assert_same_bits(finals(daflow.open_run(folder)), reference)
