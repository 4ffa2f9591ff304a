"""Filters without localization: one transform of the members for every slice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from daflow.methods.observed import Observed
from daflow.names import Purpose
from daflow.numerics.arrays.random import standard_normals
from daflow.numerics.filters.ensemble_transform import (
    EnsembleTransform,
    mean_preserving_rotation,
    modes_by_blocks,
    rotated,
)
from daflow.numerics.filters.filter_transforms import etkf_of
from daflow.numerics.filters.finite_size import HyperpriorOf, finite_size_of
from daflow.numerics.filters.serial_filters import serial_transform_by_blocks
from daflow.numerics.inversion.global_update import transform_members
from daflow.numerics.observations.blocks import BlockedInnovations
from daflow.ports import Arrays, FloatArray, Prepared, SliceInput, SlicePoints, StepInput


class Analysed(NamedTuple):
    """An analysis, and a few numbers worth a place in the journal."""

    transform: EnsembleTransform
    figures: Mapping[str, float] = {}


Analysis = Callable[[BlockedInnovations], Analysed]
"""From predictions, what was observed and R to an analysis."""
Rotate = Callable[[int, EnsembleTransform], EnsembleTransform]
"""From the number of a step and its analysis to one whose anomalies are mixed."""


def etkf_analysis(source: BlockedInnovations) -> Analysed:
    """Return the analysis of `daflow.numerics.filters.filter_transforms.etkf`."""
    return Analysed(etkf_of(modes_by_blocks(source)))


@dataclass(frozen=True, slots=True)
class SerialAnalysis:
    """The observations one after the other, by a scheme of `daflow.numerics.filters.serial_filters`."""

    scheme: str

    def __call__(self, source: BlockedInnovations) -> Analysed:
        """Return the analysis."""
        return Analysed(serial_transform_by_blocks(source, self.scheme))


@dataclass(frozen=True, slots=True)
class FiniteSizeAnalysis:
    """The finite-size filter, `daflow.numerics.filters.finite_size.finite_size_enkf`."""

    hyperprior: HyperpriorOf
    root: str

    def __call__(self, source: BlockedInnovations) -> Analysed:
        """Return the analysis, and the inflation that it found."""
        found = finite_size_of(modes_by_blocks(source), hyperprior=self.hyperprior, root=self.root)
        return Analysed(found.transform, {"inflation": found.inflation})


def not_rotated(step: int, transform: EnsembleTransform) -> EnsembleTransform:  # noqa: ARG001 - as `Rotate`
    """Return a transform as it is: each member stays near itself."""
    return transform


@dataclass(frozen=True, slots=True)
class RandomRotation:
    """A random rotation of the anomalies, the same for the same seed, step and number of members."""

    seed: int

    def __call__(self, step: int, transform: EnsembleTransform) -> EnsembleTransform:
        """Return a transform with the same mean and covariance."""
        size = len(transform.mean_weights) - 1
        normals = standard_normals(self.seed, Purpose.ROTATION, (step,), 0, size * size)
        return rotated(transform, mean_preserving_rotation(normals.reshape(size, size)))


@dataclass(frozen=True, eq=False)
class TransformFilter:
    """A filter whose posterior members are combinations of the prior's, the same for every slice.

    Laws: a slice gives what the whole gives; permuting the members permutes the posterior (unless it is
    rotated: then mean and covariance stay); the size of the blocks of observations does not matter.

    Parameters
    ----------
    observed
        What is observed at a step.
    n_steps
        How many steps there are: cycles, or one.
    analysis
        `etkf_analysis`, a `SerialAnalysis` or a `FiniteSizeAnalysis`.
    rotate
        `not_rotated`, or a `RandomRotation`.
    """

    observed: Callable[[int], Observed]
    n_steps: int
    analysis: Analysis
    rotate: Rotate = field(default=not_rotated)

    def base(self, step: int) -> int:
        """Return from which step's members the update of a step starts."""
        return step

    def prepare(self, given: StepInput) -> Prepared:
        """Return the transform of the ensemble.

        Cost: that of the analysis, linear in n_obs for an R that is not dense. Memory: n_members^2 and blocks
        of the observations.
        """
        transform, figures = self.analysis(self.observed(given.step).innovations(given))
        return Prepared({"transform": self.rotate(given.step, transform).matrix}, figures)

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:  # noqa: ARG002 - no matter where
        """Return nothing."""
        return {}

    def apply(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Turn a prior slice (n_members, n) into the posterior, in place; nothing is carried."""
        transform_members(given.factors["transform"], slab, slab)
        return {}
