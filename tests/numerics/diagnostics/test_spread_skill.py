import numpy as np
import pytest

from daflow.errors import ConfigError, DataError
from daflow.numerics.diagnostics.spread_skill import SpreadSkill, rms_spread, rmse, spread_skill


def cases(seed, n=40_000, n_members=8):
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.2, 3, n)
    centre = rng.standard_normal(n)
    return centre + size * rng.standard_normal((n_members, n)), centre + size * rng.standard_normal(n)


def test_that_error_is_spread_over_all_and_in_every_bin_of_many_members_drawn_like_the_truth():
    whole = spread_skill(*cases(0), n_bins=1)
    np.testing.assert_allclose(whole.error, whole.spread, rtol=0.02)
    many = spread_skill(*cases(1, n_members=80), n_bins=8)
    np.testing.assert_allclose(many.error, many.spread, rtol=0.08)
    assert many.slope == pytest.approx(1.0, abs=0.05)
    assert spread_skill(*cases(0), n_bins=8).slope < 0.9


def test_that_bins_add_up_to_the_whole():
    members, truth = cases(2, n=1003)
    found = spread_skill(members, truth, n_bins=7)
    assert found.n_cases.sum() == 1003
    assert np.sqrt(np.average(found.error**2, weights=found.n_cases)) == pytest.approx(rmse(members, truth))
    total = np.sqrt(np.average(found.spread**2, weights=found.n_cases))
    assert total == pytest.approx(np.sqrt(9 / 8) * rms_spread(members))
    assert (np.diff(found.spread) >= 0).all()


def test_that_the_slope_of_one_spread_is_none():
    assert np.isnan(SpreadSkill(np.ones(2), np.ones(2), np.array([1, 1])).slope)


def test_that_what_cannot_be_used_is_refused():
    members, truth = cases(3, n=5)
    with pytest.raises(ConfigError, match="bins"):
        spread_skill(members, truth, n_bins=6)
    with pytest.raises(DataError, match="no cases"):
        rmse(members[:, :0], truth[:0])
    with pytest.raises(DataError, match="two members"):
        rms_spread(members[:1])
