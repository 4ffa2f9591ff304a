from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import CombinationError, DataError
from daflow.methods import filters_shrinkage
from daflow.methods.filters_local import LocalTransformFilter
from daflow.methods.filters_networks import Networks
from daflow.methods.filters_shrinkage import (
    GaussianDraws,
    LaplaceDraws,
    LocalShrinkageFilter,
    ShrinkageFilter,
)
from daflow.methods.locality_by_distance import DistanceLocality
from daflow.methods.observed import Observed
from daflow.methods.shrinkage_choices import GivenGamma, dynamic, ledoit_wolf, low_rank, rao_blackwell
from daflow.numerics.filters.ensemble_transform import apply_transform, mean_free_basis
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.filters.shrinkage import apply_shrinkage, shrinkage_etkf, shrunk_modes
from daflow.numerics.filters.shrinkage_roots import dynamic_root, low_rank_root, shrinkage_gram
from daflow.numerics.filters.shrinkage_target import (
    ShrinkageTarget,
    ledoit_wolf_gamma,
    matched_scale,
    rblw_gamma,
    target_of,
)
from daflow.numerics.localization import shrinkage_letkf
from daflow.numerics.localization.distance import DistanceTaper, state_obs_taper
from daflow.numerics.obs_error.covariance import DenseCovariance, DiagonalCovariance, as_covariance
from daflow.ports import SliceInput, SlicePoints, StepInput
from daflow.records import StateSlice
from tests.methods.filter_problems import GOLDEN, close
from tests.methods.in_slices import InSlices

N_STATE, N_MEMBERS, N_SNAPSHOTS, N_SYNTHETIC = 14, 5, 9, 6
RNG = np.random.default_rng(4)
PRIOR = 2 + RNG.standard_normal((N_MEMBERS, N_STATE))
SNAPSHOTS = 7 + RNG.standard_normal((N_SNAPSHOTS, N_STATE)) * np.linspace(1, 3, N_STATE)
OPERATOR = RNG.standard_normal((N_STATE, 4))
VALUES = RNG.standard_normal(4)
ERROR = DenseCovariance(0.5 * np.eye(4) + 0.2)


class Array:
    """Snapshots in memory."""

    def __init__(self, values):
        self.values = values
        self.n_snapshots, self.n_state = values.shape

    def columns(self, start, stop):
        return self.values[:, start:stop].copy()


def points(n):
    return SlicePoints(np.zeros(n, np.int64), np.full((n, 3), np.nan))


def made(gamma=rao_blackwell, draw=None, snapshots=SNAPSHOTS, operator=OPERATOR, values=VALUES, error=ERROR):
    return ShrinkageFilter(
        lambda _: Observed(values, error),
        2,
        Array(snapshots),
        lambda _, states: states @ operator,
        N_SYNTHETIC,
        GaussianDraws(3) if draw is None else draw,
        gamma,
    )


def step(method, cuts=(), prior=PRIOR, operator=OPERATOR, number=0):
    return InSlices(method, points(prior.shape[1]), cuts).step(number, prior, prior @ operator)


CASES = ["popov_small_n6_m4", "popov_l96_N5_M100", "popov_l96_N14_M100", "popov_l96_N5_M20_r12"]


@pytest.mark.parametrize("case", CASES)
def test_that_the_golden_analyses_are_met_from_snapshots_with_the_same_covariance(case):
    with np.load(GOLDEN / f"{case}.npz") as arrays:
        golden = {key: arrays[key] for key in arrays.files}
    members = golden["X"].T
    prior = members.mean(axis=0) + float(golden["alpha"]) * (members - members.mean(axis=0))
    target = target_of(golden["P"], int(golden["rank"]))
    # As many snapshots as directions, and one more: their covariance is the target's exactly.
    root = mean_free_basis(target.rank + 1) * np.sqrt(target.rank * target.eigenvalues)
    snapshots = 3 + root @ target.basis.T
    anomalies = (snapshots - 3) / np.sqrt(target.rank)
    scale = matched_scale(target.project(prior)).scale
    draws = (golden["Xs"].T - prior.mean(axis=0)) @ np.linalg.pinv(anomalies) / np.sqrt(scale)
    full = target.rank == prior.shape[1]
    error = as_covariance(golden["R"])
    for name, gamma in {"g085": GivenGamma(0.85), "g01": GivenGamma(0.1), "rblw": rao_blackwell}.items():
        if name == "rblw" and not full:
            # The golden gamma counts all of the state where the target knows a part of it.
            gamma = GivenGamma(float(golden["gamma_rblw"]))  # noqa: PLW2901
        method = made(gamma, lambda *_: draws, snapshots, golden["H"].T, golden["y"], error)
        posterior, _ = step(method, [2, 4], prior, golden["H"].T)
        expected = golden[f"analysis_{name}"].T
        assert np.abs(posterior - expected).max() <= 1e-8 * np.abs(expected).max()
        if name == "rblw" and full:
            assert prepared_figures(method, prior, golden["H"].T) == pytest.approx(
                {"gamma": float(golden["gamma_rblw"]), "target_scale": float(golden["mu"])}, rel=1e-8
            )


