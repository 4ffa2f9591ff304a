"""Iterative ensemble smoothers as methods."""

import numpy as np
import pytest

from daflow.methods import GaussNewton, IterativeSmoother, LevenbergMarquardt, SmallStateSmoother
from tests.methods.smoothing import Problem, close, driven

FORMS = ["diagonal", "dense", "block", "low_rank"]


def smoothed(problem):
    return driven(problem, problem.es()).final


def newton(problem, *lengths, kind=IterativeSmoother):
    return kind(GaussNewton(lengths), problem.source)


def marquardt(problem, n_steps, *how, kind=IterativeSmoother):
    return kind(LevenbergMarquardt(n_steps, problem.n_obs, *how), problem.source)


@pytest.mark.parametrize("error", FORMS)
def test_that_one_full_step_of_a_linear_model_is_the_ensemble_smoother(error):
    problem = Problem(error=error)
    close(driven(problem, newton(problem, 1.0), [9]).final, smoothed(problem), 1e-9)
    close(driven(problem, newton(problem, 0.3, 1.0)).final, smoothed(problem), 1e-9)


def test_that_short_steps_come_to_the_ensemble_smoother_by_the_part_that_is_left():
    problem = Problem()
    history, end = driven(problem, newton(problem, 0.5, 0.5, 0.5)), smoothed(problem)
    for step, state in enumerate(history.states):
        close(state - end, 0.5**step * (problem.prior - end), 1e-9)


@pytest.mark.parametrize("error", FORMS)
def test_that_damped_steps_of_a_linear_model_come_to_the_ensemble_smoother(error):
    problem = Problem(error=error)
    history = driven(problem, marquardt(problem, 12, None, 10.0, 0.0), [9])
    close(history.final, smoothed(problem), 1e-7)
    # At the end rounding decides.
    assert set(history.figures("accepted")[:6]) == {1.0}
    assert (np.diff(history.figures("cost")) <= 0).all()


@pytest.mark.parametrize("kind", ["ies", "enrml"])
def test_that_a_state_smaller_than_the_ensemble_needs_to_be_looked_at_first(kind):
    problem = Problem(n_state=4, n_members=12, bend=0.3, far=1.0)
    # Two of four numbers in other units: what is far smaller must count as much.
    problem.map[:2] *= 1e9
    problem.prior[:, :2] *= 1e-9
    whole = driven(problem, methods(problem, SmallStateSmoother)[kind]).final
    parts = driven(problem, methods(problem, SmallStateSmoother)[kind], [1, 3]).final
    close(parts[:, :2] * 1e9, whole[:, :2] * 1e9, 1e-9)
    close(parts[:, 2:], whole[:, 2:], 1e-9)
    blind = driven(problem, methods(problem, IterativeSmoother)[kind]).final
    assert np.abs(blind - whole)[:, 2:].max() > 1e-3


def methods(problem, kind):
    return {"ies": newton(problem, 0.6, 0.6, kind=kind), "enrml": marquardt(problem, 3, kind=kind)}


def test_that_what_members_differ_in_is_all_there_is_where_the_state_is_large():
    problem = Problem(bend=0.05)
    one = driven(problem, newton(problem, 0.6, 1.0)).final
    close(driven(problem, newton(problem, 0.6, 1.0, kind=SmallStateSmoother)).final, one, 1e-9)


@pytest.mark.parametrize("kind", ["ies", "enrml"])
def test_that_a_linear_problem_ends_for_the_survivors_alone_a_step_after_one_is_lost(kind):
    problem = Problem()
    method = {
        "ies": newton(problem, 0.5, 0.5, 1.0, 1.0),
        "enrml": marquardt(problem, 4, 1e-9, 10.0, 0.0),
    }[kind]
    left = [0, 1, 2, 3, 4, 6, 7, 8]
    history = driven(problem, method, [13], dropped={2: [5]})
    # The perturbations of those that are left are addressed by their numbers.
    es = driven(problem, problem.es(), dropped={0: [5]})
    assert history.members[-1] == es.members[-1] == left
    assert np.abs(history.states[3] - es.final).max() > 1e-4
    close(history.final, es.final, 1e-6)


def bent():
    """A problem so bent that a step with hardly any damping overshoots."""
    return Problem(n_members=8, n_state=12, n_obs=5, bend=0.6, far=3.0, seed=2)


def test_that_steps_that_raise_the_cost_are_taken_back():
    problem = bent()
    method = marquardt(problem, 9, 1e-4, 10.0, 0.0)
    history = driven(problem, method, [4])
    accepted, costs = history.figures("accepted"), history.figures("cost")
    dampings = history.figures("damping")
    assert 0.0 in accepted[1:]
    assert 1.0 in accepted[1:]
    for step in range(1, len(accepted)):
        kept = accepted[step] == 1.0
        assert dampings[step] == pytest.approx(dampings[step - 1] * (0.1 if kept else 10.0))
        assert costs[step] < costs[step - 1] if kept else costs[step] == costs[step - 1]


def test_that_what_a_rejected_step_predicted_does_not_matter():
    problem, spoilt = bent(), bent()
    method = marquardt(problem, 9, 1e-4, 10.0, 0.0)
    reference = driven(problem, method)
    accepted = reference.figures("accepted")
    rejected = accepted.index(0.0)
    honest, calls = spoilt.predict, []

    def predict(state):
        calls.append(state)
        # Worse than it is, in some way or other.
        return honest(state) + (1e3 if len(calls) - 1 == rejected else 0.0)

    spoilt.predict = predict
    history = driven(spoilt, method)
    assert history.final.tobytes() == reference.final.tobytes()


def test_that_the_last_step_restores_the_best_where_the_one_before_is_rejected():
    problem = bent()
    accepted = driven(problem, marquardt(problem, 9, 1e-4, 10.0, 0.0)).figures("accepted")
    rejected = accepted.index(0.0)
    history = driven(problem, marquardt(problem, rejected + 1, 1e-4, 10.0, 0.0))
    assert history.figures("accepted")[-1] == 0.0
    close(history.final, history.states[rejected - 1], 1e-12)


def test_that_a_small_fall_of_the_cost_ends_it():
    problem = Problem(bend=0.05)
    history = driven(problem, marquardt(problem, 40, None, 10.0, 0.01))
    costs = history.figures("cost")
    falls = -np.diff(costs) / costs[:-1]
    assert 2 < len(costs) < 40
    assert falls[-1] < 0.01
    assert (falls[:-1] >= 0.01).all()
    assert history.prepared[-1].last


def test_that_the_first_damping_is_the_prior_s_mean_misfit_per_observation():
    problem = Problem(far=5.0)
    method = marquardt(problem, 2)
    first = driven(problem, method).prepared[0].figures
    assert first["damping"] == pytest.approx(0.5 * first["misfit_mean"])
    assert driven(problem, marquardt(problem, 2, 7.0)).prepared[0].figures["damping"] == 7.0


def test_that_updates_start_from_the_prior():
    problem = Problem()
    for method in (newton(problem, 0.5, 0.5), marquardt(problem, 3)):
        assert {method.base(step) for step in range(method.n_steps)} == {0}
