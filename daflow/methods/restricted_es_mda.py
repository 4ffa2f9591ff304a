"""Ensemble smoother with multiple data assimilation whose steps move no number too far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daflow.errors import CombinationError, RunError
from daflow.methods.perturbed_update import PerturbedScheme, PerturbedUpdate
from daflow.methods.step_lengths import closing_alpha, found_length, member_misfits, taken_before
from daflow.methods.steps_before import left_before
from daflow.numerics.diagnostics.misfit import spread
from daflow.numerics.smoothers.adaptive_alphas import (
    LARGEST_MOVE,
    Trial,
    first_trial,
    largest_move,
    next_trial,
    still_left,
)
from daflow.ports import Arrays, FloatArray, Prepared, SliceInput, StepInput, StoredArray

BLOCK = 4096
"""Numbers of each member whose standard deviations are found at once: they stay in the cache."""


@dataclass(frozen=True, eq=False)
class RestrictedEsMda(PerturbedScheme):
    r"""ES-MDA whose alphas are the smallest tried that move no number too far; it ends by itself.

    The first alpha of a step is a quarter of the mean misfit per observation. It is doubled, with fresh
    perturbations, until no number of any member moves by ``largest`` standard deviations of the first prior;
    where that would spend more than is left of :math:`\sum 1 / \alpha = 1`, the step spends what is left,
    whatever it moves. Source: Le, Emerick & Reynolds (2016), SPE Journal 21, 2195.

    What a trial moves is known when every slice has been looked at: the survey tries all of a ladder of
    alphas on each slice, then the first that is allowed is taken.

    Laws: the inverses of the alphas sum to 1; no step but one that spends what is left moves a number by
    ``largest`` prior standard deviations; the slices do not matter; it is what trying one alpha after the
    other on the whole gives. Cost: a reading of the state more each step, and ``trials`` products as large
    as the update. Memory: the factors of ``trials`` updates, kept by the store.

    Parameters
    ----------
    n_steps
        How many steps there may be; the last one spends what is left.
    update
        How one step's update is made.
    largest
        How many standard deviations of the first prior a number may move.
    trials
        How many alphas are tried in a step.
    """

    n_steps: int
    update: PerturbedUpdate
    largest: float = LARGEST_MOVE
    trials: int = 12

    def __post_init__(self) -> None:
        locality = self.update.locality
        if locality is not None and locality.surveys:
            raise both_look_first()

    def prepare(self, given: StepInput) -> Prepared:
        """Return the factors of every update that may be tried."""
        source = self.update.source
        taken, misfits = taken_before(given), member_misfits(given, source)
        ladder = self._ladder(misfits, taken) if given.step < self.n_steps - 1 else []
        # A trial that would spend more than is left is followed by one that spends just that.
        closing = [trial.draw for trial in ladder if 1.0 / trial.alpha >= still_left(taken)]
        arrays: dict[str, NDArray[Any]] = {
            "misfits": misfits,
            "trial_alphas": np.array([trial.alpha for trial in ladder]),
        }
        last = [Trial(closing_alpha(taken), draw, closing=True) for draw in (closing if ladder else [0])]
        for trial in [*ladder, *last]:
            targets = self.update.perturbed(given, trial.alpha, trial.draw)
            made = self.update.factors(given, trial.alpha, targets)
            arrays |= {_prefix(trial) + name: array for name, array in made.items()}
        return Prepared(arrays)

    def _ladder(self, misfits: FloatArray, taken: FloatArray) -> list[Trial]:
        ladder = [first_trial(misfits, len(self.update.source.values), taken)]
        while len(ladder) < self.trials:
            ladder.append(next_trial(ladder[-1], np.inf, taken))
        return ladder

    def survey(self, given: SliceInput, slab: StoredArray) -> Arrays:
        """Return by how many prior standard deviations each trial moves what it moves most (n_trials,).

        Memory: another slab.
        """
        n_trials = len(given.factors["trial_alphas"])
        moves, deviations, moved = np.zeros(n_trials), _deviations(given, slab), np.empty_like(slab)
        for draw in range(n_trials):
            moved[...] = slab
            self.update.apply(_as_tried(given, Trial(1.0, draw)), moved)
            moved -= slab
            np.abs(moved, out=moved)
            moves[draw] = largest_move(moved.max(axis=0, keepdims=True), deviations)
        return {"moves": moves}

    def conclude(self, given: StepInput, factors: Arrays, found: Iterable[Arrays]) -> Prepared:
        """Return which trial is taken: the first that moves nothing too far in any slice.

        Its figures are those of `daflow.methods.step_lengths.found_length`, ``trials``, how many were tried,
        and ``moved``, how many prior standard deviations the one that was allowed moved what it moved most.

        Raises
        ------
        daflow.errors.RunError
            None is allowed.
        """
        taken, alphas = taken_before(given), factors["trial_alphas"]
        moves = np.zeros(len(alphas))
        for one in found:
            np.maximum(moves, one["moves"], out=moves)
        trial = self._first_allowed(alphas, moves, taken)
        length = found_length(trial.alpha, taken, factors["misfits"], len(self.update.source.values))
        figures = dict(length.figures)
        if len(moves):
            figures |= {"trials": trial.draw + 1.0, "moved": float(moves[trial.draw])}
        chosen = np.array([trial.draw, int(trial.closing)])
        return Prepared({**length.arrays, "chosen": chosen}, figures, length.last)

    def _first_allowed(self, alphas: FloatArray, moves: FloatArray, taken: FloatArray) -> Trial:
        if not len(alphas):
            return Trial(closing_alpha(taken), closing=True)
        trial = Trial(float(alphas[0]))
        while trial.draw < len(moves):
            following = next_trial(trial, float(moves[trial.draw]), taken, self.largest)
            if following is trial or following.closing:
                return following
            trial = following
        raise RunError(
            f"none of {len(moves)} alphas moves no number by {self.largest:g} prior deviations",
            got=f"alpha {alphas[-1]:.3g} moves one by {moves[-1]:.3g}",
            allowed="one that does not",
            do="look at the members' misfits and at the observation errors; in a new run raise "
            "method.alphas.restricted.trials or largest_move",
        )

    def apply(self, given: SliceInput, slab: StoredArray) -> Arrays:
        """Turn a prior slice (n_members, n) into the posterior; the first prior's deviations are carried."""
        draw, closing = given.factors["chosen"].tolist()
        deviations = _deviations(given, slab)
        self.update.apply(_as_tried(given, Trial(1.0, draw, bool(closing))), slab)
        return {"deviations": deviations}


