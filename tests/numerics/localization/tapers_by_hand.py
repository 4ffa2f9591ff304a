"""Tapers by hand: the formulas as they are written, and what to try them on."""

import numpy as np
from hypothesis import strategies as st

from daflow.numerics.localization.distance import DistanceTaper
from daflow.numerics.localization.tapers import TAPERS

FAMILIES = sorted(TAPERS)
SHAPES = {
    "along_x": {"lengths": (2.0, None, None)},
    "along_y": {"lengths": (None, 1.5, None)},
    "plane": {"lengths": (3.0, 1.0, None)},
    "plane_rotated": {"lengths": (3.0, 1.0, None), "angle": 35.0},
    "one_rotated_axis": {"lengths": (np.inf, 1.0, None), "angle": -60.0},
    "space": {"lengths": (3.0, 1.0, 2.0)},
    "space_rotated": {"lengths": (1.0, 4.0, 2.0), "angle": 120.0},
}
options = st.sampled_from(sorted(SHAPES)).map(SHAPES.get)
families = st.sampled_from(FAMILIES)
seeds = st.integers(0, 2**32 - 1)


def scattered(seed, n, size=10.0):
    """Points in three dimensions, some of them on top of each other."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0.0, size, (n, 3))
    points[: n // 10] = points[n - n // 10 :]
    return points


def dense_weights(points, obs_points, taper):
    """The formula as it is written, pair by pair."""
    delta = points[:, None, :] - obs_points[None, :, :]
    turn = np.radians(taper.angle)
    along = [
        np.cos(turn) * delta[..., 0] + np.sin(turn) * delta[..., 1],
        np.cos(turn) * delta[..., 1] - np.sin(turn) * delta[..., 0],
        delta[..., 2],
    ]
    counted = zip(along, taper.lengths, strict=True)
    scaled = [d / length for d, length in counted if length is not None]
    distance = np.sqrt(sum(np.square(d) for d in scaled))
    weights = TAPERS[taper.family].weight(distance)
    return weights if taper.cutoff is None else np.where(distance <= taper.cutoff, weights, 0.0)


def ensembles(seed, n_members, n, m):
    """A slice (n_members, n), and two factors (m, n_members), the first with rows of sum zero."""
    rng = np.random.default_rng(seed)
    slab, left, right = (
        rng.standard_normal(shape) for shape in ((n_members, n), (m, n_members), (m, n_members))
    )
    return slab, left - left.mean(axis=1, keepdims=True), right


def dense_increment(weights, slab, left, right):
    return right.T @ (weights.T * (left @ (slab - slab.mean(axis=0))))


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * np.abs(expected).max(initial=1.0))


def taper_of(**options):
    return DistanceTaper(**({"family": "gaspari_cohn", "lengths": (2.0, 2.0, None)} | options))


def mixed_rules():
    near = DistanceTaper("gaspari_cohn", (1.0, 2.0, None), angle=20.0)
    deep = DistanceTaper("cubic", (2.0, 2.0, 1.0))
    return {(3, 0): near, (3, 1): None, (3, 2): near, (8, 0): deep, (8, 1): near, (8, 2): None}


def dense_by_kind(points, variables, obs_points, kinds, rules):
    weights = np.ones((len(points), len(obs_points)))
    for (variable, kind), taper in rules.items():
        block = np.ix_(variables == variable, kinds == kind)
        if taper is not None:
            weights[block] = dense_weights(points, obs_points, taper)[block]
    return weights
