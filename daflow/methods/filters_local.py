"""Filters that are local by themselves: the local transform filter, and serial filters with tapers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from daflow.errors import CombinationError
from daflow.methods.filters_networks import Networks
from daflow.methods.observed import Observed
from daflow.numerics.filters.serial_filters import serial_factors
from daflow.numerics.localization.distance import IntArray, Rules, taper_by_kind
from daflow.numerics.localization.letkf import add_letkf_analysis, letkf_factors_by_blocks
from daflow.numerics.localization.local_serial import add_serial_analysis
from daflow.numerics.obs_error.covariance import DiagonalCovariance
from daflow.ports import Arrays, FloatArray, Prepared, SliceInput, SlicePoints, StepInput


@dataclass(frozen=True, eq=False)
class LocalFilter:
    """What filters share that are local by themselves.

    Parameters
    ----------
    observed
        What is observed at a step; errors are independent.
    n_steps
        How many steps there are: cycles, or one.
    networks
        How far each observation reaches.
    """

    observed: Callable[[int], Observed]
    n_steps: int
    networks: Networks

    def base(self, step: int) -> int:
        """Return from which step's members the update of a step starts."""
        return step

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:
        """Return which observations the points of a slice hear, and how loudly."""
        return self.networks.plan(locate())


@dataclass(frozen=True, eq=False)
class LocalTransformFilter(LocalFilter):
    """The LETKF (Hunt, Kostelich & Szunyogh, 2007, Physica D 230, 112).

    Laws: a slice gives what the whole gives; where every weight is one it is the ETKF; what hears nothing
    stays as it is, bit for bit. Its networks are localities by distance.
    """

    def prepare(self, given: StepInput) -> Prepared:
        """Return anomalies (n_obs, n_members) and innovation (n_obs,) in units of the errors.

        Raises
        ------
        daflow.errors.CombinationError
            Errors that depend on each other.
        """
        factors = letkf_factors_by_blocks(self.observed(given.step).innovations(given))
        return Prepared(factors._asdict())

    def apply(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Turn a prior slice (n_members, n) into the posterior, in place; nothing is carried."""
        plan = self.networks.which_hear(given)
        add_letkf_analysis(plan, slab, given.factors["anomalies"], given.factors["innovation"])
        return {}


@dataclass(frozen=True, eq=False)
class Network:
    """Where the observations of a step lie, and how far each reaches among the others.

    Parameters
    ----------
    points : (n_obs, 3)
        x, y, z; NaN along axes that do not count.
    kind_codes : (n_obs,)
        The number of each one's kind.
    rules
        (kind of the one that speaks, kind of the one that hears) -> taper.
    """

    points: FloatArray
    kind_codes: IntArray
    rules: Rules


@dataclass(frozen=True, eq=False)
class LocalSerialFilter(LocalFilter):
    """A serial filter with tapers (Anderson, 2003, Monthly Weather Review 131, 634).

    The observations are taken in the order in which they are listed, and with tapers that order matters. Each
    changes the predictions of those after it, tapered by the distance between both, and the state, tapered by
    its distance.

    Laws: a slice gives what the whole gives; both schemes give the same; what hears nothing stays as it is,
    bit for bit.

    Parameters
    ----------
    scheme
        One of `daflow.numerics.filters.serial_filters.SERIAL_FILTERS`.
    among_observations
        How far each observation reaches among the others, network by network. The networks themselves are
        localities by distance.
    """

    scheme: str
    among_observations: tuple[Network, ...]

    def prepare(self, given: StepInput) -> Prepared:
        """Return what each observation does when its turn comes: two arrays (n_obs, n_members).

        Cost n_members for each pair of observations in reach of each other; memory n_obs n_members a few
        times, and those pairs.

        Raises
        ------
        daflow.errors.CombinationError
            Errors that depend on each other.
        """
        observed = self.observed(given.step)
        if not isinstance(observed.error, DiagonalCovariance):
            raise CombinationError(
                "a serial filter with tapers takes observations one by one, and their errors depend on each "
                "other",
                got=type(observed.error).__name__,
                allowed="independent observation errors",
                do="give the errors as independent, or use the filter without localization",
            )
        network = self.among_observations[self.networks.of_step[given.step]]
        points, codes = network.points, network.kind_codes
        taper = taper_by_kind(points, codes, points, codes, network.rules)
        factors = serial_factors(
            observed.innovations(given).whole(),
            observed.values,
            observed.error.diagonal(),
            scheme=self.scheme,
            obs_obs_taper=taper,
        )
        return Prepared(factors._asdict())

    def apply(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Turn a prior slice (n_members, n) into the posterior, in place; nothing is carried."""
        plan = self.networks.which_hear(given)
        add_serial_analysis(plan, slab, given.factors["regressors"], given.factors["increments"])
        return {}
