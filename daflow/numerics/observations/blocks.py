"""Predicted and perturbed observations, a block at a time: as many observations as there may be.

A block holds whole parts of the error covariance (`daflow.numerics.obs_error.covariance.Covariance.parts`),
so that it can be brought into units of its errors by itself; what parts share are the covariance's patterns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.numerics.arrays.ensembles import ensemble_of
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.validation import FloatArray, finite_array
from daflow.numerics.obs_error.covariance import Covariance, ErrorPart

BLOCK_NUMBERS: Final = 2**18
"""Numbers of a block, for each array of it: a few of these stay in the cache."""

WINDOW_NUMBERS: Final = 2**23
"""Numbers that are read at once, 64 MiB: a call to a store costs as much as many blocks."""

Reader = Callable[[int, int], FloatArray]
"""(start, stop) -> (n_members, stop - start)."""

Perturb = Callable[[slice, ErrorPart], FloatArray]
"""The perturbed observations (n_members, n) of a part; asked for part by part, in their order."""

Part = tuple[slice, ErrorPart]


class ObservationBlock(NamedTuple):
    """Some observations, as the members predict them and as they are to see them."""

    predicted: FloatArray
    """(n_members, n)"""
    perturbed: FloatArray
    """(n_members, n)"""
    error: ErrorPart
    patterns: FloatArray
    """(n, k) of the errors that other blocks share."""

    def whitened(self) -> tuple[FloatArray, FloatArray]:
        """Return signal (n_members + k, n) and mismatch (n_members, n) in units of the block's own errors.

        The signal's first rows are the predicted anomalies, the others the patterns: errors that are shared
        act like members that nobody updates.
        """
        rows = np.concatenate([anomalies_of(self.predicted), self.patterns.T])
        return self.error.whiten(rows), self.error.whiten(self.perturbed - self.predicted)


@dataclass(frozen=True, slots=True, eq=False)
class BlockedPredictions:
    """What the members predict, ready to be read by blocks, as often as needed.

    Parameters
    ----------
    n_members
        How many members.
    obs_error
        R.
    predicted
        Reads predicted observations.
    """

    n_members: int
    obs_error: Covariance
    predicted: Reader

    @property
    def n_obs(self) -> int:
        """How many observations."""
        return self.obs_error.n_obs

    @property
    def n_patterns(self) -> int:
        """How many error patterns the blocks share."""
        return int(self.obs_error.patterns.shape[1])

    def predictions(self) -> Iterator[tuple[slice, ErrorPart, FloatArray]]:
        """Yield the predicted observations, part by part.

        Raises
        ------
        daflow.errors.DataError
            A prediction is not finite; the message says of which observations.
        """
        # Blocks of a few times as many observations as members: products and factorizations are efficient.
        size = max(BLOCK_NUMBERS // self.n_members, 4 * self.n_members)
        for window in _windows(self.obs_error.parts(size), max(size, WINDOW_NUMBERS // self.n_members)):
            start, stop = window[0][0].start, window[-1][0].stop
            name = f"predicted (observations {start} to {stop})"
            predicted = finite_array(name, self.predicted(start, stop), (self.n_members, stop - start))
            for where, part in window:
                yield where, part, predicted[:, where.start - start : where.stop - start]


@dataclass(frozen=True, slots=True, eq=False)
class BlockedObservations(BlockedPredictions):
    """What an update is made of: predictions, and observations as each member is to see them.

    Parameters
    ----------
    perturbed
        Begins to perturb observations, at the first one. The others are those of `BlockedPredictions`.
    """

    perturbed: Callable[[], Perturb]

    def blocks(self) -> Iterator[ObservationBlock]:
        """Yield the observations in their order."""
        return (block for _, block in self.placed_blocks())

    def placed_blocks(self) -> Iterator[tuple[slice, ObservationBlock]]:
        """Yield the observations in their order, and which they are."""
        perturbed, patterns = self.perturbed(), self.obs_error.patterns
        for where, part, predicted in self.predictions():
            yield where, ObservationBlock(predicted, perturbed(where, part), part, patterns[where])

    def whole(self) -> tuple[FloatArray, FloatArray]:
        """Return all predicted and all perturbed observations (n_members, n_obs)."""
        predicted, perturbed = (np.empty((self.n_members, self.n_obs)) for _ in range(2))
        for where, block in self.placed_blocks():
            predicted[:, where], perturbed[:, where] = block.predicted, block.perturbed
        return predicted, perturbed


def blocks_of_arrays(
    predicted: FloatArray, perturbed: FloatArray, obs_error: Covariance
) -> BlockedObservations:
    """Return arrays (n_members, n_obs) that were looked at, to be read by blocks."""
    return BlockedObservations(
        len(predicted),
        obs_error,
        lambda start, stop: predicted[:, start:stop],
        lambda: lambda where, _: perturbed[:, where],
    )


@dataclass(frozen=True, slots=True, eq=False)
class BlockedInnovations(BlockedPredictions):
    """What a deterministic analysis is made of: predictions, and what was observed.

    Parameters
    ----------
    values : (n_obs,)
        What was observed. The others are those of `BlockedPredictions`.
    """

    values: FloatArray

    def whitened(self) -> Iterator[tuple[slice, FloatArray]]:
        """Yield rows (n_members + k + 1, n) in units of each part's own errors, and which they are.

        The predicted anomalies, the k patterns of the errors that parts share, and the innovation of the
        mean.
        """
        for where, part, predicted in self.predictions():
            anomalies = anomalies_of(predicted)
            # The first member less its anomaly is the mean, with all digits that the members share.
            innovation = self.values[where] - (predicted[0] - anomalies[0])
            rows = np.vstack([anomalies, self.obs_error.patterns[where].T, innovation])
            yield where, part.whiten(rows)

    def departures(self) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
        """Yield predictions (n_members, n) and values (n,) in units of the errors, and which they are.

        Both less the first member's prediction. Where parts share errors, it is the whole that is read and
        yielded.
        """
        if self.n_patterns:
            predicted = self.whole()
            yield slice(0, self.n_obs), *_departures(self.obs_error, predicted, self.values)
            return
        for where, part, predicted in self.predictions():
            yield where, *_departures(part, predicted, self.values[where])

    def whole(self) -> FloatArray:
        """Return all predicted observations (n_members, n_obs)."""
        predicted = np.empty((self.n_members, self.n_obs))
        for where, _, some in self.predictions():
            predicted[:, where] = some
        return predicted


def innovations_of_arrays(
    predicted: ArrayLike, observations: ArrayLike, obs_error: Covariance
) -> BlockedInnovations:
    """Return predictions (n_members, n_obs) and observations (n_obs,), to be read by blocks.

    Raises
    ------
    DataError
        Arrays that are not finite or whose shapes disagree, fewer than two members.
    """
    ensemble = ensemble_of("predicted", predicted, obs_error.n_obs)
    observed = finite_array("observations", observations, (obs_error.n_obs,))
    return BlockedInnovations(len(ensemble), obs_error, lambda start, stop: ensemble[:, start:stop], observed)


def _departures(error: ErrorPart, predicted: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    rows = error.whiten(np.vstack([predicted, values]) - predicted[0])
    return rows[:-1], rows[-1]


def _windows(parts: Iterable[Part], size: int) -> Iterator[list[Part]]:
    """Yield parts that follow each other and have so many observations together, one part at least."""
    window: list[Part] = []
    for where, part in parts:
        if window and where.stop - window[0][0].start > size:
            yield window
            window = []
        window.append((where, part))
    yield window
