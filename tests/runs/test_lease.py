import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import psutil
import pytest

from daflow.errors import LeaseError, StoreError
from daflow.runs import lease as module
from daflow.runs.journal import Journal, read_journal
from daflow.runs.lease import STALE_SECONDS, Holder, Lease, read_holder

DRIVER = """
import sys
from pathlib import Path
from daflow.runs.lease import Lease
with Lease(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def driver(tmp_path):
    """Return another process that holds the lease until a line is written to it."""
    path = tmp_path / "lease"
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process, path
    process.kill()
    process.communicate()


def write(path, holder):
    path.write_text(json.dumps(asdict(holder)))


def until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def elsewhere(age):
    return replace(Holder.this_process(), host="another-host", renewed=time.time() - age)


def test_that_a_lease_names_its_holder_while_it_is_held_and_nobody_afterwards(tmp_path):
    path = tmp_path / "lease"
    for _ in range(2):
        with Lease(path):
            holder = read_holder(path)
            assert (holder.host, holder.pid) == (socket.gethostname(), os.getpid())
            assert holder.alive()
        assert read_holder(path) is None


def test_that_a_second_driver_is_refused_with_who_and_since_when(driver):
    process, path = driver
    with pytest.raises(LeaseError, match="has a driver already") as error, Lease(path):
        pass
    assert f"process {process.pid} on {socket.gethostname()}, since 20" in error.value.got
    assert read_holder(path).pid == process.pid
    process.communicate("go\n")
    with Lease(path):
        assert read_holder(path).pid == os.getpid()


def test_that_a_second_driver_is_refused_where_locks_are_not_shared_too(driver):
    process, path = driver
    # A copy has the holder's name but not its lock, as a file system without shared locks shows it.
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    with pytest.raises(LeaseError, match=f"process {process.pid}"), Lease(copy):
        pass


def test_that_the_lease_of_a_killed_driver_is_taken_over_even_while_it_is_a_zombie(driver):
    process, path = driver
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert read_holder(path).pid == process.pid
    assert not read_holder(path).alive()
    with Lease(path):
        assert read_holder(path).pid == os.getpid()
    process.wait()


def test_that_a_later_process_with_the_same_number_is_not_the_holder(tmp_path):
    holder = Holder.this_process()
    assert holder.alive()
    assert not replace(holder, born=f"1@{holder.born.partition('@')[2]}").alive()
    assert not replace(holder, born=f"{holder.born.partition('@')[0]}@another-boot").alive()
    assert not replace(holder, pid=2**22 + 1).alive()


def test_that_leases_of_before_tell_a_process_by_when_it_started(tmp_path):
    path = tmp_path / "lease"
    before = {name: value for name, value in asdict(Holder.this_process()).items() if name != "born"}
    path.write_text(json.dumps(before))
    assert read_holder(path).alive()
    path.write_text(json.dumps(before | {"process_started": before["process_started"] - 3600}))
    assert not read_holder(path).alive()


def test_that_a_holder_lives_whatever_the_clock_is_set_to(driver, monkeypatch):
    _, path = driver
    holder, create_time = read_holder(path), psutil.Process.create_time
    # The start of a process in seconds since the epoch moves with the clock.
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: create_time(process) + 86400)
    assert holder.alive()
    assert not replace(holder, born="").alive()


def test_that_another_machine_s_lease_holds_while_it_is_fresh_and_no_longer(tmp_path):
    path = tmp_path / "lease"
    write(path, elsewhere(0))
    with pytest.raises(LeaseError, match="another-host"), Lease(path):
        pass
    write(path, elsewhere(STALE_SECONDS + 1))
    with Lease(path):
        assert read_holder(path).pid == os.getpid()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "x"}', "\0" * 100])
def test_that_a_lease_that_cannot_be_read_is_nobody_s(tmp_path, content):
    path = tmp_path / "lease"
    path.write_text(content)
    assert read_holder(path) is None
    with Lease(path):
        assert read_holder(path).pid == os.getpid()


def test_that_a_process_that_has_the_lock_but_no_name_yet_holds_the_lease(driver):
    _, path = driver
    os.truncate(path, 0)
    with pytest.raises(LeaseError, match="has not written its name"), Lease(path):
        pass


def test_that_a_lease_is_renewed_and_readers_find_its_holder_at_every_moment(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.001)
    path = tmp_path / "lease"
    with Lease(path):
        first = read_holder(path).renewed
        renewed = set()
        while len(renewed) < 20:
            holder = read_holder(path)
            assert holder is not None
            assert holder.since <= first <= holder.renewed
            renewed.add(holder.renewed)
    assert read_holder(path) is None


def test_that_a_lease_that_cannot_be_taken_is_an_error_with_a_cure(tmp_path):
    with (
        pytest.raises(StoreError, match="cannot take the lease") as error,
        Lease(tmp_path / "absent" / "lease"),
    ):
        pass
    assert "mend the permissions" in error.value.do


@pytest.mark.parametrize("number", sorted(module.NO_LOCKS))
def test_that_where_there_are_no_locks_a_lease_still_has_one_holder(tmp_path, monkeypatch, number):
    def refuse(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module.fcntl, "flock", refuse)
    path = tmp_path / "lease"
    with Lease(path), pytest.raises(LeaseError, match="has a driver already"), Lease(path):
        pass
    write(path, elsewhere(STALE_SECONDS - 20))
    with pytest.raises(LeaseError, match="another-host"), Lease(path):
        pass
    write(path, elsewhere(STALE_SECONDS + 1))
    with Lease(path):
        assert read_holder(path).host == socket.gethostname()
    assert [each.name for each in tmp_path.iterdir()] == ["lease"]


def test_that_of_drivers_that_look_at_once_where_there_are_no_locks_one_gets_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(module.fcntl, "flock", lambda file, how: None)
    path = tmp_path / "lease"
    looks = module.read_holder

    def looks_slowly(which):
        found = looks(which)
        time.sleep(0.05)
        return found

    monkeypatch.setattr(module, "read_holder", looks_slowly)
    # Processes of one host know of each other: these are of different ones.
    holders = [replace(Holder.this_process(), host=f"host-{n}") for n in range(4)]
    start, taken, refused = threading.Barrier(4), [], []

    def drive(holder):
        start.wait()
        try:
            with Lease(path, holder):
                taken.append(holder.host)
                until(lambda: len(taken) + len(refused) == len(holders))
        except LeaseError:
            refused.append(holder.host)

    threads = [threading.Thread(target=drive, args=[holder]) for holder in holders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1


def test_that_a_claim_whose_maker_died_is_no_obstacle_and_one_that_is_held_is(tmp_path):
    path, claim = tmp_path / "lease", tmp_path / "lease.claim"
    write(claim, elsewhere(STALE_SECONDS - 20))
    with pytest.raises(LeaseError, match="another-host"), Lease(path):
        pass
    assert claim.exists()
    write(claim, elsewhere(STALE_SECONDS + 1))
    with Lease(path):
        assert not claim.exists()
    claim.write_text("{")
    with pytest.raises(LeaseError, match="not written its name"), Lease(path):
        pass
    os.utime(claim, (1e9, 1e9))
    with Lease(path):
        assert not claim.exists()


def test_that_a_driver_that_was_taken_for_dead_leaves_the_run_to_its_successor(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.02)
    path = tmp_path / "lease"
    with Lease(path) as lease, Journal(tmp_path / "journal", check=lease.check) as journal:
        journal.append({"fact": "one"})
        write(path, elsewhere(0))
        until(lambda: not lease._renewer.is_alive())
        with pytest.raises(LeaseError, match="taken over") as error:
            journal.append({"fact": "two"})
        assert "another-host" in str(error.value)
    assert read_holder(path).host == "another-host"
    assert read_journal(tmp_path / "journal") == [{"fact": "one"}]


HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "r+")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def locked(tmp_path):
    """Return what locks a lease of a given holder for so long, from another process."""
    begun = []

    def lock(holder, seconds):
        path = tmp_path / "lease"
        write(path, holder)
        begun.append(
            subprocess.Popen([sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE)
        )
        begun[0].stdout.readline()
        return path

    yield lock
    for process in begun:
        process.kill()
        process.communicate()


def test_that_a_driver_that_is_dying_is_waited_for(locked, monkeypatch):
    monkeypatch.setattr(module, "DYING_SECONDS", 60.0)
    dead = replace(Holder.this_process(), pid=2**22 + 1)
    with Lease(locked(dead, 0.3)) as lease:
        assert lease.holder.pid == os.getpid()


def test_that_a_lock_of_a_dead_driver_that_stays_is_refused_in_the_end(locked, monkeypatch):
    monkeypatch.setattr(module, "DYING_SECONDS", 0.1)
    path = locked(replace(Holder.this_process(), pid=2**22 + 1), 60)
    with pytest.raises(LeaseError, match="has a driver already"), Lease(path):
        pass


def test_that_one_with_patience_waits_for_the_lease_of_another_host_to_be_stale(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TRY_SECONDS", 0.05)
    path = tmp_path / "lease"
    write(path, elsewhere(STALE_SECONDS - 60.0))
    with pytest.raises(LeaseError, match="another-host"), Lease(path):
        pass
    write(path, elsewhere(STALE_SECONDS - 1.0))
    with Lease(path, patience=60.0):
        assert read_holder(path).pid == os.getpid()
