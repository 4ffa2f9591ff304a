"""Local analyses by hand, point by point, and what to try them on."""

import numpy as np

from daflow.numerics.localization.cells import LocalizationPlan
from daflow.numerics.localization.local_systems import LocalSystem


def plain_gains(anomalies, weights, departures):
    """The gains of each point (q, p) of a stochastic analysis, by the members' form."""
    gains = np.empty(weights.shape)
    for point, (w, a) in enumerate(zip(weights.T, departures.T, strict=True)):
        precision = np.eye(len(a)) + anomalies.T @ (w[:, np.newaxis] * anomalies)
        gains[:, point] = w * (anomalies @ np.linalg.solve(precision, a))
    return gains


def plain_root_gains(anomalies, weights, departures):
    """The gains of each point's anomalies, by the eigenvalues of the members' form."""
    gains = np.empty(weights.shape)
    for point, (w, a) in enumerate(zip(weights.T, departures.T, strict=True)):
        values, vectors = np.linalg.eigh(anomalies.T @ (w[:, np.newaxis] * anomalies))
        root = np.sqrt(1.0 + np.maximum(values, 0.0))
        gains[:, point] = -w * (anomalies @ (vectors @ ((vectors.T @ a) / (root * (1.0 + root)))))
    return gains


def random_system(rng, q, n_members, p, accuracy=1.0):
    """A cell's system; some points hear nothing, some but a few observations, one hears all."""
    anomalies = rng.standard_normal((q, n_members))
    anomalies = accuracy * (anomalies - anomalies.mean(axis=1, keepdims=True)) / np.sqrt(n_members)
    weights = rng.random((q, p)) * (rng.random((q, p)) < rng.random(p))
    weights[:, :1] = 1.0
    block = rng.standard_normal((n_members, p + 5))
    block -= block[0]
    return LocalSystem(anomalies, weights, block, 3, anomalies @ block[:, 3 : 3 + p])


def plan_of(weights):
    """A plan of one cell with these weights (n, m)."""
    n, m = weights.shape
    ends = ([0, 1], [0, n], np.arange(n), [0, m], np.arange(m), [0, n * m])
    return LocalizationPlan(n, m, *map(np.array, ends), np.ascontiguousarray(weights.T).ravel())


def plain_local_analysis(weights, slab, anomalies, mismatch):
    """The stochastic analysis of each point, from weights (n, m)."""
    departures = slab - slab.mean(axis=0)
    return slab + mismatch.T @ plain_gains(anomalies, weights.T, departures)


def plain_letkf(weights, slab, anomalies, innovation):
    """The LETKF of each point as Hunt et al. have it: mean and symmetric root, n_members x n_members."""
    posterior = np.empty(slab.shape)
    mean = slab.mean(axis=0)
    for point, (w, a) in enumerate(zip(weights, (slab - mean).T, strict=True)):
        values, vectors = np.linalg.eigh(np.eye(len(a)) + anomalies.T @ (w[:, np.newaxis] * anomalies))
        pull = vectors @ ((vectors.T @ (anomalies.T @ (w * innovation))) / values)
        root = (vectors / np.sqrt(values)) @ vectors.T
        posterior[:, point] = mean[point] + a @ pull + root @ a
    return posterior
