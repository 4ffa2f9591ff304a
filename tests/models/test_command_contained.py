"""Programs that misbehave: that talk without end, leave daemons, fill the disk, lose their watcher."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from daflow.config.external_models import CommandSettings
from daflow.errors import MemberLost, ModelFailed, ModelTimeout, OutputInvalid, StoreError
from daflow.models import command, launcher, orphans, process
from daflow.models.command import Command
from daflow.ports import MemberInput

SAVE = f"{sys.executable} -I -c \"import numpy as np; np.save('out.npy', [1., 2., 3.])\""
DAEMON = "import os, signal, time\n" + "".join(
    f"signal.signal(signal.{name}, signal.SIG_IGN)\n" for name in ("SIGTERM", "SIGHUP", "SIGINT")
)
DAEMON += """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("daemon", "w").write(str(os.getpid()))
        time.sleep(60)
    os._exit(0)
while not (os.path.exists("daemon") and open("daemon").read()):
    time.sleep(0.01)
"""
"""A child of a child in a session of its own, deaf to what asks it to go: as MPI starts its own."""


@pytest.fixture
def given(tmp_path):
    for kind in ("work", "logs"):
        (tmp_path / kind).mkdir()
    observations = {"name": np.array(["a", "b", "c"])}
    return MemberInput(0, 1, {}, observations, 40, tmp_path / "work", tmp_path / "logs")


def shell(script, **more):
    more = {"output": {"kind": "npy", "file": "out.npy"}, "keep": "always"} | more
    return Command(CommandSettings.model_validate({"command": ["sh", "-c", script]} | more))


def with_daemon(script, given, **more):
    (given.work_dir / "daemon.py").write_text(DAEMON)
    return shell(f"{sys.executable} -I -S daemon.py; {script}", **more)


def pid_in(path):
    for _ in range(6000):
        if path.is_file() and (text := path.read_text().strip()):
            return int(text)
        time.sleep(0.01)
    pytest.fail(f"{path} was not written")


def gone(pid):
    for _ in range(3000):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def record_of(given):
    return json.loads((given.log_dir / "command.json").read_text())


def test_that_an_endless_log_keeps_its_head_and_its_tail(given, monkeypatch):
    monkeypatch.setattr(process, "LOG_BYTES", 10_000)
    script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo the last word"
    shell(f"{script}; echo little >&2; {SAVE}").forecast(given)
    said = (given.log_dir / "stdout.txt").read_text()
    whole = "".join(f"line {i}\n" for i in range(20000)) + "the last word\n"
    n_gone = record_of(given)["log_bytes_left_out"]
    assert len(whole) == 20_000 + n_gone
    assert said == f"{whole[:10_000]}\n[... {n_gone} bytes left out ...]\n{whole[-10_000:]}"
    assert (given.log_dir / "stderr.txt").read_text() == "little\n"


@pytest.mark.parametrize("n_bytes", [0, 1, 9_999, 10_000, 10_001, 20_000, 20_001, 30_001])
def test_that_a_log_is_whole_up_to_twice_the_limit(given, monkeypatch, n_bytes):
    monkeypatch.setattr(process, "LOG_BYTES", 10_000)
    (given.work_dir / "words").write_bytes(whole := bytes(np.arange(n_bytes, dtype=np.uint8)))
    shell(f"cat words; {SAVE}").forecast(given)
    said = (given.log_dir / "stdout.txt").read_bytes()
    n_gone = max(n_bytes - 20_000, 0)
    assert record_of(given)["log_bytes_left_out"] == n_gone
    if n_gone:
        assert said.startswith(whole[:10_000])
        assert said.endswith(whole[-10_000:])
    else:
        assert said == whole


def test_that_a_program_that_never_stops_talking_is_timed_all_the_same(given, monkeypatch):
    monkeypatch.setattr(process, "LOG_BYTES", 10_000)
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.2)
    with pytest.raises(ModelTimeout, match=r"stderr\.txt: y"):
        shell("trap '' TERM; yes & yes >&2", timeout=1.5).forecast(given)
    assert sum(path.stat().st_size for path in given.log_dir.iterdir()) < 50_000


def test_that_what_was_said_last_is_there_before_the_program_ends(given, monkeypatch):
    monkeypatch.setattr(process, "LOG_BYTES", 1000)
    # It waits until it has seen its own word there, and goes on talking, as it would.
    script = "yes | head -c 5000; echo now; until grep -q now $LOGS/stdout.txt; do sleep 0.2; echo; done"
    model = shell(f"{script}; {SAVE}", environment={"LOGS": "{log_dir}"}, timeout=60)
    assert model.forecast(given).tolist() == [1.0, 2.0, 3.0]


def test_that_a_daemon_in_a_session_of_its_own_does_not_outlive_its_program(given):
    with_daemon(SAVE, given).forecast(given)
    assert gone(pid_in(given.work_dir / "daemon"))
    assert record_of(given)["left_behind"] >= 1


def test_that_a_daemon_does_not_outlive_a_timeout(given, monkeypatch):
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.1)
    with pytest.raises(ModelTimeout):
        with_daemon("sleep 60", given, timeout=3.0).forecast(given)
    assert gone(pid_in(given.work_dir / "daemon"))


COUNTS = """
import os, time
from pathlib import Path

