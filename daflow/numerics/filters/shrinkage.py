r"""The ensemble transform filter with a shrunk forecast covariance, by synthetic members.

Synthetic members, drawn around the forecast's mean with the target's covariance, stand beside the dynamic
ones: with anomalies A of the n members and S of the m synthetic ones, each over the root of their number
less one,

.. math:: B = (1 - \gamma) A^T A + \gamma S^T S .

`shrinkage_etkf` is the root that Popov et al. recommend. `shrinkage_gram` and the two roots of
`daflow.numerics.filters.shrinkage_roots` need products of the state with itself, which slices add up.

Where this departs from the paper: synthetic anomalies, of state and predictions alike, are from the synthetic
*sample's* mean (eq. 3.2 mixes both means; without consequence here, but not in its appendix); the
posterior's anomalies are worked out without dividing by :math:`1 - \gamma`, so that they exist at
:math:`\gamma = 1`.

Source: Popov, Sandu, Nino-Ruiz & Evensen (2021), Tellus A 73, 1, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import DataError
from daflow.numerics.arrays.ensembles import ensemble_of, mean_of
from daflow.numerics.arrays.linalg import Modes, anomalies_of, modes_of
from daflow.numerics.arrays.validation import FloatArray, finite_array
from daflow.numerics.inversion.innovation import quiet_overflow, still_finite
from daflow.numerics.obs_error.covariance import Covariance, as_covariance


class ShrinkageTransform(NamedTuple):
    """An analysis as combinations of dynamic and of synthetic anomalies."""

    dynamic: FloatArray
    """(n_members, n_members): weights of the forecast's anomalies in what is added to each member."""
    synthetic: FloatArray
    """(n_members, n_synthetic): weights of the synthetic members' anomalies."""


@dataclass(frozen=True, slots=True, eq=False)
class ShrunkModes:
    """The modes of whitened predictions, dynamic and synthetic together, and the innovation."""

    gamma: float
    scales: FloatArray
    """(n_members + n_synthetic,) what turns plain anomalies into those of the shrunk covariance."""
    modes: Modes
    innovation: FloatArray
    """U'd (rank,)."""
    member_rows: FloatArray
    """(n_members, rank) the dynamic members' rows of V over sqrt(1 - gamma), which exist at gamma 1 too."""

    @property
    def n_members(self) -> int:
        """How many dynamic members there are."""
        return int(self.member_rows.shape[0])

    @property
    def mean_weights(self) -> FloatArray:
        """(n_members + n_synthetic,) of the plain anomalies, in the posterior's mean."""
        values = self.modes.values
        weights: FloatArray = self.modes.members @ (values / (1 + values**2) * self.innovation)
        return weights * self.scales

    def combine(self, anomaly_weights: FloatArray) -> ShrinkageTransform:
        """Return the transform that adds to each member the mean's change and its own row of weights."""
        whole = anomaly_weights + self.mean_weights
        return ShrinkageTransform(whole[:, : self.n_members], whole[:, self.n_members :])


def shrinkage_etkf(
    predicted: ArrayLike,
    synthetic_predicted: ArrayLike,
    observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
    gamma: float,
) -> ShrinkageTransform:
    r"""Return the analysis with the symmetric root of the extended ensemble (section 3.1).

    Laws: gamma 0 is the ETKF; the mean is the Kalman mean of the shrunk covariance; permuting the members
    permutes the posterior; units of the observations do not matter. Local analyses (the paper's remark 1) are
    those of `daflow.numerics.localization.shrinkage_letkf`.

    Parameters
    ----------
    predicted : (n_members, n_obs)
        Of the forecast; inflated if the forecast is.
    synthetic_predicted : (n_synthetic, n_obs)
        Of the synthetic members.
    observations : (n_obs,)
    obs_error
        R: a covariance, variances (n_obs,), or a matrix (n_obs, n_obs).
    gamma
        The weight of the target, in [0, 1].

    Raises
    ------
    DataError
        Arrays that cannot be used, fewer than two members of a kind, gamma out of range.
    """
    found = shrunk_modes(predicted, synthetic_predicted, observations, obs_error, gamma)
    values = found.modes.values
    root = np.sqrt(1 + values**2)
    change = (found.member_rows * (-(values**2) / (root * (1 + root)))) @ found.modes.members.T
    return found.combine(np.sqrt(found.n_members - 1) * change * found.scales)


def apply_shrinkage(transform: ShrinkageTransform, prior: ArrayLike, synthetic: ArrayLike) -> FloatArray:
    """Return the posterior (n_members, n_state) of any slice of the state.

    Law: each slice gives what the whole gives.

    Parameters
    ----------
    prior : (n_members, n_state)
        Inflated if its predictions were.
    synthetic : (n_synthetic, n_state)
        The members whose predictions the transform was made of.
    """
    n_members, n_synthetic = transform.synthetic.shape
    state = finite_array("prior", prior, (n_members, None))
    others = finite_array("synthetic", synthetic, (n_synthetic, state.shape[1]))
    posterior: FloatArray = transform.dynamic @ anomalies_of(state)
    posterior += transform.synthetic @ anomalies_of(others)
    posterior += state
    return posterior


def shrunk_modes(
    predicted: ArrayLike,
    synthetic_predicted: ArrayLike,
    observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
    gamma: float,
) -> ShrunkModes:
    """Return the modes that all roots are made of; parameters as for `shrinkage_etkf`."""
    weight = weight_of_target(gamma)
    covariance = as_covariance(obs_error)
    dynamic = ensemble_of("predicted", predicted, covariance.n_obs)
    synthetic = ensemble_of("synthetic_predicted", synthetic_predicted, covariance.n_obs)
    observed = finite_array("observations", observations, (covariance.n_obs,))
    sizes = (len(dynamic), len(synthetic))
    scales = np.repeat(np.sqrt([(1 - weight) / (sizes[0] - 1), weight / (sizes[1] - 1)]), sizes)
    with quiet_overflow():
        whitened = covariance.whiten(np.vstack([anomalies_of(dynamic), anomalies_of(synthetic)]))
        modes = modes_of(still_finite(whitened * scales[:, np.newaxis]))
        innovation = still_finite(covariance.whiten(observed - mean_of(dynamic))) @ modes.basis
        rows = whitened[: sizes[0]] @ modes.basis / (modes.values * np.sqrt(sizes[0] - 1))
    return ShrunkModes(weight, scales, modes, innovation, still_finite(rows))


def weight_of_target(gamma: float) -> float:
    """Return the weight of a target.

    Raises
    ------
    DataError
        It is not in [0, 1].
    """
    weight = float(finite_array("gamma", gamma, ()))
    if not 0 <= weight <= 1:
        raise DataError("the weight of a shrinkage target is out of range", got=weight, allowed="[0, 1]")
    return weight
