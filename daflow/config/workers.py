"""What all sections ``execution`` have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from daflow.config.amounts import LEAST_MEMORY, UNITS, Memory, Walltime, bytes_of, seconds_of
from daflow.config.member_jobs import MemberSettings, WorkerMember
from daflow.config.section import Section

__all__ = [
    "LEAST_MEMORY",
    "UNITS",
    "Group",
    "Memory",
    "Silence",
    "Walltime",
    "WorkersSection",
    "bytes_of",
    "seconds_of",
]

Group = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=1)],
    Field(
        default="auto",
        description="How many members or slices a worker gets at a time: short ones cost less together, for "
        "they are sent, made durable and noted at once. auto: half a second's worth, by what the last ones "
        "took, and one where they take longer; 1: one at a time. The numbers do not depend on it.",
    ),
]


Silence = Annotated[
    float,
    Field(
        default=300.0,
        ge=1,
        description="Seconds for which a worker may say nothing before it is taken for dead, and what it had "
        "is done elsewhere. Models in Python that hold the interpreter's lock are silent while they run: "
        "give them more than one takes.",
    ),
]


class WorkersSection(Section):
    """What a section ``execution`` says whatever its kind."""

    group: Group = "auto"
    member: MemberSettings = Field(
        default=WorkerMember(),
        description="What each forecast of a member takes, and who runs it: workers, or jobs of their own.",
    )
