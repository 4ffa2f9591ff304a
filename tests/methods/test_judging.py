import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.methods import judging
from daflow.methods.judging import BACKGROUND, MISSING, OUTLIER, USED, Check, Judge
from daflow.numerics.observations.quality import background_check, robust_outliers, standardized_departures

N_MEMBERS, N_OBS = 6, 40
EVERY = range(N_OBS)


def problem(seed, n_missing=0):
    rng = np.random.default_rng(seed)
    predicted = rng.standard_normal((N_MEMBERS, N_OBS)) * rng.uniform(0.1, 3.0, N_OBS)
    values, variances = 2 * rng.standard_normal(N_OBS), rng.uniform(0.1, 2.0, N_OBS)
    predicted[rng.integers(N_MEMBERS, size=n_missing), rng.integers(N_OBS, size=n_missing)] = np.nan
    return predicted, values, variances, rng.integers(0, 3, N_OBS)


def first(judge, predicted, rows=EVERY):
    return judge.first(lambda a, b: predicted[:, rows.start + a : rows.start + b].copy(), N_MEMBERS, rows)


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 4.0), st.integers(N_MEMBERS, 300))
def test_that_the_background_check_is_that_of_the_whole_whatever_is_read_at_once(seed, threshold, window):
    predicted, values, variances, kinds = problem(seed)
    judge = Judge(values, variances, kinds, Check(threshold, "drop"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "WINDOW_NUMBERS", window)
        found = first(judge, predicted)
    kept = background_check(predicted, values, variances, threshold)
    assert (found.flags == np.where(kept, USED, BACKGROUND)).all()
    assert (found.kept == np.flatnonzero(kept)).all()
    assert found.figures()["obs_background"] == found.figures()["obs_left_out"] == (~kept).sum()


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 3.0))
def test_that_an_error_is_raised_until_the_departure_is_the_threshold(seed, threshold):
    predicted, values, variances, kinds = problem(seed)
    found = first(Judge(values, variances, kinds, Check(threshold, "inflate")), predicted)
    departures = standardized_departures(predicted, values, variances * found.scale**2)
    far = found.flags == BACKGROUND
    np.testing.assert_allclose(np.abs(departures[far]), threshold)
    assert (found.scale[far] > 1).all()
    assert (found.scale[~far] == 1).all()
    assert found.figures()["obs_inflated"] == far.sum()


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 4.0))
def test_that_outliers_are_those_of_each_kind_in_units_of_the_errors(seed, threshold):
    predicted, values, variances, kinds = problem(seed)
    found = first(Judge(values, variances, kinds, outliers=Check(threshold, "drop")), predicted)
    relative = (values - predicted.mean(axis=0)) / np.sqrt(variances)
    for kind in np.unique(kinds):
        which = kinds == kind
        expected = robust_outliers(relative[which], threshold)
        assert (found.flags[which] == np.where(expected, OUTLIER, USED)).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_that_what_is_missing_is_left_out_and_changes_nothing_for_the_others(seed, n_missing):
    predicted, values, variances, kinds = problem(seed, n_missing)
    checks = Check(1.0, "inflate"), Check(1.5, "drop")
    found = first(Judge(values, variances, kinds, *checks), predicted)
    lost = np.isnan(predicted).any(axis=0)
    assert (found.flags[lost] == MISSING).all()
    assert np.isinf(found.scale[lost]).all()
    rest = Judge(values[~lost], variances[~lost], kinds[~lost], *checks)
    alone = rest.first(lambda a, b: predicted[:, ~lost][:, a:b], N_MEMBERS, range(int((~lost).sum())))
    assert (found.flags[~lost] == alone.flags).all()
    np.testing.assert_array_equal(found.scale[~lost], alone.scale)


def test_that_a_flag_alone_leaves_nothing_out_and_units_do_not_matter():
    predicted, values, variances, kinds = problem(3)
    checks = Check(2.0, "flag"), Check(1.0, "flag")
    found = first(Judge(values, variances, kinds, *checks), predicted)
    assert {USED, BACKGROUND, OUTLIER} == set(found.flags.tolist())
    assert (found.scale == 1).all()
    units = np.exp(np.random.default_rng(1).uniform(-5, 5, N_OBS))
    other = first(Judge(values * units, variances * units**2, kinds, *checks), predicted * units)
    assert (other.flags == found.flags).all()


def test_that_what_is_left_out_stays_out_and_what_is_missing_later_joins_it():
    predicted, values, variances, kinds = problem(4)
    judge = Judge(values, variances, kinds, Check(1.5, "drop"))
    before = first(judge, predicted)
    later = predicted + 100.0
    later[2, before.kept[0]] = np.nan
    after = judge.later(lambda a, b: later[:, a:b], N_MEMBERS, EVERY, before)
    assert after.kept.tolist() == before.kept.tolist()[1:]
    assert after.flags[before.kept[0]] == MISSING
    assert (np.delete(after.flags, before.kept[0]) == np.delete(before.flags, before.kept[0])).all()


def test_that_some_rows_are_judged_as_if_they_were_all():
    predicted, values, variances, kinds = problem(5)
    judge = Judge(values, variances, kinds, Check(1.5, "drop"))
    rows = range(10, 25)
    assert (first(judge, predicted, rows).flags == first(judge, predicted).flags[10:25]).all()
