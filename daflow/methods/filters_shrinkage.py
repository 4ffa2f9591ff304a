r"""The transform filter with a shrunk forecast covariance (Popov, Sandu, Nino-Ruiz & Evensen, 2021).

Synthetic members stand beside the dynamic ones: with snapshots s of a long run, M of them, and standard
normals :math:`\xi`,

.. math:: \chi_k = \bar x + \sqrt\mu \sum_i \xi_{ki} (s_i - \bar s) / \sqrt{M - 1},

so that a slice of them needs that slice of the snapshots only. Their scale :math:`\mu` and their weight
:math:`\gamma` follow from how the ensemble's anomalies compare with the snapshots', for which each slice
gives two small matrices of products. What would be observed of them is what the model observes of a state.

`ShrinkageFilter` makes one analysis for all numbers, `LocalShrinkageFilter` one for each (remark 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import numpy as np

from daflow.errors import DataError
from daflow.methods.filters_networks import Networks
from daflow.methods.observed import Observed
from daflow.methods.shrinkage_choices import Compared, Gamma, Root, Rooted, rao_blackwell
from daflow.names import Purpose
from daflow.numerics.arrays.ensembles import mean_of
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.precision import store_into
from daflow.numerics.arrays.random import standard_normals
from daflow.numerics.filters.shrinkage import shrinkage_etkf, shrunk_modes
from daflow.numerics.filters.shrinkage_target import laplace_draws, matched_scale
from daflow.numerics.localization.shrinkage_letkf import (
    ShrinkageLetkfFactors,
    add_shrinkage_analysis,
    shrinkage_letkf_factors,
)
from daflow.ports import Arrays, FloatArray, Prepared, SliceInput, SlicePoints, StepInput

BLOCK_NUMBERS: Final = 2**20
"""Numbers of a slice, for all members and snapshots, that are worked on at once: 8 MiB."""

PRODUCTS: Final = ("own", "cross", "gram")
"""What surveys add up, as `daflow.methods.shrinkage_choices.Compared` has it."""
Observe = Callable[[int, FloatArray], FloatArray]
"""From the number of a step and states at its end (k, n_state) to what is observed of them (k, n_obs)."""


class Target(Protocol):
    """Snapshots whose covariance the forecast's is shrunk towards."""

    @property
    def n_snapshots(self) -> int:
        """How many there are."""
        ...

    @property
    def n_state(self) -> int:
        """How many numbers each has."""
        ...

    def columns(self, start: int, stop: int) -> FloatArray:
        """Return the numbers ``start`` to ``stop`` along the state (n_snapshots, stop - start)."""
        ...


Draws = Callable[[int, Sequence[int], int], FloatArray]
"""From the number of a step, those of synthetic members and how many snapshots there are to draws."""


@dataclass(frozen=True, slots=True)
class GaussianDraws:
    """Standard normals, the same for the same step and synthetic member."""

    seed: int

    def __call__(self, step: int, members: Sequence[int], n: int) -> FloatArray:
        """Return draws (n_synthetic, n)."""
        purpose = Purpose.SYNTHETIC_MEMBERS
        return np.stack([standard_normals(self.seed, purpose, (step, member), 0, n) for member in members])


