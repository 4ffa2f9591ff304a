"""The climate workflow's preparation and summary, piece by piece."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.config.priors import LognormalPrior, NormalPrior, TruncatedNormalPrior, UniformPrior
from daflow.errors import DataError
from daflow.models.energy_balance import Layers
from daflow.numerics.obs_error.covariance import DenseCovariance
from tests.workflows.climate_scripts import DATA, REAL, WORKFLOW, YEARS, exact, prepare, summarise


@settings(max_examples=20)
@given(feedback=st.floats(0.3, 3.0), capacity=st.floats(2.0, 20.0), noise=st.floats(0.1, 2.0))
def test_that_a_surface_that_passes_nothing_on_varies_as_an_autoregressive_process(feedback, capacity, noise):
    alone = Layers(np.array([capacity, 10.0, 100.0]), np.array([feedback, 1e-9, 1e-9]), 1.0)
    covariance = prepare.internal_variability(prepare.Stirred(alone, 2.0, 0.0, noise), 5)
    at_lag = noise**2 / (2 * capacity * feedback) * np.exp(-feedback / capacity * np.arange(5))
    np.testing.assert_allclose(covariance[0], at_lag, rtol=1e-6)


def test_that_internal_variability_is_stationary_and_as_large_as_that_of_climate_models():
    covariance = prepare.internal_variability(prepare.CMIP6, 40)
    for lag in range(40):
        assert np.ptp(np.diagonal(covariance, lag)) == 0.0
    np.linalg.cholesky(covariance)
    assert np.sqrt(covariance[0, 0]) == pytest.approx(0.12, abs=0.005)
    assert covariance[0, 1] / covariance[0, 0] == pytest.approx(0.58, abs=0.005)


def test_that_the_mean_that_is_subtracted_has_no_variance_left_and_a_constant_does_not_matter():
    within = np.array([False, True, True, True, False, False])
    factor = np.random.default_rng(0).standard_normal((6, 6))
    covariance = factor @ factor.T
    relative = prepare.relative_to_mean(covariance, within)
    weights = within / within.sum()
    np.testing.assert_allclose(relative @ weights, 0.0, atol=1e-13)
    np.testing.assert_allclose(prepare.relative_to_mean(covariance + 7.0, within), relative, atol=1e-12)


def test_that_measurement_error_is_that_of_the_realizations_plus_that_of_coverage():
    realizations = np.random.default_rng(1).standard_normal((9, 4))
    found = prepare.measurement_error(realizations, np.array([0.0, 1.0, 2.0, 3.0]))
    anomalies = realizations - realizations.mean(axis=0)
    wanted = anomalies.T @ anomalies / 8 + np.diag([0.0, 1.0, 4.0, 9.0])
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_that_a_condition_number_is_brought_down_only_where_it_is_too_large():
    covariance = np.diag([1.0, 10.0, 1000.0])
    lower = prepare.brought_down(covariance, 500.0)
    assert (lower.condition_before, lower.condition_after) == pytest.approx((1000.0, 500.0))
    np.testing.assert_allclose(lower.matrix, np.diag([2.0, 10.0, 1000.0]), rtol=1e-12)
    np.testing.assert_allclose(prepare.brought_down(covariance, 2000.0).matrix, covariance, rtol=1e-12)


def test_that_the_percentiles_of_a_factor_give_its_standard_deviation():
    best = pd.DataFrame({"warm": [1.0, 2.0, 3.0], "cold": [-1.0, -0.5, -2.0], "total": [0.0, 1.5, 1.0]})
    spread = pd.Series({"warm": 0.1, "cold": 0.4, "total": 0.0})
    low, high = best - 1.6449 * best.abs() * spread, best + 1.6449 * best.abs() * spread
    assert prepare.scaling_stds(best, low, high) == pytest.approx({"warm": 0.1, "cold": 0.4})


def test_that_data_that_are_not_there_are_missed_in_plain_words(tmp_path, monkeypatch, capsys):
    with pytest.raises(DataError, match="DAFLOW_DATA is not set"):
        prepare.data_folder({})
    (tmp_path / "climate").mkdir()
    (tmp_path / "climate" / prepare.SERIES).touch()
    monkeypatch.setenv("DAFLOW_DATA", str(tmp_path))
    assert prepare.main() == 2
    said = capsys.readouterr().err
    assert "climate data are missing" in said
    assert prepare.ENSEMBLE in said.splitlines()[1]
    assert prepare.SERIES not in said.splitlines()[1]


def test_that_the_layers_that_noise_stirs_are_those_in_the_middle_of_the_prior():
    centre = [
        np.exp(WORKFLOW["parameters"][name]["prior"]["mean_log"])
        for name in (*WORKFLOW["model"]["heat_capacities"], "transfer_middle", "transfer_deep", "efficacy")
    ]
    layers = prepare.CMIP6.layers
    np.testing.assert_allclose(
        centre, [*layers.capacities, *layers.transfers[1:], layers.efficacy], rtol=5e-3
    )


def test_that_sensitivities_are_those_of_a_climate_that_can_be_solved_by_hand():
    # One that stores next to nothing follows its forcing: the mean over the years around doubling.
    prompt = Layers(np.array([1e-3, 1e-3, 1e-3]), np.array([1.31, 1.0, 1.0]), 1.0)
    slow = Layers(np.array([8.0, 1e4, 1e4]), np.array([1.31, 1.0, 1.0]), 1.0)
    members = summarise.Members((prompt, slow), np.array([1.0, 0.5]), np.zeros((2, 3)))
    found = members.sensitivities()
    np.testing.assert_allclose(found["ECS"], [3.0, 1.5], rtol=1e-12)
    assert found["TCR"][0] == pytest.approx(3.0, rel=1e-2)
    assert found["TCR"][1] == pytest.approx(0.5 * 3.93 / (1.31 + 1.0), rel=0.06)


def test_that_a_fit_is_one_where_the_error_is_right_and_many_where_it_is_too_small():
    rng = np.random.default_rng(2)
    factor = np.linalg.cholesky(prepare.internal_variability(prepare.CMIP6, YEARS.size))
    values = factor @ rng.standard_normal(YEARS.size)
    right = summarise.Observed(YEARS, values, DenseCovariance(factor @ factor.T))
    small = summarise.Observed(YEARS, values, DenseCovariance(factor @ factor.T / 9.0))
    predicted = np.zeros((4, YEARS.size))
    found = summarise.fit(right, predicted, predicted)
    assert found.expected[0] < found.chi_square < found.expected[1]
    assert abs(found.autocorrelation) < 0.2
    assert found.freedom == YEARS.size
    assert summarise.fit(small, predicted, predicted).chi_square == pytest.approx(9 * found.chi_square)
    np.testing.assert_allclose(right.chi_square(predicted), found.chi_square * YEARS.size)


def test_that_warming_is_the_late_years_less_the_early_ones():
    series = np.where(YEARS >= 2015, 1.2, np.where(YEARS <= 1900, -0.3, 50.0))
    observed = summarise.Observed(YEARS, series, DenseCovariance(0.04 * np.eye(YEARS.size)))
    assert observed.warming(series) == pytest.approx(1.5)
    assert observed.warming_std() == pytest.approx(0.2 * np.sqrt(1 / 10 + 1 / 51))


def test_that_percentiles_of_equal_weights_are_plain_ones_and_no_weight_is_no_entry():
    sample = np.random.default_rng(3).standard_normal(2000)
    found = exact.weighted_percentiles(sample, np.full(2000, 1 / 2000))
    np.testing.assert_allclose(found, np.percentile(sample, summarise.LEVELS), atol=0.02)
    np.testing.assert_array_equal(exact.weighted_percentiles(sample, sample == sample[7]), sample[7])


def test_that_draws_have_the_moments_of_their_priors():
    rng = np.random.default_rng(4)
    for prior, mean, std in (
        (NormalPrior(mean=1.0, std=0.3), 1.0, 0.3),
        (UniformPrior(lower=0.3, upper=4.0), 2.15, 3.7 / np.sqrt(12)),
        (TruncatedNormalPrior(mean=0.0, std=1.0, lower=0.0), np.sqrt(2 / np.pi), np.sqrt(1 - 2 / np.pi)),
    ):
        drawn = exact.DRAW[prior.kind](prior, rng, 20_000)
        assert (drawn.mean(), drawn.std()) == pytest.approx((mean, std), rel=0.02)
    drawn = exact.DRAW["lognormal"](LognormalPrior(mean_log=0.5, std_log=0.2), rng, 20_000)
    assert (np.log(drawn).mean(), np.log(drawn).std()) == pytest.approx((0.5, 0.2), rel=0.02)


def test_that_nothing_prepared_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(exact, "HERE", tmp_path)
    with pytest.raises(DataError, match="nothing is prepared"):
        exact.weighted(None, 10, np.random.default_rng(0))


@REAL
def test_that_the_priors_of_the_factors_are_those_of_the_data():
    tables = [
        pd.read_csv(DATA / name, index_col="year") for name in (prepare.BEST, prepare.LOW, prepare.HIGH)
    ]
    stds = prepare.scaling_stds(*(each.loc[YEARS[0] :] for each in tables))
    assert list(stds) == list(WORKFLOW["model"]["terms"])
    for agent, factor in WORKFLOW["model"]["terms"].items():
        assert WORKFLOW["parameters"][factor]["prior"]["std"] == pytest.approx(stds[agent], abs=5.1e-4)
