"""Start a command, watch it, and let nothing of it outlive the worker that asked for it.

A worker that is killed can end nothing any more, so this small program stands between it and the command:
``python -I -S launcher.py`` with a pipe from the worker as standard input. The first line there is the order
(JSON); the end of that pipe, or a new parent, means that the worker is gone. It imports the standard library
only, and little of it: it is started once a member.

What it found goes to ``command.json``, written when the command starts and again when it has ended, and to
the worker as lines of JSON on standard output: these arrive where the disk is full as well.
"""

from __future__ import annotations

import ctypes
import errno
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
FLUSH_SECONDS = 1.0
"""How old the last words in a log that has become too long may be."""
PIECE_BYTES = 1 << 16
MOST_PIECES = 64
"""How many pieces are read of what a command left in its outputs: pipes hold less, unless refilled."""
SET_PARENT_DEATH_SIGNAL = 1
SET_CHILD_SUBREAPER = 36
CANNOT_START = 127
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
TO_STOP = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


def main() -> int:
    """Carry out the order that comes on standard input; return 0 unless there was none."""
    parent = os.getppid()
    line = _first_line()
    if not line:
        return 1
    order: dict[str, Any] = json.loads(line)
    logs = [_Log(path, order["log_bytes"]) for path in order["logs"]]
    room = _Room(order["work_dir"])
    ears = _Ears(_wakeup_pipe(), logs)
    # Whatever the command leaves behind becomes this process's child, so that it can be found and ended.
    _prctl(SET_CHILD_SUBREAPER, 1)
    record = {"argv": order["argv"], "work_dir": order["work_dir"], "started": time.time()}
    began = time.monotonic()
    command = _start(order, logs)
    _write(order["record"], record | {"pid": command})
    _tell({"pid": command})
    limit = order["timeout"]
    ended_by = _watch(command, ears, room, parent, None if limit is None else began + limit)
    room.look()
    if ended_by == "timeout":
        _signal_group(command, signal.SIGTERM)
        _wait_until_ended(command, ears, order["grace"])
    # Whatever is left of its group goes before the command is waited for: until then its number is its own.
    _signal_group(command, signal.SIGKILL)
    record |= {"pid": command, "ended_by": ended_by, **_collect(command, order["patience"])}
    record["seconds"] = time.monotonic() - began
    n_ended = _end_descendants(order["patience"])
    everyone = os.times()
    record |= {
        "cpu_seconds": everyone.children_user + everyone.children_system,
        "left_behind": n_ended,
        "log_bytes_left_out": sum(log.close() for log in logs),
    }
    record["least_bytes_free"] = 0 if any(log.found_no_room for log in logs) else room.least
    _write(order["record"], record)
    _tell(record)
    return 0


class _Log:
    """One output of the command: its first and its last bytes are kept, so that it fills no disk."""

    def __init__(self, path: str, most: int) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self._most, self._n_head, self._n_gone = most, 0, 0
        self._tail = bytearray()
        self.found_no_room = False
        self._written, self._changed, self.ended = time.monotonic(), False, False
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        except OSError as problem:
            # The disk is full or gone: the command can do without its words.
            self.found_no_room = problem.errno in NO_ROOM
            self._file = os.open(os.devnull, os.O_WRONLY)

    def take(self) -> bool:
        """Take in what there is now; return whether there was anything."""
        try:
            piece = os.read(self.reading, PIECE_BYTES)
        except BlockingIOError:
            return False
        self.ended = not piece
        head = piece[: max(self._most - self._n_head, 0)]
        self._put(head, self._n_head)
        self._n_head += len(head)
        self._tail += piece[len(head) :]
        if len(self._tail) > 2 * self._most:
            self._shorten()
        self._changed |= len(piece) > len(head)
        return bool(piece)

    def settle(self, seconds: float) -> None:
        """Write the last words, unless that was done so few seconds ago or nothing was said since."""
        if self._changed and time.monotonic() - self._written >= seconds:
            self._shorten()
            gap = f"\n[... {self._n_gone} bytes left out ...]\n".encode() if self._n_gone else b""
            self._put(gap + self._tail, self._n_head)
            self._written, self._changed = time.monotonic(), False

    def _shorten(self) -> None:
        n_over = max(len(self._tail) - self._most, 0)
        self._n_gone += n_over
        del self._tail[:n_over]

    def _put(self, piece: bytes, place: int) -> None:
        try:
            while piece:
                n_written = os.pwrite(self._file, piece, place)
                piece, place = piece[n_written:], place + n_written
        except OSError as problem:
            # The same: a log that is cut short is no reason to end the command.
            self.found_no_room |= problem.errno in NO_ROOM

    def close(self) -> int:
        """Write what is left; return how many bytes were left out."""
        for _ in range(MOST_PIECES):
            if not self.take():
                break
        self.settle(0.0)
        return self._n_gone


class _Room:
    """How little room the command's disk had while it ran: where it was full, a failure says little."""

    def __init__(self, place: str) -> None:
        self._place, self._looked, self.least = place, 0.0, sys.maxsize

    def look(self, seconds: float = 0.0) -> None:
        """Look, unless that was done so few seconds ago."""
        if time.monotonic() - self._looked < seconds:
            return
        self._looked = time.monotonic()
        try:
            disk = os.statvfs(self._place)
        except OSError:
            # It was removed: the worker finds that out.
            return
        self.least = min(self.least, disk.f_bavail * disk.f_frsize)


