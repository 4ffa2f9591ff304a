"""What a member's own job runs: ``python -m daflow.assemble.member_job RUN BATCH ELEMENT``.

It does what a worker does with a group of tasks; receipts are all that it says of them. The exit code is for
the queue's own listings: 0 where every member is well.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from daflow.assemble.worker import work
from daflow.errors import StoreError
from daflow.execution.member_jobs.batches import note_begun, note_blocked, read_batch
from daflow.names import Status
from daflow.records import Outcome, Task

WELL: Final = 0
NOT_ALL_WELL: Final = 1
NO_SUCH_BATCH: Final = 2
TOLD_TO_END: Final = 128 + signal.SIGTERM


def main(words: Sequence[str]) -> int:
    """Carry out an element of a batch; return the exit code.

    Parameters
    ----------
    words
        The run's folder, the batch's folder and the number of the element.
    """
    folder, place, index = words[0], Path(words[1]), int(words[2])
    batch = read_batch(place)
    if batch is None or not 0 <= index < len(batch.groups):
        sys.stderr.write(f"there is no element {index} in {place}: its driver has given it up\n")
        return NO_SUCH_BATCH
    signal.signal(signal.SIGTERM, _leave)
    note_begun(place, index, socket.gethostname())
    try:
        outcomes = _carried_out(folder, batch.groups[index])
    except KeyboardInterrupt:
        # Why, the queue knows; what the model was at is tidied up, and is no fact about the member.
        sys.stdout.write(f"{batch.groups[index][0].label}: told to end\n")
        return TOLD_TO_END
    blocked = [outcome for outcome in outcomes if outcome.status is Status.BLOCKED]
    if blocked:
        note_blocked(place, index, blocked)
    for outcome in outcomes:
        if outcome.status is not Status.OK:
            sys.stdout.write(f"{outcome.task.label} {outcome.status}: {outcome.reason}\n")
    return WELL if all(outcome.status is Status.OK for outcome in outcomes) else NOT_ALL_WELL


def _carried_out(folder: str, tasks: Sequence[Task]) -> list[Outcome]:
    """Do all the tasks, unless the store will not let one be.

    A worker hands back what takes long, for others to take; here there are no others.
    """
    outcomes: list[Outcome] = []
    left = list(tasks)
    while left:
        try:
            outcomes += work(folder, left)
        except StoreError as error:
            return [*outcomes, Outcome(left[0], Status.BLOCKED, host=socket.gethostname(), reason=str(error))]
        if any(outcome.status is Status.BLOCKED for outcome in outcomes):
            return outcomes
        home = {outcome.task for outcome in outcomes}
        left = [task for task in tasks if task not in home]
    return outcomes


def _leave(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - a signal handler's signature
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
