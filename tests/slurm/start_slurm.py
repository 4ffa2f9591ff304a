"""A Slurm of the tests' own: two nodes on this machine, everything in one folder, ports of its own.

No file of the system is touched, no service is started, and a Slurm that runs here already is left alone:
whoever exports ``SLURM_CONF=FOLDER/slurm.conf`` speaks to this one. Needed are the programs alone (Debian:
``slurmctld slurmd slurm-client munge``); without root its jobs run as the user who started it.

    python tests/slurm/start_slurm.py start FOLDER    # idle in about two seconds; once it runs, says so
    python tests/slurm/start_slurm.py stop FOLDER     # ends its jobs, then its daemons by their process ids

Each node offers eight slots, however few cores the machine has. There are no cgroups and no accounting:
limits of memory are not kept, and ``sacct`` has nothing to tell.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

PROGRAMS: Final = ("slurmctld", "slurmd", "munged", "sbatch", "sinfo", "squeue", "scancel", "scontrol")
NODES: Final = ("one", "two")
PARTITION: Final = "debug"
CLOSING: Final = "closing"
"""Another partition, which tests may close."""
SLOTS: Final = 8
"""How many one-core jobs a node takes at once."""
PLACES: Final = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
"""Daemons are often not on an ordinary user's path."""
READY_SECONDS: Final = 60.0
TRIES: Final = 3
"""How often it is started on other ports: until a daemon listens there, anybody may take one."""
STARTED: Final[list[subprocess.Popen[bytes]]] = []
"""Daemons that are children of this process."""

CONFIGURATION: Final = """\
ClusterName=daflow
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmctldPort={port}
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
# More slots than cores.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# Neither cgroups nor systemd; linuxproc finds a job's processes even in sessions of their own.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
# Tests are impatient; a busy machine is slow to answer.
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0
KillWait=5
MinJobAge=600
MessageTimeout=30
SlurmdTimeout=60
ReturnToService=1
"""
NODE: Final = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={slots} RealMemory={memory}\n"
)
PARTITIONS: Final = (
    f"PartitionName={PARTITION} Nodes=ALL Default=YES LLN=YES MaxTime=INFINITE State=UP\n"
    f"PartitionName={CLOSING} Nodes=ALL LLN=YES MaxTime=INFINITE State=UP\n"
)


class SlurmError(Exception):
    """Slurm cannot be had here, or did not start."""


@dataclass(frozen=True, slots=True)
class Slurm:
    """One that runs."""

    folder: Path

    @property
    def configuration(self) -> Path:
        """What ``SLURM_CONF`` has to say."""
        return self.folder / "slurm.conf"

    def say(self, *words: str, seconds: float = 60) -> str:
        """Run one of Slurm's commands, which may take so long; return what it wrote."""
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=False, timeout=seconds
        )
        if done.returncode:
            raise SlurmError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        """An environment whose commands speak to this one."""
        return os.environ | {"SLURM_CONF": str(self.configuration), "PATH": PLACES}


