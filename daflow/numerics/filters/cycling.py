r"""Forecast and analysis in turn, in memory: a twin experiment that judges a filter as a whole.

A `Stage` is what happens between two times of observation: `filtering` forecasts the members and corrects
them; `iterating` corrects them at the time before and forecasts them again until nothing changes. `cycle`
goes through a `Twin` stage by stage and scores each against the truth.

Scores are those of Sakov & Oke (2008), Tellus A 60, 361: root mean square over the state, at each time; the
spread is the root of the mean variance over the state. Means over time of such numbers are smaller than roots
of means over time and space (`rms`), which others use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import ConfigError, DataError
from daflow.numerics.arrays.ensembles import ensemble_of, mean_of
from daflow.numerics.arrays.validation import FloatArray, finite_array
from daflow.numerics.filters.ensemble_transform import EnsembleTransform, apply_transform
from daflow.numerics.filters.ienks import cost, iteration, no_transform, part_of_step
from daflow.numerics.obs_error.covariance import Covariance

MOST_ITERATIONS: Final = 10
SETTLED: Final = 1e-3

Forecast = Callable[[FloatArray], FloatArray]
"""From states (n_members, n_state) to those at the next time of observation; the first stay as they are."""
Observe = Callable[[FloatArray], FloatArray]
"""From states (n_members, n_state) to predictions (n_members, n_obs)."""
Analysis = Callable[[int, FloatArray, FloatArray], FloatArray]
"""From the number of a time, its forecast (n_members, n_state) and observations (n_obs,) to the posterior."""

Watch = Callable[[int, FloatArray], None]
"""Gets the number of each time and its analysis (n_members, n_state): for ranks, or a progress bar."""


class Twin(NamedTuple):
    """A truth, and what was observed of it."""

    truth: FloatArray
    """(n_cycles, n_state)"""
    observations: FloatArray
    """(n_cycles, n_obs)"""


class Staged(NamedTuple):
    """A stage's end: three ensembles (n_members, n_state) at the same time."""

    forecast: FloatArray
    analysis: FloatArray
    start: FloatArray
    """Where the next stage starts: the analysis, unless an earlier time was corrected and inflated."""


Stage = Callable[[int, FloatArray, FloatArray], Staged]
"""From the number of a time, the ensemble at the time before, and observations (n_obs,) to a stage's end."""


class Scores(NamedTuple):
    """How good forecasts and analyses are at each time, each (n_cycles,)."""

    forecast_rmse: FloatArray
    analysis_rmse: FloatArray
    forecast_spread: FloatArray
    analysis_spread: FloatArray

    def after(self, spin_up: int) -> Scores:
        """Return the scores without those of the first times.

        Raises
        ------
        ConfigError
            Nothing would be left.
        """
        n_cycles = len(self.analysis_rmse)
        if not 0 <= spin_up < n_cycles:
            raise ConfigError("the spin-up of an experiment", got=spin_up, allowed=f"0 to {n_cycles - 1}")
        return Scores(*(score[spin_up:] for score in self))


def rms(scores: ArrayLike) -> float:
    """Return the root of the mean square over time of scores that are one over space already."""
    return float(np.sqrt(np.mean(np.square(finite_array("scores", scores, (None,))))))


def twin(forecast: Forecast, start: ArrayLike, errors: ArrayLike, observe: Observe = np.copy) -> Twin:
    """Return a truth that follows the model, and observations of it.

    Laws: without errors the observations are those of the truth; a truth's part does not depend on how long
    it goes on.

    Parameters
    ----------
    forecast
        The model, perfect here.
    start : (n_state,)
        The truth one forecast before the first observations.
    errors : (n_cycles, n_obs)
        What is added to what would be observed without errors.
    observe
        What is seen of states; all of them where not given.
    """
    state = finite_array("start of the truth", start, (None,))[np.newaxis]
    noise = finite_array("observation errors", errors, (None, None))
    truth = np.empty((len(noise), state.shape[1]))
    for number in range(len(noise)):
        state = forecast(state)
        truth[number] = state[0]
    return Twin(truth, observe(truth) + noise)


