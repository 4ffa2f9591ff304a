"""Real programs in real processes: small scripts of sh and Python."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from daflow.config.external_models import CommandSettings
from daflow.errors import (
    ConfigError,
    DataError,
    MemberLost,
    ModelFailed,
    ModelTimeout,
    OutputInvalid,
    PoolError,
    StoreError,
)
from daflow.models import command as command_module
from daflow.models import process
from daflow.models.command import Command
from daflow.models.resources import Resources
from daflow.ports import MemberInput

OBSERVATIONS = {"name": np.array(["a", "b", "c"]), "time": np.array([1.0, 2.0, 3.0])}
PARAMETERS = {"rate": np.array(2.5), "field": np.arange(6.0).reshape(2, 3)}
SAVE = "import numpy as np; np.save('out.npy', {})"


@pytest.fixture
def member(tmp_path):
    """Return what a model gets for a member, in directories of its own."""

    def make(number=0, parameters=PARAMETERS):
        folders = [tmp_path / kind / str(number) for kind in ("work", "logs")]
        for folder in folders:
            folder.mkdir(parents=True)
        return MemberInput(number, 1, parameters, OBSERVATIONS, 40 + number, *folders)

    return make


def settings(*argv, **more):
    more = {"output": {"kind": "npy", "file": "out.npy"}} | more
    return CommandSettings.model_validate({"command": argv} | more)


def python(script, *args, **more):
    return settings(sys.executable, "-c", textwrap.dedent(script), *args, **more)


def gone(pid):
    """Whether a process has ended, waiting a little for the kernel to say so."""
    for _ in range(3000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def appears(path):
    for _ in range(3000):
        if path.is_file() and path.read_text().strip():
            return path.read_text().split()
        time.sleep(0.02)
    pytest.fail(f"{path} was not written")


def test_that_a_command_predicts_from_the_files_it_was_given(member, tmp_path):
    (tmp_path / "deck.txt").write_text("{{ rate }} {{ member }} {{ step }} {{ seed }}\n")
    script = "import numpy as np; np.save('out.npy', np.array(open('deck.txt').read().split()[:3], float))"
    model = Command(python(script, files=[{"kind": "template", "source": str(tmp_path / "deck.txt")}]))
    given = member(7)
    assert model.forecast(given).tolist() == [2.5, 7.0, 1.0]
    assert not given.work_dir.exists()
    record = json.loads((given.log_dir / "command.json").read_text())
    assert record["argv"][1:3] == ["-c", script]
    assert (record["exit_code"], record["ended_by"]) == (0, "itself")
    assert record["seconds"] > 0
    assert record["cpu_seconds"] > 0


def test_that_placeholders_are_filled_in_and_doubled_braces_are_single_ones(member, tmp_path):
    script = (
        "import os, sys, numpy as np; print(sys.argv[1:], os.environ['PLACE']); np.save('out.npy', [1, 2, 3])"
    )
    model = Command(
        python(script, "{member}-{step}-{seed}", "${{x}} {print $1}", environment={"PLACE": "{work_dir}"})
    )
    given = member(3)
    model.forecast(given)
    printed = (given.log_dir / "stdout.txt").read_text()
    assert "['3-1-43', '${x} {print $1}']" in printed
    assert str(given.work_dir) in printed


def test_that_an_unknown_placeholder_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"\{membr\} is no placeholder: did you mean \{member\}"):
        settings("true", "{membr}")


def test_that_the_program_may_not_differ_between_members():
    with pytest.raises(ConfigError, match="cannot differ between members"):
        Command(settings("./simulate-{member}"))


def test_that_a_relative_program_starts_at_the_workflow_folder(member, tmp_path):
    program = tmp_path / "simulate.sh"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{SAVE.format("[1., 2., 3.]")}"\n')
    with pytest.raises(ConfigError, match=r"simulate.sh is not executable\n(.|\n)*chmod \+x"):
        Command(settings("./simulate.sh", folder=str(tmp_path)))
    program.chmod(0o755)
    for written in ("./simulate.sh", "{folder}/simulate.sh"):
        model = Command(settings(written, folder=str(tmp_path)))
        assert model.forecast(member(len(written))).tolist() == [1.0, 2.0, 3.0]


def test_that_a_command_that_does_not_exist_is_refused_at_construction():
    with pytest.raises(ConfigError, match="no-such-simulator not found"):
        Command(settings("no-such-simulator"))


def test_that_a_command_that_runs_elsewhere_is_looked_for_where_a_member_begins(
    member, tmp_path, monkeypatch
):
    folder = tmp_path / "of the node"
    folder.mkdir()
    model = pickle.loads(pickle.dumps(Command(settings("simulate"), elsewhere=True)))  # noqa: S301 - ours
    with pytest.raises(PoolError, match="simulate not found on ") as error:
        model.forecast(member(0))
    assert "execution.prologue" in error.value.do
    program = folder / "simulate"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{SAVE.format("[1., 2., 3.]")}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    assert model.forecast(member(1)).tolist() == [1.0, 2.0, 3.0]


def test_that_a_file_that_does_not_exist_is_refused_at_construction(tmp_path):
    for entry in (
        {"kind": "copy", "source": str(tmp_path / "no")},
        {"kind": "template", "source": str(tmp_path / "no")},
        {"kind": "array", "source": {"file": str(tmp_path / "no")}, "target": "x", "format": "npy"},
    ):
        with pytest.raises(DataError, match="no"):
            Command(settings("true", files=[entry]))


def test_that_a_non_zero_exit_is_a_failure_with_the_last_words(member):
    given = member()
    with pytest.raises(ModelFailed, match=r"exit code 3(.|\n)*stderr.txt: no convergence"):
        Command(settings("sh", "-c", "echo hello; echo no convergence >&2; exit 3")).forecast(given)
    assert (given.log_dir / "stdout.txt").read_text() == "hello\n"
    assert given.work_dir.exists()


def test_that_the_user_says_which_exit_codes_are_success(member):
    script = SAVE.format("[1, 2, 3]") + "; raise SystemExit(3)"
    assert Command(python(script, success_codes=[0, 3])).forecast(member()).tolist() == [1, 2, 3]


def test_that_the_last_words_are_standard_output_where_standard_error_is_empty(member):
    with pytest.raises(ModelFailed, match=r"stdout.txt: out of cheese"):
        Command(settings("sh", "-c", "echo out of cheese; exit 1")).forecast(member())


@pytest.mark.parametrize(
    ("number", "fact"),
    [(signal.SIGSEGV, ModelFailed), (signal.SIGKILL, MemberLost), (signal.SIGTERM, MemberLost)],
)
def test_that_a_signal_from_outside_loses_a_member_and_its_own_fails_it(member, number, fact):
    with pytest.raises(fact, match=f"killed by {number.name}"):
        Command(settings("sh", "-c", f"kill -{int(number)} $$")).forecast(member())


def test_that_a_program_that_cannot_be_started_says_why(member, tmp_path):
    program = tmp_path / "simulate"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    with pytest.raises(ModelFailed, match=r"cannot start .*simulate: No such file"):
        Command(settings(str(program))).forecast(member())


def test_that_a_timeout_ends_the_program_and_all_it_started(member):
    given = member()
    model = Command(settings("sh", "-c", "sleep 60 & echo $$ $!; wait", timeout=1.5))
    with pytest.raises(ModelTimeout, match=r"timeout: 1.5 s"):
        model.forecast(given)
    pids = (given.log_dir / "stdout.txt").read_text().split()
    assert len(pids) == 2
    assert all(gone(int(pid)) for pid in pids)
    assert json.loads((given.log_dir / "command.json").read_text())["ended_by"] == "timeout"


def test_that_a_program_deaf_to_sigterm_is_killed_after_the_grace(member, monkeypatch):
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.3)
    script = "trap '' TERM; echo $$; while true; do sleep 0.1; done"
    given = member()
    with pytest.raises(ModelTimeout):
        Command(settings("sh", "-c", script, timeout=1.5)).forecast(given)
    assert json.loads((given.log_dir / "command.json").read_text())["signal"] == "SIGKILL"
    assert gone(int((given.log_dir / "stdout.txt").read_text()))


def test_that_nothing_a_program_leaves_behind_outlives_it(member):
    given = member()
    # One stays in the program's group, one leaves it for a session of its own.
    script = (
        f'sleep 60 & echo $!; setsid sleep 61 & echo $!; {sys.executable} -c "{SAVE.format("[1, 2, 3]")}"'
    )
    Command(settings("sh", "-c", script)).forecast(given)
    assert all(gone(int(pid)) for pid in (given.log_dir / "stdout.txt").read_text().split())


WORKER = """
import sys, threading
from pathlib import Path
import numpy as np
from daflow.config.external_models import CommandSettings
from daflow.models.command import Command
from daflow.models.resources import Resources
from daflow.ports import MemberInput

