"""What is done to a run: each act takes the scene and dice, and says what it did, if it found somebody."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

from tests.chaos.scene import Scene

Act = Callable[[Scene, Random], str]
"""Returns what was done, in words; nothing where there was nobody to do it to."""


def _send(scene: Scene, dice: Random, role: str, number: signal.Signals) -> str:
    there = [process for process in scene.processes(role) if process.pid not in scene.stopped]
    if not there:
        return ""
    chosen = dice.choice(there)
    if not chosen.send(number):
        return ""
    if number == signal.SIGSTOP:
        scene.stopped.append(chosen.pid)
    return f"{number.name} to 1 of {len(there)} {role}s"


def kill_worker(scene: Scene, dice: Random) -> str:
    """SIGKILL to a worker."""
    return _send(scene, dice, "worker", signal.SIGKILL)


def kill_all_workers(scene: Scene, dice: Random) -> str:
    """SIGKILL to every worker at once."""
    n_killed = sum(process.send(signal.SIGKILL) for process in scene.processes("worker"))
    return f"SIGKILL to {n_killed} workers" if n_killed else ""


def kill_nanny(scene: Scene, dice: Random) -> str:
    """SIGKILL to a worker's nanny; another one is started, as a batch system would."""
    return _send(scene, dice, "nanny", signal.SIGKILL)


def kill_simulator(scene: Scene, dice: Random) -> str:
    """SIGKILL to a simulator, as by a memory limit."""
    return _send(scene, dice, "simulator", signal.SIGKILL)


def kill_launcher(scene: Scene, dice: Random) -> str:
    """SIGKILL to the launcher that watches a simulator."""
    return _send(scene, dice, "launcher", signal.SIGKILL)


def kill_worker_and_launchers(scene: Scene, dice: Random) -> str:
    """SIGKILL to all launchers and workers, so that nobody is left to end a simulator's daemons."""
    n_killed = sum(process.send(signal.SIGKILL) for process in scene.processes("launcher", "worker"))
    return f"SIGKILL to {n_killed} launchers and workers" if n_killed else ""


def stop_worker(scene: Scene, dice: Random) -> str:
    """SIGSTOP to a worker, which goes on a while later, or never where its scheduler gives it up."""
    return _send(scene, dice, "worker", signal.SIGSTOP)


def stop_simulator(scene: Scene, dice: Random) -> str:
    """SIGSTOP to a simulator, which goes on a while later."""
    return _send(scene, dice, "simulator", signal.SIGSTOP)


def stop_driver(scene: Scene, dice: Random) -> str:
    """SIGSTOP to the driver, which goes on a while later."""
    return _send(scene, dice, "driver", signal.SIGSTOP)


def kill_driver(scene: Scene, dice: Random) -> str:
    """SIGKILL to the driver; the run is resumed."""
    if scene.driver is None or scene.driver.poll() is not None:
        return ""
    scene.driver.kill()
    return "SIGKILL to the driver"


def kill_everything(scene: Scene, dice: Random) -> str:
    """SIGKILL to the driver's whole process group, its workers included; the run is resumed."""
    if scene.driver is None or scene.driver.poll() is not None:
        return ""
    os.killpg(scene.driver.pid, signal.SIGKILL)
    return "SIGKILL to the driver's group"


def kill_scheduler(scene: Scene, dice: Random) -> str:
    """SIGKILL to the scheduler; it is started again with new workers, and the run is resumed."""
    return _send(scene, dice, "scheduler", signal.SIGKILL)


def fill_disk(scene: Scene, dice: Random) -> str:
    """Leave no room on the disk for a while."""
    if not scene.disk.small or scene.disk.is_full:
        return ""
    scene.disk.fill()
    return "no room on the disk"


def set_clock(scene: Scene, dice: Random) -> str:
    """Set the wall clock of every process forward or back, by seconds to a day."""
    if scene.clock.library is None:
        return ""
    seconds = dice.choice([-86400, -3600, -60, -1, 1, 60, 400, 3600, 86400])
    scene.clock.set(seconds)
    return f"the clock is {seconds} s ahead"


ACTS: Final[Mapping[Act, int]] = {
    kill_worker: 8,
    kill_all_workers: 3,
    kill_nanny: 4,
    kill_simulator: 8,
    kill_launcher: 6,
    kill_worker_and_launchers: 2,
    stop_worker: 5,
    stop_simulator: 4,
    stop_driver: 3,
    kill_driver: 3,
    kill_everything: 2,
    kill_scheduler: 1,
    fill_disk: 3,
    set_clock: 4,
}
"""Each act, and how often it comes compared with the others."""
