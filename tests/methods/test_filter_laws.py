import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import CombinationError, DataError
from daflow.methods import EsMda
from daflow.methods.filters_global import RandomRotation, TransformFilter, etkf_analysis
from daflow.methods.filters_networks import Networks
from daflow.methods.filters_perturbed import Perturbed, PerturbedFilter
from daflow.methods.locality_by_distance import DistanceLocality
from daflow.methods.observed import Observed
from daflow.names import Purpose
from daflow.numerics.arrays.random import standard_normals
from daflow.numerics.filters.ensemble_transform import (
    apply_transform,
    mean_preserving_rotation,
    rotated,
)
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.filters.finite_size import finite_size_enkf
from daflow.numerics.localization.distance import DistanceTaper
from daflow.numerics.obs_error.covariance import (
    BlockDiagonalCovariance,
    DenseCovariance,
    DiagonalCovariance,
)
from daflow.ports import StepInput
from tests.methods.filter_problems import (
    AMONG,
    DETERMINISTIC,
    DIAGONAL,
    DRAWING,
    ERRORS,
    EVERYWHERE,
    KINDS,
    LOCALIZED,
    MEMBERS,
    N_MEMBERS,
    N_OBS,
    NOT_DRAWING,
    OBS_PLACES,
    PERTURBING,
    PLACES,
    PREDICTED,
    PRIOR,
    RULES,
    SEED,
    VALUES,
    close,
    draws_of,
    give_draws,
    in_slices,
    letkf,
    networks,
    observe,
    perturbed,
    prepare_anew,
    tapered_serial,
    transforms,
)

SEEDS = st.integers(0, 2**32 - 1)
INDEPENDENT = ("letkf", "ensrf tapered", "eakf tapered")
TURNED = np.r_[2:6, 0:2]
TURNED_BLOCKS = BlockDiagonalCovariance([0.3 * np.eye(N_OBS - 2) + 0.1, np.array([[1.0, 0.4], [0.4, 0.5]])])


def problem(seed, n_members=8, n_state=6, n_obs=5):
    rng = np.random.default_rng(seed)
    prior = 3 + rng.standard_normal((n_members, n_state))
    root = rng.standard_normal((n_obs, n_obs))
    return (
        prior,
        rng.standard_normal((n_state, n_obs)),
        rng.standard_normal(n_obs),
        root @ root.T + np.eye(n_obs),
    )


@settings(max_examples=15)
@given(SEEDS, st.integers(2, 12), st.integers(1, 9), st.sampled_from(["etkf", "denkf", "ensrf", "eakf"]))
def test_that_deterministic_filters_agree_in_the_kalman_mean(seed, n_members, n_obs, name):
    prior, operator, values, error = problem(seed, n_members, 6, n_obs)
    found = in_slices(
        DETERMINISTIC[name](observe(values, DenseCovariance(error))), [2], prior, prior @ operator
    )
    covariance = np.cov(prior.T)
    gain = covariance @ operator @ np.linalg.inv(operator.T @ covariance @ operator + error)
    mean = prior.mean(axis=0)
    close(found.mean(axis=0), mean + gain @ (values - mean @ operator), 1e-10)
    left = covariance - gain @ operator.T @ covariance
    if name == "denkf":
        left += gain @ operator.T @ covariance @ operator @ gain.T / 4
    close(np.cov(found.T), left, 1e-10)


@settings(max_examples=15)
@given(SEEDS)
def test_that_the_mean_of_recentred_draws_is_the_kalman_mean(seed):
    prior, operator, values, error = problem(seed)
    wide, given_ = prior @ operator, observe(values, DenseCovariance(error))
    found = in_slices(perturbed("recentred")(given_), [2], prior, wide)
    close(found.mean(axis=0), in_slices(DETERMINISTIC["etkf"](given_), [], prior, wide).mean(axis=0), 1e-10)


@settings(max_examples=15)
@given(SEEDS)
def test_that_ensrf_and_eakf_agree_member_by_member_with_a_taper_too(seed):
    predicted = PREDICTED + np.random.default_rng(seed).standard_normal(PREDICTED.shape)
    for make in (lambda name: DETERMINISTIC[name], tapered_serial):
        ensrf, eakf = (
            in_slices(make(name)(observe()), [17], predicted=predicted) for name in ("ensrf", "eakf")
        )
        close(ensrf, eakf, 1e-11)