def cycle(
    stage: Stage,
    prior: ArrayLike,
    experiment: Twin,
    watch: Watch | None = None,
) -> Scores:
    """Return the scores of an ensemble that goes through an experiment.

    Laws: an experiment's first part is scored the same, however long the rest is; permuting the members
    changes scores by rounding only, if the stage draws nothing. Memory: nothing that grows with the number of
    cycles but the scores.

    Parameters
    ----------
    stage
        `filtering`, `iterating`, or of one's own.
    prior : (n_members, n_state)
        One forecast before the first observations.
    experiment
        Of `twin`.
    watch
        Looks on.

    Raises
    ------
    DataError
        The ensemble does not fit the truth, or is no longer finite.
    """
    n_cycles, n_state = experiment.truth.shape
    ensemble = ensemble_of("prior", prior, n_state)
    scores = Scores(*np.empty((4, n_cycles)))
    for number in range(n_cycles):
        forecast, analysis, ensemble = stage(number, ensemble, experiment.observations[number])
        if not np.isfinite(analysis).all():
            raise DataError(f"the analysis at time {number} (counted from 0) is not finite")
        for rmse, spread, members in (
            (scores.forecast_rmse, scores.forecast_spread, forecast),
            (scores.analysis_rmse, scores.analysis_spread, analysis),
        ):
            rmse[number] = np.sqrt(np.square(mean_of(members) - experiment.truth[number]).mean())
            spread[number] = np.sqrt(members.var(axis=0, ddof=1).mean())
        if watch is not None:
            watch(number, analysis)
    return scores


def filtering(forecast: Forecast, analysis: Analysis) -> Stage:
    """Return the stage of a filter: the members go on, then observations correct them.

    Law: with an analysis that changes nothing the members are those of the free model.
    """

    def stage(number: int, ensemble: FloatArray, observed: FloatArray) -> Staged:
        predicted = forecast(ensemble)
        posterior = analysis(number, predicted, observed)
        return Staged(predicted, posterior, posterior)

    return stage


def iterating(
    forecast: Forecast,
    obs_error: Covariance | ArrayLike,
    widen: Callable[[int, EnsembleTransform], EnsembleTransform],
    observe: Observe = np.copy,
    *,
    most: int = MOST_ITERATIONS,
) -> Stage:
    r"""Return the stage of the iterative ensemble Kalman smoother with a lag of one time (IEnKF).

    The ensemble at the time *before* the observations is corrected (`daflow.numerics.filters.ienks`, the
    transform variant) until the change of the weights is below `SETTLED`; forecasts from it are the analysis.
    The next stage starts from forecasts of the corrected ensemble widened. Source: Sakov, Oliver & Bertino
    (2012), Monthly Weather Review 140, 1988.

    Where forecasts are far from linear, iterations need not settle: then that with the lowest cost is taken.
    A step after which forecasts are not finite is halved.

    Laws: with a linear model it is the ETKF; one iteration of a linear model is enough; more iterations never
    end at a higher cost.

    Parameters
    ----------
    forecast
        The model.
    obs_error
        R: a covariance, variances (n_obs,), or a matrix (n_obs, n_obs).
    widen
        From the number of a time and a transform to one with larger or rotated anomalies.
    observe
        What is seen of states.
    most
        How many iterations at most, each a forecast of all members; 1 or more.
    """
    if most < 1:
        raise ConfigError("the iterations of a smoother", got=most, allowed="1 or more")

    def stage(number: int, ensemble: FloatArray, observed: FloatArray) -> Staged:
        first = states = forecast(ensemble)
        used = found = kept = no_transform(len(ensemble))
        lowest = np.inf
        for turn in range(most):
            predicted = observe(states)
            value = cost(found, predicted, observed, obs_error)
            if turn and not np.isfinite(value):
                found = part_of_step(used, found, 0.5)
            else:
                if turn and value < lowest:
                    lowest, kept = value, found
                used = found
                found, change = iteration(used, predicted, observed, obs_error)
                # Where predictions saturate, steps are small too: to settle is not to be at the best.
                if turn == 0 or (change < SETTLED and value <= lowest):
                    kept = found
                if change < SETTLED:
                    break
            states = forecast(apply_transform(found, ensemble))
        analysis = forecast(apply_transform(kept, ensemble))
        return Staged(first, analysis, forecast(apply_transform(widen(number, kept), ensemble)))

    return stage
