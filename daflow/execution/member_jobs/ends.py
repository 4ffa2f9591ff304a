"""What the end of a member's own job means for the member, by the evidence that there is."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from daflow.execution.queues import job_states
from daflow.execution.queues.job_states import JobState
from daflow.names import BLAMELESS, Status
from daflow.records import Outcome, Task

SAID: Final = {
    job_states.TIMEOUT: "it had used up its walltime",
    job_states.OUT_OF_MEMORY: "it took more memory than execution.member.memory",
    job_states.NODE_FAIL: "its node failed",
    job_states.PREEMPTED: "another job took its place",
    job_states.CANCELLED: "it was cancelled",
    job_states.FAILED: "it failed",
    job_states.COMPLETED: "it ended without a receipt",
}
"""Why a job ended -> in words."""
BLAMELESS_ENDS: Final = frozenset({job_states.NODE_FAIL, job_states.PREEMPTED, job_states.CANCELLED})
"""The ends that would have come whatever member it was. A walltime of its own is the member's."""


def outcome_of(task: Task, job: str, state: JobState, seconds: float, words: str = "") -> Outcome:
    """Return how an attempt ended whose job ended without a receipt of it.

    Parameters
    ----------
    task
        What was under way.
    job
        The job, in the queue's words.
    state
        How the queue says that it ended.
    seconds
        How long it had been at work; 0 where nobody knows.
    words
        What it printed last.
    """
    where = f" on {state.host}" if state.host else ""
    why = SAID.get(state.reason, "the queue does not tell why")
    named = f" ({state.reason})" if state.reason else ""
    reason = f"its job {job} ended{where}{named}: {why}{words}"
    if state.reason == job_states.TIMEOUT:
        return Outcome(task, Status.TIMED_OUT, seconds=seconds, host=state.host, reason=reason)
    figures = {BLAMELESS: 1.0} if state.reason in BLAMELESS_ENDS else {}
    return Outcome(task, Status.LOST, seconds=seconds, host=state.host, reason=reason, figures=figures)


def as_the_queue_says(outcome: Outcome, job: str, state: JobState) -> Outcome:
    """Return an outcome of a member that says it was lost, with the cause that only the queue knows.

    A job whose time is over is first asked to end: the program ends by a signal, and the member says so.
    """
    if outcome.status is not Status.LOST or state.reason not in BLAMELESS_ENDS | {
        job_states.TIMEOUT,
        job_states.OUT_OF_MEMORY,
    }:
        return outcome
    told = outcome_of(outcome.task, job, state, outcome.seconds)
    return replace(
        outcome,
        status=told.status,
        reason=f"{told.reason}; {outcome.reason}",
        figures={**outcome.figures, **told.figures},
    )