def prepared_figures(method, prior=PRIOR, operator=OPERATOR):
    given_ = StepInput(0, range(len(prior)), lambda a, b: (prior @ operator)[:, a:b], {})
    arrays = method.prepare(given_).arrays
    where = StateSlice(0, 0, prior.shape[1])
    found = method.survey(SliceInput(0, where, range(len(prior)), arrays, {}, {}), prior)
    return method.conclude(given_, arrays, iter([found])).figures


@settings(max_examples=20)
@given(
    st.lists(st.integers(0, N_STATE), max_size=4).map(sorted),
    st.integers(1, 400),
    st.sampled_from([GaussianDraws, LaplaceDraws]),
)
def test_that_slices_give_what_the_pure_functions_give_on_the_whole(cuts, block, draws):
    draw = draws(8)
    basis, values, _ = np.linalg.svd((SNAPSHOTS - SNAPSHOTS.mean(axis=0)).T, full_matrices=False)
    rank = N_SNAPSHOTS - 1
    target = ShrinkageTarget(basis[:, :rank], values[:rank] ** 2 / rank)
    matched = matched_scale(target.project(PRIOR))
    departures = draw(1, range(N_SYNTHETIC), N_SNAPSHOTS) @ (SNAPSHOTS - SNAPSHOTS.mean(axis=0))
    synthetic = PRIOR.mean(axis=0) + np.sqrt(matched.scale / rank) * departures
    transform = shrinkage_etkf(PRIOR @ OPERATOR, synthetic @ OPERATOR, VALUES, ERROR, rblw_gamma(matched))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(filters_shrinkage, "BLOCK_NUMBERS", block)
        found, _ = step(made(draw=draw), cuts, number=1)
    close(found, apply_shrinkage(transform, PRIOR, synthetic), 1e-11)


@settings(max_examples=15)
@given(
    st.lists(st.integers(0, N_STATE), max_size=4).map(sorted),
    st.sampled_from([(low_rank, low_rank_root, "kept"), (dynamic, dynamic_root, "smallest_eigenvalue")]),
    st.sampled_from([rao_blackwell, ledoit_wolf]),
)
def test_that_other_roots_and_weights_are_those_of_the_pure_functions(cuts, root, weight):
    chosen, function, figure = root
    departures = (SNAPSHOTS - SNAPSHOTS.mean(axis=0)) / np.sqrt(N_SNAPSHOTS - 1)
    basis, values, _ = np.linalg.svd(departures.T, full_matrices=False)
    target = ShrinkageTarget(basis[:, :-1], values[:-1] ** 2)
    matched = matched_scale(target.project(PRIOR))
    synthetic = PRIOR.mean(axis=0) + np.sqrt(matched.scale) * (
        GaussianDraws(3)(1, range(N_SYNTHETIC), N_SNAPSHOTS) @ departures
    )
    gamma = rblw_gamma(matched) if weight is rao_blackwell else ledoit_wolf_gamma(PRIOR, target)
    found = shrunk_modes(PRIOR @ OPERATOR, synthetic @ OPERATOR, VALUES, ERROR, gamma)
    expected = function(found, shrinkage_gram(PRIOR, synthetic))
    posterior, prepared = step(replace(made(weight), root=chosen), cuts, number=1)
    close(posterior, apply_shrinkage(expected.transform, PRIOR, synthetic), 1e-9)
    assert prepared.figures["gamma"] == pytest.approx(gamma, rel=1e-9)
    assert prepared.figures[figure] == pytest.approx(getattr(expected, figure), rel=1e-8)
    # The mean is that of the default root.
    close(posterior.mean(axis=0), step(made(weight), number=1)[0].mean(axis=0), 1e-9)


def test_that_a_gamma_of_zero_is_the_etkf_and_a_larger_one_moves_the_mean_more():
    plain = apply_transform(etkf(PRIOR @ OPERATOR, VALUES, ERROR), PRIOR)
    close(step(made(GivenGamma(0.0)), [3])[0], plain)
    misfits = [
        np.abs(step(made(GivenGamma(gamma)))[0].mean(axis=0) @ OPERATOR - VALUES).sum()
        for gamma in (0.0, 0.5, 1.0)
    ]
    assert misfits[2] < misfits[0]


def test_that_permuting_the_members_permutes_the_posterior():
    order = np.array([3, 0, 4, 1, 2])
    close(step(made(), [5], PRIOR[order])[0], step(made(), [5])[0][order], 1e-11)


def test_that_stored_float32_is_updated_to_its_own_rounding():
    found, _ = step(made(), [5], PRIOR.astype(np.float32))
    assert found.dtype == np.float32
    close(found, step(made(), [5])[0], 1e-5)


