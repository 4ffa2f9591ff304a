"""Distance localization: which observation may speak to which number of the state, and how loudly.

A `DistanceTaper` turns coordinates into weights. The weights of many points and observations are kept
sparse: a k-d tree finds the pairs in reach, so the cost follows their number and not points x observations,
and the result equals the dense formula.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import cos, hypot, inf, isfinite, radians, sin
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from daflow.errors import ConfigError, DataError
from daflow.numerics.localization.tapers import EDGE, TAPERS, beta

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
SparseTaper = sparse.csr_array[np.float64, tuple[int, int]]

AXES: Final = ("x", "y", "z")


@dataclass(frozen=True, slots=True)
class DistanceTaper:
    """A taper of the distance between a point and an observation.

    The distance is counted in lengths along axes of its own: z^2 = (d_major / lx)^2 + (d_minor / ly)^2 +
    (d_z / lz)^2.

    Parameters
    ----------
    family
        A name in `daflow.numerics.localization.tapers.TAPERS`, which says what a length means.
    lengths
        (lx, ly, lz) in the unit of the coordinates: along the major axis, across it, and along z. Along an
        axis whose length is ``None`` or infinite distance does not count.
    angle
        Degrees from x to the major axis, counter-clockwise in the x-y plane.
    cutoff
        In lengths; the weight is 0 beyond. Only for families that reach to infinity: without it every
        pair counts and the cost is points x observations.
    beta
        The exponent of the family ``beta``; 3 where not given.
    period
        (px, py, pz) after which the domain closes on itself along an axis, in the unit of the coordinates: a
        ring, a globe's longitudes; ``None`` where it does not. The taper reaches less than half way around.

    Raises
    ------
    daflow.errors.ConfigError
        A value that cannot be used, or an option that the family does not have.
    """

    family: str
    lengths: tuple[float | None, float | None, float | None]
    angle: float = 0.0
    cutoff: float | None = None
    beta: float | None = None
    period: tuple[float | None, float | None, float | None] = (None, None, None)

    def __post_init__(self) -> None:
        if self.family not in TAPERS:
            raise ConfigError(
                "There is no taper family of that name", got=self.family, allowed=", ".join(TAPERS)
            )
        if len(self.lengths) != 3 or any(not length > 0.0 for length in self._lengths):
            allowed = "three numbers above 0 (x, y, z); None where distance does not count"
            raise ConfigError("A taper has a length that is none", got=self.lengths, allowed=allowed)
        if not any(isfinite(length) for length in self._lengths):
            do = "give the pair no taper at all if it should stay untapered"
            raise ConfigError("A taper counts distance along no axis", got=self.lengths, do=do)
        self._check_options()

    def _check_options(self) -> None:
        if not isfinite(self.angle):
            raise ConfigError("A taper's angle is not finite", got=self.angle, allowed="degrees")
        if self.angle != 0.0 and not any(isfinite(length) for length in self._lengths[:2]):
            do = "leave the angle out, or give a length along x or y"
            raise ConfigError("A taper has an angle but counts neither x nor y", got=self.angle, do=do)
        if self.cutoff is not None and isfinite(TAPERS[self.family].reach):
            do = f"leave the cutoff out: {self.family} ends at {TAPERS[self.family].reach} lengths anyway"
            raise ConfigError("A taper that ends by itself has a cutoff", got=self.cutoff, do=do)
        if self.cutoff is not None and not 0.0 < self.cutoff < inf:
            raise ConfigError("A taper's cutoff is no distance", got=self.cutoff, allowed="lengths above 0")
        if self.beta is not None and self.family != "beta":
            do = "leave it out, or choose the family beta"
            raise ConfigError(f"The taper family {self.family} has no exponent", got=self.beta, do=do)
        if self.beta is not None and not 0.0 < self.beta < inf:
            raise ConfigError("A taper's exponent beta is not above 0", got=self.beta, allowed="above 0")

        self._check_period()

    def _check_period(self) -> None:
        for axis, around in enumerate(self.period):
            if around is None:
                continue
            extent = self.reach * self._extent(axis)
            if axis not in self.counted or not 0.0 < around < inf or not extent < around / 2.0 - EDGE:
                raise ConfigError(
                    f"The period of a taper along {AXES[axis]}",
                    got=around,
                    allowed=f"an axis that counts; more than twice the taper's reach of {extent:g} there",
                    do="make the taper shorter, give it a cutoff, or leave the period out",
                )

    def _extent(self, axis: int) -> float:
        """Return how far a length reaches along a coordinate axis."""
        lx, ly, lz = self._lengths
        if axis == 2 or self.angle == 0.0:
            return (lx, ly, lz)[axis]
        c, s = cos(radians(self.angle)), sin(radians(self.angle))
        return hypot(lx * c, ly * s) if axis == 0 else hypot(lx * s, ly * c)

    def images(self, obs_points: FloatArray) -> Iterator[FloatArray]:
        """Yield observations (m, 3) as often as the taper may hear of them: once, or from all around."""
        shifts = [(0.0,) if around is None else (0.0, -around, around) for around in self.period]
        for shift in product(*shifts):
            yield self.wrapped(obs_points) + shift

    def wrapped(self, points: FloatArray) -> FloatArray:
        """Return points (n, 3) with coordinates along periodic axes from 0 up to the period."""
        if not any(self.period):
            return points
        inside = points.copy()
        for axis, around in enumerate(self.period):
            if around is not None:
                inside[:, axis] %= around
        return inside

    @property
    def _lengths(self) -> tuple[float, ...]:
        return tuple(inf if length is None else float(length) for length in self.lengths)

    @property
    def reach(self) -> float:
        """The number of lengths beyond which the weight is 0; infinite if there is none."""
        return TAPERS[self.family].reach if self.cutoff is None else self.cutoff

    @property
    def counted(self) -> tuple[int, ...]:
        """The coordinates that the distance depends on: 0 for x, 1 for y, 2 for z."""
        finite = [isfinite(length) for length in self._lengths]
        if self.angle != 0.0:
            finite[0] = finite[1] = True
        return tuple(axis for axis in range(3) if finite[axis])

    def weight(self, distance: FloatArray) -> FloatArray:
        """Return the weights, in [0, 1], at these distances counted in lengths."""
        if self.family == "beta" and self.beta is not None:
            return beta(distance, self.beta)
        weight = TAPERS[self.family].weight(distance)
        if self.cutoff is not None:
            weight[distance > self.cutoff + EDGE] = 0.0
        return weight

    def place(self, points: FloatArray, origin: FloatArray) -> FloatArray:
        """Return points (n, 3), seen from an origin (3,), as (n, axes that count) in lengths.

        Between the points so placed the plain Euclidean distance is the one that `weight` takes.
        """
        delta = [points[:, axis] - origin[axis] if axis in self.counted else None for axis in range(3)]
        if self.angle != 0.0 and delta[0] is not None and delta[1] is not None:
            c, s = cos(radians(self.angle)), sin(radians(self.angle))
            delta[0], delta[1] = c * delta[0] + s * delta[1], c * delta[1] - s * delta[0]
        along = zip(delta, self._lengths, strict=True)
        return np.stack([d / length for d, length in along if d is not None and isfinite(length)], axis=1)


Rules = Mapping[tuple[int, int], DistanceTaper | None]
"""(code of a variable, code of a kind of observation) -> its taper; ``None`` leaves the pair untapered."""


@dataclass(frozen=True, slots=True)
class TaperBlock:
    """Points and observations that share one rule."""

    taper: DistanceTaper | None
    points: IntArray
    """(p,) their numbers, ascending."""
    obs: IntArray
    """(q,) their numbers, ascending; again for each image where the domain closes on itself: no point hears
    more than one."""
    placed_points: FloatArray
    """(p, axes that count) in lengths; empty where untapered."""
    placed_obs: FloatArray


def state_obs_taper(points: ArrayLike, obs_points: ArrayLike, taper: DistanceTaper) -> SparseTaper:
    """Return the weights between points and observations, sparse.

    Parameters
    ----------
    points
        (n, 3) x, y, z of the points; NaN along axes that do not count.
    obs_points
        (m, 3) the same of the observations.
    taper
        What turns distance into weight.

    Returns
    -------
    csr_array
        (n, m), float64. Pairs of weight 0 are not stored.

    Raises
    ------
    daflow.errors.DataError
        A coordinate that counts is missing.

    Notes
    -----
    Costs O((n + m) log(n + m) + pairs in reach); every pair is in reach if the taper's reach is infinite.

    Laws: equals the dense formula; 0 where nothing is in reach.
    """
    return taper_by_kind(points, 0, obs_points, 0, {(0, 0): taper})


def obs_obs_taper(obs_points: ArrayLike, taper: DistanceTaper) -> SparseTaper:
    """Return the weights among observations at (m, 3), sparse (m, m); see `state_obs_taper`.

    Laws: symmetric, with a diagonal of ones.
    """
    return state_obs_taper(obs_points, obs_points, taper)


def taper_by_kind(
    points: ArrayLike, variable_codes: ArrayLike, obs_points: ArrayLike, kind_codes: ArrayLike, rules: Rules
) -> SparseTaper:
    """Return the weights between points and observations, each pair by its own rule, sparse.

    Parameters
    ----------
    points, obs_points
        (n, 3) and (m, 3) coordinates; NaN along axes that no rule of theirs counts.
    variable_codes, kind_codes
        (n,) and (m,) whole numbers, or one for all: what the points and the observations are.
    rules
        A taper for every pair of codes that occurs; ``None`` leaves a pair untapered: weight 1.

    Returns
    -------
    csr_array
        (n, m), float64. Untapered pairs are stored too.

    Raises
    ------
    daflow.errors.ConfigError
        A pair of codes has no rule.
    daflow.errors.DataError
        A coordinate that counts is missing; shapes disagree.

    Notes
    -----
    Observations take the place of points for weights among observations of several kinds. Tapers that
    differ from pair to pair need not make a positive semidefinite matrix.

    Laws: each block equals `state_obs_taper` of its own rule.
    """
    points, obs_points = checked_points(points, "points"), checked_points(obs_points, "obs_points")
    rows, columns, weights = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    for block in taper_blocks(points, variable_codes, obs_points, kind_codes, rules):
        i, j, weight = _pairs(block)
        rows.append(block.points[i])
        columns.append(block.obs[j])
        weights.append(weight)
    pairs = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    taper = sparse.csr_array(sparse.coo_array(pairs, shape=(len(points), len(obs_points))))
    taper.sort_indices()
    return taper


def _pairs(block: TaperBlock) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the pairs of a block whose weight is not 0: point, observation, weight."""
    p, q = len(block.points), len(block.obs)
    if block.taper is None:
        every = np.arange(p * q)
        return every // q, every % q, np.ones(p * q)
    tree, obs_tree = cKDTree(block.placed_points), cKDTree(block.placed_obs)
    found = tree.sparse_distance_matrix(obs_tree, block.taper.reach + 2.0 * EDGE, output_type="ndarray")
    weight = block.taper.weight(found["v"])
    heard = weight > 0.0
    return found["i"][heard].astype(np.int64), found["j"][heard].astype(np.int64), weight[heard]


