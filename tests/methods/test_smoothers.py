"""What all smoothers and inversions have in common: slices, survivors, the sum of their steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import CombinationError
from daflow.methods import DiscrepancyEsMda, Eki, Etki, RestrictedEsMda
from daflow.methods.kalman_inversion import plain_targets
from daflow.methods.step_lengths import DiscrepancyLengths
from daflow.ports import StepInput, Surveying
from tests.methods.in_slices import InSlices
from tests.methods.smoothing import Problem, close, driven

KINDS = list(Problem().methods())
LOCALIZED = list(Problem().methods(Problem().locality("gain")))
CUTS = st.lists(st.integers(0, 40), max_size=5).map(sorted)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5)
@given(cuts=CUTS, error=st.sampled_from(["diagonal", "dense", "block", "low_rank"]))
def test_that_the_slices_do_not_matter(kind, cuts, error):
    problem = Problem(bend=0.05, error=error)
    method = problem.methods()[kind]
    whole = driven(problem, method)
    parts = driven(problem, method, cuts, predicted_by=whole)
    assert len(whole.states) == len(parts.states) > 2
    for one, other in zip(parts.states, whole.states, strict=True):
        close(one, other)


@pytest.mark.parametrize("kind", LOCALIZED)
@settings(max_examples=5)
@given(cuts=CUTS, tapers=st.sampled_from(["gain", "cross_covariance", "observation_error"]))
def test_that_the_slices_do_not_matter_where_it_is_localized(kind, cuts, tapers):
    problem = Problem(bend=0.05)
    method = problem.methods(problem.locality(tapers))[kind]
    whole = driven(problem, method)
    close(driven(problem, method, cuts, predicted_by=whole).final, whole.final)
    assert np.abs(whole.final - driven(problem, problem.methods()[kind]).final).max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_that_a_slice_may_be_stored_in_single_precision(kind):
    problem = Problem(bend=0.05)
    method = problem.methods()[kind]
    exact = driven(problem, method, [17])
    problem.prior = problem.prior.astype(np.float32)
    rounded = driven(problem, method, [17])
    assert rounded.final.dtype == np.float32
    close(rounded.final, exact.final, 2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_that_members_that_are_left_behind_leave_the_others_going(kind):
    problem = Problem(bend=0.05)
    method = problem.methods()[kind]
    history = driven(problem, method, [11, 30], dropped={0: [2], 1: [0, 7]})
    assert history.members[-1] == [1, 3, 4, 5, 6, 8]
    assert np.isfinite(history.final).all()
    before = problem.predict(problem.prior[history.members[-1]])
    after = problem.predict(history.final)
    assert np.square(after - problem.values).sum() < np.square(before - problem.values).sum()
    close(driven(problem, method, dropped={0: [2], 1: [0, 7]}).final, history.final)


@pytest.mark.parametrize("kind", KINDS)
def test_that_one_left_behind_at_the_first_forecast_had_never_been(kind):
    problem, others = Problem(bend=0.05), Problem(bend=0.05)
    left = [0, 1, 2, 4, 5, 6, 7, 8]
    history = driven(problem, problem.methods()[kind], dropped={0: [3]})
    others.prior = problem.prior[left]
    others.n_members = 8
    # Its numbers are its address: the others' perturbations do not know it.
    slices = driven_as(others, others.methods()[kind], left)
    close(history.final, slices)


def driven_as(problem, method, members):
    """Drive a method whose members have these numbers."""
    slices, states = InSlices(method, problem.points), [problem.prior]
    for step in range(method.n_steps):
        given = states[method.base(step)], problem.predict(states[step])
        posterior, prepared = slices.step(step, *given, members)
        states.append(posterior)
        if prepared.last:
            break
    return states[-1]


def searches(problem, n_steps):
    update, search = problem.update(), DiscrepancyLengths(n_steps)
    return {
        "discrepancy": DiscrepancyEsMda(search, update),
        "restricted": RestrictedEsMda(n_steps, update),
        "eki": Eki(search, update),
        "plain_eki": Eki(search, update, plain_targets),
        "etki": Etki(search, problem.source),
    }


@pytest.mark.parametrize("kind", searches(Problem(), 1))
@settings(max_examples=8)
@given(seed=st.integers(0, 2**16), n_steps=st.integers(1, 7), far=st.floats(0.0, 20.0))
def test_that_the_inverses_of_alphas_sum_to_one_however_few_steps_there_may_be(kind, seed, n_steps, far):
    problem = Problem(bend=0.02, seed=seed, far=far)
    history = driven(problem, searches(problem, n_steps)[kind])
    alphas = history.prepared[-1].arrays["alphas"]
    assert len(alphas) == len(history.prepared) <= n_steps
    assert abs((1 / alphas).sum() - 1) < 1e-12
    assert history.prepared[-1].last
    assert history.figures("left")[-1] < 1e-12
    assert not any(one.last for one in history.prepared[:-1])
    told = "time_step" if kind.endswith(("eki", "etki")) else "alpha"
    shares = 1 / alphas if told == "time_step" else alphas
    np.testing.assert_allclose(history.figures(told), shares, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_that_what_goes_on_from_another_method_s_steps_says_so_where_it_cannot(kind):
    problem = Problem(bend=0.05)
    method = problem.methods()[kind]
    predicted = problem.predict(problem.prior)
    before = problem.es(2).prepare(StepInput(0, range(9), lambda a, b: predicted[:, a:b].copy(), {})).arrays
    slices = InSlices(method, problem.points, [7], before)
    if kind in {"restricted", "ies", "small_ies", "enrml", "small_enrml"}:
        with pytest.raises(CombinationError, match="its own steps before") as refused:
            slices.step(1, problem.prior, predicted)
        assert "--step 0" in refused.value.do
        return
    prepared = slices.step(1, problem.prior, predicted)[1]
    if "left" in prepared.figures:
        # One of two steps of ES-MDA has spent a half.
        assert prepared.arrays["alphas"][0] == 2.0
        assert prepared.figures["left"] == pytest.approx(0.5 - 1 / prepared.arrays["alphas"][1])


def test_that_only_methods_that_look_first_survey_anything_to_speak_of():
    methods = Problem().methods()
    surveying: list[Surveying] = [methods["restricted"], methods["small_ies"], methods["small_enrml"]]
    for method in surveying:
        assert hasattr(method, "conclude")
    assert not hasattr(methods["ies"], "survey")
    assert not hasattr(methods["etki"], "survey")