def missing() -> list[str]:
    """Return which programs are not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=PLACES) is None]


def running(folder: Path) -> Slurm | None:
    """Return the Slurm of this folder if it answers and all of its nodes can be used."""
    slurm = Slurm(folder)
    if not slurm.configuration.exists():
        return None
    try:
        states = slurm.say("sinfo", "--noheader", "--Node", "--format=%T", f"--partition={PARTITION}").split()
    except (SlurmError, subprocess.TimeoutExpired):
        return None
    usable = [state for state in states if state.rstrip("*") in {"idle", "mixed", "allocated"}]
    return slurm if len(usable) == len(NODES) else None


def start(folder: Path) -> Slurm:
    """Return the Slurm of this folder, which is started if it does not run.

    Raises
    ------
    SlurmError
        Programs are missing, or it is not ready within a minute, three times.
    """
    folder = folder.resolve()
    already = running(folder)
    if already:
        return already
    lacking = missing()
    if lacking:
        raise SlurmError(
            f"{', '.join(lacking)}: not installed (apt-get install slurmctld slurmd slurm-client munge)"
        )
    for _ in range(TRIES - 1):
        with suppress(SlurmError):
            return _started(folder)
    return _started(folder)


def _started(folder: Path) -> Slurm:
    _stop_daemons(folder)
    _lay_out(folder)
    slurm = Slurm(folder)
    # Its folder's path holds the socket of munge, whose length the system limits.
    _launch(folder, "munged", "--foreground", *_of_munge(folder))
    _wait((folder / "munge.socket").exists, folder, "munged")
    _launch(folder, "slurmctld", "-D", "-i", "-f", str(slurm.configuration))
    for node in NODES:
        _launch(folder, "slurmd", "-D", "-N", node, "-f", str(slurm.configuration))
    _wait(lambda: running(folder) is not None, folder, "slurmctld and slurmd")
    return slurm


def stop(folder: Path) -> None:
    """End every job, then the daemons."""
    folder = folder.resolve()
    if running(folder):
        slurm = Slurm(folder)
        with suppress(SlurmError, subprocess.TimeoutExpired):
            for state in ("PENDING", "RUNNING", "SUSPENDED"):
                slurm.say("scancel", f"--state={state}")
            deadline = time.monotonic() + 15
            while slurm.say("squeue", "--noheader").strip() and time.monotonic() < deadline:
                time.sleep(0.2)
    _stop_daemons(folder)


def _lay_out(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.unlink(missing_ok=True)
    key.touch(mode=0o400)
    key.chmod(0o600)
    key.write_bytes(secrets.token_bytes(128))
    (folder / "slurm.conf").write_text(_configuration(folder))


def _configuration(folder: Path) -> str:
    host = socket.gethostname().split(".")[0]
    memory = int(psutil.virtual_memory().total / 1024**2 * 0.9 / len(NODES))
    first, *ports = _free_ports(1 + len(NODES))
    user = psutil.Process().username()
    nodes = [
        NODE.format(name=name, host=host, port=port, slots=SLOTS, memory=memory)
        for name, port in zip(NODES, ports, strict=True)
    ]
    head = CONFIGURATION.format(host=host, user=user, folder=folder, port=first)
    return head + "".join(nodes) + PARTITIONS


def _free_ports(n: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _of_munge(folder: Path) -> list[str]:
    return [
        *(f"--{kind}-file={folder}/munge.{kind}" for kind in ("key", "pid", "log", "seed")),
        f"--socket={folder}/munge.socket",
        "--num-threads=10",
        "--force",  # a folder that nobody else can enter is what we want
    ]


def _launch(folder: Path, program: str, *words: str) -> None:
    """Start a daemon in a session of its own and note its process id."""
    found = shutil.which(program, path=PLACES)
    with (folder / f"{program}.out").open("ab") as out:
        process = subprocess.Popen(  # kept, so that it is reaped if it ends before we do
            [found or program, *words],
            env=os.environ | {"PATH": PLACES},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd=folder,
        )
    STARTED.append(process)
    with (folder / "daemons.jsonl").open("a") as file:
        file.write(json.dumps({"program": program, "pid": process.pid, "born": _born(process.pid)}) + "\n")


def _born(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def _wait(ready: Callable[[], bool], folder: Path, what: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if time.monotonic() > deadline or len(daemons(folder)) < len(_noted(folder)):
            said = "\n".join(
                path.read_text(errors="replace")[-1000:] for path in sorted(folder.glob("*.out"))
            )
            _stop_daemons(folder)
            raise SlurmError(f"{what}: did not get ready; logs in {folder}\n{said}")
        time.sleep(0.1)


def daemons(folder: Path, program: str = "") -> list[psutil.Process]:
    """Return the daemons of this folder that live: those started from it, not whoever has their id now."""
    found = []
    for program_of, pid, born in _noted(folder):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            lives = process.create_time() == born and process.status() != psutil.STATUS_ZOMBIE
            if lives and program in {"", program_of}:
                found.append(process)
    return found


def _noted(folder: Path) -> list[tuple[str, int, float]]:
    noted = folder / "daemons.jsonl"
    lines = noted.read_text().splitlines() if noted.exists() else []
    return [(one["program"], one["pid"], one["born"]) for one in map(json.loads, lines)]


def _stop_daemons(folder: Path) -> None:
    for program in (
        "slurmd",
        "slurmctld",
        "munged",
    ):  # a node's last word still wants a controller and a seal
        ours = daemons(folder, program)
        for signal_ in (signal.SIGTERM, signal.SIGKILL):
            for process in ours:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal_)
            _, ours = psutil.wait_procs(ours, timeout=10)
    (folder / "daemons.jsonl").unlink(missing_ok=True)


def main(words: list[str]) -> int:
    """Start or stop, as the command line says."""
    match words:
        case ["start", folder]:
            try:
                slurm = start(Path(folder))
            except SlurmError as error:
                sys.stderr.write(f"{error}\n")
                return 1
            sys.stdout.write(f"export SLURM_CONF={slurm.configuration}\n")
            return 0
        case ["stop", folder]:
            stop(Path(folder))
            return 0
    sys.stderr.write("start_slurm.py start|stop FOLDER\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
