"""The attempts that did not end well, grouped by how they ended: counts, hosts, first messages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from daflow.names import BLAMELESS, Status
from daflow.records import Outcome
from daflow.runs.facts import Progress

MESSAGES: Final = 3
"""How many messages are told of each group."""
_NUMBERS: Final = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Message:
    """What attempts said that said nearly the same: only numbers in it may differ."""

    text: str
    """The first line that the first of them said."""
    attempts: int


@dataclass(frozen=True, slots=True)
class EndGroup:
    """All attempts that ended alike."""

    status: Status
    attempts: int
    members: tuple[int, ...]
    """The members (or slices) whose attempts these were."""
    done_since: int
    """How many of them a later attempt brought through."""
    blameless: int
    """How many attempts were ended by what would have ended any."""
    hosts: dict[str, int]
    """Host -> attempts, the most first; those of which nobody knows where they ran are left out."""
    messages: tuple[Message, ...]
    """The most frequent ones."""
    other_messages: int
    """How many attempts said something else."""


@dataclass
class _Group:
    attempts: int = 0
    blameless: int = 0
    tasks: set[tuple[str, int, int]] = field(default_factory=set)
    done: set[tuple[str, int, int]] = field(default_factory=set)
    hosts: Counter[str] = field(default_factory=Counter)
    texts: dict[str, str] = field(default_factory=dict)
    said: Counter[str] = field(default_factory=Counter)

    def take(self, outcome: Outcome, *, done: bool) -> None:
        task = (str(outcome.task.phase), outcome.task.step, outcome.task.index)
        self.attempts += 1
        self.blameless += bool(outcome.figures.get(BLAMELESS))
        self.tasks.add(task)
        if done:
            self.done.add(task)
        if outcome.host:
            self.hosts[outcome.host] += 1
        line = outcome.reason.partition("\n")[0]
        like = alike(line)
        self.texts.setdefault(like, line)
        self.said[like] += 1

    def whole(self, status: Status) -> EndGroup:
        messages = tuple(Message(self.texts[like], n) for like, n in self.said.most_common(MESSAGES))
        return EndGroup(
            status,
            self.attempts,
            tuple(sorted({index for _, _, index in self.tasks})),
            len({index for _, _, index in self.done}),
            self.blameless,
            dict(self.hosts.most_common()),
            messages,
            self.attempts - sum(message.attempts for message in messages),
        )


def alike(line: str) -> str:
    """Return what messages have in common that differ in numbers only."""
    return _NUMBERS.sub("0", line)


def ends_of(progress: Progress) -> tuple[EndGroup, ...]:
    """Return the attempts that did not end well, a group for each end that came up, in the order of `Status`.

    Costs O(attempts).
    """
    groups: dict[Status, _Group] = {}
    for outcome in progress.bad_ends:
        stage = (outcome.task.phase, outcome.task.step)
        index = outcome.task.index
        done = index in progress.done.get(stage, ()) and index not in progress.dropped.get(stage, ())
        groups.setdefault(outcome.status, _Group()).take(outcome, done=done)
    return tuple(groups[status].whole(status) for status in Status if status in groups)


def told_hosts(hosts: dict[str, int], most: int = 3) -> str:
    """Return on which hosts attempts ended, in words: "n01 (12), n02 (3) and 4 others"."""
    named = [f"{host} ({attempts})" for host, attempts in list(hosts.items())[:most]]
    left = len(hosts) - len(named)
    return ", ".join(named) + (f" and {left} other{'s' if left > 1 else ''}" if left else "")


def told_messages(group: EndGroup, between: str = "\n") -> str:
    """Return what attempts said, the most frequent first: "4 x no licence left"."""
    lines = [_times(message.attempts) + message.text for message in group.messages]
    if group.other_messages:
        lines.append(f"and {group.other_messages} other{'s' if group.other_messages > 1 else ''}")
    return between.join(lines)


def _times(attempts: int) -> str:
    return "" if attempts == 1 else f"{attempts} x "


def listed(numbers: Iterable[int]) -> str:
    """Return numbers as one writes them, runs of them as 3-7."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