@pytest.mark.parametrize("draws", [GaussianDraws, LaplaceDraws])
def test_that_draws_are_addressed_and_have_mean_zero_and_variance_one(draws):
    draw = draws(3)
    assert draw(2, range(4), 7)[2].tobytes() == draw(2, [2], 7)[0].tobytes()
    assert not np.isin(draw(2, range(4), 7), draw(1, range(4), 7)).any()
    many = draw(0, range(4000), 5)
    # Five standard deviations of the mean, and of the variance of what has Laplace's tails.
    assert np.abs(many.mean(axis=0)).max() < 5 / np.sqrt(4000)
    assert np.abs(many.var(axis=0) - 1).max() < 5 * np.sqrt(5 / 4000)


def test_that_snapshots_that_are_all_the_same_are_refused():
    with pytest.raises(DataError, match="all the same"):
        step(made(snapshots=np.ones((N_SNAPSHOTS, N_STATE))))


def test_that_gamma_and_scale_go_to_the_journal():
    figures = prepared_figures(made(error=DiagonalCovariance(np.ones(4))))
    assert set(figures) == {"gamma", "target_scale"}
    assert 0 <= figures["gamma"] <= 1


# The same, localized: numbers and observations along a line.

LINE = np.column_stack([np.arange(float(N_STATE)), np.full((N_STATE, 2), np.nan)])
OBS_LINE = LINE[[1, 4, 5, 8]]
VARIANCES = DiagonalCovariance(np.linspace(0.4, 0.9, 4))
NEAR = DistanceTaper("gaspari_cohn", (1.5, None, None))
EVERYWHERE = DistanceTaper("step", (1e3, None, None))


def reaching(taper):
    locality = DistanceLocality("observation_error", OBS_LINE, np.zeros(4, np.int64), {(0, 0): taper})
    return Networks((locality,), (0, 0))


def local(taper=NEAR, gamma=rao_blackwell, error=VARIANCES, make=GaussianDraws):
    return LocalShrinkageFilter(
        lambda _: Observed(VALUES, error),
        2,
        Array(SNAPSHOTS),
        lambda _, states: states @ OPERATOR,
        N_SYNTHETIC,
        make(3),
        gamma,
        networks=reaching(taper),
    )


def local_step(method, cuts=(), prior=PRIOR):
    places = SlicePoints(np.zeros(N_STATE, np.int64), LINE)
    return InSlices(method, places, cuts).step(1, prior, prior @ OPERATOR)


@settings(max_examples=20)
@given(
    st.lists(st.integers(0, N_STATE), max_size=4).map(sorted),
    st.integers(1, 60),
    st.integers(1, 6),
    st.sampled_from([rao_blackwell, ledoit_wolf, GivenGamma(1.0)]),
)
def test_that_slices_give_each_number_the_analysis_of_what_is_in_its_reach(cuts, block, columns, gamma):
    target = SNAPSHOTS - SNAPSHOTS.mean(axis=0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(filters_shrinkage, "BLOCK_NUMBERS", block)
        patched.setattr(shrinkage_letkf, "WINDOW_BYTES", 8 * N_SYNTHETIC * columns)
        found, prepared = local_step(local(gamma=gamma), cuts)
    scale = prepared.figures["target_scale"] / (N_SNAPSHOTS - 1)
    draws = GaussianDraws(3)(1, range(N_SYNTHETIC), N_SNAPSHOTS)
    synthetic = PRIOR.mean(axis=0) + np.sqrt(scale) * draws @ target
    reach = state_obs_taper(LINE, OBS_LINE, NEAR).toarray()
    for number, weights in enumerate(reach):
        near, here = weights > 0, slice(number, number + 1)
        expected = PRIOR[:, here]
        if near.any():
            seen = ((states @ OPERATOR)[:, near] for states in (PRIOR, synthetic))
            errors = VARIANCES.variances[near] / weights[near]
            transform = shrinkage_etkf(*seen, VALUES[near], errors, prepared.figures["gamma"])
            expected = apply_shrinkage(transform, expected, synthetic[:, here])
        close(found[:, here], expected, 1e-10)
    deaf = ~reach.any(axis=1)
    assert deaf.any()
    assert found[:, deaf].tobytes() == PRIOR[:, deaf].tobytes()


@pytest.mark.parametrize("taper", [None, EVERYWHERE])
def test_that_the_local_filter_is_the_global_one_where_every_weight_is_one(taper):
    expected, told = step(made(error=VARIANCES), [3], number=1)
    found, prepared = local_step(local(taper), [6])
    close(found, expected, 1e-10)
    assert prepared.figures == pytest.approx(told.figures, rel=1e-12)


def test_that_the_local_filter_with_a_gamma_of_zero_is_the_letkf():
    plain = LocalTransformFilter(lambda _: Observed(VALUES, VARIANCES), 2, reaching(NEAR))
    close(local_step(local(gamma=GivenGamma(0.0)), [6])[0], local_step(plain, [3])[0], 1e-10)


def test_that_permuting_the_members_permutes_the_local_posterior():
    order = np.array([3, 0, 4, 1, 2])
    close(local_step(local(), [5], PRIOR[order])[0], local_step(local(), [5])[0][order], 1e-11)


def test_that_the_local_filter_refuses_errors_that_depend_on_each_other():
    with pytest.raises(CombinationError, match="depend on each other"):
        local_step(local(error=ERROR))
