"""Torment a run for so many minutes, by dice, and see that it ends as if nobody had.

``python -m tests.chaos.torment --minutes 60 --seed 1 --keep chaos.json``: runs of a few hundred short members
one after the other, by the driver's own workers and by those of a scheduler that outlives it, in turn. Each
ends with the bits of an undisturbed run, with no fact lost or twice there, and with nothing left behind.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import daflow
from daflow.assemble.folder import make_run
from daflow.config.load import load_workflow
from daflow.names import Phase
from tests.chaos.acts import ACTS, Act, fill_disk, stop_driver, stop_simulator, stop_worker
from tests.chaos.problem import Problem
from tests.chaos.scene import Clock, Disk, Scene, facts_after
from tests.end_to_end.small_run import finals, run_inline

LOG = logging.getLogger(__name__)
STUCK_SECONDS = 420
"""A run in which nothing comes home for so long, and nobody disturbs it, does not go on."""
LATE_SECONDS = 40
"""After so long the next act does not wait for the run to get on any more."""
AFTER_SECONDS = 90
"""What comes home later is no answer to an act: acts are over, and the run goes on to its end."""
SPACE = "free space", "make room", "room there"


@dataclass
class Deed:
    """An act and how the run answered it."""

    round: int
    kind: str
    """``local`` or ``address``: whose workers they are."""
    second: float
    """Since the round began."""
    act: str
    what: str
    ok: int = 0
    """How many tasks came home well until the next act."""
    bad: dict[str, int] = field(default_factory=dict)
    """Status -> how many came home so: by this act, or by the members' own dice."""
    reasons: list[str] = field(default_factory=list)
    """Why the first few of these did."""
    next_ok: float | None = None
    """Seconds until the next task came home well."""
    driver: str = "went on"
    """What became of the driver before the next act."""


@dataclass
class Round:
    """One run, from its making to the comparison."""

    number: int
    kind: str
    seconds: float = 0.0
    acts: int = 0
    drivers: int = 0
    bad: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    """What was not as it ought to be: nothing."""


