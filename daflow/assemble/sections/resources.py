"""What each forecast of a member has to run on, by section ``execution.member``."""

from __future__ import annotations

from daflow.config.execution import ExecutionSettings
from daflow.config.member_jobs import JobMember
from daflow.models.resources import Resources


def resources_of(execution: ExecutionSettings) -> Resources:
    """Return what a command model is told of what it has."""
    member = execution.member
    if isinstance(member, JobMember):
        return Resources(member.cores, member.tasks, member.nodes, member.launcher or "")
    return Resources(member.cores)
