"""Uniform numbers for pairs of numbers and observations: any of them, in any order, without those between.

A counter-based sequence: place n holds the mixed sum of a key and n times an odd constant, which is the
generator SplitMix64 read at its n-th number (Steele, Lea & Flood, 2014, OOPSLA '14, section 5).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from daflow.names import Purpose
from daflow.numerics.arrays.random import stream
from daflow.numerics.arrays.validation import FloatArray

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_MIXES: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def pair_uniforms(seed: int, step: int, places: NDArray[np.int64]) -> FloatArray:
    """Return the numbers in [0, 1) at places of the sequence that belongs to a seed and a step.

    Laws: the same seed, step and place give the same number, whatever else is asked for.

    Parameters
    ----------
    seed
        The run's.
    step
        Which update.
    places
        Of any shape, 0 or more.
    """
    key = stream(seed, Purpose.LOCALIZATION, step).integers(2**64, dtype=np.uint64)
    # Whole numbers wrap around, as the generator has it.
    bits = (places.astype(np.uint64) + np.uint64(1)) * _STEP + key
    for shift, factor in _MIXES:
        bits ^= bits >> np.uint64(shift)
        bits *= np.uint64(factor)
    bits ^= bits >> np.uint64(31)
    uniforms: FloatArray = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniforms


def shuffled_order(seed: int, step: int, n_members: int) -> NDArray[np.int64]:
    """Return an order of the members in which none keeps its place (n_members,): one random cycle."""
    cycle = stream(seed, Purpose.LOCALIZATION, step, 0).permutation(n_members)
    order = np.empty(n_members, np.int64)
    order[cycle] = np.roll(cycle, 1)
    return order
