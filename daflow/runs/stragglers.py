"""Which members are cut off because nearly all others were done long before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from daflow.records import Task


@dataclass(frozen=True, slots=True)
class StragglerRule:
    """When a member has taken too long, by what others took."""

    factor: float = 3.0
    """How often the median of those that are done; above 1."""
    share: float = 0.75
    """Which share of the stage's members must be done before any is cut off, 0 to 1."""

    def n_needed(self, n_members: int, min_members: int) -> int:
        """Return how many members must be done before any is cut off."""
        return max(ceil(self.share * n_members), min_members)


def stragglers(
    rule: StragglerRule,
    seconds: Sequence[float],
    running: Mapping[Task, float],
    n_done: int,
    n_needed: int,
) -> dict[Task, str]:
    """Return the tasks to cut off, each with the reason.

    Laws: none before ``n_needed`` are done, so that a cut never leaves a run with too few members; none that
    has not taken ``factor`` times the median of those that are done; who is cut is cut whoever else runs; a
    larger factor never cuts more. Costs a sort of ``seconds``, and nothing where nothing runs.

    Parameters
    ----------
    rule
        The factor.
    seconds
        What members of the stage took that are done, as far as it is known, in any order.
    running
        What is under way -> seconds since it began.
    n_done
        How many members of the stage are done, those of earlier sessions included.
    n_needed
        How many must be: `StragglerRule.n_needed`.
    """
    if not running or not seconds or n_done < n_needed:
        return {}
    usual = median(seconds)
    limit = rule.factor * usual
    return {
        task: f"cut off by policy.stragglers: it had run for {elapsed:.3g} s, more than {rule.factor:g} "
        f"times the median of the {n_done} members that were done ({usual:.3g} s)"
        for task, elapsed in running.items()
        if elapsed > limit
    }
