"""Inflations with given numbers, and the one that innovations tell, for `daflow.methods.inflated`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np

from daflow.methods.observed import Observed
from daflow.names import Purpose
from daflow.numerics.arrays.random import NormalRows
from daflow.numerics.inflation.adaptive import InflationEstimate, combined_inflation, inflation_by_blocks
from daflow.numerics.inflation.in_place import (
    add_draws,
    deviations_of,
    mix_anomalies,
    relax_to_deviations,
    widen,
)
from daflow.ports import Arrays, BlockReader, FloatArray, Prepared, SliceInput, SlicePoints, StepInput

ADAPTIVE: Final = "inflation_adaptive"
"""Factor and variance of an adaptive inflation, (2,)."""


@dataclass(frozen=True, slots=True)
class MultipliedPrior:
    """Anomalies of the prior and of its predictions times a factor."""

    factor: float

    def learn(self, given: StepInput) -> Prepared:  # noqa: ARG002 - whatever is predicted
        """Return nothing: the factor is given."""
        return Prepared({})

    def predicted(self, read: BlockReader, shared: Arrays) -> BlockReader:  # noqa: ARG002
        """Return what reads the predictions with their anomalies multiplied."""
        return widened(read, self.factor)

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:  # noqa: ARG002 - the same everywhere
        """Return nothing: the factor is the same everywhere."""
        return {}

    def carry(self, given: SliceInput, slab: FloatArray) -> Arrays:  # noqa: ARG002
        """Return nothing: the factor is given."""
        return {}

    def inflate(self, given: SliceInput, slab: FloatArray) -> None:  # noqa: ARG002
        """Multiply the anomalies of a slice."""
        widen(slab, self.factor)


@dataclass(frozen=True, eq=False)
class AdaptivePrior:
    """One factor on the prior's variance, found from the innovations of each step and those before.

    The estimate of a step (Wang & Bishop, 2003) is combined with the one so far, each weighed by how well it
    is known (Li, Kalnay & Miyoshi, 2009; Miyoshi, 2011), and used in the same step. A step without any
    spread in its predictions leaves it as it was.

    Laws: the factor is between its bounds; slices do not matter, nor the blocks in which predictions are
    read.

    Parameters
    ----------
    observed
        What is observed at a step.
    initial
        What is known before the first step: a factor on the variance, and its variance.
    forgetting
        Multiplies the variance of the estimate so far at each step, 1 or more.
    lower, upper
        Bounds of the factor.
    """

    observed: Callable[[int], Observed]
    initial: InflationEstimate
    forgetting: float
    lower: float
    upper: float

    def learn(self, given: StepInput) -> Prepared:
        """Return the factor and its variance; figures: factor, its standard deviation, this step's own."""
        known = given.before.get(ADAPTIVE)
        estimate = self.initial if known is None else InflationEstimate(float(known[0]), float(known[1]))
        source = self.observed(given.step).innovations(given)
        seen = inflation_by_blocks(source)
        figures = {}
        if seen is not None:
            estimate = combined_inflation(estimate, seen, growth=self.forgetting)
            figures["inflation_of_step"] = seen.factor
        factor = min(max(estimate.factor, self.lower), self.upper)
        figures |= {"inflation": factor, "inflation_std": sqrt(estimate.variance)}
        return Prepared({ADAPTIVE: np.array([factor, estimate.variance])}, figures)

    def predicted(self, read: BlockReader, shared: Arrays) -> BlockReader:
        """Return what reads the predictions with their variances multiplied."""
        return widened(read, sqrt(shared[ADAPTIVE][0]))

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:  # noqa: ARG002 - the same everywhere
        """Return nothing: the factor is the same everywhere."""
        return {}

    def carry(self, given: SliceInput, slab: FloatArray) -> Arrays:  # noqa: ARG002
        """Return nothing: the step's own arrays tell the next one."""
        return {}

    def inflate(self, given: SliceInput, slab: FloatArray) -> None:
        """Multiply the variances of a slice."""
        widen(slab, sqrt(given.factors[ADAPTIVE][0]))


@dataclass(frozen=True, slots=True)
class MultipliedPosterior:
    """Anomalies of the posterior times a factor."""

    factor: float

    def remember(self, slab: FloatArray) -> None:
        """Remember nothing."""

    def inflate(self, given: SliceInput, slab: FloatArray, before: FloatArray | None) -> None:  # noqa: ARG002
        """Multiply the anomalies of a slice."""
        widen(slab, self.factor)


@dataclass(frozen=True, slots=True)
class RelaxedToSpread:
    """Standard deviations relaxed to those that the method was given (RTPS; Whitaker & Hamill, 2012).

    Memory: one number for each of the slice.
    """

    strength: float

    def remember(self, slab: FloatArray) -> FloatArray | None:
        """Return the standard deviations (n,)."""
        return deviations_of(slab) if self.strength else None

    def inflate(self, given: SliceInput, slab: FloatArray, before: FloatArray | None) -> None:  # noqa: ARG002
        """Relax the standard deviations of a slice."""
        if before is not None:
            relax_to_deviations(slab, before, self.strength)


@dataclass(frozen=True, slots=True)
class RelaxedToPerturbations:
    """Anomalies relaxed to those that the method was given (RTPP; Zhang, Snyder & Sun, 2004).

    Memory: a second slice.
    """

    strength: float

    def remember(self, slab: FloatArray) -> FloatArray | None:
        """Return a copy of the slice."""
        return slab.copy() if self.strength else None

    def inflate(self, given: SliceInput, slab: FloatArray, before: FloatArray | None) -> None:  # noqa: ARG002
        """Mix the anomalies of a slice."""
        if before is not None:
            mix_anomalies(slab, before, self.strength)


@dataclass(frozen=True, slots=True)
class Noise:
    """Draws of independent noise, less their mean over the members.

    Laws: a member's draws depend on seed, step and the place of the number only, not on the slices, nor on
    which other members there are; but for the mean that is taken off, which is that of the step's members.

    Parameters
    ----------
    spans
        (start, stop, standard deviation) along ``state``, one behind the other; there is no noise elsewhere.
    seed
        The run's.
    """

    spans: Sequence[tuple[int, int, float]]
    seed: int

    def remember(self, slab: FloatArray) -> None:
        """Remember nothing."""

    def inflate(self, given: SliceInput, slab: FloatArray, before: FloatArray | None) -> None:  # noqa: ARG002
        """Add noise to a slice."""
        where = given.where
        addresses = [(given.step, member) for member in given.members]
        for start, stop, deviation in self.spans:
            first, last = max(start, where.start), min(stop, where.stop)
            if first < last and deviation > 0.0:
                rows = NormalRows(self.seed, Purpose.INFLATION, addresses, first)
                part = slab[:, first - where.start : last - where.start]
                add_draws(part, deviation, rows.take)


def widened(read: BlockReader, factor: float | FloatArray) -> BlockReader:
    """Return what reads predictions with their anomalies multiplied.

    Parameters
    ----------
    read
        Reads them as they are.
    factor
        One number, or one for each observation (n_obs,).
    """

    def read_widened(start: int, stop: int) -> FloatArray:
        block = read(start, stop)
        widen(block, factor if isinstance(factor, float) else factor[start:stop])
        return block

    return read_widened
