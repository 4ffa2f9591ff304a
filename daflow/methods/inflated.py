"""Inflation around any method: of the prior before its update, of the posterior after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, cast

from daflow.ports import (
    Arrays,
    BlockReader,
    FloatArray,
    Method,
    Prepared,
    SliceInput,
    SlicePoints,
    StepInput,
    Surveying,
)

OWN: Final = "inflation_"
"""What the names of arrays of an inflation begin with: all others are the method's."""


class OfPrior(Protocol):
    """What widens an ensemble before its update: the members, and what they predict."""

    def learn(self, given: StepInput) -> Prepared:
        """Return what a step's slices share of the inflation, found before anything is inflated."""
        ...

    def predicted(self, read: BlockReader, shared: Arrays) -> BlockReader:
        """Return what reads the predictions inflated."""
        ...

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:
        """Return what the inflation needs to know of where a slice lies; see `Method.localize`."""
        ...

    def carry(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Return what a slice (n_members, n), not inflated yet, teaches for the next step."""
        ...

    def inflate(self, given: SliceInput, slab: FloatArray) -> None:
        """Inflate a slice in place."""
        ...


class OfPosterior(Protocol):
    """What widens an ensemble after its update."""

    def remember(self, slab: FloatArray) -> FloatArray | None:
        """Return what has to be known of the slice that the method is going to update."""
        ...

    def inflate(self, given: SliceInput, slab: FloatArray, before: FloatArray | None) -> None:
        """Inflate an updated slice in place; ``before`` is what was remembered."""
        ...


@dataclass(frozen=True, eq=False)
class AtSomeSteps:
    """What widens an ensemble after its update, but not after every one."""

    posterior: OfPosterior
    acts: Callable[[int], bool]
    """Says of a step whether it does."""

    def remember(self, slab: FloatArray) -> FloatArray | None:
        """Return what has to be known of the slice that the method is going to update."""
        return self.posterior.remember(slab)

    def inflate(self, given: SliceInput, slab: FloatArray, before: FloatArray | None) -> None:
        """Inflate an updated slice in place, if it is time."""
        if self.acts(given.step):
            self.posterior.inflate(given, slab, before)


@dataclass(frozen=True, eq=False)
class Inflated:
    """A method whose prior is inflated before each update, its posterior after it, or both.

    All works on the numbers that the method works on: of variables that are transformed, these are the
    transformed ones. Predictions are inflated as they are read, about their own mean; the model is not asked
    again what it predicts of the inflated members.

    Laws: without any inflation it is the method, bit for bit; a slice gives what the whole gives; the
    method sees an ensemble that was inflated and predictions that were, as if both had come so from the
    forecast. Memory: what a posterior inflation remembers, and a copy of the slice where the method
    surveys an inflated prior.

    Parameters
    ----------
    method
        The method.
    prior
        Acts before the update; None: nothing does.
    posterior
        Act after it, in this order.
    """

    method: Method
    prior: OfPrior | None = None
    posterior: tuple[OfPosterior, ...] = ()

    @property
    def n_steps(self) -> int:
        """How many updates the method makes at most."""
        return self.method.n_steps

    def base(self, step: int) -> int:
        """Return from which step's members the update of a step starts."""
        return self.method.base(step)

    def prepare(self, given: StepInput) -> Prepared:
        """Return what the method shares among all slices, and the inflation."""
        if self.prior is None:
            return self.method.prepare(given)
        learnt = self.prior.learn(given)
        prepared = self.method.prepare(self._inflated(given, learnt.arrays))
        return Prepared(
            {**prepared.arrays, **learnt.arrays}, {**prepared.figures, **learnt.figures}, prepared.last
        )

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:
        """Return what the method and the inflation need to know of where a slice lies."""
        places = self.method.localize(locate)
        return places if self.prior is None else {**places, **self.prior.localize(locate)}

    def apply(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Turn a prior slice (n_members, n) into the posterior, in place."""
        carried: Arrays = {}
        if self.prior is not None:
            carried = self.prior.carry(given, slab)
            self.prior.inflate(given, slab)
        known = [each.remember(slab) for each in self.posterior]
        left = self.method.apply(_for_method(given), slab)
        for each, before in zip(self.posterior, known, strict=True):
            each.inflate(given, slab, before)
        return {**left, **carried}

    def _inflated(self, given: StepInput, shared: Arrays) -> StepInput:
        """Return what the method gets to prepare a step."""
        read = given.predicted if self.prior is None else self.prior.predicted(given.predicted, shared)
        return replace(given, predicted=read, before=_of_method(given.before))


@dataclass(frozen=True, eq=False)
class InflatedSurveying(Inflated):
    """`Inflated` around a method that looks at the whole prior before it updates any slice."""

    def survey(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Return what the method finds in a prior slice, inflated; the slice is left as it is."""
        if self.prior is not None:
            slab = slab.copy()
            self.prior.inflate(given, slab)
        return self._surveying.survey(_for_method(given), slab)

    def conclude(self, given: StepInput, factors: Arrays, found: Iterable[Arrays]) -> Prepared:
        """Return what the method makes of what its surveys found."""
        return self._surveying.conclude(self._inflated(given, factors), _of_method(factors), found)

    @property
    def _surveying(self) -> Surveying:
        return cast("Surveying", self.method)


def inflated_method(
    method: Method, prior: OfPrior | None = None, posterior: tuple[OfPosterior, ...] = ()
) -> Method:
    """Return a method with inflation, which surveys if the method does; see `Inflated`."""
    surveys = hasattr(method, "survey")
    return (InflatedSurveying if surveys else Inflated)(method, prior, posterior)


def _of_method(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: array for name, array in arrays.items() if not name.startswith(OWN)}


def _for_method(given: SliceInput) -> SliceInput:
    return replace(
        given,
        factors=_of_method(given.factors),
        places=_of_method(given.places),
        carried=_of_method(given.carried),
    )
