r"""Predictions that are missing for some members: what to leave out, by a declared policy.

A missing prediction is a NaN. What a policy leaves is free of them; nothing is ever filled in.

===================== ==================================================================================
policy                leaves out
===================== ==================================================================================
`drop_observations`   every observation that some member does not predict
`drop_members`        every member that does not predict some observation
`drop_by_share`       members that miss more than a share of the observations, then the observations that
                      some remaining member does not predict
===================== ==================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daflow.errors import ConfigError, DataError
from daflow.numerics.arrays.validation import FloatArray, real_array

BoolArray = NDArray[np.bool_]


class Kept(NamedTuple):
    """What a policy leaves."""

    members: BoolArray
    """(n_members,) True for a member that stays."""
    observations: BoolArray
    """(n_obs,) True for an observation that stays."""

    def of(self, predicted: ArrayLike) -> FloatArray:
        """Return the predictions that are left (members left, observations left)."""
        return real_array("predicted", predicted)[np.ix_(self.members, self.observations)]


def drop_observations(predicted: ArrayLike) -> Kept:
    """Keep every member, and the observations that all of them predict.

    Laws of all policies: what is left has no missing prediction; where none is missing all is kept; permuting
    members or observations permutes what is kept.

    Parameters
    ----------
    predicted : (n_members, n_obs)
        NaN where missing.

    Raises
    ------
    DataError
        Nothing is left: no observation, or fewer than two members; or a prediction is infinite.
    """
    missing = _missing(predicted)
    return _checked(Kept(np.ones(len(missing), dtype=np.bool_), ~np.asarray(missing.any(axis=0))), missing)


def drop_members(predicted: ArrayLike) -> Kept:
    """Keep every observation, and the members that predict all of them. As `drop_observations` otherwise."""
    missing = _missing(predicted)
    return _checked(
        Kept(~np.asarray(missing.any(axis=1)), np.ones(missing.shape[1], dtype=np.bool_)), missing
    )


def drop_by_share(predicted: ArrayLike, share: float) -> Kept:
    """Keep members that miss no more than a share, and the observations that all of these predict.

    Laws: a share of 0 is `drop_members`, one of 1 `drop_observations`. As `drop_observations` otherwise.

    Parameters
    ----------
    predicted : (n_members, n_obs)
        NaN where missing.
    share
        In [0, 1].
    """
    if not 0 <= share <= 1:
        raise ConfigError("the share of missing predictions is out of range", got=share, allowed="[0, 1]")
    missing = _missing(predicted)
    members = missing.sum(axis=1) <= share * missing.shape[1]
    return _checked(Kept(members, ~missing[members].any(axis=0)), missing)


POLICIES: Final[Mapping[str, Callable[[ArrayLike], Kept]]] = MappingProxyType(
    {"drop_observations": drop_observations, "drop_members": drop_members}
)
"""The policies without a number, by name."""


def _missing(predicted: ArrayLike) -> BoolArray:
    values = real_array("predicted", predicted)
    if values.ndim != 2 or np.isinf(values).any():
        raise DataError(
            "predictions cannot be looked through for missing ones",
            got="an infinite number" if values.ndim == 2 else values.shape,
            allowed="(n_members, n_obs), finite or NaN",
        )
    return np.isnan(values)


def _checked(kept: Kept, missing: BoolArray) -> Kept:
    n_members, n_obs = int(kept.members.sum()), int(kept.observations.sum())
    if n_members < 2 or n_obs < 1:
        left = f"{n_members} of {missing.shape[0]} members, {n_obs} of {missing.shape[1]} observations left"
        raise DataError(
            "too many predictions are missing",
            got=left,
            allowed="two members and an observation, or more",
            do="use another policy for missing predictions, or look at why the model left them out",
        )
    return kept
