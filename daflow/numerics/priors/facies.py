"""Facies by truncation: a Gaussian field, cut at quantiles, is a map of categories.

An update works on the field, which stays Gaussian; what a model needs follows from it. Categories that are
neighbours in the order given are neighbours in space. Source: Galli, Beucher, Le Loc'h & Doligez (1994), The
pros and cons of the truncated Gaussian method, in Geostatistical Simulations, 217-233; Liu & Oliver (2005),
SPE Journal 10, 470 (updated by an ensemble).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from daflow.errors import ConfigError

FloatArray = NDArray[np.float64]

SUM_TOLERANCE = 1e-8
"""How far the sum of the shares may be from 1."""


@dataclass(frozen=True, slots=True)
class Facies:
    """Categories of a Gaussian field.

    Parameters
    ----------
    values
        What each category is to a model, from the lowest part of the field to the highest.
    shares
        The share of the field that each has on average; their sum is 1.
    mean, std
        Of the field's prior.

    Raises
    ------
    daflow.errors.ConfigError
        Not as many values as shares, a share that is not above 0, a sum that is not 1, a std not above 0.
    """

    values: tuple[float, ...]
    shares: tuple[float, ...]
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if len(self.values) != len(self.shares) or not self.values:
            got = f"{len(self.values)} values, {len(self.shares)} shares"
            raise ConfigError("facies: not one share a value", got=got, allowed="as many of each, 1 or more")
        if min(self.shares) <= 0 or abs(sum(self.shares) - 1) > SUM_TOLERANCE:
            raise ConfigError("facies: the shares", got=self.shares, allowed="above 0, their sum 1")
        if not self.std > 0:
            raise ConfigError("facies: the field's std", got=self.std, allowed="above 0")

    @property
    def thresholds(self) -> FloatArray:
        """Where the field is cut (n - 1,), in its own unit."""
        return self.mean + self.std * ndtri(np.cumsum(self.shares[:-1]))

    def of(self, field: ArrayLike) -> FloatArray:
        """Return what the categories are, in the field's shape.

        Laws: a higher field never has an earlier category; a field of the prior has each category in its
        share.
        """
        codes = np.searchsorted(self.thresholds, np.asarray(field, np.float64), side="right")
        return np.asarray(self.values, np.float64)[codes]