work, logs = Path(sys.argv[1]), Path(sys.argv[2])
model = Command(CommandSettings.model_validate({
    "command": ["sh", "-c", "sleep 60 & setsid sleep 61 & echo $$ $! > pids; wait"],
    "output": {"kind": "npy", "file": "out.npy"},
}))
given = MemberInput(0, 0, {}, {"name": np.array(["a"])}, 1, work, logs)
thread = threading.Thread(target=model.forecast, args=(given,))
thread.start()
"""


def worker(given, script=WORKER):
    return subprocess.Popen([sys.executable, "-c", script, str(given.work_dir), str(given.log_dir)])


def test_that_sigkill_of_the_worker_leaves_no_orphan(member):
    given = member()
    with worker(given) as running:
        pids = [int(pid) for pid in appears(given.work_dir / "pids")]
        launcher = json.loads((given.log_dir / "command.json").read_text())
        running.kill()
    assert launcher["pid"] == pids[0]
    assert all(gone(pid) for pid in pids)


def test_that_a_fork_that_holds_the_pipe_does_not_keep_the_program_alive(member):
    given = member()
    fork = "\nimport os, time\nwhile not (work / 'pids').exists(): time.sleep(0.02)\n"
    fork += "import warnings\nwarnings.simplefilter('ignore')\n"
    fork += "child = os.fork()\nif child == 0:\n    time.sleep(30)\n    os._exit(0)\n"
    fork += "(logs / 'fork').write_text(str(child))\n"
    with worker(given, WORKER + fork) as running:
        pids = [int(pid) for pid in appears(given.work_dir / "pids")]
        child = int(appears(given.log_dir / "fork")[0])
        running.kill()
    assert all(gone(pid) for pid in pids)
    os.kill(child, signal.SIGKILL)


def test_that_a_launcher_told_to_stop_ends_the_program(member):
    given = member()
    seen = []

    def stop():
        pid = int(appears(given.work_dir / "pid")[0])
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGTERM)
        seen.append(pid)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(MemberLost, match="ended from outside"):
        Command(settings("sh", "-c", "echo $$ > pid; sleep 60")).forecast(given)
    thread.join()
    assert gone(seen[0])


def test_that_a_killed_launcher_takes_the_program_and_its_group_along(member):
    given = member()
    seen = []

    def kill():
        pid, child = map(int, appears(given.work_dir / "pid"))
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)
        seen.extend([pid, child])

    thread = threading.Thread(target=kill)
    thread.start()
    # The run goes on elsewhere: a memory limit or an operator took the launcher, the model said nothing.
    with pytest.raises(MemberLost, match="the launcher that watches it was ended"):
        Command(settings("sh", "-c", "sleep 60 & echo $$ $! > pid; wait")).forecast(given)
    thread.join()
    assert all(gone(pid) for pid in seen)


def test_that_a_program_reads_nothing_from_standard_input(member):
    script = "import sys, numpy as np; assert sys.stdin.read() == ''; " + SAVE.format("[1, 2, 3]")
    Command(python(script)).forecast(member())


def test_that_members_run_at_once_without_meeting(member):
    # Each waits until the other has started: one after the other they would never end.
    script = """
        import sys, time, numpy as np
        from pathlib import Path
        me = int(sys.argv[1]); Path("started").touch()
        while not (Path.cwd().parent / str(1 - me) / "started").exists(): time.sleep(0.01)
        np.save("out.npy", [me, me, me])
    """
    model = Command(python(script, "{member}", timeout=300, keep="always"))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(model.forecast, [member(0), member(1)])
    assert (first.tolist(), second.tolist()) == ([0, 0, 0], [1, 1, 1])


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("pass", "out.npy: the command did not write it"),
        (SAVE.format("[1., np.nan, 3.]"), r"1 of 3 predictions are not finite(.|\n)*row 1 \(b at 2.0\): nan"),
        (SAVE.format("[1., 2.]"), r"not one prediction for each observation(.|\n)*\(2,\)"),
        (SAVE.format("['x', 'y', 'z']"), "not real numbers"),
        (SAVE.format("[1., 2., 3.]") + "; open('out.npy', 'r+b').truncate(140)", "cannot be read as .npy"),
        ("open('out.npy', 'wb')", "cannot be read as .npy"),
        ("import numpy as np; np.savez(open('out.npy', 'wb'), a=1)", "an .npz archive"),
    ],
)
def test_that_output_that_cannot_be_used_is_invalid_whatever_the_exit_code(member, script, message):
    given = member()
    with pytest.raises(OutputInvalid, match=message):
        Command(python(script)).forecast(given)
    assert given.work_dir.exists()


@pytest.mark.parametrize(
    ("keep", "after_success", "after_failure"),
    [("failed", False, True), ("always", True, True), ("never", False, False)],
)
def test_that_the_directory_stays_as_the_settings_say(member, keep, after_success, after_failure):
    good, bad = member(0), member(1)
    Command(python(SAVE.format("[1, 2, 3]"), keep=keep)).forecast(good)
    with pytest.raises(ModelFailed):
        Command(settings("false", keep=keep)).forecast(bad)
    assert (good.work_dir.exists(), bad.work_dir.exists()) == (after_success, after_failure)
    assert (bad.log_dir / "command.json").exists()


class Counting(dict):
    """Parameters that note which of them were read."""

    def __getitem__(self, name):
        self.read.append(name)
        return super().__getitem__(name)


def test_that_only_the_variables_that_files_ask_for_are_read(member):
    parameters = Counting(PARAMETERS)
    parameters.read = []
    entry = {"kind": "array", "variable": "rate", "target": "rate.npy", "format": "npy"}
    model = Command(python(SAVE.format("[1, 2, 3]"), files=[entry]))
    model.forecast(member(parameters=parameters))
    assert model.variables == {"rate"}
    assert set(parameters.read) == {"rate"}


def test_that_a_variable_that_the_prior_does_not_have_is_named_with_the_nearest(member):
    entry = {"kind": "array", "variable": "rates", "target": "x.npy", "format": "npy"}
    with pytest.raises(ConfigError, match="did you mean 'rate'"):
        Command(settings("true", files=[entry])).forecast(member())


def test_that_a_place_that_cannot_be_written_is_no_fault_of_the_member(member, tmp_path):
    (tmp_path / "include").write_text("a file where a folder is needed")
    files = [
        {"kind": "copy", "source": str(tmp_path / "include")},
        {"kind": "copy", "source": str(tmp_path / "include"), "target": "include/deeper"},
    ]
    with pytest.raises(StoreError, match="cannot be written"):
        Command(settings("true", files=files)).forecast(member())


def test_that_a_failure_on_a_full_disk_is_no_fault_of_the_member(member, monkeypatch):
    monkeypatch.setattr(command_module, "FULL_DISK_BYTES", 1 << 62)
    monkeypatch.setattr(command_module, "ROOM_SECONDS", 0.2)
    with pytest.raises(StoreError, match="the disk is full"):
        Command(settings("false")).forecast(member())


def test_that_a_member_on_a_disk_that_was_full_for_a_moment_is_tried_again(member, monkeypatch):
    monkeypatch.setattr(command_module, "FULL_DISK_BYTES", 1 << 62)
    free = iter([0, 0, 1 << 62])
    monkeypatch.setattr(command_module, "_free", lambda place: next(free))
    with pytest.raises(MemberLost, match=r"full for a moment; false: exit code 1"):
        Command(settings("false")).forecast(member())


def test_that_a_disk_that_had_no_room_for_last_words_was_full_whatever_it_has_now(member):
    given = member()
    given.log_dir.mkdir(parents=True, exist_ok=True)
    (given.log_dir / "stderr.txt").symlink_to("/dev/full")
    with pytest.raises(MemberLost, match=r"full for a moment; sh: exit code 1"):
        Command(settings("sh", "-c", "echo no room >&2; exit 1")).forecast(given)


def test_that_a_disk_that_was_full_while_the_member_ran_counts(member, monkeypatch):
    monkeypatch.setattr(command_module, "FULL_DISK_BYTES", 1 << 62)
    monkeypatch.setattr(command_module, "_free", lambda place: 1 << 62)
    with pytest.raises(MemberLost, match=r"full for a moment; false: exit code 1"):
        Command(settings("false")).forecast(member())


def test_that_a_member_that_filled_the_disk_has_failed_and_is_removed(member, monkeypatch):
    monkeypatch.setattr(command_module, "FULL_DISK_BYTES", 1 << 62)
    monkeypatch.setattr(command_module, "OWN_SHARE", 0.0)
    given = member()
    with pytest.raises(ModelFailed, match=r"it filled the disk; sh: exit code 3(.|\n)*0\.1 MB in its own"):
        Command(settings("sh", "-c", "head -c 100000 /dev/zero > big; sync; exit 3")).forecast(given)
    assert not given.work_dir.exists()


def test_that_a_target_is_written_once_and_inside_the_directory(tmp_path):
    entry = {"kind": "copy", "source": str(tmp_path)}
    with pytest.raises(ValueError, match="would be written twice"):
        settings("true", files=[entry, entry])
    for target in ("../x", "/x", "."):
        with pytest.raises(ValueError, match="stay inside"):
            settings("true", files=[entry | {"target": target}])


def test_that_a_model_travels_as_its_settings(member):
    model = pickle.loads(pickle.dumps(Command(python(SAVE.format("[1, 2, 3]")))))  # noqa: S301 - its own
    assert model.forecast(member()).tolist() == [1, 2, 3]


def told(variables):
    return f"import os; print([os.environ.get(name) for name in {variables!r}]); {SAVE.format('[1, 2, 3]')}"


def test_that_a_program_is_told_what_it_has_and_the_settings_have_the_last_word(member):
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    model = python(
        f"import sys; print(sys.argv[1:]); {told(names)}",
        "{cores}",
        "{tasks}",
        "{nodes}",
        environment={"MKL_NUM_THREADS": "{tasks}"},
    )
    given = member()
    Command(model, Resources(4, 6, 2)).forecast(given)
    assert (given.log_dir / "stdout.txt").read_text() == "['4', '6', '2']\n['4', '6', '4']\n"


def test_that_nothing_is_said_of_threads_where_nobody_said_how_many(member, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    given = member()
    Command(python(told(("OMP_NUM_THREADS",)), "{cores}")).forecast(given)
    assert (given.log_dir / "stdout.txt").read_text() == "['9']\n"


def test_that_a_launcher_stands_before_the_command_and_travels_with_it(member):
    script = "import sys; print(sys.argv[1:]); import numpy as np; np.save('out.npy', [1, 2, 3])"
    model = Command(python(script, "x"), Resources(2, 3, 1, "env RANKS={tasks} 'A B={cores}'"))
    travelled = pickle.loads(pickle.dumps(model))  # noqa: S301 - its own
    given = member()
    assert travelled.forecast(given).tolist() == [1, 2, 3]
    argv = json.loads((given.log_dir / "command.json").read_text())["argv"]
    assert argv[:3] == ["env", "RANKS=3", "A B=2"]


@pytest.mark.parametrize(("code", "fact"), [(137, MemberLost), (143, MemberLost), (139, ModelFailed)])
def test_that_a_launcher_tells_by_its_exit_code_which_signal_ended_a_process(member, code, fact):
    launched = Resources(1, 2, 1, "env")
    with pytest.raises(fact, match="killed by SIG"):
        Command(settings("sh", "-c", f"exit {code}"), launched).forecast(member())
    with pytest.raises(ModelFailed, match=f"exit code {code}"):
        Command(settings("sh", "-c", f"exit {code}")).forecast(member(1))


def test_that_a_twin_needs_a_function_that_tells_what_can_be_observed(tmp_path):
    with pytest.raises(ConfigError, match="twin experiment"):
        Command(settings("true")).observables()
    (tmp_path / "seen_by_command.py").write_text(
        "def table():\n    return {'name': ['a', 'b'], 'time': [1, 2]}\n"
    )
    model = Command(settings("true", observables="seen_by_command:table", folder=str(tmp_path)))
    assert model.observables()["time"].tolist() == [1, 2]
