from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import CombinationError, DataError
from daflow.methods import DistanceLocality, EsMda
from daflow.numerics.inversion.updates import perturbed_observation_update
from daflow.numerics.localization.distance import DistanceTaper, state_obs_taper
from daflow.numerics.obs_error.covariance import (
    BlockDiagonalCovariance,
    DenseCovariance,
    DiagonalCovariance,
    LowRankPlusDiagonalCovariance,
)
from daflow.numerics.smoothers.schedules import constant_alphas
from daflow.ports import SlicePoints, StepInput
from tests.methods.in_slices import InSlices
from tests.numerics.localization.local_problems import plain_local_analysis

N_MEMBERS, N_STATE, N_OBS = 9, 40, 6
RNG = np.random.default_rng(3)
PRIOR = RNG.standard_normal((N_MEMBERS, N_STATE))
PREDICTED = PRIOR[:, ::7] + 0.1 * RNG.standard_normal((N_MEMBERS, N_OBS))
VALUES = RNG.standard_normal(N_OBS)
DIAGONAL = DiagonalCovariance(np.linspace(0.2, 0.9, N_OBS))
DENSE = DenseCovariance(0.3 * np.eye(N_OBS) + 0.1)
BLOCK = BlockDiagonalCovariance([np.array([[1.0, 0.4], [0.4, 0.5]]), 0.3 * np.eye(N_OBS - 2) + 0.1])
LOW_RANK = LowRankPlusDiagonalCovariance(RNG.standard_normal((N_OBS, 2)), np.linspace(0.2, 0.9, N_OBS))
ERRORS = {"diagonal": DIAGONAL, "dense": DENSE, "block": BLOCK, "low_rank": LOW_RANK}
MEMBERS = (0, 1, 2, 4, 5, 7, 8, 11, 12)
PLACES = np.column_stack([np.arange(N_STATE, dtype=float), np.zeros(N_STATE), np.full(N_STATE, np.nan)])
VARIABLE = (np.arange(N_STATE) >= 25).astype(np.int64)
OBS_PLACES = np.column_stack([np.arange(0.0, N_STATE, 7), np.zeros(N_OBS), np.full(N_OBS, np.nan)])
KINDS = np.array([0, 1, 0, 1, 0, 1])
NEAR = DistanceTaper("gaspari_cohn", (6.0, 6.0, None))
FAR = DistanceTaper("step", (20.0, 20.0, None))
RULES = {(0, 0): NEAR, (0, 1): FAR, (1, 0): FAR, (1, 1): None}


def locality(tapers):
    return DistanceLocality(tapers, OBS_PLACES, KINDS, RULES)


def dense_taper():
    taper = np.ones((N_STATE, N_OBS))
    for (variable, kind), rule in RULES.items():
        if rule is not None:
            block = np.ix_(variable == VARIABLE, kind == KINDS)
            taper[block] = state_obs_taper(
                PLACES[variable == VARIABLE], OBS_PLACES[kind == KINDS], rule
            ).toarray()
    return taper


def read(predicted):
    return lambda start, stop: predicted[:, start:stop].copy()


def in_slices(method, step, cuts):
    return InSlices(method, SlicePoints(VARIABLE, PLACES), cuts).step(step, PRIOR, PREDICTED, MEMBERS)[0]


CUTS = st.lists(st.integers(0, N_STATE), max_size=5).map(sorted)


@settings(max_examples=20)
@given(CUTS, st.sampled_from(list(ERRORS.values())), st.sampled_from(["exact_cholesky", "subspace"]))
def test_that_a_slice_gives_what_the_whole_gives(cuts, error, inversion):
    method = EsMda((4.0, 4.0, 2.0), VALUES, error, 5, inversion)
    whole = perturbed_observation_update(
        PRIOR, PREDICTED, method.perturbed(1, MEMBERS), error, alpha=4.0, inversion=inversion
    )
    np.testing.assert_allclose(in_slices(method, 1, cuts), whole, rtol=0, atol=1e-12)