@dataclass
class Torment:
    """A scene, and what is done to it until the time is over and the run has ended."""

    scene: Scene
    dice: Random
    round: Round
    until: float
    """When the acts end, by the monotonic clock; the run then goes on to its end undisturbed."""
    deeds: list[Deed] = field(default_factory=list)
    pause: tuple[float, float] = (0.5, 6.0)
    acts: dict[Act, int] = field(default_factory=lambda: dict(ACTS))
    _place: int = 0
    _began: float = field(default_factory=time.monotonic)
    _last_news: float = field(default_factory=time.monotonic)
    _timers: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    _following: float = 0.0
    _wanted: int = 0
    _seen: dict[Path, bytes] = field(default_factory=dict)

    def run(self) -> None:
        """Drive the run to its end, whatever is done to it."""
        self.scene.tend()
        while daflow.open_run(self.scene.run).status().state != "finished":
            self._recover()
            self.scene.drive()
            self.round.drivers += 1
            self._session()
            if self.round.faults:
                return

    def _recover(self) -> None:
        """Do what an operator does before resuming: make room, let go on what stands still."""
        self.scene.disk.free()
        self.scene.go_on()
        self._timers.clear()

    def _session(self) -> None:
        driver = self.scene.driver
        if driver is None:
            return
        self._following = time.monotonic() + self.dice.uniform(*self.pause)
        while driver.poll() is None:
            time.sleep(0.05)
            self._note_news()
            self._keep_time()
            now = time.monotonic()
            if self._following <= now < self.until and self._has_got_on(now):
                self._do()
                self._following = time.monotonic() + self.dice.uniform(*self.pause)
            if now - self._last_news > STUCK_SECONDS:
                self.round.faults.append(f"nothing came home for {STUCK_SECONDS} s")
                return
        self._note_news()
        self._last_news = time.monotonic()
        self._note_end(driver.returncode)

    def _has_got_on(self, now: float) -> bool:
        """Say whether enough has come home since the last act, or it is late: machines may be busy."""
        if not self.deeds:
            return True
        last = self.deeds[-1]
        return last.ok >= self._wanted or now - self._began - last.second > LATE_SECONDS

    def _do(self) -> None:
        act = self.dice.choices(list(self.acts), list(self.acts.values()))[0]
        what = act(self.scene, self.dice)
        if not what:
            return
        now = time.monotonic()
        self._seen.update(self._receipts())
        # Now and then the next act comes while the run still recovers from this one.
        self._wanted = self.dice.choice([0, 0, 1, 3, 6])
        deed = Deed(self.round.number, self.round.kind, round(now - self._began, 2), act.__name__, what)
        self.deeds.append(deed)
        self.round.acts += 1
        LOG.info("%3d %6.1f s %s: %s", deed.round, deed.second, deed.act, deed.what)
        # Beyond the scheduler's patience now and then.
        if act is stop_worker:
            self._later([1, 3, 8, 30, 1000], self.scene.stopped[-1])
        elif act in {stop_driver, stop_simulator}:
            self._later([1, 3, 8, 30], self.scene.stopped[-1])
        elif act is fill_disk:
            self._timers.append((now + self.dice.choice([0.5, 2, 6]), self.scene.disk.free))

    def _later(self, seconds: list[float], pid: int) -> None:
        when = time.monotonic() + self.dice.choice(seconds)
        self._timers.append((when, lambda: self.scene.go_on(pid)))

    def _keep_time(self) -> None:
        now = time.monotonic()
        due = [do for when, do in self._timers if when <= now]
        self._timers = [timer for timer in self._timers if timer[0] > now]
        for do in due:
            do()
        self.scene.tend()

    def _note_news(self) -> None:
        facts, self._place = facts_after(self.scene.run / "journal.jsonl", self._place)
        if not facts:
            return
        now = time.monotonic()
        self._last_news = now
        for fact in facts:
            if fact["fact"] == "closed" and fact["phase"] == "forecast" and self.dice.random() < 0.6:
                # The analysis is short: acts would seldom meet it.
                self._following = now
            if fact["fact"] == "ended":
                self._note_task(fact, now)

    def _note_task(self, fact: dict[str, Any], now: float) -> None:
        status = fact["status"]
        if status != "ok":
            self.round.bad[status] = self.round.bad.get(status, 0) + 1
        if not self.deeds:
            return
        deed = self.deeds[-1]
        if now - self._began - deed.second > AFTER_SECONDS:
            return
        if status != "ok":
            deed.bad[status] = deed.bad.get(status, 0) + 1
            deed.reasons += [" ".join(fact["reason"].split())[:160]] if len(deed.reasons) < 4 else []
            return
        deed.ok += 1
        if deed.next_ok is None:
            deed.next_ok = round(now - self._began - deed.second, 2)

    def _note_end(self, code: int) -> None:
        stop, said = daflow.open_run(self.scene.run).status(), self.scene.said()
        # Where not even the journal could be written the driver's own words tell why.
        reason = " ".join((said or stop.reason).split())
        if code == -signal.SIGKILL:
            end = "was killed; resumed"
        elif code == 0:
            end = "went on"
        else:
            end = f"stopped ({reason[:160]}); resumed"
            if code != 1 or not self._may_stop(reason):
                self.round.faults.append(f"the driver ended with {code}: {reason}")
        if "Traceback" in said:
            self.round.faults.append(f"the driver lost its countenance: {reason[-300:]}")
        if self.deeds and self.deeds[-1].driver == "went on":
            self.deeds[-1].driver = end

    def _may_stop(self, reason: str) -> bool:
        """Say whether a driver may stop for this reason: a full disk, a scheduler that was killed."""
        done = {deed.act for deed in self.deeds}
        full = "fill_disk" in done and any(words in reason for words in SPACE)
        gone = "kill_scheduler" in done and any(word in reason for word in ("scheduler", "workers"))
        return full or gone

    def _receipts(self) -> dict[Path, bytes]:
        found = {}
        for path in (self.scene.run / "receipts").rglob("*.json"):
            try:
                found[path] = path.read_bytes()
            except FileNotFoundError:
                continue
        return found

    def check(self, reference: dict[str, Any]) -> None:
        """Compare the run that ended with one that nobody disturbed, and look for what was left behind."""
        faults, folder = self.round.faults, self.scene.run
        faults += [f"left behind: {words}" for words in self.scene.close()]
        if faults:
            return
        facts, _ = facts_after(folder / "journal.jsonl", 0)
        ended = [fact for fact in facts if fact["fact"] == "ended"]
        good = Counter(
            (fact["phase"], fact["step"], fact["index"]) for fact in ended if fact["status"] == "ok"
        )
        faults += [f"done twice: {task}" for task, n in good.items() if n > 1]
        attempts = Counter((f["phase"], f["step"], f["index"], f["attempt"]) for f in ended)
        faults += [f"journalled twice: {task}" for task, n in attempts.items() if n > 1]
        last = self._receipts()
        faults += [
            f"a receipt changed: {path}" for path, said in self._seen.items() if last.get(path) != said
        ]
        # Directories call the truth member -1.
        members = ((-1 if f["phase"] == Phase.TRUTH else f["index"], f) for f in ended if f["status"] != "ok")
        kept = {(f["step"], member, f["attempt"]) for member, f in members}
        faults += [f"scratch left: {path}" for path, attempt in attempts_of(folder) if attempt not in kept]
        ours = finals(daflow.open_run(folder))
        for name, array in reference.items():
            if ours[name].shape != array.shape or ours[name].tobytes() != array.tobytes():
                faults.append(f"other bits in {name}")


