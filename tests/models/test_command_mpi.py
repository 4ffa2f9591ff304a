"""Real parallel programs: MPI starts daemons and ranks in groups and sessions of their own."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from daflow.config.external_models import CommandSettings
from daflow.config.load import load_workflow
from daflow.models.orphans import MARK, end_orphans

MPIRUN = shutil.which("mpirun")
EGG = Path(__file__).parents[2] / "workflows" / "egg"
DATA = Path(os.environ.get("DAFLOW_DATA", "")) / "egg" / "EGG.DATA"
RANKS = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2", "sleep", "60"]
WORKER = """
import pickle, sys
from pathlib import Path
import numpy as np
from daflow.models.command import Command
from daflow.ports import MemberInput

place = Path(sys.argv[1])
settings, parameters = pickle.loads((place / "settings").read_bytes())
observations = {"name": np.array(["a"])}
Command(settings).forecast(MemberInput(0, 0, parameters, observations, 1, place / "work", place / "logs"))
"""


def worker(place, settings, parameters):
    for name in ("work", "logs"):
        (place / name).mkdir()
    (place / "settings").write_bytes(pickle.dumps((settings, parameters)))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-c", WORKER, str(place)], **quiet)


def family(place):
    """Return the processes that stem from a command in this place: number -> its name."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            variables = (entry / "environ").read_bytes()
            if f"CHOSEN={place}".encode() in variables.split(b"\0") and f"{MARK}=".encode() in variables:
                found[int(entry.name)] = (entry / "comm").read_text().strip()
        except OSError:
            continue
    return found


def until(seen):
    for _ in range(600):
        if found := seen():
            return found
        time.sleep(0.1)
    return pytest.fail("it did not come to that")


def launchers_of(pid):
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]


@pytest.mark.skipif(MPIRUN is None, reason="no mpirun here")
@pytest.mark.parametrize("who", ["worker", "launcher", "both"])
def test_that_no_rank_outlives_who_watches_it(tmp_path, who):
    settings = CommandSettings.model_validate(
        {
            "command": RANKS,
            "environment": {"CHOSEN": str(tmp_path)},
            "output": {"kind": "npy", "file": "out.npy"},
        }
    )
    with worker(tmp_path, settings, {}) as running:
        until(lambda: list(family(tmp_path).values()).count("sleep") == 2)
        launchers = launchers_of(running.pid)
        if who == "both":
            # Stopped first, so that it cannot act on its worker's end.
            os.kill(launchers[0], signal.SIGSTOP)
        if who in {"worker", "both"}:
            running.kill()
        if who in {"launcher", "both"}:
            os.kill(launchers[0], signal.SIGKILL)
    if who == "both":
        # mpirun went with its launcher, its ranks are nobody's: the next worker on this host ends them.
        until(lambda: "mpirun" not in family(tmp_path).values())
        assert end_orphans() >= 2
    until(lambda: not family(tmp_path))


@pytest.mark.flow
@pytest.mark.skipif(not (shutil.which("flow") and DATA.is_file()), reason="no OPM Flow or no Egg data here")
def test_that_flow_and_its_daemon_end_with_the_worker(tmp_path):
    workflow = load_workflow(EGG / "workflow.yaml")
    settings = workflow.model.model_copy(
        update={"environment": {"OMP_NUM_THREADS": "1", "CHOSEN": str(tmp_path)}}
    )
    with worker(tmp_path, settings, {"log_permx": np.full((7, 60, 60), 6.0)}) as running:
        # Its daemon is in a session of its own.
        names = until(lambda: {"flow", "orted"} <= set(found := family(tmp_path).values()) and found)
        sessions = {os.getsid(pid) for pid in family(tmp_path)}
        running.kill()
    assert "orted" in names
    assert len(sessions) > 1
    until(lambda: not family(tmp_path))
