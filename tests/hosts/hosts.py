"""Hosts on one machine: network namespaces joined by a bridge, each with a host name and a link to cut."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SUBNET = "10.213.77"


def _ip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)


@dataclass
class Host:
    """A host of the network; the first one carries the bridge."""

    name: str
    address: str
    link: str
    """The end of its cable at the bridge."""
    bridge_at: str
    processes: list[subprocess.Popen[Any]] = field(default_factory=list)

    def start(self, *words: object, **settings: Any) -> subprocess.Popen[Any]:
        """Start a program on the host, in a session of its own."""
        inside = [
            "ip",
            "netns",
            "exec",
            self.name,
            "unshare",
            "--uts",
            "sh",
            "-c",
            'hostname "$0" && exec "$@"',
        ]
        given = {"start_new_session": True, "stdin": subprocess.DEVNULL} | settings
        process = subprocess.Popen([*inside, self.name, *map(str, words)], **given)
        self.processes.append(process)
        return process

    def cut(self) -> None:
        """Pull the cable."""
        _ip("-n", self.bridge_at, "link", "set", self.link, "down").check_returncode()

    def join(self) -> None:
        """Put the cable back."""
        _ip("-n", self.bridge_at, "link", "set", self.link, "up").check_returncode()

    def switch_off(self) -> None:
        """End all that was started here."""
        listed = _ip("netns", "pids", self.name).stdout.split()
        for pid in listed:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        for process in self.processes:
            process.wait()
        self.processes.clear()


def why_not() -> str:
    """Return why there can be no hosts here, or nothing if there can."""
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "no `ip` or `unshare` here (Debian: apt-get install iproute2 util-linux)"
    name = f"daflow-try-{os.getpid()}"
    made = _ip("netns", "add", name)
    if made.returncode == 0:
        made = _ip("-n", name, "link", "add", "bridge0", "type", "bridge")
        _ip("netns", "del", name)
    return "" if made.returncode == 0 else f"network namespaces cannot be made here: {made.stderr.strip()}"


@contextmanager
def network(n_hosts: int) -> Iterator[list[Host]]:
    """Yield hosts that reach each other; all that runs on them ends with the context."""
    names = [f"daflow{os.getpid()}-{number}" for number in range(n_hosts)]
    head, hosts = names[0], []
    try:
        for name in names:
            _ip("netns", "add", name).check_returncode()
            _ip("-n", name, "link", "set", "lo", "up").check_returncode()
        _ip("-n", head, "link", "add", "bridge0", "type", "bridge").check_returncode()
        _ip("-n", head, "addr", "add", f"{SUBNET}.1/24", "dev", "bridge0").check_returncode()
        _ip("-n", head, "link", "set", "bridge0", "up").check_returncode()
        hosts.append(Host(head, f"{SUBNET}.1", "bridge0", head))
        for number, name in enumerate(names[1:], start=1):
            hosts.append(_cabled(head, name, number))
        yield hosts
    finally:
        for host in hosts:
            host.switch_off()
        for name in names:
            _ip("netns", "del", name)


def _cabled(head: str, name: str, number: int) -> Host:
    link, address = f"port{number}", f"{SUBNET}.{number + 1}"
    cable = ["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name]
    _ip("-n", head, *cable).check_returncode()
    _ip("-n", head, "link", "set", link, "master", "bridge0").check_returncode()
    _ip("-n", head, "link", "set", link, "up").check_returncode()
    _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0").check_returncode()
    _ip("-n", name, "link", "set", "eth0", "up").check_returncode()
    return Host(name, address, link, head)


def words_of(path: Path) -> str:
    """Return what a program wrote into a file, to be shown where a test fails."""
    return path.read_text() if path.exists() else ""
