r"""The seven inversions by name: ways to apply the inverse of the innovation covariance.

=================== ===================================================== =================================
name                what it does                                          exact at truncation 1
=================== ===================================================== =================================
naive               forms the inverse                                     always; to test the others
exact_cholesky      Cholesky on the thinner side                          always
exact_lstsq         least squares of smallest norm                        always; slow
exact_woodbury      Cholesky in ensemble space                            without an obs-obs taper
rescaled            eigenvalues of S in units of the observation error    always
subspace            Galerkin projection on the modes of the predictions   if these span all observations
subspace_rescaled   modes of the predictions in units of the error        without an obs-obs taper
=================== ===================================================== =================================

What cannot be right is refused with the reason. Only the last three know truncation.

References
----------
Evensen (2004), Ocean Dynamics 54, sections 5-6. Emerick & Reynolds (2012), Computational Geosciences 16,
appendix. Evensen (2021), Frontiers in Applied Mathematics and Statistics 7, section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Real
from types import MappingProxyType
from typing import Final

from daflow.errors import CombinationError, ConfigError
from daflow.numerics.inversion.ensemble_space import prepare_ensemble_space
from daflow.numerics.inversion.innovation import InnovationCovariance, PreparedInversion, quiet_overflow
from daflow.numerics.inversion.observation_space import (
    prepare_cholesky,
    prepare_least_squares,
    prepare_naive,
    prepare_tapered_rescaled,
)
from daflow.numerics.inversion.signal_modes import (
    prepare_rescaled,
    prepare_subspace,
    prepare_subspace_rescaled,
)

Prepare = Callable[[InnovationCovariance, float], PreparedInversion]


@dataclass(frozen=True, slots=True)
class Inversion:
    """How one inversion is prepared, and what it can take."""

    prepare: Prepare
    """From an innovation covariance and a truncation."""
    truncates: bool = False
    refuses_obs_obs_taper: str = ""
    """Why it cannot take an obs-obs taper; empty if it can."""


def _prepare_thin_cholesky(innovation: InnovationCovariance, truncation: float) -> PreparedInversion:
    """Take the thinner of observation space and ensemble space."""
    if innovation.obs_obs_taper is None and innovation.n_obs > innovation.n_members:
        return prepare_ensemble_space(innovation, truncation)
    return prepare_cholesky(innovation, truncation)


def _prepare_rescaled(innovation: InnovationCovariance, truncation: float) -> PreparedInversion:
    """Take all modes where a taper raises the rank, those of the ensemble otherwise."""
    if innovation.obs_obs_taper is None:
        return prepare_rescaled(innovation, truncation)
    return prepare_tapered_rescaled(innovation, truncation)


_ENSEMBLE_ONLY: Final = (
    "it works in the span of the ensemble, and a tapered covariance of the predictions leaves that span"
)

INVERSIONS: Final[Mapping[str, Inversion]] = MappingProxyType(
    {
        "naive": Inversion(prepare_naive),
        "exact_cholesky": Inversion(_prepare_thin_cholesky),
        "exact_lstsq": Inversion(prepare_least_squares),
        "exact_woodbury": Inversion(prepare_ensemble_space, refuses_obs_obs_taper=_ENSEMBLE_ONLY),
        "rescaled": Inversion(_prepare_rescaled, truncates=True),
        "subspace": Inversion(prepare_subspace, truncates=True, refuses_obs_obs_taper=_ENSEMBLE_ONLY),
        "subspace_rescaled": Inversion(
            prepare_subspace_rescaled, truncates=True, refuses_obs_obs_taper=_ENSEMBLE_ONLY
        ),
    }
)


def check_inversion(name: str, truncation: float = 1.0, *, obs_obs_taper: bool = False) -> Inversion:
    """Return an inversion that can do what is asked of it: a check that needs no numbers.

    Parameters
    ----------
    name
        One of `INVERSIONS`.
    truncation
        The fraction of the sum of singular values (``rescaled``: of eigenvalues) to keep, in (0, 1].
    obs_obs_taper
        Whether the covariance of the predictions will be tapered.

    Raises
    ------
    ConfigError
        No inversion has that name, or the truncation is out of range.
    CombinationError
        The inversion cannot take that truncation or an obs-obs taper.
    """
    if name not in INVERSIONS:
        near = get_close_matches(str(name), INVERSIONS, n=1, cutoff=0.4)
        raise ConfigError(
            "no inversion has this name",
            got=name,
            allowed=", ".join(INVERSIONS),
            do=f"did you mean {near[0]}?" if near else None,
        )
    if not isinstance(truncation, Real) or not 0 < truncation <= 1:
        raise ConfigError(
            "truncation is out of range", got=truncation, allowed="above 0, up to 1", do="use 1 to keep all"
        )
    inversion = INVERSIONS[name]
    if truncation != 1 and not inversion.truncates:
        able = ", ".join(other for other, one in INVERSIONS.items() if one.truncates)
        raise CombinationError(
            f"inversion {name} is exact and truncates nothing",
            got=f"truncation {truncation}",
            allowed="truncation 1",
            do=f"leave truncation out, or use one of {able}",
        )
    if obs_obs_taper and inversion.refuses_obs_obs_taper:
        able = ", ".join(other for other, one in INVERSIONS.items() if not one.refuses_obs_obs_taper)
        raise CombinationError(
            f"inversion {name} cannot take an obs-obs taper: {inversion.refuses_obs_obs_taper}",
            got="an obs-obs taper",
            allowed=f"an obs-obs taper with one of {able}",
            do="use exact_cholesky, or leave the obs-obs taper out",
        )
    return inversion


def prepare_inversion(
    name: str, innovation: InnovationCovariance, truncation: float = 1.0
) -> PreparedInversion:
    """Make an inversion ready for one innovation covariance.

    Parameters
    ----------
    name
        One of `INVERSIONS`.
    innovation
        The innovation covariance in its parts.
    truncation
        The fraction of the sum of singular values (``rescaled``: of eigenvalues) to keep, in (0, 1].

    Raises
    ------
    ConfigError, CombinationError
        As `check_inversion`; or the innovation covariance is not positive definite to rounding.
    DataError
        It overflows.
    """
    inversion = check_inversion(name, truncation, obs_obs_taper=innovation.obs_obs_taper is not None)
    with quiet_overflow():
        return inversion.prepare(innovation, truncation)