@settings(max_examples=20)
@given(CUTS)
def test_that_a_localized_slice_gives_what_the_whole_gives_where_the_covariance_is_tapered(cuts):
    method = EsMda((2.0, 2.0), VALUES, DIAGONAL, 5, locality=locality("cross_covariance"))
    whole = perturbed_observation_update(
        PRIOR, PREDICTED, method.perturbed(0, MEMBERS), DIAGONAL, alpha=2.0, state_obs_taper=dense_taper()
    )
    np.testing.assert_allclose(in_slices(method, 0, cuts), whole, rtol=0, atol=1e-12)


@settings(max_examples=20)
@given(CUTS)
def test_that_a_localized_slice_gives_what_the_whole_gives_where_the_gain_is_tapered(cuts):
    method = EsMda((2.0, 2.0), VALUES, DIAGONAL, 5, locality=locality("gain"))
    anomalies, spread = PRIOR - PRIOR.mean(axis=0), PREDICTED - PREDICTED.mean(axis=0)
    innovation = spread.T @ spread / (N_MEMBERS - 1) + 2.0 * DIAGONAL.dense()
    gain = np.linalg.solve(innovation, spread.T @ anomalies / (N_MEMBERS - 1)).T
    whole = PRIOR + (method.perturbed(0, MEMBERS) - PREDICTED) @ (dense_taper() * gain).T
    np.testing.assert_allclose(in_slices(method, 0, cuts), whole, rtol=0, atol=1e-12)


@settings(max_examples=20)
@given(CUTS)
def test_that_a_localized_slice_gives_what_each_point_s_own_analysis_gives(cuts):
    method = EsMda((2.0, 2.0), VALUES, DIAGONAL, 5, locality=locality("observation_error"))
    scale = np.sqrt(2.0 * DIAGONAL.diagonal() * (N_MEMBERS - 1.0))[:, np.newaxis]
    anomalies = (PREDICTED - PREDICTED.mean(axis=0)).T / scale
    mismatch = (method.perturbed(0, MEMBERS) - PREDICTED).T / scale
    whole = plain_local_analysis(dense_taper(), PRIOR, anomalies, mismatch)
    np.testing.assert_allclose(in_slices(method, 0, cuts), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "changes", [{"error": DENSE}, {"inversion": "rescaled"}, {"inversion": "rescaled", "truncation": 0.9}]
)
def test_that_local_analyses_refuse_what_they_cannot_honour(changes):
    method = EsMda((1.0,), VALUES, DIAGONAL, 5, locality=locality("observation_error"))
    with pytest.raises(CombinationError, match="local analysis"):
        replace(method, **changes).prepare(StepInput(0, MEMBERS, read(PREDICTED), {}))


@pytest.mark.parametrize("tapers", ["gain", "cross_covariance", "observation_error"])
def test_that_what_is_out_of_reach_of_every_observation_is_left_alone_bit_for_bit(tapers):
    rules = dict.fromkeys(RULES, DistanceTaper("step", (1.0, 1.0, None)))
    method = EsMda((1.0,), VALUES, DIAGONAL, 5, locality=DistanceLocality(tapers, OBS_PLACES, KINDS, rules))
    posterior = in_slices(method, 0, [13])
    apart = np.abs(PLACES[:, :1] - OBS_PLACES[:, 0]).min(axis=1) > 1.0
    assert posterior[:, apart].tobytes() == PRIOR[:, apart].tobytes()
    assert (posterior[:, ~apart] != PRIOR[:, ~apart]).all()


@given(st.sets(st.integers(0, 30), min_size=1, max_size=6).map(sorted), st.integers(0, 2))
def test_that_a_member_s_perturbations_do_not_depend_on_which_other_members_there_are(members, step):
    method = EsMda((3.0, 3.0, 3.0), VALUES, DIAGONAL, 5)
    together = method.perturbed(step, members)
    for row, member in zip(together, members, strict=True):
        assert method.perturbed(step, [member])[0].tobytes() == row.tobytes()