class _Ears:
    """Where news comes from: signals, the command's outputs, the worker."""

    def __init__(self, alarm: int, logs: list[_Log]) -> None:
        self._alarm, self._logs = alarm, {log.reading: log for log in logs}

    def listen(self, seconds: float, *others: int) -> tuple[set[int], bool]:
        """Wait at most so long; return the signals that came, and whether others have something to say."""
        ready, _, _ = select.select([*others, self._alarm, *self._logs], [], [], max(seconds, 0.0))
        for descriptor in ready:
            if descriptor in self._logs:
                self._logs[descriptor].take()
        for descriptor, log in list(self._logs.items()):
            log.settle(FLUSH_SECONDS)
            if log.ended:
                del self._logs[descriptor]
        told = os.read(self._alarm, 4096) if self._alarm in ready else b""
        return set(told), bool(set(others) & set(ready))


def _first_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, PIECE_BYTES)
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
    for number in (signal.SIGCHLD, *TO_STOP):
        signal.signal(number, lambda *_: None)
    return reading


def _prctl(option: int, value: int) -> None:
    # Only Linux has it; elsewhere the process group alone is ended.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _start(order: dict[str, Any], logs: list[_Log]) -> int:
    launcher = os.getpid()
    environment = order["environment"] | {order["mark"]: mark_of(launcher)}
    child = os.fork()
    if child:
        for log in logs:
            os.close(log.writing)
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
        for output, log in enumerate(logs, start=1):
            os.dup2(log.writing, output)
        os.chdir(order["work_dir"])
        os.execvpe(order["argv"][0], order["argv"], environment)  # noqa: S606 - no shell on purpose
    except OSError as problem:
        os.write(2, f"cannot start {order['argv'][0]}: {problem.strerror}\n".encode())
    finally:
        os._exit(CANNOT_START)


def mark_of(pid: int) -> str:
    """Return what tells a process from all others anywhere; nothing if it is gone.

    Its number, when it was started since the machine was, in whose count of processes, and on which start of
    which machine: a batch system takes the environment to others.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return "" if stat[0] in "ZX" else f"{pid} {stat[19]} {here()}"
    except (OSError, IndexError):
        return ""


def here() -> str:
    """Return what differs wherever processes are counted otherwise: each machine, each container."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{Path('/proc/self/ns/pid').readlink()} {boot}"


def _watch(command: int, ears: _Ears, room: _Room, parent: int, deadline: float | None) -> str:
    """Return what ended the wait: the command itself, the timeout, a signal, or the worker's end."""
    while True:
        left = POLL_SECONDS if deadline is None else min(POLL_SECONDS, deadline - time.monotonic())
        signals, worker = ears.listen(left, 0)
        room.look(POLL_SECONDS)
        if _has_ended(command):
            return "itself"
        _reap_adopted(command)
        if signals & TO_STOP:
            return "signal to the launcher"
        # A fork of the worker may hold the pipe open after the worker's death: so the parent is asked too.
        if (worker and not os.read(0, 4096)) or os.getppid() != parent:
            return "end of the worker"
        if deadline is not None and time.monotonic() >= deadline:
            return "timeout"


def _has_ended(command: int) -> bool:
    # WNOWAIT leaves it to be waited for: its number cannot go to another process before its group is ended.
    return os.waitid(os.P_PID, command, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _reap_adopted(command: int) -> None:
    """Collect what the command left behind and what has ended since: in hours these may become many."""
    any_ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while (ended := os.waitid(os.P_ALL, 0, any_ended)) is not None and ended.si_pid != command:
        os.waitpid(ended.si_pid, 0)


def _wait_until_ended(command: int, ears: _Ears, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not _has_ended(command) and (left := deadline - time.monotonic()) > 0:
        ears.listen(left)


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def _collect(command: int, patience: float) -> dict[str, Any]:
    """Return how the command ended, which it is about to; nothing of it if it hangs in the kernel."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        ended, status, usage = os.wait4(command, os.WNOHANG)
        if ended:
            return {
                "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
                "signal": signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else None,
                "peak_memory_kib": usage.ru_maxrss,
            }
        time.sleep(0.002)
    return {"exit_code": None, "signal": None, "hangs": True}


def _end_descendants(patience: float) -> int:
    """Kill what left the command's group, generation by generation; return how many there were."""
    deadline = time.monotonic() + patience
    seen = set[int]()
    while _reap() and time.monotonic() < deadline:
        for child in _children():
            seen.add(child)
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.005)
    return len(seen)


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


def _tell(record: dict[str, Any]) -> None:
    try:
        os.write(1, json.dumps(record).encode() + b"\n")
    except OSError:
        # The worker is gone: nobody asks any more.
        return


def _write(path: str, record: dict[str, Any]) -> None:
    beside = f"{path}.{os.getpid()}"
    try:
        Path(beside).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        Path(beside).replace(path)
    except OSError:
        # The disk is full or gone; the worker is told besides.
        Path(beside).unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
