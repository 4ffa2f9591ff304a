"""Filters: one update with all observations, or with those of each cycle where there is a section cycling."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from daflow.config.inversions import InversionChoice, Truncation, of_truncation
from daflow.config.section import InputPath, Positive, Problem, Section, kind_of_value

Share = Annotated[float, Field(ge=0, le=1)]
Perturbations = Annotated[
    Literal["recentred", "raw"],
    Field(
        description="How each member's observations differ from what was observed: by a draw of their errors "
        "(raw), or by that less the members' mean, scaled such that the variance is kept (recentred). "
        "Recentred, the ensemble's mean has no noise from the draws; raw, a member's draw does not depend on "
        "which other members there are."
    ),
]

Gamma = Annotated[
    Annotated[Literal["rblw", "ledoit_wolf"], Tag("word")] | Annotated[Share, Tag("number")],
    Discriminator(kind_of_value),
]


class EnkfSettings(Section):
    """Ensemble Kalman filter with perturbed observations (Burgers, van Leeuwen and Evensen, 1998)."""

    kind: Literal["enkf"] = Field(description="Ensemble Kalman filter, perturbed observations.")
    perturbations: Perturbations = "recentred"
    inversion: InversionChoice = "exact_cholesky"
    truncation: Truncation = 1.0

    def _problems(self) -> Iterable[Problem]:
        return of_truncation(self.inversion, self.truncation)


class GainInflatedEnkfSettings(Section):
    """Ensemble Kalman filter whose gain alone sees an inflated forecast covariance."""

    kind: Literal["gain_inflated_enkf"] = Field(
        description="Ensemble Kalman filter, perturbed observations, inflated gain."
    )
    zeta: float = Field(
        gt=-1,
        description="The forecast's covariance counts 1 + zeta times in the gain, and there only: the "
        "anomalies are not inflated, and perturbations have the observations' own errors. No unit; 0 is "
        "enkf, 0.1 is a cautious choice. For the usual inflation of the forecast see 'inflation'.",
    )
    perturbations: Perturbations = "recentred"
    inversion: InversionChoice = "exact_cholesky"
    truncation: Truncation = 1.0

    def _problems(self) -> Iterable[Problem]:
        return of_truncation(self.inversion, self.truncation)


class DenkfSettings(Section):
    """Deterministic ensemble Kalman filter: anomalies by half the gain (Sakov and Oke, 2008)."""

    kind: Literal["denkf"] = Field(
        description="Deterministic ensemble Kalman filter: the mean is updated with the gain, the anomalies "
        "with half of it, and nothing is drawn."
    )


class EtkfSettings(Section):
    """Ensemble transform Kalman filter with the symmetric root (Hunt, Kostelich and Szunyogh, 2007)."""

    kind: Literal["etkf"] = Field(description="Ensemble transform Kalman filter, symmetric root.")
    rotation: Literal["none", "random"] = Field(
        default="none",
        description="random: after each update the anomalies are mixed by a random rotation that keeps mean "
        "and covariance, which breaks up the outliers that deterministic filters grow where models are not "
        "linear (Sakov and Oke, 2008, Monthly Weather Review). It costs nothing, but members lose their "
        "identity: none where each should stay near itself.",
    )


class EnsrfSettings(Section):
    """Serial square-root filter (Whitaker and Hamill, 2002)."""

    kind: Literal["ensrf"] = Field(
        description="Serial square-root filter: one observation after the other, in the order in which they "
        "are listed."
    )


class EakfSettings(Section):
    """Ensemble adjustment Kalman filter (Anderson, 2003)."""

    kind: Literal["eakf"] = Field(
        description="Ensemble adjustment Kalman filter: one observation after the other, in the order in "
        "which they are listed; the same numbers as ensrf by other formulas."
    )


class LetkfSettings(Section):
    """Local ensemble transform Kalman filter (Hunt, Kostelich and Szunyogh, 2007)."""

    kind: Literal["letkf"] = Field(
        description="Local ensemble transform Kalman filter: an analysis of its own for each number, with "
        "the observations in its reach; needs 'localization' with tapers: observation_error."
    )


class EnkfNSettings(Section):
    """Finite-size ensemble Kalman filter: it finds its inflation by itself (Bocquet, 2011)."""

    kind: Literal["enkf_n"] = Field(
        description="Finite-size ensemble Kalman filter (EnKF-N): no inflation needs to be tuned for what a "
        "small ensemble gets wrong."
    )
    hyperprior: Literal["mode_corrected", "jeffreys"] = Field(
        default="mode_corrected",
        description="What is believed of the forecast's true mean and covariance before the innovation is "
        "seen: jeffreys, nothing (Bocquet and Sakov, 2012), which inflates even where nothing is learnt; "
        "mode_corrected leaves the forecast as it is there (Bocquet, Raanes and Hannart, 2015).",
    )
    certainty: Positive = Field(
        default=1.0,
        description="Only for mode_corrected: 1 for members like independent draws, 2 or so for those of a "
        "smooth, nearly linear model; the greater, the less the innovation changes the inflation. No unit.",
    )
    root: Literal["hessian", "inflated"] = Field(
        default="hessian",
        description="Whose inverse root the posterior's anomalies are: hessian, that of the cost at its "
        "minimum; inflated, that of the transform filter of the inflated forecast.",
    )

    def _problems(self) -> Iterator[Problem]:
        if self.hyperprior == "jeffreys" and self.certainty != 1.0:
            what = "the hyperprior of Jeffreys has no certainty"
            yield Problem("certainty", what, self.certainty, "1.0, or hyperprior: mode_corrected")


class IenksSettings(Section):
    """Iterative ensemble Kalman smoother with a lag of one cycle (Bocquet and Sakov, 2014)."""

    kind: Literal["ienks"] = Field(
        description="Iterative ensemble Kalman smoother: corrects the state that a cycle starts from and "
        "forecasts the cycle again, for models that are far from linear between observations; only with "
        "'cycling'."
    )
    iterations: int = Field(
        default=3,
        ge=1,
        description="How often the state at the start of a cycle is corrected: each costs a forecast of all "
        "members, and one more follows to go on from. 1 is the transform filter, applied a cycle earlier; 3 "
        "to 5 are usual, for after that little changes.",
    )
    rotation: Literal["none", "random"] = Field(
        default="none",
        description="random: at the end of each cycle the anomalies are mixed by a random rotation that "
        "keeps mean and covariance, as for etkf.",
    )


class TargetSettings(Section):
    """States of a long run, whose covariance a small ensemble's is shrunk towards."""

    file: InputPath = Field(
        description="A .npz, .npy, netCDF (.nc) or zarr (.zarr) file or folder with one snapshot of the "
        "state along the first axis of an array, in the variable's shape."
    )
    array: str | None = Field(
        default=None,
        min_length=1,
        description="The array's name in the file, for a state of one variable; null: the variables' names.",
    )


