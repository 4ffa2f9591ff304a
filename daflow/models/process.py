"""Run one command to its end, in a process group of its own, and say how it ended."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from daflow.errors import MemberLost, ModelFailed, ModelTimeout
from daflow.models.orphans import MARK, end_orphans, end_orphans_once

GRACE_SECONDS: Final = 5.0
"""What a command has between being asked to stop (SIGTERM) and being ended (SIGKILL)."""
PATIENCE_SECONDS: Final = 10.0
"""How long what was killed may take to go: one that hangs in the kernel (a disk that is away) must not hang
the run."""
ANSWER_SECONDS: Final = 5.0
"""How much later than it must have ended a launcher that says nothing (SIGSTOP) is taken to hang."""
LOG_BYTES: Final = 1 << 20
"""How much of each of a command's outputs is kept at its beginning, and as much at its end."""
STDOUT: Final = "stdout.txt"
STDERR: Final = "stderr.txt"
RECORD: Final = "command.json"

_LAUNCHER: Final = Path(__file__).with_name("launcher.py")
_TAIL_BYTES: Final = 4096
_TAIL_LINES: Final = 8


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended; ``command.json`` in the log folder says the same and more."""

    exit_code: int | None
    """``None``: a signal ended it."""
    signal: str | None
    ended_by: str
    """``itself``, ``timeout``, ``signal to the launcher`` or ``end of the worker``."""
    seconds: float
    cpu_seconds: float
    least_bytes_free: int
    """How little room its disk had while it ran, by a look every half second and at its end."""


def run_command(
    argv: Sequence[str],
    *,
    work_dir: Path,
    log_dir: Path,
    environment: Mapping[str, str],
    timeout: float | None,
) -> Ending:
    """Run a command in ``work_dir`` and wait for its end.

    Its standard input is empty, its output goes to ``stdout.txt`` and ``stderr.txt`` in ``log_dir``: of each
    the first and the last `LOG_BYTES`, and between them how many were left out. When it ends, or takes longer
    than ``timeout`` seconds, or the calling process dies (even by SIGKILL), everything that it started is
    ended too. Costs some 50 ms more than the command.

    Raises
    ------
    daflow.errors.MemberLost
        The launcher that watches the command was itself ended, or hung beyond the timeout, or there is no
        room for one.
    """
    end_orphans_once()
    order = {
        "argv": list(argv),
        "work_dir": str(work_dir),
        "environment": dict(environment),
        "mark": MARK,
        "timeout": timeout,
        "grace": GRACE_SECONDS,
        "patience": PATIENCE_SECONDS,
        "record": str(log_dir / RECORD),
        "logs": [str(log_dir / STDOUT), str(log_dir / STDERR)],
        "log_bytes": LOG_BYTES,
    }
    try:
        code, told = _launched(order)
    except OSError as problem:
        raise MemberLost(
            f"{argv[0]}: cannot be started here",
            got=problem.strerror or problem,
            do="see what ran out on this machine: processes, memory, open files",
        ) from problem
    found, words = _understood(told)
    if "ended_by" not in found:
        # The command died with its launcher; what it had started did not.
        end_orphans()
        raise MemberLost(
            f"{argv[0]}: the launcher that watches it was ended (exit code {code})"
            + "".join(f"\n  launcher: {word}" for word in words[-_TAIL_LINES:])
            + tail_of(log_dir),
            do="look for what killed it: memory limit, batch system, an operator",
        )
    return Ending(**{part.name: found[part.name] for part in fields(Ending)})


def _launched(order: Mapping[str, Any]) -> tuple[int, bytes]:
    """Let a launcher carry out an order; return its exit code and what it said."""
    with subprocess.Popen(
        # -I -S: nothing of the user's environment or of site-packages is needed, and it starts twice as fast.
        [sys.executable, "-I", "-S", str(_LAUNCHER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        bufsize=0,
    ) as launcher:
        told = b""
        if launcher.stdin is not None and launcher.stdout is not None:
            with suppress(BrokenPipeError):
                launcher.stdin.write(json.dumps(order).encode() + b"\n")
            # That pipe stays open while this waits: its end tells the launcher that this process is gone.
            told = _heard(launcher, launcher.stdout.fileno(), order)
        return launcher.wait(), told


def _heard(launcher: subprocess.Popen[bytes], output: int, order: Mapping[str, Any]) -> bytes:
    """Return what a launcher says until it ends; one that has not long after the timeout is killed."""
    until = None
    if order["timeout"] is not None:
        # The command is asked to stop, then waited for, and then what it has started is.
        until = time.monotonic() + order["timeout"] + order["grace"] + 2 * order["patience"] + ANSWER_SECONDS
    told, ears = b"", select.poll()
    ears.register(output, select.POLLIN)
    while True:
        left = None if until is None else max(until - time.monotonic(), 0.0) * 1000
        if not ears.poll(left):
            # Its command dies with it.
            launcher.kill()
            told, until = told + b"\nit hung: it had not ended its command long after the timeout\n", None
        elif piece := os.read(output, 1 << 16):
            told += piece
        else:
            return told


def _understood(told: bytes) -> tuple[dict[str, Any], list[str]]:
    """Tell apart what a launcher found and other words of its own."""
    found: dict[str, Any] = {}
    words = []
    for line in told.decode(errors="replace").splitlines():
        try:
            found |= json.loads(line)
        except (ValueError, TypeError):
            words.append(line)
    return found, words


FROM_OUTSIDE: Final = frozenset({"SIGKILL", "SIGTERM", "SIGXCPU"})
"""Signals that others send: the memory limit, the batch system, an operator."""


def check_ending(
    ending: Ending, program: str, success_codes: Sequence[int], timeout: float | None, log_dir: Path
) -> None:
    """Raise unless the command succeeded: timed out, lost from outside, or failed; with its last words."""
    if ending.ended_by == "timeout":
        raise ModelTimeout(
            f"{program}: ended after {ending.seconds:.1f} s" + tail_of(log_dir),
            allowed=f"timeout: {timeout:g} s",
            do="raise 'timeout' if the program was still at work; else see its logs",
        )
    if ending.ended_by != "itself":
        raise MemberLost(
            f"{program}: ended from outside ({ending.ended_by})" + tail_of(log_dir),
            do="look for who stopped it: batch system, operator",
        )
    if ending.signal in FROM_OUTSIDE:
        raise MemberLost(
            f"{program}: killed by {ending.signal}" + tail_of(log_dir),
            do="look for what killed it: memory limit, batch system, an operator",
        )
    if ending.signal is not None:
        raise ModelFailed(f"{program}: killed by {ending.signal}" + tail_of(log_dir), do="see its logs")
    if ending.exit_code not in success_codes:
        raise ModelFailed(
            f"{program}: exit code {ending.exit_code}" + tail_of(log_dir),
            allowed=", ".join(map(str, success_codes)),
            do="see its logs",
        )


def tail_of(log_dir: Path) -> str:
    """Return the last lines of standard error, or of standard output where that is empty, to be appended."""
    for name in (STDERR, STDOUT):
        path = log_dir / name
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
                text = file.read().decode(errors="replace")
            lines = [line for line in text.splitlines() if line.strip()][-_TAIL_LINES:]
            return "".join(f"\n  {name}: {line}" for line in lines)
    return ""