def test_that_the_local_filter_is_the_etkf_where_every_weight_is_one():
    for rules in (dict.fromkeys(RULES), dict.fromkeys(RULES, DistanceTaper("step", (1e3, 1e3, None)))):
        close(in_slices(letkf(rules)(observe()), [13]), in_slices(DETERMINISTIC["etkf"](observe())))


def test_that_a_serial_filter_is_the_untapered_one_where_every_weight_is_one():
    everywhere = DistanceTaper("step", (1e3, 1e3, None))
    untapered = in_slices(DETERMINISTIC["ensrf"](observe()))
    for rules in (dict.fromkeys(RULES), dict.fromkeys(RULES, everywhere)):
        method = tapered_serial("ensrf", rules, dict.fromkeys(AMONG, everywhere))(observe())
        close(in_slices(method, [13]), untapered)


def test_that_a_zeta_of_zero_is_the_filter_without_and_raw_draws_are_one_step_of_es_mda():
    without, zero = perturbed("raw")(observe()), perturbed("raw", 1 / (1 + 0.0))(observe())
    smoother = EsMda((1.0,), VALUES, DIAGONAL, SEED)
    expected = in_slices(smoother, [9]).tobytes()
    assert in_slices(without, [9]).tobytes() == in_slices(zero, [9]).tobytes() == expected


@pytest.mark.parametrize("name", [*DETERMINISTIC, "denkf gain", "denkf observation_error", *INDEPENDENT])
def test_that_permuting_the_members_permutes_the_posterior(name):
    method = (DETERMINISTIC | LOCALIZED)[name](observe())
    order = np.random.default_rng(1).permutation(N_MEMBERS)
    permuted = in_slices(method, [20], PRIOR[order], PREDICTED[order])
    close(permuted, in_slices(method, [20])[order], 1e-11)


@pytest.mark.parametrize("name", ["enkf", "enkf raw", "gain_inflated_enkf", "enkf gain"])
def test_that_members_that_change_places_keep_their_draws(name):
    method = (DRAWING | LOCALIZED)[name](observe())
    order = np.random.default_rng(1).permutation(N_MEMBERS)
    numbers = tuple(np.array(MEMBERS)[order].tolist())
    permuted = in_slices(method, [20], PRIOR[order], PREDICTED[order], members=numbers)
    close(permuted, in_slices(method, [20])[order], 1e-11)


def test_that_raw_draws_do_not_depend_on_which_other_members_there_are():
    source, steps = Perturbed(SEED, "raw"), observe()(0)
    some, given_ = MEMBERS[3:6], prepared_for
    whole = source.whole(steps, given_(MEMBERS, PREDICTED))[1]
    assert source.whole(steps, given_(some, PREDICTED[3:6]))[1].tobytes() == whole[3:6].tobytes()


def prepared_for(members, predicted):
    return StepInput(0, members, lambda start, stop: predicted[:, start:stop].copy(), {})


def test_that_a_rotation_leaves_mean_and_covariance_and_is_addressed_by_seed_and_step():
    plain = in_slices(DETERMINISTIC["etkf"](observe()))
    turned = [
        in_slices(transforms(etkf_analysis, RandomRotation(seed))(observe()), [7], step=step)
        for seed, step in ((5, 0), (5, 1), (6, 0))
    ]
    for one in turned:
        close(one.mean(axis=0), plain.mean(axis=0))
        close(np.cov(one.T), np.cov(plain.T))
        assert np.abs(one - plain).max() > 0.1
    assert len({one.tobytes() for one in turned}) == 3
    size = N_MEMBERS - 1
    normals = standard_normals(5, Purpose.ROTATION, (1,), 0, size * size).reshape(size, size)
    transform = rotated(etkf(PREDICTED, VALUES, DIAGONAL), mean_preserving_rotation(normals))
    close(turned[1], apply_transform(transform, PRIOR))


@pytest.mark.parametrize("name", NOT_DRAWING)
def test_that_the_order_of_the_blocks_of_r_does_not_matter(name):
    there, back = observe(error=ERRORS["block"]), observe(VALUES[TURNED], TURNED_BLOCKS)
    one, other = (
        in_slices(EVERYWHERE[name](given_), [], PRIOR, predicted)
        for given_, predicted in ((there, PREDICTED), (back, PREDICTED[:, TURNED]))
    )
    close(other.mean(axis=0), one.mean(axis=0), 1e-10)
    close(np.cov(other.T), np.cov(one.T), 1e-10)


