"""Checksums of what is written: CRC-32C, which processors compute as fast as they read memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import google_crc32c
from numpy.typing import NDArray

PIECE: Final = 2**16
"""Bytes that are looked at together: the library wants them copied, and so much stays in the cache."""


class Checksum:
    """A CRC-32C that grows with what is looked at.

    Laws: it knows the order and no cuts: an array in pieces, one after the other, gives what the whole gives.
    """

    def __init__(self) -> None:
        self._so_far = 0

    @property
    def digest(self) -> str:
        """Return it as eight hexadecimal digits."""
        return f"{self._so_far:08x}"

    def over(self, numbers: NDArray[Any]) -> str:
        """Look at the bytes of a contiguous array; return the digest so far."""
        if numbers.size:
            data = numbers.data.cast("B")
            for start in range(0, len(data), PIECE):
                self._so_far = google_crc32c.extend(self._so_far, bytes(data[start : start + PIECE]))
        return self.digest

    def of(self, arrays: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        """Look at arrays as they go by."""
        for numbers in arrays:
            self.over(numbers)
            yield numbers
