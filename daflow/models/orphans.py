"""Processes of commands whose launcher was killed: found by the mark that they bear, and ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from daflow.models.launcher import here, mark_of

MARK: Final = "DAFLOW_LAUNCHER"
"""The variable in the environment of a command, and of all that it starts, that names its launcher."""
PASSES: Final = 20
"""How often is looked again: who is being ended may have started another one meanwhile."""

_PROC: Final = Path("/proc")


def end_orphans() -> int:
    """End what commands have left on this machine whose launcher is gone; return how many processes.

    Only processes of this user are looked at, and only those whose mark was made here: numbers of another
    container, or of a machine whose batch system brought the mark along, mean something else. What wiped its
    environment is not found.
    Costs some 20 us a process of the machine; elsewhere than on Linux it does nothing.
    """
    ended = set[int]()
    for _ in range(PASSES):
        orphans = list(_orphans())
        if not orphans:
            break
        for pid in orphans:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
            ended.add(pid)
        time.sleep(0.01)
    return len(ended)


@cache
def end_orphans_once() -> int:
    """Do the same once a process: a worker that follows one that was killed together with its launchers."""
    return end_orphans()


def _orphans() -> Iterator[int]:
    prefix = f"{MARK}=".encode()
    me = os.getuid()
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if not entry.name.isdigit():
            continue
        try:
            if entry.stat().st_uid != me:
                continue
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        for variable in variables:
            if variable.startswith(prefix) and _is_orphaned(variable[len(prefix) :].decode(errors="replace")):
                yield int(entry.name)


def _is_orphaned(mark: str) -> bool:
    pid, _, rest = mark.partition(" ")
    if not pid.isdigit() or rest.partition(" ")[2] != here():
        return False
    return mark_of(int(pid)) != mark
