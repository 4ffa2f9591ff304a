"""The localizers that are compared: from an ensemble and its predictions to weights of covariances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.localization.correlation_tapers import correlations
from daflow.numerics.localization.given_weights import ring_distance
from daflow.numerics.localization.index_tapers import delta_taper, dropout_taper, radial_taper
from daflow.numerics.localization.nice_correction import choose_nice, nice_weights, survey_norms
from daflow.numerics.localization.sampling_error import fisher_weights, power_weights
from daflow.numerics.localization.tapers import gaspari_cohn

N: Final = 200

Weights = tuple[FloatArray, FloatArray | None]
"""Of the covariance of parameters with predictions, and of the predictions' own (None: as it is)."""
Localizer = Callable[[FloatArray, FloatArray, np.random.Generator], Weights]
"""From parameters (n_members, n), predictions (n_members, n_obs) and draws of its own."""


@dataclass(frozen=True)
class Localization:
    """A localizer and what others found for it."""

    label: str
    weights: Localizer
    known_momentum: str = ""
    """The misfit of the 20th iteration with momentum; text, as some are ranges."""
    known_perturbed: str = ""
    """The same with perturbed observations and no momentum."""
    settles: bool = True
    """Whether it is known to stay finite."""


def _nowhere(_parameters: FloatArray, predicted: FloatArray, _draws: np.random.Generator) -> Weights:
    return np.ones((N, predicted.shape[1])), None


def _fixed(taper: FloatArray, *, both: bool) -> Localizer:
    return lambda *_: (taper, taper if both else None)


def _of_correlations(weigh: Callable[[FloatArray, int], FloatArray]) -> Localizer:
    def weights(parameters: FloatArray, predicted: FloatArray, _draws: np.random.Generator) -> Weights:
        n_members = len(parameters)
        cross, own = correlations(parameters, predicted), correlations(predicted, predicted)
        return weigh(cross, n_members), weigh(own, n_members)

    return weights


def _powers(power: float, cutoff: float = 0.0) -> Localizer:
    return _of_correlations(lambda correlation, _: power_weights(correlation, power, cutoff))


def _nice(std: str) -> Localizer:
    def weigh(correlation: FloatArray, n_members: int) -> FloatArray:
        return nice_weights(correlation, choose_nice(survey_norms(correlation, n_members, std=std)))

    return _of_correlations(weigh)


def _dropout(_parameters: FloatArray, _predicted: FloatArray, draws: np.random.Generator) -> Weights:
    numbers = draws.random(N * N)
    return dropout_taper((0, N), (N, N), 0.1, lambda places: numbers[places]), None


_RING = ring_distance(N)
_WHOLE: Final = (0, N)

LOCALIZERS: Final[Mapping[str, Localization]] = MappingProxyType(
    {
        "none": Localization("none", _nowhere, "12.05 ± 0.81", "12.35 ± 0.80"),
        "sec": Localization("powers of correlations, 1", _powers(1.0), "8.48 ± 0.72", "8.50 ± 0.83"),
        "sec_cutoff": Localization(
            "powers of correlations, 1, cutoff 0.1", _powers(1.0, 0.1), "8.31 ± 0.83", "7.92 ± 0.95"
        ),
        "fisher": Localization(
            "signal over noise", _of_correlations(fisher_weights), "11.12 ± 1.11", "9.94 ± 1.03"
        ),
        "nice": Localization("NICE", _nice("asymptotic"), "6.11 ± 0.61", "7.12 ± 0.55"),
        "nice_fisher": Localization("NICE, Fisher's errors", _nice("fisher"), "6.00 ± 0.65", "7.07 ± 0.55"),
        "nice_ekp": Localization("NICE, as EKP 2.7 has it", _nice("ekp_v2"), "6.12 ± 0.68", "7.40 ± 0.59"),
        "gaspari_cohn": Localization(
            "Gaspari-Cohn, half support 8, both blocks",
            _fixed(gaspari_cohn(_RING / 8.0), both=True),
            "1.42 to 1.90",
            "1.98 to 2.62",
        ),
        "gaspari_cohn_wide": Localization(
            "Gaspari-Cohn, half support 20, both blocks",
            _fixed(gaspari_cohn(_RING / 20.0), both=True),
            "2.5 to 3.4",
            "3.6 to 4.4",
        ),
        "radial": Localization(
            "radial, 4, both blocks",
            _fixed(np.exp(-0.5 * np.square(_RING / 4.0)), both=True),
            "1.37 to 1.89",
            "1.91 to 2.50",
        ),
        "delta": Localization(
            "delta, both blocks", _fixed(delta_taper(_WHOLE, N), both=True), "8.7 to 14.9", "7.2 to 9.4"
        ),
        "delta_one": Localization(
            "delta, one block",
            _fixed(delta_taper(_WHOLE, N), both=False),
            "not finite",
            "not finite",
            settles=False,
        ),
        "radial_one": Localization(
            "radial, 4, one block",
            _fixed(radial_taper(_WHOLE, N, 4.0), both=False),
            "not finite",
            "not finite",
            settles=False,
        ),
        "dropout_one": Localization(
            "dropout, 0.1, one block", _dropout, "not finite", "not finite", settles=False
        ),
    }
)
"""By name. *One block*: the covariance of parameters with predictions is tapered and that of the predictions
is not, as in EnsembleKalmanProcesses.jl."""