@pytest.mark.parametrize("name", PERTURBING)
def test_that_the_order_of_the_blocks_of_r_does_not_matter_with_the_same_draws(monkeypatch, name):
    draws = draws_of(ERRORS["block"], 0)
    there, back = observe(error=ERRORS["block"]), observe(VALUES[TURNED], TURNED_BLOCKS)
    give_draws(monkeypatch, draws)
    one = in_slices(EVERYWHERE[name](there))
    give_draws(monkeypatch, draws[:, TURNED])
    close(in_slices(EVERYWHERE[name](back), [], PRIOR, PREDICTED[:, TURNED]), one, 1e-10)


@pytest.mark.parametrize("name", EVERYWHERE | LOCALIZED)
def test_that_constant_predictions_change_nothing(name):
    method = (EVERYWHERE | LOCALIZED)[name](observe())
    posterior = in_slices(method, [11], predicted=np.ones((N_MEMBERS, N_OBS)))
    if name == "etkf rotated":
        close(posterior.mean(axis=0), PRIOR.mean(axis=0))
    elif name == "enkf_n":
        # Jeffreys doubts the sample itself, by a factor that is known.
        mean = PRIOR.mean(axis=0)
        close(posterior, mean + np.sqrt((N_MEMBERS - 1) / N_MEMBERS) * (PRIOR - mean))
    elif name == "enkf_n corrected":
        close(posterior, PRIOR)
    else:
        assert posterior.tobytes() == PRIOR.tobytes()


@pytest.mark.parametrize("name", LOCALIZED)
def test_that_what_is_out_of_reach_of_every_observation_is_left_alone_bit_for_bit(name):
    method = LOCALIZED[name](observe())
    rules = dict.fromkeys(RULES, DistanceTaper("step", (1.0, 1.0, None)))
    near = Networks((DistanceLocality(method.networks.at(0).tapers, OBS_PLACES, KINDS, rules),), (0,) * 3)
    posterior = in_slices(type(method)(**{**vars(method), "networks": near}), [13])
    apart = np.abs(PLACES[:, :1] - OBS_PLACES[:, 0]).min(axis=1) > 1.0
    assert posterior[:, apart].tobytes() == PRIOR[:, apart].tobytes()
    assert (posterior[:, ~apart] != PRIOR[:, ~apart]).all()


@pytest.mark.parametrize("name", EVERYWHERE | LOCALIZED)
def test_that_a_stored_type_of_float32_is_updated_in_place_to_its_own_rounding(name):
    method = (EVERYWHERE | LOCALIZED)[name](observe())
    single = in_slices(method, [11], PRIOR.astype(np.float32))
    assert single.dtype == np.float32
    close(single, in_slices(method, [11]), 2e-6)


def test_that_what_is_observed_may_change_from_step_to_step_and_with_it_the_network():
    few = slice(0, 4)
    both = (
        DistanceLocality("gain", OBS_PLACES, KINDS, RULES),
        DistanceLocality("gain", OBS_PLACES[few], KINDS[few], RULES),
    )
    steps = (Observed(VALUES, DIAGONAL), Observed(VALUES[few], DiagonalCovariance(DIAGONAL.variances[few])))
    method = PerturbedFilter(
        lambda step: steps[step % 2], 3, Perturbed(SEED, "raw"), networks=Networks(both, (0, 1, 0))
    )
    alone = PerturbedFilter(
        lambda _: steps[1], 3, Perturbed(SEED, "raw"), networks=Networks(both[1:], (0, 0, 0))
    )
    fewer = PREDICTED[:, few]
    assert (
        in_slices(method, [13], predicted=fewer, step=1).tobytes()
        == in_slices(alone, [13], predicted=fewer, step=1).tobytes()
    )
    close(
        in_slices(method, [13], step=2),
        in_slices(perturbed("raw", networks=networks("gain"))(observe()), [13], step=2),
    )


def test_that_the_finite_size_filter_tells_its_inflation():
    _, prepared = prepare_anew(DETERMINISTIC["enkf_n"](observe()), PRIOR, PREDICTED)
    assert prepared.figures == pytest.approx(
        {"inflation": finite_size_enkf(PREDICTED, VALUES, DIAGONAL).inflation}, rel=1e-9
    )


# Observation errors at the edge of what can be.


