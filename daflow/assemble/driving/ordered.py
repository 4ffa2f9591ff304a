"""What the operator asks for of a run, looked at before anything is done."""

from __future__ import annotations

from daflow.assemble.branching import plan_for
from daflow.assemble.folder import RunFolder, with_overrides
from daflow.assemble.sections.build import policy_of
from daflow.runs.checked_orders import check_orders
from daflow.runs.facts import Progress, Stage
from daflow.runs.orders import Orders


def ordered(run: RunFolder, progress: Progress, orders: Orders) -> tuple[RunFolder, Stage | None]:
    """Return the run with the settings that are asked for, and the stage in which members are dropped.

    Raises
    ------
    daflow.errors.InputError
        What is asked for cannot be had where the run stands; nothing has been done.
    """
    if not orders:
        return run, None
    if orders.min_members is not None:
        # Kept with the run's settings: a later session goes on with as few.
        run = with_overrides(run, [f"policy.min_members={orders.min_members}"])
    return run, check_orders(orders, progress, plan_for(run), policy_of(run.workflow))