for _ in range(40):
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(0.1)
        os._exit(0)
    os.wait()
watcher, ended, until = os.getppid(), 40, time.monotonic() + 60
while ended > 2 and time.monotonic() < until:
    time.sleep(0.5)
    ended = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            ended += state == "Z" and int(parent) == watcher
Path("ended").write_text(str(ended))
"""


def test_that_orphans_that_have_ended_do_not_pile_up_while_the_program_runs(given):
    (given.work_dir / "counts.py").write_text(COUNTS)
    with pytest.raises(OutputInvalid, match="did not write it"):
        shell(f"exec {sys.executable} -I -S counts.py").forecast(given)
    assert int((given.work_dir / "ended").read_text()) <= 2


@pytest.mark.parametrize("script", ["rm -r $PWD; exit 3", "rm -r $PWD"])
def test_that_a_member_whose_directory_is_removed_while_it_runs_is_lost_and_not_failed(given, script):
    # As when a run is resumed by other workers and finished while an earlier one's are still at work.
    with pytest.raises(MemberLost, match="its directory was removed while it ran"):
        shell(script).forecast(given)


def launcher_of(given):
    pid = pid_in(given.work_dir / "pid")
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_that_a_daemon_does_not_outlive_a_launcher_that_was_killed(given):
    def kill():
        os.kill(launcher_of(given), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(MemberLost, match="the launcher that watches it was ended"):
        with_daemon("echo $$ > pid; sleep 60", given).forecast(given)
    thread.join()
    assert gone(pid_in(given.work_dir / "daemon"))


def test_that_a_launcher_that_hangs_is_ended_with_all_that_it_watches_once_the_timeout_is_over(
    given, monkeypatch
):
    for name in ("GRACE_SECONDS", "PATIENCE_SECONDS", "ANSWER_SECONDS"):
        monkeypatch.setattr(process, name, 0.1)
    thread = threading.Thread(target=lambda: os.kill(launcher_of(given), signal.SIGSTOP))
    thread.start()
    with pytest.raises(MemberLost, match="it hung"):
        with_daemon("echo $$ > pid; sleep 60", given, timeout=4.0).forecast(given)
    thread.join()
    assert gone(pid_in(given.work_dir / "daemon"))
    assert gone(pid_in(given.work_dir / "pid"))


WORKER = """
import sys
from pathlib import Path
import numpy as np
from daflow.config.external_models import CommandSettings
from daflow.models.command import Command
from daflow.ports import MemberInput