def test_that_perturbations_are_fresh_each_step_and_member_and_follow_the_seed():
    method = EsMda((2.0, 2.0), VALUES, DIAGONAL, 5)
    other = EsMda((2.0, 2.0), VALUES, DIAGONAL, 6)
    drawn = [method.perturbed(0, [0, 1]), method.perturbed(1, [0, 1]), other.perturbed(0, [0, 1])]
    assert len(np.unique(np.concatenate(drawn))) == 6 * N_OBS
    assert method.perturbed(0, [0, 1]).tobytes() == drawn[0].tobytes()


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@given(size=st.integers(1, N_OBS))
def test_that_drawing_part_by_part_gives_the_numbers_that_drawing_at_once_gives(error, size):
    method = EsMda((2.0, 2.0), VALUES, error, 5)
    perturb = method.perturb(1, MEMBERS)
    parts = np.concatenate([perturb(where, part) for where, part in error.parts(size)], axis=1)
    np.testing.assert_allclose(parts, method.perturbed(1, MEMBERS), rtol=1e-14, atol=1e-15)


def test_that_more_observations_leave_the_perturbations_of_the_first_alone_bit_for_bit():
    more = EsMda((2.0,), np.zeros(200_000), DiagonalCovariance(np.ones(200_000)), 5).perturbed(0, [3, 8])
    few = EsMda((2.0,), np.zeros(70_000), DiagonalCovariance(np.ones(70_000)), 5).perturbed(0, [3, 8])
    assert more[:, :70_000].tobytes() == few.tobytes()


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_that_perturbations_have_the_mean_of_the_values_and_alpha_times_the_covariance(error):
    n_members = 20_000
    drawn = EsMda((4.0, 4.0), VALUES, error, 5).perturbed(1, range(n_members))
    # Five standard deviations of a mean and of a covariance of so many normals.
    margin = 5.0 * 4.0 * error.diagonal().max() * np.sqrt(2.0 / n_members)
    assert np.abs(drawn.mean(axis=0) - VALUES).max() < margin
    assert np.abs(np.cov(drawn.T) - 4.0 * error.dense()).max() < margin


def test_that_four_steps_on_a_linear_gaussian_problem_end_at_the_kalman_posterior():
    n_members = 1500
    operator = RNG.standard_normal((N_OBS, 5)) / 2
    state = np.random.default_rng(8).standard_normal((n_members, 5))
    method = EsMda(constant_alphas(4), VALUES, DIAGONAL, 5)
    assert method.n_steps == 4
    steps = InSlices(method, SlicePoints(np.zeros(5, dtype=np.int64), np.full((5, 3), np.nan)))
    for step in range(method.n_steps):
        state, _ = steps.step(step, state, state @ operator.T)
    gain = operator.T @ np.linalg.inv(operator @ operator.T + DIAGONAL.dense())
    mean, covariance = gain @ VALUES, np.eye(5) - gain @ operator
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    # In units of the posterior spread, five standard deviations of a sample's moments, doubled for the
    # sampled gains of four steps.
    margin = 2.0 * 5.0 / np.sqrt(n_members)
    assert np.abs(whiten @ (state.mean(axis=0) - mean)).max() < margin
    assert np.abs(whiten @ np.cov(state.T) @ whiten.T - np.eye(5)).max() < margin * np.sqrt(2.0)


def test_that_observations_without_a_place_that_their_taper_counts_are_refused():
    locality("cross_covariance").check()
    nowhere = np.where(np.arange(N_OBS)[:, np.newaxis] == 3, np.nan, OBS_PLACES)
    with pytest.raises(DataError):
        DistanceLocality("gain", nowhere, KINDS, RULES).check()
