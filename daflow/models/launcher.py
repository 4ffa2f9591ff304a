"""Start a command, watch it, and let nothing of it outlive the worker that asked for it.

A worker that is killed can end nothing any more, so this small program stands between it and the command:
``python -I -S launcher.py`` with a pipe from the worker as standard input. The first line there is the order
(JSON); the end of that pipe, or a new parent, means that the worker is gone. It imports the standard library
only, and little of it: it is started once a member.

What it found goes to ``command.json``, written when the command starts and again when it has ended.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.5
"""How often the parent is looked at; the end of the command or of the pipe is noticed at once."""
PATIENCE_SECONDS = 10.0
"""How long killed processes may take to go: one that hangs in the kernel must not hang the run."""
SET_PARENT_DEATH_SIGNAL = 1
SET_CHILD_SUBREAPER = 36
CANNOT_START = 127


def main() -> int:
    """Carry out the order that comes on standard input; return 0 unless there was none."""
    parent = os.getppid()
    line = _first_line()
    if not line:
        return 1
    order: dict[str, Any] = json.loads(line)
    alarm = _wakeup_pipe()
    # Whatever the command leaves behind becomes this process's child, so that it can be found and ended.
    _prctl(SET_CHILD_SUBREAPER, 1)
    record = {"argv": order["argv"], "work_dir": order["work_dir"], "started": time.time()}
    began = time.monotonic()
    command = _start(order)
    _write(order["record"], record | {"pid": command})
    limit = order["timeout"]
    ended_by = _watch(command, alarm, parent, None if limit is None else began + limit)
    if ended_by == "timeout":
        _signal_group(command, signal.SIGTERM)
        _wait_until_ended(command, alarm, order["grace"])
    # Whatever is left of its group goes before the command is waited for: until then its number is its own.
    _signal_group(command, signal.SIGKILL)
    status, usage = os.wait4(command, 0)[1:]
    record |= {
        "pid": command,
        "ended_by": ended_by,
        "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "signal": signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else None,
        "seconds": time.monotonic() - began,
    }
    _end_descendants()
    everyone = os.times()
    record |= {
        "cpu_seconds": everyone.children_user + everyone.children_system,
        "peak_memory_kib": usage.ru_maxrss,
    }
    _write(order["record"], record)
    return 0


def _first_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 65536)
        if not piece:
            return b""
        line += piece
    return line


def _wakeup_pipe() -> int:
    """Return a file descriptor that becomes readable when a child ends or this process is told to stop."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return reading


def _prctl(option: int, value: int) -> None:
    # Only Linux has it; elsewhere the process group alone is ended.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _start(order: dict[str, Any]) -> int:
    launcher = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        _prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != launcher:
            os._exit(CANNOT_START)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(order["work_dir"])
        os.execvpe(order["argv"][0], order["argv"], order["environment"])  # noqa: S606 - no shell on purpose
    except OSError as problem:
        os.write(2, f"cannot start {order['argv'][0]}: {problem.strerror}\n".encode())
    finally:
        os._exit(CANNOT_START)


def _watch(command: int, alarm: int, parent: int, deadline: float | None) -> str:
    """Return what ended the wait: the command itself, the timeout, a signal, or the worker's end."""
    while True:
        left = POLL_SECONDS if deadline is None else min(POLL_SECONDS, deadline - time.monotonic())
        ready, _, _ = select.select([0, alarm], [], [], max(left, 0.0))
        told = os.read(alarm, 4096) if alarm in ready else b""
        if _has_ended(command):
            return "itself"
        if set(told) & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
            return "signal to the launcher"
        # A fork of the worker may hold the pipe open after the worker's death: so the parent is asked too.
        if (0 in ready and not os.read(0, 4096)) or os.getppid() != parent:
            return "end of the worker"
        if deadline is not None and time.monotonic() >= deadline:
            return "timeout"


def _has_ended(command: int) -> bool:
    # WNOWAIT leaves it to be waited for: its number cannot go to another process before its group is ended.
    return os.waitid(os.P_PID, command, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _wait_until_ended(command: int, alarm: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not _has_ended(command) and (left := deadline - time.monotonic()) > 0:
        select.select([alarm], [], [], left)
        if _has_ended(command):
            return
        _drain(alarm)


def _drain(alarm: int) -> None:
    try:
        os.read(alarm, 4096)
    except BlockingIOError:
        return


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def _end_descendants() -> None:
    """Kill what left the command's group, generation by generation."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _reap() and time.monotonic() < deadline:
        for child in _children():
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.005)


def _reap() -> bool:
    """Collect children that have ended; return whether there are others."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _children() -> list[int]:
    me = os.getpid()
    found = []
    for entry in Path("/proc").iterdir() if sys.platform == "linux" else ():
        if entry.name.isdigit():
            try:
                # The name in parentheses may hold anything, spaces and parentheses too.
                parent = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            if parent == me:
                found.append(int(entry.name))
    return found


def _write(path: str, record: dict[str, Any]) -> None:
    beside = f"{path}.{os.getpid()}"
    Path(beside).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    Path(beside).replace(path)


if __name__ == "__main__":
    sys.exit(main())