class ShrinkageEtkfSettings(Section):
    """Transform filter with a shrunk forecast covariance (Popov, Sandu, Nino-Ruiz and Evensen, 2021)."""

    kind: Literal["shrinkage_etkf"] = Field(
        description="Ensemble transform Kalman filter with synthetic members of a climatology beside the "
        "forecast's; only with 'cycling', and for models that can observe a state at one time. With "
        "'localization' of kind distance and tapers: observation_error, an analysis of its own for each "
        "number, with the observations in its reach."
    )
    target: TargetSettings = Field(description="Snapshots of the state, from a long run of the model.")
    synthetic: int = Field(
        default=100, ge=2, description="How many synthetic members; they are never forecast."
    )
    gamma: Gamma = Field(
        default="rblw",
        description="The weight of the target in the covariance: rblw, found at each step from how far the "
        "ensemble is from looking like the target (Rao-Blackwell Ledoit-Wolf); ledoit_wolf, from how far "
        "their covariances are apart, which depends on the variables' units; or a number from 0 (the plain "
        "filter) to 1.",
    )
    root: Literal["symmetric", "low_rank", "dynamic"] = Field(
        default="symmetric",
        description="How the members come to have the analysis' covariance: symmetric, the dynamic members' "
        "part of the root of dynamic and synthetic ones together; low_rank, its leading directions, as many "
        "as members can have, which loses the spread of the others at each analysis (figure kept); dynamic, "
        "combinations of the forecast's anomalies alone.",
    )
    draws: Literal["gaussian", "laplace"] = Field(
        default="gaussian",
        description="Of what distribution synthetic members are: laplace has heavier tails, and the same "
        "covariance.",
    )


FilterSettings = (
    Annotated[EnkfSettings, Tag("enkf")]
    | Annotated[GainInflatedEnkfSettings, Tag("gain_inflated_enkf")]
    | Annotated[DenkfSettings, Tag("denkf")]
    | Annotated[EtkfSettings, Tag("etkf")]
    | Annotated[EnsrfSettings, Tag("ensrf")]
    | Annotated[EakfSettings, Tag("eakf")]
    | Annotated[LetkfSettings, Tag("letkf")]
    | Annotated[EnkfNSettings, Tag("enkf_n")]
    | Annotated[IenksSettings, Tag("ienks")]
    | Annotated[ShrinkageEtkfSettings, Tag("shrinkage_etkf")]
)
"""The filters there are, told apart by ``kind``."""