def taper_blocks(
    points: FloatArray,
    variable_codes: ArrayLike,
    obs_points: FloatArray,
    kind_codes: ArrayLike,
    rules: Rules,
) -> Iterator[TaperBlock]:
    """Yield the pairs of `taper_by_kind` rule by rule: each pair once, in an order fixed by the codes.

    Kinds of observation that share a variable's rule come together.
    """
    variable_codes = _checked_codes(variable_codes, len(points), "variable_codes")
    kind_codes = _checked_codes(kind_codes, len(obs_points), "kind_codes")
    for variable in np.unique(variable_codes).tolist():
        kinds_by_rule: dict[DistanceTaper | None, list[int]] = {}
        for kind in np.unique(kind_codes).tolist():
            kinds_by_rule.setdefault(_rule(rules, variable, kind), []).append(kind)
        which = np.flatnonzero(variable_codes == variable)
        for taper, kinds in kinds_by_rule.items():
            obs = np.flatnonzero(np.isin(kind_codes, kinds))
            if taper is None:
                yield TaperBlock(None, which, obs, np.zeros((0, 0)), np.zeros((0, 0)))
                continue
            # The origin is an observation, never a point: it must be the same whatever slice is in hand.
            origin = obs_points[obs[0]]
            placed = _placed(taper, taper.wrapped(points), which, origin, "state point")
            images = [_placed(taper, image, obs, origin, "observation") for image in taper.images(obs_points)]
            yield TaperBlock(taper, which, np.tile(obs, len(images)), placed, np.concatenate(images))


