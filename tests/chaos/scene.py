"""The processes and files of a run under torment: found by a mark in their environment."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.end_to_end.small_run import start

MARK = "CHAOS_SCENE"
TTL_SECONDS = 20
"""After so long the scheduler that this starts gives a silent worker up."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the scene."""

    pid: int
    role: str
    """``driver``, ``scheduler``, ``nanny``, ``worker``, ``launcher``, ``simulator`` or ``other``."""
    words: str

    def send(self, number: signal.Signals) -> bool:
        """Send it a signal; return whether it was there to get it."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True


def role_of(words: str) -> str:
    """Return what a process is, by its command line."""
    signs = (
        ("daflow.cli", "driver"),
        ("dask scheduler", "scheduler"),
        ("dask worker", "nanny"),
        ("spawn_main", "worker"),
        ("launcher.py", "launcher"),
        ("program.py", "simulator"),
    )
    return next((role for sign, role in signs if sign in words), "other")


class Disk:
    """A small disk in memory with a ballast that comes and goes; a plain folder where none can be made."""

    def __init__(self, folder: Path, n_bytes: int) -> None:
        self.folder, self.n_bytes = folder, n_bytes
        folder.mkdir(parents=True)
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        )
        self.small = made.returncode == 0

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Leave no room."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for block in (b"x" * (1 << 20), b"x" * 4096, b"x"):
                with suppress(OSError):
                    while ballast.write(block):
                        continue

    @property
    def is_full(self) -> bool:
        """Whether the ballast is there."""
        return self._ballast.exists()

    def free(self) -> None:
        """Take the ballast away."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the disk back."""
        if self.small:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


class Clock:
    """The wall clock of the scene's processes, which may be set; without a compiler it is as it is."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "clock"
        self.file.write_bytes(bytes(8))
        self.library: Path | None = folder / "clock.so"
        compiler = shutil.which("cc")
        if compiler is None:
            self.library = None
            return
        source = Path(__file__).with_name("clock.c")
        subprocess.run(
            [compiler, "-O1", "-shared", "-fPIC", "-o", str(self.library), str(source), "-ldl"], check=True
        )

    def set(self, seconds: int) -> None:
        """Let the wall clock be so much ahead of what it is."""
        with self.file.open("r+b", buffering=0) as file:
            file.write(ctypes.c_longlong(seconds))

    @property
    def variables(self) -> dict[str, str]:
        """What a process needs in its environment to see this clock."""
        if self.library is None:
            return {}
        return {"LD_PRELOAD": str(self.library), "CHAOS_CLOCK": str(self.file)}


@dataclass
class Scene:
    """A run, its driver, and the scheduler and workers beside it where it does not bring its own."""

    run: Path
    place: Path
    """A folder for what the processes say, on another disk than the run."""
    disk: Disk
    clock: Clock
    mark: str
    port: int | None = None
    """Of a scheduler that lives longer than the driver; ``None``: the driver brings its own."""
    n_workers: int = 3
    driver: subprocess.Popen[str] | None = None
    stopped: list[int] = field(default_factory=list)
    """The processes that stand still now."""
    _started: dict[int, subprocess.Popen[Any]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of all its processes."""
        return os.environ | self.clock.variables | {MARK: self.mark, "CHAOS_DICE": "on"}

    def drive(self) -> None:
        """Start a driver, or another one."""
        said = (self.place / "driver.txt").open("a")
        said.write(f"--- {time.time():.1f}\n")
        said.flush()
        self.driver = start("resume", self.run, env=self.environment, stdout=said, stderr=subprocess.STDOUT)
        said.close()

    def said(self) -> str:
        """Return what the last driver had to say that was wrong: from its first error on."""
        text = (self.place / "driver.txt").read_text(errors="replace").rpartition("--- ")[2]
        for sign in ("Traceback", "error: "):
            if sign in text:
                return text[text.index(sign) :]
        return ""

    def processes(self, *roles: str) -> list[Process]:
        """Return the living processes of the scene, of these roles if any are named."""
        found = []
        for pid, words in self._marked():
            role = role_of(words)
            if not roles or role in roles:
                found.append(Process(pid, role, words))
        return found

    def _marked(self) -> Iterator[tuple[int, str]]:
        sign = f"{MARK}={self.mark}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if sign not in (entry / "environ").read_bytes().split(b"\0"):
                    continue
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                state = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            except OSError:
                continue
            if state not in "ZX" and "resource_tracker" not in words:
                yield int(entry.name), words

    def tend(self) -> None:
        """Bring scheduler and workers where they are to be, as an operator does."""
        if self.port is None:
            return
        for pid, process in list(self._started.items()):
            if process.poll() is not None:
                del self._started[pid]
        if not any("scheduler" in process.args for process in self._started.values()):
            for process in self._started.values():
                process.kill()
            for process in self._started.values():
                process.wait()
            self._started.clear()
            words = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"]
            self._start("scheduler", *words)
            self._await_scheduler()
        n_nannies = sum("worker" in process.args for process in self._started.values())
        for _ in range(self.n_workers - n_nannies):
            scratch = ["--local-directory", str(self.place)]
            self._start(
                "worker", f"tcp://127.0.0.1:{self.port}", *scratch, "--nthreads", "1", "--no-dashboard"
            )

    def _start(self, *words: str) -> None:
        quick = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{TTL_SECONDS}s"}
        quick["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "0"
        said = (self.place / f"{words[0]}.txt").open("a")
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *words],
            env=self.environment | quick,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        said.close()
        self._started[process.pid] = process

    def _await_scheduler(self) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port or 0), timeout=1):
                return
            time.sleep(0.1)

    def go_on(self, *pids: int) -> None:
        """Let these go on that were stopped; all of them if none is named."""
        for pid in pids or tuple(self.stopped):
            with suppress(ProcessLookupError, ValueError):
                self.stopped.remove(pid)
                os.kill(pid, signal.SIGCONT)

    def close(self) -> list[str]:
        """End what is to be ended, then return what should not be there any more, by its command line."""
        self.go_on()
        if self.driver is not None and self.driver.poll() is None:
            self.driver.kill()
            self.driver.wait()
        for process in self._started.values():
            process.terminate()
        for process in self._started.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        until = time.monotonic() + 15
        while (left := self.processes()) and time.monotonic() < until:
            time.sleep(0.2)
        for process in left:
            process.send(signal.SIGKILL)
        return [f"{process.role}: {process.words}" for process in left]


def facts_after(journal: Path, place: int) -> tuple[list[dict[str, Any]], int]:
    """Return the facts that were journalled after a place, and where they end."""
    if not journal.exists():
        return [], 0
    with journal.open("rb") as file:
        file.seek(place)
        raw = file.read()
    whole = raw[: raw.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines() if line.strip()], place + len(whole)
