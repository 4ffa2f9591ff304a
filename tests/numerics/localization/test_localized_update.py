"""Laws of the tapered increment, in place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.localization import localized_update
from daflow.numerics.localization.cell_planning import plan_localization
from daflow.numerics.localization.distance import DistanceTaper
from daflow.numerics.localization.localized_update import add_tapered_increment
from daflow.numerics.localization.tapers import TAPERS
from tests.numerics.localization.tapers_by_hand import (
    close,
    dense_by_kind,
    dense_increment,
    dense_weights,
    ensembles,
    families,
    mixed_rules,
    options,
    scattered,
    seeds,
    taper_of,
)


def updated(plan, slab, left, right):
    posterior = slab.copy()
    add_tapered_increment(plan, posterior, left, right)
    return posterior


@given(family=families, option=options, seed=seeds, with_cutoff=st.booleans())
@settings(max_examples=40)
def test_that_the_increment_equals_the_dense_formula(family, option, seed, with_cutoff):
    cutoff = 1.7 if with_cutoff and np.isinf(TAPERS[family].reach) else None
    taper = DistanceTaper(family, cutoff=cutoff, **option)
    points, obs_points = scattered(seed, 700), scattered(seed + 1, 23)
    slab, left, right = ensembles(seed, 6, 700, 23)
    plan = plan_localization(points, 0, obs_points, 0, {(0, 0): taper})
    expected = slab + dense_increment(dense_weights(points, obs_points, taper), slab, left, right)
    close(updated(plan, slab, left, right), expected)


@given(seed=seeds)
@settings(max_examples=10)
def test_that_increments_of_several_rules_add_up(seed):
    rng = np.random.default_rng(seed)
    given_arrays = (
        scattered(seed, 900),
        rng.choice([3, 8], 900),
        scattered(seed + 1, 30),
        rng.integers(0, 3, 30),
    )
    slab, left, right = ensembles(seed, 5, 900, 30)
    plan = plan_localization(*given_arrays, mixed_rules())
    expected = slab + dense_increment(dense_by_kind(*given_arrays, mixed_rules()), slab, left, right)
    close(updated(plan, slab, left, right), expected)


@given(family=families, option=options, seed=seeds, cut=st.integers(0, 700))
@settings(max_examples=20)
def test_that_the_increment_does_not_depend_on_the_split_into_slices(family, option, seed, cut):
    rules = {(0, 0): DistanceTaper(family, **option)}
    points, obs_points = scattered(seed, 700), scattered(seed + 1, 23)
    slab, left, right = ensembles(seed, 6, 700, 23)
    whole = updated(plan_localization(points, 0, obs_points, 0, rules), slab, left, right)
    for part in (slice(0, cut), slice(cut, 700)):
        plan = plan_localization(points[part], 0, obs_points, 0, rules)
        close(updated(plan, slab[:, part], left, right), whole[:, part])


@given(option=options, seed=seeds)
@settings(max_examples=10)
def test_that_the_same_points_give_the_same_bits_wherever_the_rows_lie(option, seed):
    rules = {(0, 0): DistanceTaper("gaspari_cohn", **option)}
    points, obs_points = scattered(seed, 700), scattered(seed + 1, 23)
    slab, left, right = ensembles(seed, 6, 700, 23)
    first, second = (plan_localization(points.copy(), 0, obs_points, 0, rules) for _ in range(2))
    expected = updated(first, slab, left, right)
    apart, transposed = np.full((6, 712), np.nan)[:, 5:705], np.empty((700, 6)).T
    for posterior in (apart, transposed):
        posterior[:] = slab
        add_tapered_increment(second, posterior, left, right)
        assert posterior.tobytes() == expected.tobytes()
    assert np.isnan(apart.base[:, :5]).all()
    assert np.isnan(apart.base[:, 705:]).all()


@given(seed=seeds, size=st.sampled_from([1, 1 << 12, 1 << 15]))
@settings(max_examples=10)
def test_that_the_buffer_s_size_does_not_count(seed, size):
    points, obs_points = scattered(seed, 700), scattered(seed + 1, 23)
    slab, left, right = ensembles(seed, 6, 700, 23)
    plan = plan_localization(points, np.arange(700) % 2, obs_points, 0, {(0, 0): taper_of(), (1, 0): None})
    expected = updated(plan, slab, left, right)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(localized_update, "BUFFER_BYTES", size)
        patch.setattr(localized_update, "OBS_BLOCK", 7)
        close(updated(plan, slab, left, right), expected)


@given(seed=seeds)
@settings(max_examples=10)
def test_that_float32_is_calculated_in_float64_and_rounded_once(seed):
    points, obs_points = scattered(seed, 700), scattered(seed + 1, 23)
    slab, left, right = ensembles(seed, 6, 700, 23)
    short = slab.astype(np.float32)
    plan = plan_localization(points, 0, obs_points, 0, {(0, 0): taper_of()})
    exact = updated(plan, short.astype(np.float64), left, right)
    posterior = updated(plan, short, left, right)
    assert posterior.dtype == np.float32
    np.testing.assert_allclose(posterior, exact, rtol=1.0001 * 2.0**-24)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_that_what_hears_nothing_stays_as_it_is_bit_for_bit(dtype):
    taper = DistanceTaper("gaspari_cohn", (1.0, 1.0, None))
    points, obs_points = scattered(3, 500), np.array([[2.0, 2.0, np.nan]])
    slab, left, right = ensembles(1, 5, 500, 1)
    slab = slab.astype(dtype)
    far = np.hypot(*(points[:, :2] - 2.0).T) > 2.0
    slab[:, np.flatnonzero(far)[:3]] = [-0.0, np.nan, np.inf]
    plan = plan_localization(points, 0, obs_points, 0, {(0, 0): taper})
    posterior = updated(plan, slab, left, right)
    assert far.any()
    assert not far.all()
    assert posterior[:, far].tobytes() == slab[:, far].tobytes()
    assert (posterior != slab)[:, ~far].any(axis=0).mean() > 0.9


@given(seed=seeds)
@settings(max_examples=10)
def test_that_untapered_it_is_the_global_product(seed):
    slab, left, right = ensembles(seed, 6, 300, 23)
    nowhere = np.full((300, 3), np.nan)
    plan = plan_localization(nowhere, 0, nowhere[:23], 0, {(0, 0): None})
    close(updated(plan, slab, left, right), slab + dense_increment(np.ones((300, 23)), slab, left, right))


def test_that_what_all_members_have_in_common_does_not_count():
    points, obs_points = scattered(1, 300), scattered(2, 23)
    slab, left, right = ensembles(1, 6, 300, 23)
    slab = np.round(slab * 1024.0) / 1024.0
    plan = plan_localization(points, 0, obs_points, 0, {(0, 0): taper_of()})
    far = 2.0**20
    moved = updated(plan, slab + far, left, right) - far
    np.testing.assert_allclose(moved, updated(plan, slab, left, right), rtol=0, atol=4 * far * 2.0**-53)


@pytest.mark.parametrize(("n", "m"), [(0, 4), (4, 0), (0, 0)])
def test_that_no_points_or_no_observations_are_no_special_case(n, m):
    points, obs_points = scattered(3, 9)[:n], scattered(3, 9)[:m]
    slab, left, right = ensembles(1, 5, n, m)
    plan = plan_localization(points, 0, obs_points, 0, {(0, 0): DistanceTaper("step", (1.0, 1.0, 1.0))})
    assert updated(plan, slab, left, right).shape == (5, n)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("slice", np.zeros((5, 41))),
        ("slice", np.zeros(40)),
        ("slice", np.zeros((0, 40))),
        ("slice", np.zeros((5, 40), np.int64)),
        ("slice", np.broadcast_to(0.0, (5, 40))),
        ("left", np.zeros((12, 4))),
        ("right", np.zeros((11, 5))),
    ],
)
def test_that_an_ensemble_that_does_not_fit_the_plan_is_refused(name, array):
    plan = plan_localization(scattered(1, 40), 0, scattered(2, 12), 0, {(0, 0): taper_of()})
    arrays = dict(zip(("slice", "left", "right"), ensembles(1, 5, 40, 12), strict=True))
    arrays[name] = array
    with pytest.raises(DataError, match=name):
        add_tapered_increment(plan, *arrays.values())


@pytest.mark.parametrize("name", ["slab", "left", "right"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_that_what_is_not_finite_is_named_with_its_place(name, value):
    plan = plan_localization(scattered(1, 40), 0, scattered(2, 12), 0, {(0, 0): taper_of()})
    arrays = dict(zip(("slab", "left", "right"), ensembles(1, 5, 40, 12), strict=True))
    arrays[name][2, 3] = value
    words = (
        r"state point 3 of the slice is not finite \(row 2\)" if name == "slab" else "check the predictions"
    )
    with pytest.raises(DataError, match=words), np.errstate(invalid="ignore"):
        add_tapered_increment(plan, **arrays)


def test_that_numbers_whose_sum_overflows_are_finite_all_the_same():
    points, obs_points = scattered(1, 40), scattered(2, 12)
    slab, left, right = ensembles(1, 5, 40, 12)
    plan = plan_localization(points, 0, obs_points, 0, {(0, 0): None})
    posterior = updated(plan, slab, left, right * 1e306)
    assert np.isfinite(posterior).all()