def _placed(
    taper: DistanceTaper, points: FloatArray, which: IntArray, origin: FloatArray, label: str
) -> FloatArray:
    chosen = points[which]
    for axis in taper.counted:
        bad = ~np.isfinite(chosen[:, axis])
        if bad.any():
            first = int(np.argmax(bad))
            raise DataError(
                f"The {label} number {which[first]} has no {AXES[axis]} coordinate, along which its taper "
                f"counts distance ({int(bad.sum())} such in all)",
                got=float(chosen[first, axis]),
                do=f"give it a coordinate, set the taper's {AXES[axis]} length to none, or declare the "
                "pair of variable and kind untapered",
            )
    return taper.place(chosen, origin)


def _rule(rules: Rules, variable: int, kind: int) -> DistanceTaper | None:
    if (variable, kind) not in rules:
        raise ConfigError(
            f"No localization rule for variable code {variable} and observation kind code {kind}",
            allowed=f"rules exist for {sorted(rules)}",
            do="give the pair a taper, or none to leave it untapered",
        )
    return rules[variable, kind]


def _checked_codes(codes: ArrayLike, n: int, name: str) -> IntArray:
    codes = np.asarray(codes)
    if codes.shape not in {(), (n,)} or not np.issubdtype(codes.dtype, np.integer):
        allowed = f"whole numbers of shape ({n},), or one"
        raise DataError(f"{name} do not fit", got=f"{codes.dtype} {codes.shape}", allowed=allowed)
    return np.broadcast_to(codes, (n,)).astype(np.int64)


def checked_points(points: ArrayLike, name: str) -> FloatArray:
    """Return coordinates as a float64 array (n, 3), or say what they are instead."""
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        allowed = "(n, 3): x, y, z; NaN along axes that do not count"
        raise DataError(f"{name} have the wrong shape", got=points.shape, allowed=allowed)
    return points
