"""What the operator asks for when a run is gone on with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from daflow.names import Status

ALL_FAILURES: Final = frozenset({Status.FAILED, Status.INVALID, Status.TIMED_OUT, Status.LOST})
"""What `retry_failed` asks for: all but what was cut off on purpose."""


@dataclass(frozen=True)
class Orders:
    """What a session does otherwise than the policy alone would have it."""

    retry: frozenset[Status] = frozenset()
    """Members that ended so in the stage at hand get new attempts. Lost ones always do in a new session."""
    members: frozenset[int] = frozenset()
    """These members do, however they ended."""
    drop: frozenset[int] = frozenset()
    """These members are given up in the stage at hand, even if they have not run or are done."""
    min_members: int | None = None
    """With fewer members the run stops from now on; ``None``: as the policy says."""

    def __bool__(self) -> bool:
        """Say whether anything is asked for."""
        return self != Orders()

    def with_failures(self) -> Orders:
        """Return these orders and new attempts for all that was not cut off on purpose."""
        return replace(self, retry=self.retry | ALL_FAILURES)

    def to_json(self) -> dict[str, Any]:
        """Return what is asked for as plain JSON; what is not, is left out."""
        plain: dict[str, Any] = {
            "retry": sorted(self.retry),
            "retry_members": sorted(self.members),
            "drop": sorted(self.drop),
        }
        given = {key: value for key, value in plain.items() if value}
        return given if self.min_members is None else given | {"min_members": self.min_members}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Orders:
        """Return the orders that `to_json` wrote, among other things; older facts have none."""
        retry = frozenset(map(Status, plain.get("retry", ())))
        return cls(
            retry | ALL_FAILURES if plain.get("retry_failed") else retry,
            frozenset(plain.get("retry_members", ())),
            frozenset(plain.get("drop", ())),
            plain.get("min_members"),
        )


NONE: Final = Orders()
"""Nothing is asked for."""