@dataclass(frozen=True, slots=True)
class LaplaceDraws:
    """Draws with heavier tails: normals, and an exponential length for each synthetic member."""

    seed: int

    def __call__(self, step: int, members: Sequence[int], n: int) -> FloatArray:
        """Return draws (n_synthetic, n)."""
        # An exponential of mean 1 is half the sum of two squared normals.
        numbers = GaussianDraws(self.seed)(step, members, n + 2)
        return laplace_draws(numbers[:, 2:], 0.5 * np.square(numbers[:, :2]).sum(axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What is observed, and what is seen of dynamic and synthetic members (n, n_obs)."""

    dynamic: FloatArray
    synthetic: FloatArray
    observed: Observed
    gamma: float
    products: FloatArray | None
    """Of dynamic and synthetic anomalies; ``None``: the root does not ask."""


@dataclass(frozen=True, eq=False)
class ShrinkageFilter:
    """The shrinkage ETKF, with the symmetric root of the extended ensemble if no other is asked for.

    Laws: a slice gives what the whole gives; gamma 0 is the ETKF; the mean is the Kalman mean of the shrunk
    covariance.

    Parameters
    ----------
    observed
        What is observed at a step.
    n_steps
        How many cycles there are.
    target
        Snapshots.
    observe
        What is seen of states at the end of a cycle.
    n_synthetic
        How many synthetic members, 2 or more.
    draw
        `GaussianDraws` or `LaplaceDraws`.
    gamma
        `rao_blackwell`, `ledoit_wolf`, or a `GivenGamma`.
    root
        `low_rank` or `dynamic`; ``None``: the symmetric one (section 3.1 of the paper).
    """

    observed: Callable[[int], Observed]
    n_steps: int
    target: Target
    observe: Observe
    n_synthetic: int
    draw: Draws
    gamma: Gamma = rao_blackwell
    root: Root | None = None

    def base(self, step: int) -> int:
        """Return from which step's members the update of a step starts."""
        return step

    def prepare(self, given: StepInput) -> Prepared:
        """Return the draws of the synthetic members (n_synthetic, n_snapshots): the rest needs the state."""
        draws = self.draw(given.step, range(self.n_synthetic), self.target.n_snapshots)
        return Prepared({"draws": draws})

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:  # noqa: ARG002 - no matter where
        """Return nothing."""
        return {}

    def survey(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Return products of anomalies, of the ensemble and the snapshots with themselves and each other."""
        n_members, n = slab.shape[0], self.target.n_snapshots
        own, cross, gram = (np.zeros(shape) for shape in ((n_members, n_members), (n_members, n), (n, n)))
        mean = np.empty(slab.shape[1])
        for some, snapshots in self._blocks(given, n_members):
            ensemble = slab[:, some].astype(np.float64)
            anomalies = anomalies_of(ensemble)
            own += anomalies @ anomalies.T
            cross += anomalies @ snapshots.T
            gram += snapshots @ snapshots.T
            mean[some] = mean_of(ensemble)
        return {"own": own, "cross": cross, "gram": gram, "mean": mean}

    def conclude(self, given: StepInput, factors: Arrays, found: Iterable[Arrays]) -> Prepared:
        """Return what `apply` needs of the dynamic and of the synthetic members.

        Cost: n_state n_synthetic n_snapshots for the synthetic members, which are made and observed a few at
        a time; memory: the mean, and a few states.
        """
        sums: dict[str, FloatArray] = {}
        means = []
        for each in found:
            sums = {name: sums[name] + each[name] if sums else each[name] for name in PRODUCTS}
            means.append(each["mean"])
        if not sums:
            raise DataError("the survey of a state found no slices", allowed="one or more")
        matched = matched_scale(_in_units_of_target(sums["cross"], sums["gram"]))
        compared = Compared(matched, *(sums[name] for name in PRODUCTS))
        gamma = self.gamma(compared)
        weights = np.sqrt(matched.scale) * factors["draws"]
        synthetic = self._observed_of(given.step, np.concatenate(means), weights)
        observed = self.observed(given.step)
        predicted = given.predicted(0, observed.error.n_obs)
        products = None if self.root is None else compared.with_synthetic(weights)
        made = self._analysis(_Seen(predicted, synthetic, observed, gamma, products), weights)
        return replace(made, figures={"gamma": gamma, "target_scale": matched.scale, **made.figures})

    def _analysis(self, seen: _Seen, weights: FloatArray) -> Prepared:
        """Return the weights of the ensemble's and of the snapshots' anomalies in what each member gets.

        Parameters
        ----------
        seen
            Of the members of both kinds.
        weights
            (n_synthetic, n_snapshots) of the snapshots' anomalies in each synthetic member.
        """
        given = (seen.dynamic, seen.synthetic, seen.observed.values, seen.observed.error, seen.gamma)
        if self.root is None or seen.products is None:
            made = Rooted(shrinkage_etkf(*given), {})
        else:
            made = self.root(shrunk_modes(*given), seen.products)
        target = made.transform.synthetic @ anomalies_of(weights)
        return Prepared({"dynamic": made.transform.dynamic, "target": target}, made.figures)

    def apply(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Turn a prior slice (n_members, n) into the posterior, in place; nothing is carried."""
        dynamic, target = given.factors["dynamic"], given.factors["target"]
        for some, snapshots in self._blocks(given, len(slab)):
            prior = slab[:, some].astype(np.float64)
            posterior = dynamic @ anomalies_of(prior)
            posterior += target @ snapshots
            posterior += prior
            store_into(slab[:, some], posterior)
        return {}

    def _blocks(self, given: SliceInput, n_members: int) -> Iterator[tuple[slice, FloatArray]]:
        """Yield some columns of a slice, and the snapshots' anomalies there over the root of their number."""
        size = max(BLOCK_NUMBERS // (n_members + self.target.n_snapshots), 1)
        for start in range(0, given.where.size, size):
            stop = min(start + size, given.where.size)
            yield slice(start, stop), self._anomalies(given.where.start + start, given.where.start + stop)

    def _anomalies(self, start: int, stop: int) -> FloatArray:
        anomalies = anomalies_of(self.target.columns(start, stop))
        anomalies /= np.sqrt(self.target.n_snapshots - 1)
        return anomalies

    def _observed_of(self, step: int, mean: FloatArray, weights: FloatArray) -> FloatArray:
        """Return what is observed of synthetic members (n_synthetic, n_obs), made a few at a time."""
        few = max(BLOCK_NUMBERS // len(mean), 1)
        size = max(BLOCK_NUMBERS // len(weights[0]), 1)
        seen = []
        for first in range(0, len(weights), few):
            some = weights[first : first + few]
            states = np.empty((len(some), len(mean)))
            for start in range(0, len(mean), size):
                where = slice(start, min(start + size, len(mean)))
                states[:, where] = mean[where] + some @ self._anomalies(where.start, where.stop)
            seen.append(self.observe(step, states))
        return np.concatenate(seen)


@dataclass(frozen=True, eq=False)
class LocalShrinkageFilter(ShrinkageFilter):
    """The shrinkage ETKF at each number of the state, with the observations in its reach (remark 1).

    Gamma and the target's scale are those of the whole state, as without localization.

    Laws: a slice gives what the whole gives; gamma 0 is the LETKF; where every weight is one it is
    `ShrinkageFilter`; what hears nothing stays as it is, bit for bit.

    Parameters
    ----------
    networks
        How far each observation reaches: localities by distance. The others are those of `ShrinkageFilter`.
    """

    networks: Networks = field(kw_only=True)

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:
        """Return which observations the points of a slice hear, and how loudly."""
        return self.networks.plan(locate())

    def _analysis(self, seen: _Seen, weights: FloatArray) -> Prepared:
        """Return what is seen in units of the errors, and the synthetic members' weights.

        Memory: n_obs (2 n_members + n_synthetic).

        Raises
        ------
        daflow.errors.CombinationError
            Errors that depend on each other.
        """
        observed = seen.observed
        factors = shrinkage_letkf_factors(
            seen.dynamic, seen.synthetic, observed.values, observed.error, seen.gamma
        )
        return Prepared(
            {
                "dynamic": factors.dynamic,
                "extended": factors.extended,
                "innovation": factors.innovation,
                "gamma": np.array(factors.gamma),
                "target": weights,
            }
        )

    def apply(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Turn a prior slice (n_members, n) into the posterior, in place; nothing is carried.

        Memory: some tens of MiB, whatever the slice; synthetic members are made as many columns at a time.
        """
        made = given.factors
        factors = ShrinkageLetkfFactors(
            made["dynamic"], made["extended"], made["innovation"], float(made["gamma"])
        )
        first = given.where.start

        def synthetic(start: int, stop: int) -> FloatArray:
            return self._departures(made["target"], first + start, first + stop)

        add_shrinkage_analysis(self.networks.which_hear(given), slab, synthetic, factors)
        return {}

    def _departures(self, weights: FloatArray, start: int, stop: int) -> FloatArray:
        """Return how synthetic members depart from the mean (n_synthetic, stop - start)."""
        found = np.empty((len(weights), stop - start))
        size = max(BLOCK_NUMBERS // self.target.n_snapshots, 1)
        for begin in range(start, stop, size):
            end = min(begin + size, stop)
            np.matmul(weights, self._anomalies(begin, end), out=found[:, begin - start : end - start])
        return found


def _in_units_of_target(cross: FloatArray, gram: FloatArray) -> FloatArray:
    """Return the ensemble's anomalies in the target's units (n_members, rank), from products over all slices.

    With the snapshots' anomalies :math:`C = W s U^T` the target is :math:`U s^2 U^T`, and
    :math:`A U s^{-1} = A C^T W s^{-2}`.
    """
    eigenvalues, vectors = np.linalg.eigh(gram)
    # Products have lost half of the digits: what is below is rounding.
    leading = eigenvalues > len(gram) * np.finfo(np.float64).eps * max(eigenvalues[-1], 0.0)
    if not leading.any():
        raise DataError(
            "the snapshots of a shrinkage target are all the same", allowed="snapshots that differ"
        )
    projected: FloatArray = cross @ (vectors[:, leading] / eigenvalues[leading])
    return projected
