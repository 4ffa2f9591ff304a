"""Crews: workers, who looks after them, and what is known of those that ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from distributed import Client


@dataclass(frozen=True, slots=True)
class Fate:
    """What ended a worker, as far as whoever started it can tell."""

    reason: str
    """In words: "the queue ended job 17 on node03 (TIMEOUT)"."""
    blameless: bool
    """Whether it would have ended whatever task it had: cancelled, out of walltime, node gone."""


class Crew(Protocol):
    """Workers of a dask scheduler, and whoever brings them."""

    @property
    def client(self) -> Client:
        """Connected to their scheduler."""
        ...

    def tend(self, n_wanted: int) -> None:
        """Look after the workers; called every second or so.

        Parameters
        ----------
        n_wanted
            How many groups of tasks wait to be sent or are out: more workers than that would be idle.
        """
        ...

    def awaited(self) -> str:
        """Return why workers are still to come, in words: "2 jobs wait in the queue"; else nothing."""
        ...

    def fate(self, worker: str) -> Fate | None:
        """Return what ended the worker of this address; ``None``: nothing is known of it."""
        ...

    def avoid(self, host: str) -> None:
        """End the workers on a host and let no other start there, as far as that can be had."""
        ...


@dataclass(frozen=True, slots=True)
class Unattended:
    """Workers that are there, or are brought back by others: a nanny, or who started the scheduler."""

    client: Client

    def tend(self, n_wanted: int) -> None:
        """Leave them to themselves."""

    def awaited(self) -> str:
        """Return nothing: nobody is on the way."""
        return ""

    def fate(self, worker: str) -> Fate | None:  # noqa: ARG002
        """Return nothing: nobody knows."""
        return None

    def avoid(self, host: str) -> None:
        """Leave the host as it is: it is not ours to choose."""
