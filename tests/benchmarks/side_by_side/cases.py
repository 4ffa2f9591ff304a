"""Every case, in the order of the table."""

from __future__ import annotations

from side_by_side import (
    global_update,
    local_analysis,
    localized,
    many_observations,
    members,
    models,
    out_of_core,
    run_memory,
    scale,
    start,
)
from side_by_side.contest import Case

CASES: tuple[Case, ...] = (
    *global_update.CASES,
    *many_observations.CASES,
    *localized.CASES,
    *local_analysis.CASES,
    *out_of_core.CASES,
    *run_memory.CASES,
    *members.CASES,
    *scale.CASES,
    *start.CASES,
    *models.CASES,
)