def near_singular(smallest):
    """An R that all observations nearly share, with the smallest eigenvalue given."""
    vectors = np.linalg.qr(np.random.default_rng(2).standard_normal((N_OBS, N_OBS)))[0]
    eigenvalues = np.append(np.full(N_OBS - 1, 1.0), smallest)
    matrix = (vectors * eigenvalues) @ vectors.T
    return 0.5 * (matrix + matrix.T)


SINGULAR = np.eye(N_OBS)
SINGULAR[:2, :2] = 1.0


@pytest.mark.parametrize("matrix", [SINGULAR, near_singular(-1e-3), near_singular(-1.0)])
def test_that_an_r_that_is_no_covariance_is_refused_with_its_smallest_eigenvalue(matrix):
    # Before any filter sees it: there is no other way to an R.
    for make in (DenseCovariance, lambda matrix: BlockDiagonalCovariance([np.eye(2), matrix])):
        with pytest.raises(DataError, match=r"not positive definite(.|\n)*smallest eigenvalue"):
            make(matrix)


@pytest.mark.parametrize("variance", [0.0, -1.0])
def test_that_a_variance_that_is_none_is_refused(variance):
    with pytest.raises(DataError, match="must be positive; number 2"):
        DiagonalCovariance(np.where(np.arange(N_OBS) == 2, variance, 1.0))


@pytest.mark.parametrize("name", NOT_DRAWING)
def test_that_a_nearly_singular_r_gives_what_its_observations_in_their_own_directions_give(name):
    matrix = near_singular(1e-9)
    eigenvalues, vectors = np.linalg.eigh(matrix)
    there = in_slices(EVERYWHERE[name](observe(error=DenseCovariance(matrix))), [5])
    turned = observe(VALUES @ vectors, DiagonalCovariance(eigenvalues))
    expected = in_slices(EVERYWHERE[name](turned), [], PRIOR, PREDICTED @ vectors)
    close(there.mean(axis=0), expected.mean(axis=0), 1e-6)
    close(np.cov(there.T), np.cov(expected.T), 1e-6)


@pytest.mark.parametrize("name", PERTURBING)
def test_that_a_nearly_singular_r_gives_the_same_in_its_own_directions_with_the_same_draws(monkeypatch, name):
    matrix = near_singular(1e-9)
    eigenvalues, vectors = np.linalg.eigh(matrix)
    error = DenseCovariance(matrix)
    draws = draws_of(error, 0)
    give_draws(monkeypatch, draws)
    there = in_slices(EVERYWHERE[name](observe(error=error)), [5])
    give_draws(monkeypatch, draws @ vectors)
    turned = observe(VALUES @ vectors, DiagonalCovariance(eigenvalues))
    close(there, in_slices(EVERYWHERE[name](turned), [], PRIOR, PREDICTED @ vectors), 1e-6)


@pytest.mark.parametrize("name", ["letkf", "ensrf tapered", "eakf tapered", "enkf observation_error"])
def test_that_filters_that_weigh_errors_one_by_one_refuse_those_that_depend_on_each_other(name):
    with pytest.raises(CombinationError, match="depend on each other"):
        in_slices(LOCALIZED[name](observe(error=ERRORS["dense"])))


@pytest.mark.parametrize("name", EVERYWHERE | LOCALIZED)
def test_that_one_member_and_predictions_that_are_not_finite_are_refused(name):
    method = (EVERYWHERE | LOCALIZED)[name](observe())
    with pytest.raises(DataError):
        in_slices(method, [], PRIOR[:1], PREDICTED[:1], members=(0,))
    with pytest.raises(DataError):
        in_slices(method, [], PRIOR, np.where(np.arange(N_OBS) == 3, np.nan, PREDICTED))


@pytest.mark.parametrize("name", EVERYWHERE | LOCALIZED)
def test_that_predictions_that_overflow_in_units_of_the_errors_are_refused(name):
    method = (EVERYWHERE | LOCALIZED)[name](observe(error=DiagonalCovariance(np.full(N_OBS, 1e-300))))
    with pytest.raises((DataError, CombinationError)):
        in_slices(method, [], PRIOR, 1e200 * PREDICTED)


def test_that_a_transform_filter_starts_each_step_from_its_own_members():
    method = TransformFilter(observe(), 3, etkf_analysis)
    assert [method.base(step) for step in range(method.n_steps)] == [0, 1, 2]
    assert method.localize(lambda: pytest.fail("nobody asks where")) == {}