work, logs = Path(sys.argv[1]), Path(sys.argv[2])
Command(CommandSettings.model_validate({
    "command": ["sh", "-c", sys.executable + " -I -S daemon.py; echo $$ > pid; sleep 60"],
    "output": {"kind": "npy", "file": "out.npy"},
})).forecast(MemberInput(0, 0, {}, {"name": np.array(["a"])}, 1, work, logs))
"""


def test_that_the_next_worker_ends_what_a_worker_killed_with_its_launcher_left(given):
    (given.work_dir / "daemon.py").write_text(DAEMON)
    folders = [str(given.work_dir), str(given.log_dir)]
    with subprocess.Popen([sys.executable, "-c", WORKER, *folders]) as worker:
        launcher = launcher_of(given)
        # As a memory limit may: both at once, so that neither can end anything.
        os.kill(launcher, signal.SIGSTOP)
        worker.kill()
        os.kill(launcher, signal.SIGKILL)
    daemon = pid_in(given.work_dir / "daemon")
    assert not gone_now(daemon)
    # What others run meanwhile is none of its business.
    with subprocess.Popen(["sleep", "60"]) as other:
        assert orphans.end_orphans() >= 1
        assert gone(daemon)
        assert other.poll() is None
        other.kill()


def gone_now(pid):
    return not Path(f"/proc/{pid}").exists()


def test_that_the_command_of_a_living_launcher_is_no_orphan(given):
    ended = []
    model = shell(f"echo $$ > pid; sleep 0.5; {SAVE}")
    thread = threading.Thread(target=lambda: ended.append(model.forecast(given)))
    thread.start()
    pid_in(given.work_dir / "pid")
    orphans.end_orphans()
    thread.join()
    assert ended[0].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("mark", "orphaned"),
    [
        (f"999999999 17 {launcher.here()}", True),
        ("999999999 17 pid:[1] another-machine", False),
        (f"999999999 17 {launcher.here()} and more", False),
        ("", False),
        (f"{os.getpid()} 17 {launcher.here()}", True),
        (launcher.mark_of(os.getpid()), False),
    ],
    ids=["gone", "elsewhere", "another count", "none", "a later one of that number", "alive"],
)
def test_that_only_a_mark_made_here_of_a_launcher_that_is_gone_makes_an_orphan(mark, orphaned):
    # A batch system takes the environment of who submits to other machines.
    with subprocess.Popen(["sleep", "60"], env=os.environ | {orphans.MARK: mark}) as marked:
        orphans.end_orphans()
        with suppress(subprocess.TimeoutExpired):
            marked.wait(60 if orphaned else 0.1)
        assert (marked.poll() is not None) == orphaned
        marked.kill()


def test_that_logs_that_cannot_be_written_do_not_end_the_program(given):
    # As where the disk is full: it is the program's own files that count.
    for name in ("stdout.txt", "stderr.txt", "command.json"):
        (given.log_dir / name).mkdir()
    model = shell(f"echo hello; {SAVE}")
    assert model.forecast(given).tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ModelFailed, match="exit code 4"):
        shell("yes | head -c 3000000; exit 4").forecast(given)


def test_that_a_machine_without_room_for_a_process_loses_the_member(given, monkeypatch):
    def refused(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(process.subprocess, "Popen", refused)
    with pytest.raises(MemberLost, match=r"cannot be started here\n(.|\n)*temporarily unavailable"):
        shell("true").forecast(given)


@pytest.fixture
def small_disk(given, monkeypatch):
    """Put the member's directory on a disk of 16 MB; without the right to mount one, on none."""
    place = given.work_dir / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no right to mount a disk here")
    monkeypatch.setattr(command, "ROOM_SECONDS", 1.0)
    (place / "member").mkdir()
    parts = (given.member, given.step, {}, given.observations, given.seed)
    yield MemberInput(*parts, place / "member", given.log_dir)
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(given):
    """Let another than the member fill its disk; return what is in the way."""
    ballast = given.work_dir.parent / "ballast"
    subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=64k"], capture_output=True, check=False)
    return ballast


