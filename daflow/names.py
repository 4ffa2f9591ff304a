"""One word a thing: the names that code, store, workflow file, command line and report share."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final

MEMBER: Final = "member"
STATE: Final = "state"
OBS: Final = "obs"

PARAMETERS: Final = "parameters"
FORECAST: Final = "forecast"
SMOOTHED: Final = "smoothed"
PREDICTED: Final = "predicted"
OBSERVATIONS: Final = "observations"

TRUTH: Final = -1
"""The number of the member that plays the truth of a twin experiment."""


LAST: Final = "last"
"""The figure by which a task says that the update of its step is the last."""

BLAMELESS: Final = "blameless"
"""The figure (1) of a lost attempt that would have ended whatever task it was: its job was cancelled or out
of walltime, its node gone."""
BY_WALLTIME: Final = "by_walltime"
"""The figure (1) of a lost attempt whose worker's time was over: its seconds are fewer than it takes."""
BY_OPERATOR: Final = "by_operator"
"""The figure (1) of a cancelled attempt that the operator asked to have dropped."""

LOCALIZED_AWAY: Final = "localized_away"
"""The share of pairs of a number and an observation that a localization leaves out: an array of a slice's
places, and a figure of its update."""


class Phase(StrEnum):
    """What a task does; within a step they follow each other in this order, but smoothing ends the run."""

    COORDINATES = "coordinates"
    TRUTH = "truth"
    PRIOR = "prior"
    FORECAST = "forecast"
    PREPARE = "prepare"
    SURVEY = "survey"
    CONCLUDE = "conclude"
    UPDATE = "update"
    SMOOTH = "smooth"


class Status(StrEnum):
    """How an attempt ended."""

    OK = "ok"
    FAILED = "failed"
    """The model said no: the same seed would end the same way."""
    INVALID = "invalid"
    """It finished, but what it wrote cannot be used."""
    TIMED_OUT = "timed out"
    """It took longer than it may: a fact of the model, as a no is."""
    CANCELLED = "cancelled"
    """A declared rule or the operator cut it off: nothing is known of how it would have ended."""
    LOST = "lost"
    """The node, the memory or the walltime ended it: it may run elsewhere."""
    BLOCKED = "blocked"
    """The store would not let it: nothing is held against the member, the run stops."""


class Purpose(IntEnum):
    """What a stream of random numbers is for: one number each, never reused, never renumbered."""

    PRIOR = 1
    MODEL = 2
    OBSERVATION_PERTURBATION = 3
    OBSERVATION_NOISE = 4
    INFLATION = 5
    LOCALIZATION = 6
    ROTATION = 7
    SYNTHETIC_MEMBERS = 8
