"""The roster of a pool: who is there, what each has to do, and where the next group goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import monotonic

from daflow.execution.lifetimes import Life


@dataclass(frozen=True, slots=True)
class _Told:
    """When a worker's time is over, by our monotonic clock, and how long it was in all."""

    end: float
    whole: float


def ip_of(address: str) -> str:
    """Return the host in a worker's address: ``tcp://10.0.0.7:41235`` -> ``10.0.0.7``."""
    return address.rpartition("://")[2].rpartition(":")[0]


class Roster:
    """Workers by address.

    Laws: a group goes to a worker that is there, that has not refused one and whose host is not put aside
    while there are others; among these to one that has the least to do for its threads. `place` costs
    O(workers), everything else O(1) a worker that changes.
    """

    def __init__(self) -> None:
        self._threads: dict[str, int] = {}
        self._absent: Counter[str] = Counter()
        self._load: Counter[str] = Counter()
        self._closed: set[str] = set()
        self._avoided: set[str] = set()
        self._resting: frozenset[str] = frozenset()
        self._hosts: dict[str, str] = {}
        self._by_ip: dict[str, str] = {}
        self._told: dict[str, _Told] = {}
        self._usable: dict[str, int] = {}
        self.most = 0
        """How many workers there were at once, at most."""

    def see(self, threads: Mapping[str, int]) -> None:
        """Take in who is there now: address -> threads."""
        self._threads = dict(threads)
        for address in self._load:
            self._absent[address] = 0 if address in threads else self._absent[address] + 1
        self.most = max(self.most, len(threads))
        self._sort_out()

    def _sort_out(self) -> None:
        here = {a: n for a, n in self._threads.items() if a not in self._closed}
        well = {a: n for a, n in here.items() if self.host(a) not in self._avoided}
        self._usable = {a: n for a, n in well.items() if a not in self._resting} or well or here

    @property
    def slots(self) -> int:
        """How many groups can run at once."""
        return sum(self._usable.values())

    @property
    def is_empty(self) -> bool:
        """Whether nobody is there, usable or not."""
        return not self._threads

    def place(self) -> str | None:
        """Return who gets the next group; ``None``: there is nobody."""
        if not self._usable:
            return None
        return min(self._usable, key=lambda address: self._load[address] / self._usable[address])

    def sent(self, address: str) -> int:
        """Note that a worker has a group more; return how many it has now."""
        self._load[address] += 1
        return self._load[address]

    def home(self, address: str) -> None:
        """Note that a worker has a group less."""
        self._load[address] -= 1
        if self._load[address] <= 0:
            del self._load[address]
            self._absent.pop(address, None)

    def has_gone(self, address: str) -> bool:
        """Say whether a worker was not there the last two times."""
        return self._absent[address] >= 2

    def close(self, address: str) -> None:
        """Send nothing more to a worker: it refuses, or is about to go."""
        self._closed.add(address)
        self._sort_out()

    def rest(self, addresses: Iterable[str]) -> None:
        """Send nothing to these for now, as long as there are others: they take nothing up."""
        resting = frozenset(addresses)
        if resting != self._resting:
            self._resting = resting
            self._sort_out()

    def died(self, address: str) -> None:
        """Note that a worker is not there any more."""
        if self._threads.pop(address, None) is not None:
            self._sort_out()

    def tell_host(self, address: str, host: str) -> None:
        """Learn on which host a worker is, by the name that the host has for itself."""
        if host and self._hosts.get(address) != host:
            self._hosts[address] = self._by_ip[ip_of(address)] = host
            if host in self._avoided:
                self._sort_out()

    def host(self, address: str) -> str:
        """Return the host of a worker: the name that it was heard by, else what its address says."""
        return self._hosts.get(address) or self._by_ip.get(ip_of(address)) or ip_of(address)

    def avoid(self, host: str) -> bool:
        """Put a host aside; say whether there are workers elsewhere."""
        self._avoided.add(host)
        self._sort_out()
        return any(self.host(address) != host for address in self._usable)

    def tell_life(self, address: str, life: Life) -> None:
        """Learn what a worker has left."""
        self._told[address] = _Told(monotonic() + life.left, life.whole)

    def outlived(self, address: str, margin: float) -> float | None:
        """Return how long a worker's life was in all if it is over, or nearly so; ``None``: it is not."""
        told = self._told.get(address)
        return told.whole if told is not None and monotonic() > told.end - margin else None
