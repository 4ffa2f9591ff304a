"""The Protocols that a run is made of, and what they hand each other.

A `Model` forecasts one member, a `Method` updates one slice, a `Store` keeps every array, a `Pool`
runs tasks. Each can be replaced without the others knowing.
"""

from daflow.ports.arrays import (
    Arrays,
    BlockReader,
    FloatArray,
    Observations,
    ObservationTable,
    SlicePoints,
    StoredArray,
)
from daflow.ports.method import Method, Prepared, SliceInput, StepInput, Surveying
from daflow.ports.model import Advanced, Advancing, AdvancingMembers, ManyMembers, MemberInput, Model
from daflow.ports.pool import Pool, UnderWay
from daflow.ports.store import Store

__all__ = [
    "Advanced",
    "Advancing",
    "AdvancingMembers",
    "Arrays",
    "BlockReader",
    "FloatArray",
    "ManyMembers",
    "MemberInput",
    "Method",
    "Model",
    "ObservationTable",
    "Observations",
    "Pool",
    "Prepared",
    "SliceInput",
    "SlicePoints",
    "StepInput",
    "Store",
    "StoredArray",
    "Surveying",
    "UnderWay",
]
