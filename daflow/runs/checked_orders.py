"""Whether what the operator asks for can be had where a run stands."""

from __future__ import annotations

from collections.abc import Collection

from daflow.errors import DataError
from daflow.names import Status
from daflow.records import Outcome
from daflow.runs.decide import BEFORE_ANALYSIS, MEMBER_PHASES, Plan, least_members, stage_at_hand
from daflow.runs.ends import listed
from daflow.runs.facts import Progress, Stage
from daflow.runs.orders import Orders
from daflow.runs.policy import Policy

SETTLED = (
    "what is closed stays: others have gone on from it. A new run with `ensemble.exclude` leaves members out "
    "from the start, one with more `policy.retries` gives them more attempts (they draw the same numbers "
    "there); for other settings of an analysis, `daflow analyse` makes a branch"
)


def check_orders(orders: Orders, progress: Progress, plan: Plan, policy: Policy) -> Stage | None:
    """Return the stage in which members are dropped that are to be; ``None``: none are.

    Parameters
    ----------
    orders
        What is asked for.
    progress, plan, policy
        Where the run stands, what it does, and with how many members it goes on.

    Raises
    ------
    daflow.errors.DataError
        A member is none of the run's, is done, or was left behind in a stage that is closed; the members of
        the stage at hand are settled; or too few would be left.
    """
    stage, members = stage_at_hand(progress, plan)
    if stage is None and orders.min_members is not None:
        raise DataError(
            "the run is finished: no stage is left that could end with too few members",
            got=f"--min-members {orders.min_members}",
            do="leave it out",
        )
    named = orders.members | orders.drop
    _check_known(named, plan)
    both = orders.members & orders.drop
    if both:
        raise DataError(
            "members cannot be tried again and dropped at once",
            got=listed(both),
            do="name them under --retry or under --drop",
        )
    at = _open_for_members(stage, progress, plan)
    if named and at is None:
        closed = "the run is finished" if stage is None else f"the {stage[0]} of step {stage[1]} is at hand"
        raise DataError(
            f"members {listed(named)} cannot be tried again or dropped now: their forecasts are closed",
            got=closed,
            allowed="while a forecast is at hand",
            do=SETTLED,
        )
    _check_ends(orders, progress, stage, members)
    if at is None:
        return None
    gone = named - frozenset(members)
    if gone:
        raise DataError(
            f"members {listed(gone)} were left behind in a stage that is closed",
            allowed=f"the members that have come to the {at[0]} of step {at[1]}: {listed(members)}",
            do=SETTLED,
        )
    _check_not_done(orders, progress, at)
    if not orders.drop:
        return None
    _check_enough(orders, progress, members, at, policy)
    return at


def _open_for_members(stage: Stage | None, progress: Progress, plan: Plan) -> Stage | None:
    """Return the stage at hand or to come in which it is settled who goes on; an analysis has none."""
    if stage is None or stage[0] not in BEFORE_ANALYSIS:
        return None
    stages = plan.stages_of(progress)
    return next((each for each in stages[stages.index(stage) :] if each[0] in MEMBER_PHASES), None)


def _check_known(named: Collection[int], plan: Plan) -> None:
    unknown = frozenset(named) - frozenset(plan.members)
    if unknown:
        raise DataError(
            "there are no such members in this run",
            got=listed(unknown),
            allowed=listed(plan.members),
            do="`daflow status` names those that did not end well",
        )


def _check_not_done(orders: Orders, progress: Progress, at: Stage) -> None:
    done = orders.members & progress.done.get(at, set()) - progress.dropped.get(at, {}).keys()
    if done:
        raise DataError(
            f"members {listed(done)} are done: the {at[0]} of step {at[1]} is not made a second time",
            allowed="members that have not ended well",
            do="--drop gives them up; a run in a new folder makes them anew",
        )


def _check_ends(orders: Orders, progress: Progress, stage: Stage | None, members: Collection[int]) -> None:
    """See that the ends to be tried again are at hand, if there were any at all."""
    if stage is not None:
        here = [o for outcomes in progress.failures.get(stage, {}).values() for o in outcomes]
        here += progress.dropped.get(stage, {}).values()
        if any(outcome.status in orders.retry for outcome in here):
            return
    ended = {o.task.index for o in progress.bad_ends if o.status in orders.retry and _of_member(o)}
    behind = ended - frozenset(members)
    if behind:
        raise DataError(
            f"members {listed(behind)} ended so, but were left behind in a stage that is closed",
            got=f"--retry {','.join(word(status) for status in sorted(orders.retry))}",
            allowed="ends in the stage at hand, where nobody ended so",
            do=f"leave --retry out to go on without them; {SETTLED}",
        )


def _of_member(outcome: Outcome) -> bool:
    return outcome.task.phase in MEMBER_PHASES


def _check_enough(
    orders: Orders, progress: Progress, members: tuple[int, ...], at: Stage, policy: Policy
) -> None:
    gone = orders.drop | (progress.dropped.get(at, {}).keys() - orders.members)
    least = least_members(progress, policy) if orders.min_members is None else orders.min_members
    n_left = len(frozenset(members) - gone)
    if n_left < least:
        raise DataError(
            f"too few members would be left in the {at[0]} of step {at[1]}",
            got=f"{n_left} of {len(members)}",
            allowed=f"at least {least} (policy.min_members)",
            do="drop fewer, or say with --min-members how few are enough",
        )


def word(status: Status) -> str:
    """Return what an end is called on the command line: without blanks."""
    return str(status).replace(" ", "-")
