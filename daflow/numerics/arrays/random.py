"""Random numbers that are addressed, not consumed.

A stream belongs to a seed, a purpose and an address (step, member, ...): whoever asks for it, when, and
how often, gets the same numbers, and an ensemble that is enlarged keeps those it had. The generator is
Philox, which is counter-based (Salmon et al., 2011, SC '11), keyed through numpy's ``SeedSequence``, whose
hash keeps streams of different addresses apart. The bits behind a stream are promised by numpy for good;
the way from bits to normals only within a numpy version, which is why a run records it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from numbers import Integral
from typing import Final

import numpy as np

from daflow.errors import ConfigError
from daflow.names import Purpose
from daflow.numerics.arrays.validation import FloatArray

BLOCK_SIZE: Final = 65_536
"""How many numbers of a sequence come from one stream: what is read costs less than a block too much."""

_WORD: Final = 2**32


class _Use(IntEnum):
    """Keeps apart what one address is used for."""

    STREAM = 0
    SEQUENCE = 1
    MODEL = 2


def stream(seed: int, purpose: Purpose, *address: int) -> np.random.Generator:
    """Return the generator of an address, at its first number.

    Laws: the same address gives the same numbers; other addresses give independent ones.

    Parameters
    ----------
    seed
        The run's, from 0 to below 2**63.
    purpose
        What the numbers are for.
    address
        Step, member and so on: whole numbers from -1 (`daflow.names.TRUTH`) to below 2**63.

    Raises
    ------
    ConfigError
        The seed or the address is out of range.
    """
    return np.random.Generator(np.random.Philox(_sequence(seed, purpose, _Use.STREAM, address)))


def standard_normals(
    seed: int, purpose: Purpose, address: Sequence[int], start: int, stop: int
) -> FloatArray:
    """Return the numbers ``start`` to ``stop`` of the endless sequence of standard normals of an address.

    Law: any partition of the sequence gives the same bits. The sequence is cut into blocks of 65,536,
    each a stream of its own, so that a slice costs its own length and less than a block before it.

    Parameters
    ----------
    seed, purpose
        As `stream`.
    address
        Step, member and so on; the sequence is independent of `stream` at the same address.
    start, stop
        ``0 <= start <= stop``.

    Returns
    -------
    (stop - start,)

    Raises
    ------
    ConfigError
        The seed, the address or the range is out of range.
    """
    if not 0 <= start <= stop:
        raise ConfigError(
            "numbers of a sequence are out of range", got=f"{start} to {stop}", allowed="0 <= start <= stop"
        )
    numbers = np.empty(stop - start)
    reading = _Reading(seed, purpose, address)
    reading.skip_to(start)
    reading.fill(numbers)
    return numbers


class NormalRows:
    """Several sequences of standard normals, read side by side from one place on, a piece at a time.

    Law: the pieces, one after the other, are what `standard_normals` gives, bit for bit. Each number is drawn
    once, however short the pieces: 10 to 20 ns a number.

    Parameters
    ----------
    seed, purpose
        As `stream`.
    addresses
        Of each sequence, as `standard_normals`.
    start
        The first number that is read, 0 or more.

    Raises
    ------
    ConfigError
        The seed or an address is out of range.
    """

    def __init__(
        self, seed: int, purpose: Purpose, addresses: Sequence[Sequence[int]], start: int = 0
    ) -> None:
        self._readings = [_Reading(seed, purpose, address) for address in addresses]
        for reading in self._readings:
            reading.skip_to(start)

    def take(self, n: int) -> FloatArray:
        """Return the next n numbers of each sequence (n_sequences, n)."""
        numbers = np.empty((len(self._readings), n))
        for row, reading in zip(numbers, self._readings, strict=True):
            reading.fill(row)
        return numbers


class _Reading:
    """A place in an endless sequence."""

    def __init__(self, seed: int, purpose: Purpose, address: Sequence[int]) -> None:
        _sequence(seed, purpose, _Use.SEQUENCE, address)  # refuses at once what is out of range
        self._of = (seed, purpose, _Use.SEQUENCE)
        self._address = tuple(address)
        self._at = 0
        self._generator: np.random.Generator | None = None

    def skip_to(self, start: int) -> None:
        """Go to a number; what comes before it in its block has to be drawn."""
        self._at = start // BLOCK_SIZE * BLOCK_SIZE
        self._generator = None
        if start > self._at:
            self.fill(np.empty(start - self._at))

    def fill(self, row: FloatArray) -> None:
        """Write the next numbers (n,), contiguous."""
        done = 0
        while done < len(row):
            block, within = divmod(self._at, BLOCK_SIZE)
            if within == 0 or self._generator is None:
                keyed = _sequence(*self._of, (*self._address, block))
                self._generator = np.random.Generator(np.random.Philox(keyed))
            n = min(BLOCK_SIZE - within, len(row) - done)
            self._generator.standard_normal(out=row[done : done + n])
            done += n
            self._at += n


def model_seed(seed: int, step: int, member: int) -> int:
    """Return a seed, from 0 to below 2**63, for a model's own noise in one forecast.

    Parameters
    ----------
    seed
        The run's, from 0 to below 2**63.
    step, member
        Which forecast; -1 is the truth of a twin experiment.

    Raises
    ------
    ConfigError
        One of them is out of range.
    """
    state = _sequence(seed, Purpose.MODEL, _Use.MODEL, (step, member)).generate_state(1, np.uint64)
    return int(state[0]) >> 1


def _sequence(seed: int, purpose: Purpose, use: _Use, address: Sequence[int]) -> np.random.SeedSequence:
    entropy = _checked("seed", seed, 0)
    # Two words of 32 bits a number, whatever its size: no two addresses run together into the same words.
    words = [
        word
        for number in (_checked("address", part, -1) + 1 for part in address)
        for word in (number % _WORD, number // _WORD)
    ]
    return np.random.SeedSequence(entropy=entropy, spawn_key=(int(purpose), int(use), *words))


def _checked(name: str, value: int, lowest: int) -> int:
    if not isinstance(value, Integral) or not lowest <= value < 2**63:
        raise ConfigError(
            f"{name} is out of range for random numbers",
            got=value,
            allowed=f"a whole number from {lowest} to below 2**63",
        )
    return int(value)
