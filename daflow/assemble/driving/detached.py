"""Drivers that nobody watches: started in a session of their own, followed by their journal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from daflow.assemble.driving.sessions import MODE
from daflow.assemble.folder import RunFolder
from daflow.errors import RunError
from daflow.runs.decide import Stop
from daflow.runs.facts import Fact, Progress
from daflow.runs.lease import read_holder

LOG: Final = "driver.log"
"""What a driver prints that nobody watches, in the run's folder."""
POLL_SECONDS = 0.2
"""How often a journal is looked at by who follows it."""
LOOK_SECONDS = 2.0
"""How often it is looked whether the driver still lives, where it says nothing."""
COMMAND: Final = (sys.executable, "-m", "daflow.cli")


@dataclass(frozen=True, slots=True)
class Started:
    """What became of a driver that was started."""

    pid: int
    log: Path
    exit_code: int | None
    """``None``: it drives the run; else it has ended already."""
    said: str
    """What it printed, if it has ended."""


def start(folder: Path, words: Sequence[str]) -> Started:
    """Start a command that drives a run in a session of its own; return once it does, or has ended.

    It gets no signals of this terminal, and outlives it; what it prints goes to the end of ``driver.log``.

    Parameters
    ----------
    folder
        The run's, made already.
    words
        What is given to ``daflow``.

    Raises
    ------
    daflow.errors.RunError
        The log cannot be written.
    """
    log = folder / LOG
    try:
        output = log.open("ab")
    except OSError as error:
        raise RunError(
            f"cannot write {log}", got=error.strerror, do="free space or mend the permissions there"
        ) from error
    follower = Follower(folder / "journal.jsonl")
    with output:
        begins = output.tell()
        deque(follower.news(), maxlen=0)
        driver = subprocess.Popen(
            [*COMMAND, *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=os.environ | {MODE: "detached"},
        )
    while (exit_code := driver.poll()) is None:
        # With the lease alone it may still be refused what it was asked for.
        if any(fact["fact"] == "opened" and fact.get("pid") == driver.pid for fact in follower.news()):
            # It outlives this process: that its end is not waited for is meant.
            driver.returncode = 0
            return Started(driver.pid, log, None, "")
        time.sleep(0.05)
    said = log.read_bytes()[begins:].decode(errors="replace").strip()
    return Started(driver.pid, log, exit_code, said)


class Follower:
    """Reads the facts of a journal as they are added.

    Parameters
    ----------
    path
        The journal, which need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._end = path, 0

    def news(self) -> Iterator[Fact]:
        """Yield the facts that were added since; a line that is not whole is left for the next time."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._end)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._end += len(line)
                yield json.loads(line)


def follow(run: RunFolder, watch: Callable[[Fact, Progress], None]) -> Stop:
    """Watch a run until it stops; return why it did.

    Parameters
    ----------
    run
        A run, driven by whomever.
    watch
        Called with the last end of a task so far, then with every new fact, and where the run stands then;
        of a run that is not driven with how it was laid down.

    Returns
    -------
    Stop
        How its driver laid it down; of a run that is not driven, how the last one did.
    """
    follower, progress = Follower(run.journal), Progress()
    last: Fact | None = None
    for fact in follower.news():
        progress.take(fact)
        last = fact if fact["fact"] == "ended" else last
    if last is not None:
        watch(last, progress)
    looked = time.monotonic()
    driven = is_driven(run)
    while True:
        for fact in follower.news():
            progress.take(fact)
            watch(fact, progress)
            if fact["fact"] == "stopped":
                return stop_of(progress)
        if not driven:
            if progress.last_stop is not None:
                watch(progress.last_stop, progress)
            return stop_of(progress)
        time.sleep(POLL_SECONDS)
        if time.monotonic() - looked > LOOK_SECONDS:
            # What the driver wrote last is read once more after it was seen to be gone.
            driven, looked = is_driven(run), time.monotonic()


def is_driven(run: RunFolder) -> bool:
    """Say whether anybody drives a run now."""
    holder = read_holder(run.lease)
    return holder is not None and holder.alive()


def stop_of(progress: Progress) -> Stop:
    """Return how a run that nobody drives was laid down."""
    stop = progress.last_stop
    if stop is not None:
        return Stop(stop["kind"], stop["reason"], resumable=bool(stop["resumable"]))
    reason = "its driver died" if progress.sessions else "it has not been begun"
    return Stop("interrupted", reason, resumable=True)