def attempts_of(run: Path) -> Iterator[tuple[Path, tuple[int, int, int]]]:
    """Yield the directories of attempts that a run still holds: step, member, attempt."""
    for path in (run / "work").glob("step=*/member=*"):
        member, attempt, _ = path.name.removeprefix("member=").rsplit("-", 2)
        yield path, (int(path.parent.name.removeprefix("step=")), int(member), int(attempt))


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class Stage:
    """What all rounds share: the problem, its undisturbed end, and where they play."""

    problem: Problem
    place: Path
    disk_bytes: int
    keeps_ruins: bool = False
    """Whether the disk of a run with a fault stays, to be looked at."""
    reference: dict[str, Any] = field(default_factory=dict)

    def prepare(self) -> None:
        """Run the problem undisturbed."""
        workflow = self.problem.written(self.place / "undisturbed", "{kind: local}")
        os.environ["CHAOS_DICE"] = "off"
        try:
            self.reference = finals(run_inline(workflow, self.place / "undisturbed" / "run"))
        finally:
            del os.environ["CHAOS_DICE"]

    def play(self, number: int, kind: str, dice: Random, until: float, **more: Any) -> Torment:
        """Torment one run until it ends."""
        place = self.place / f"round-{number}"
        disk, port = Disk(place / "disk", self.disk_bytes), None
        execution = "{kind: local, workers: 3}"
        if kind == "address":
            port = free_port()
            execution = f"{{kind: address, address: 'tcp://127.0.0.1:{port}'}}"
        workflow = self.problem.written(place, execution)
        run = disk.folder / "run"
        make_run(load_workflow(workflow), run, workflow.read_text())
        mark = f"{os.getpid()}-{number}-{time.time_ns()}"
        scene = Scene(run, place, disk, Clock(place), mark, port)
        torment = Torment(scene, dice, Round(number, kind), until, **more)
        began = time.monotonic()
        try:
            torment.run()
            torment.check(self.reference)
        finally:
            scene.close()
            if not (self.keeps_ruins and torment.round.faults):
                disk.close()
        torment.round.seconds = round(time.monotonic() - began, 1)
        LOG.info("round %d (%s): %s", number, kind, asdict(torment.round))
        return torment


def told_of(seed: int, problem: Problem, torments: list[Torment]) -> dict[str, Any]:
    """Return all that was done and answered, to be kept as JSON."""
    return {
        "seed": seed,
        "problem": asdict(problem),
        "rounds": [asdict(torment.round) for torment in torments],
        "deeds": [asdict(deed) for torment in torments for deed in torment.deeds],
    }


def main(words: list[str]) -> int:
    """Torment runs for the time asked for; return 0 if none of them had a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=250, help="members of a run")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--round-minutes", type=float, default=6.0, help="after so long a run is left alone")
    parser.add_argument("--kinds", default="local,address", help="whose workers, in turn")
    parser.add_argument("--keep", type=Path, default=Path("build/chaos.json"))
    given = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    place = Path(tempfile.mkdtemp(prefix="daflow-chaos-"))
    disk_bytes = 600 << 20
    problem = Problem(given.size, given.steps, 0.5, given.seed, 20_000, 2 * disk_bytes)
    stage = Stage(problem, place, disk_bytes, keeps_ruins=True)
    LOG.info("the undisturbed run, in %s", place)
    stage.prepare()
    dice, end = Random(given.seed), time.monotonic() + 60 * given.minutes
    torments: list[Torment] = []
    given.keep.parent.mkdir(parents=True, exist_ok=True)
    # The last one needs its time to end as well.
    while time.monotonic() < end - 60 * given.round_minutes:
        kinds = given.kinds.split(",")
        kind = kinds[len(torments) % len(kinds)]
        until = min(end - 60, time.monotonic() + 60 * given.round_minutes)
        torments.append(stage.play(len(torments), kind, dice, until))
        given.keep.write_text(json.dumps(told_of(given.seed, stage.problem, torments), indent=1))
    failed = any(torment.round.faults for torment in torments)
    if not failed:
        shutil.rmtree(place)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
