"""Every error that daflow raises on purpose.

::

    DaflowError
    ├── InputError              what the user gave cannot be used        exit code 2
    │   ├── ConfigError             the workflow file: a key, a value, a combination
    │   ├── DataError               a file or an array: missing, unreadable, wrong shape, not finite
    │   └── CombinationError        two valid choices that cannot be right together
    ├── RunError                the run could not go on                  exit code 1
    │   ├── LeaseError              another driver holds this run
    │   ├── StoreError              the disk: full, not writable, a file that is not what was written
    │   ├── JournalError            the journal contradicts itself
    │   ├── PoolError               no workers, or the scheduler is gone
    │   │   ├── OutOfTime               workers went because their time was nearly over
    │   │   └── GivenUp                 a worker that was given up went on: others have done what it was at
    │   └── EnsembleError           too few members are left
    └── MemberError             one member, while the run goes on        a fact in the journal
        ├── ModelFailed             the model said no
        ├── ModelTimeout            the model took longer than the policy allows
        ├── MemberLost              the model was ended from outside: memory, walltime, an operator
        └── OutputInvalid           the model finished, but what it wrote cannot be used
            └── PredictionsMissing      some of it is NaN, which the policy may allow
"""

from __future__ import annotations

from typing import Any


class DaflowError(Exception):
    """An error with a cure.

    Parameters
    ----------
    what
        What is wrong, and where: the file, key or array.
    got, allowed
        What was found there, and what may stand there.
    do
        What to do next.
    """

    def __init__(
        self, what: str, *, got: object = None, allowed: object = None, do: str | None = None
    ) -> None:
        self.what, self.got, self.allowed, self.do = what, got, allowed, do
        notes = (("got:    ", got), ("allowed:", allowed), ("do next:", do))
        lines = [what, *(f"  {label} {note}" for label, note in notes if note is not None)]
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes whole: keyword arguments included."""
        return _rebuild, (type(self), self.what, self.got, self.allowed, self.do)


def _rebuild(kind: type[DaflowError], what: str, got: object, allowed: object, do: str | None) -> DaflowError:
    return kind(what, got=got, allowed=allowed, do=do)


class InputError(DaflowError):
    """What the user gave cannot be used."""


class ConfigError(InputError):
    """A key, a value or a combination in the workflow file."""


class DataError(InputError):
    """A file or an array: missing, unreadable, of the wrong shape, not finite."""


class CombinationError(InputError):
    """Two choices, each valid, that cannot be right together."""


class RunError(DaflowError):
    """The run could not go on."""


class LeaseError(RunError):
    """Another driver holds this run."""


class StoreError(RunError):
    """The disk is full or not writable, or a file is not what was written."""


class JournalError(RunError):
    """The journal contradicts itself."""


class PoolError(RunError):
    """There are no workers, or the scheduler is gone."""


class OutOfTime(PoolError):  # noqa: N818 - a fact about workers, not an accident
    """All workers went because too little of their time was left, and no others come."""


class GivenUp(PoolError):  # noqa: N818 - a fact about a worker, not an accident
    """A worker was stopped or cut off for so long that what it was at has been done elsewhere."""


class EnsembleError(RunError):
    """Too few members are left."""


class MemberError(DaflowError):
    """One member could not be had; the run goes on by its policy."""


class ModelFailed(MemberError):  # noqa: N818 - a fact about a member, read as one
    """The model said no: the same input would end the same way."""


class ModelTimeout(MemberError):  # noqa: N818 - the same
    """The model took longer than the policy allows."""


class MemberLost(MemberError):  # noqa: N818 - the same
    """The model was ended from outside: it may end otherwise elsewhere."""


class OutputInvalid(MemberError):  # noqa: N818 - the same
    """The model finished, but what it wrote cannot be used."""


class PredictionsMissing(OutputInvalid):
    """Some predictions are NaN and the others are sound.

    Parameters
    ----------
    predicted : (n_obs,)
        What there is; ``None`` once the error has travelled between processes.
    """

    def __init__(self, predicted: Any, what: str, **notes: Any) -> None:
        super().__init__(what, **notes)
        self.predicted = predicted

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as words: numbers go through the store."""
        return OutputInvalid.__reduce__(
            OutputInvalid(self.what, got=self.got, allowed=self.allowed, do=self.do)
        )