@pytest.fixture
def soon(monkeypatch):
    """Return what frees a disk a moment after it was found full, which is then waited for."""
    timers = []

    def free(ballast):
        def looked_again(place):
            timers.append(threading.Timer(0.3, ballast.unlink))
            timers[-1].start()
            return look_again(place)

        look_again = command._room_again
        monkeypatch.setattr(command, "_room_again", looked_again)
        monkeypatch.setattr(command, "ROOM_SECONDS", 60.0)

    yield free
    for timer in timers:
        timer.join()


WRITES = "head -c 60000000 /dev/zero > restart.dat || exit 7"


def test_that_a_member_that_fills_a_small_disk_fails_alone_and_leaves_room(small_disk):
    with pytest.raises(ModelFailed, match=r"it filled the disk; sh: exit code 7"):
        shell(WRITES, keep="failed").forecast(small_disk)
    assert shutil.disk_usage(small_disk.work_dir.parent).free > 15e6


def test_that_a_disk_that_others_filled_stops_the_run_and_not_the_member(small_disk):
    fill(small_disk)
    with pytest.raises(StoreError, match="the disk is full, and the model failed there"):
        shell(WRITES).forecast(small_disk)


def test_that_a_member_that_met_a_full_disk_for_a_moment_is_lost_and_not_failed(small_disk, soon):
    soon(fill(small_disk))
    with pytest.raises(MemberLost, match="the disk was full for a moment"):
        shell(WRITES.replace("60000000", "100000")).forecast(small_disk)


def test_that_a_member_whose_files_find_no_room_for_a_moment_is_lost_and_not_blocked(small_disk, soon):
    (small_disk.log_dir / "include").write_bytes(bytes(300_000))
    files = [{"kind": "copy", "source": str(small_disk.log_dir / "include")}]
    soon(fill(small_disk))
    with pytest.raises(MemberLost, match="full for a moment, before the model began"):
        shell("true", files=files).forecast(small_disk)


def test_that_a_member_whose_files_find_no_room_stops_the_run(small_disk):
    (small_disk.log_dir / "include").write_bytes(bytes(300_000))
    fill(small_disk)
    with pytest.raises(StoreError, match="cannot be written"):
        shell("true", files=[{"kind": "copy", "source": str(small_disk.log_dir / "include")}]).forecast(
            small_disk
        )


def test_that_a_run_s_member_stops_talking_into_a_full_disk_and_goes_on(small_disk, given):
    # Logs on the full disk are cut short; what counts is elsewhere and whole.
    fill(small_disk)
    given = MemberInput(0, 1, {}, given.observations, 40, given.work_dir, small_disk.work_dir)
    assert shell(f"yes | head -c 3000000; {SAVE}").forecast(given).tolist() == [1.0, 2.0, 3.0]


@pytest.fixture
def freezer():
    """Yield a function that lets a process hang in the kernel, deaf to SIGKILL, until the test is over."""
    group = Path(f"/sys/fs/cgroup/freezer/daflow-{os.getpid()}")
    try:
        group.mkdir()
    except OSError as problem:
        pytest.skip(f"no freezer here: {problem}")

    def freeze(pid):
        (group / "cgroup.procs").write_text(str(pid))
        (group / "freezer.state").write_text("FROZEN")

    yield freeze
    (group / "freezer.state").write_text("THAWED")
    for _ in range(500):
        if not (group / "cgroup.procs").read_text():
            break
        time.sleep(0.01)
    group.rmdir()


def test_that_a_program_that_hangs_in_the_kernel_does_not_hang_its_worker(given, monkeypatch, freezer):
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(process, "PATIENCE_SECONDS", 0.3)
    thread = threading.Thread(target=lambda: freezer(pid_in(given.work_dir / "pid")))
    thread.start()
    with pytest.raises(ModelTimeout, match="ended after"):
        shell("echo $$ > pid; sleep 60", timeout=3.0).forecast(given)
    thread.join()
    assert record_of(given)["hangs"]
