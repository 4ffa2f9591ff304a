"""Which node is at fault: members that end badly there while others elsewhere do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import exp, lgamma
from typing import Final

from daflow.names import BLAMELESS, Phase, Status
from daflow.records import Outcome

CHANCE: Final = 0.01
"""A node is at fault where chance would deal it so many of the bad ends less often than this."""
COUNTED: Final = frozenset({Status.FAILED, Status.INVALID, Status.TIMED_OUT, Status.LOST})
"""The ends that may be a node's fault; what a queue, a rule or the operator cut off is nobody's."""
MEMBERS: Final = frozenset({Phase.PRIOR, Phase.FORECAST})


@dataclass
class Record:
    """What became of members on a node."""

    good: int = 0
    """How many ended well."""
    bad: dict[int, Outcome] = field(default_factory=dict)
    """Member -> the first of its ends there that was not good."""

    def outlived(self) -> float | None:
        """Return the seconds after which a member has come further than all that ended badly here.

        ``None``: of one of them nobody knows how long it took.
        """
        seconds = [outcome.seconds for outcome in self.bad.values()]
        return max(seconds) if seconds and min(seconds) > 0 else None


class Nodes:
    """What became of members on each node in this session: a fold of outcomes, O(1) each."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    @property
    def records(self) -> Mapping[str, Record]:
        """Host -> what became of members there."""
        return self._records

    def take(self, outcome: Outcome) -> None:
        """Take in how an attempt of a member ended; nothing is learned where the host is not known."""
        if outcome.task.phase not in MEMBERS or not outcome.host:
            return
        record = self._records.setdefault(outcome.host, Record())
        if outcome.status is Status.OK:
            record.good += 1
        elif outcome.status in COUNTED and not outcome.figures.get(BLAMELESS):
            record.bad.setdefault(outcome.task.index, outcome)


def at_fault(
    records: Mapping[str, Record],
    least: int | None,
    running: Iterable[tuple[str, float]] = (),
    avoided: Iterable[str] = (),
) -> dict[str, str]:
    """Return the nodes to put aside: host -> reason.

    A node is at fault where at least ``least`` different members ended badly and chance alone, dealing the
    bad ends to all nodes alike, would deal it so many in less than one of a hundred runs (the upper tail of
    the hypergeometric distribution, times the number of nodes). A member that ended badly on two nodes is
    the member's fault and counts on neither.

    Laws: a node alone is never at fault, nor are all; where every node does equally badly the model is to
    blame and no node is put aside; more good ends elsewhere never clear a node. Costs O(nodes + bad ends).

    Parameters
    ----------
    records
        Host -> what became of members there.
    least
        How many different members must have ended badly; ``None``: no node is ever at fault.
    running
        (host, seconds since it began) of members under way: one that has outlasted all bad ends of a node
        counts as good where it runs. A node that fails members at once is found out before the first
        member elsewhere is done.
    avoided
        Hosts put aside already: they are not compared with.
    """
    if least is None:
        return {}
    left = {host: record for host, record in records.items() if host not in set(avoided)}
    known = _own_faults(left)
    under_way = list(running)
    found = {}
    for host, record in left.items():
        n_bad = len(record.bad.keys() - known)
        if n_bad < least:
            continue
        beyond = record.outlived()
        alive = [where for where, seconds in under_way if beyond is not None and seconds > beyond]
        others = [other for other in left.values() if other is not record]
        good = record.good + alive.count(host)
        good_elsewhere = sum(other.good for other in others)
        good_elsewhere += sum(where != host and where not in set(avoided) for where in alive)
        bad_elsewhere = sum(len(other.bad.keys() - known) for other in others)
        hosts = left.keys() | set(alive)
        if chance(n_bad, good, bad_elsewhere, good_elsewhere) * len(hosts) < CHANCE:
            total = bad_elsewhere + good_elsewhere
            elsewhere = f"elsewhere {bad_elsewhere} of {total} did"
            found[host] = f"{n_bad} of {n_bad + good} members {_ended(record)} there; {elsewhere}"
    return found


def _own_faults(records: Mapping[str, Record]) -> frozenset[int]:
    """Return the members that ended badly on more than one node."""
    seen: set[int] = set()
    twice: set[int] = set()
    for record in records.values():
        twice |= seen & record.bad.keys()
        seen |= record.bad.keys()
    return frozenset(twice)


def _ended(record: Record) -> str:
    first = next(iter(record.bad.values()))
    words = sorted({str(outcome.status) for outcome in record.bad.values()})
    line = first.reason.partition("\n")[0]
    return f"ended badly ({', '.join(words)}; the first: {line})"


def chance(bad: int, good: int, bad_elsewhere: int, good_elsewhere: int) -> float:
    """Return how likely a node has so many of all bad ends, or more, if they are dealt to all members alike.

    The upper tail of the hypergeometric distribution (Fisher's exact test, one-sided).

    Laws: between 0 and 1; 1 where nothing ended elsewhere; falls with every good end elsewhere.
    """
    here, total_bad = bad + good, bad + bad_elsewhere
    total = here + bad_elsewhere + good_elsewhere
    whole = _log_choose(total, here)
    tail = (
        exp(_log_choose(total_bad, n) + _log_choose(total - total_bad, here - n) - whole)
        for n in range(bad, min(total_bad, here) + 1)
        if here - n <= total - total_bad
    )
    return min(sum(tail), 1.0)


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