def both_look_first() -> CombinationError:
    """Return the error of trials whose localization has to look at the whole prior first."""
    return CombinationError(
        "method.alphas restricted and this localization both look at the whole prior before any update, and "
        "the one would need the other's answer",
        got="alphas: {restricted: ...} with a localization that surveys",
        allowed="a localization by distance, or none; or alphas: discrepancy",
        do="set method.alphas: discrepancy",
    )


def _prefix(trial: Trial) -> str:
    return f"{'closing' if trial.closing else 'trial'}={trial.draw}."


def _as_tried(given: SliceInput, trial: Trial) -> SliceInput:
    """Return what a slice is given, with the factors of one trial."""
    prefix = _prefix(trial)
    factors = {
        name.removeprefix(prefix): array for name, array in given.factors.items() if name.startswith(prefix)
    }
    return replace(given, factors=factors)


def _deviations(given: SliceInput, slab: StoredArray) -> FloatArray:
    """Return the standard deviations (n,) of the first prior."""
    if given.step > 0:
        what = "method.alphas: {restricted: ...}"
        carried = left_before(given.carried, "deviations", given.step, what)
        return np.asarray(carried, dtype=np.float64)
    blocks = range(0, slab.shape[1], BLOCK)
    return np.concatenate([np.empty(0), *(spread(slab[:, start : start + BLOCK]) for start in blocks)])
