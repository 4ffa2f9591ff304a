from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import CombinationError, ConfigError, DataError
from daflow.numerics.localization.nice_correction import (
    NiceChoice,
    choose_nice,
    nice_weights,
    survey_norms,
)
from daflow.numerics.localization.sampling_error import (
    CORRELATION_STDS,
    PERFECT,
    asymptotic_std,
    ekp_v2_std,
    fisher_std,
    fisher_weights,
    power_weights,
)

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = ["ekp_p6_d5_J20", "ekp_p4_d9_J5", "ekp_p10_d10_J8", "ekp_p1_d1_J10"]
any_case = pytest.mark.parametrize("case", CASES)
seeds = given(st.integers(0, 2**32 - 1))


def load(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def blocks(golden, matrix):
    p = int(golden["p"])
    return matrix[:p, p:], matrix[p:, p:]


def correlation_of(golden):
    deviations = np.sqrt(np.diag(golden["C"]))
    return golden["C"] / np.outer(deviations, deviations)


ELEMENTWISE = {
    "sec1": lambda r, n: power_weights(r, 1.0),
    "sec10": lambda r, n: power_weights(r, 10.0),
    "sec1_cut01": lambda r, n: power_weights(r, 1.0, 0.1),
    "sec_fisher": fisher_weights,
}


@any_case
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_that_corrected_covariances_meet_the_golden_numbers(case, name):
    golden = load(case)
    whole = np.minimum(correlation_of(golden), 1.0)
    for covariance, correlation, expected in zip(
        blocks(golden, golden["C"]), blocks(golden, whole), blocks(golden, golden[name]), strict=True
    ):
        found = covariance * ELEMENTWISE[name](correlation, int(golden["J"]))
        assert np.abs(found - expected).max() <= 1e-9 * np.abs(golden[name]).max()


@any_case
@pytest.mark.parametrize(("name", "std"), [("v2", "ekp_v2"), ("asym", "asymptotic"), ("fisher", "fisher")])
def test_that_nice_meets_the_golden_numbers_and_choices(case, name, std):
    golden = load(case)
    # There correlations are clipped for good; here a perfect one is kept.
    clipped = np.clip(correlation_of(golden), -PERFECT, PERFECT)
    deviations = np.sqrt(np.diag(golden["C"]))
    correlation = blocks(golden, clipped)
    expected = blocks(golden, golden[f"nice_{name}"])
    for i, covariance in enumerate(blocks(golden, np.outer(deviations, deviations) * clipped)):
        choice = choose_nice(survey_norms(correlation[i], int(golden["J"]), std=std))
        if name != "fisher":
            assert choice.exponent == golden[f"nice_{name}_gamma"][i]
            assert choice.weight == pytest.approx(golden[f"nice_{name}_alpha"][i])
        found = covariance * nice_weights(correlation[i], choice)
        assert np.abs(found - expected[i]).max() <= 1e-9 * np.abs(golden[f"nice_{name}"]).max()


def test_that_standard_deviations_meet_the_golden_numbers():
    golden = load("nice_std")
    for i, n_members in enumerate(golden["J"]):
        row = golden["r"][np.newaxis]
        for key, std in (("v2", ekp_v2_std), ("asym", asymptotic_std), ("fisher", fisher_std)):
            np.testing.assert_allclose(std(row, int(n_members))[0], golden[key][i], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("true", [-0.9, -0.5, 0.0, 0.5, 0.9])
def test_that_the_formulas_but_not_the_one_for_parity_are_near_the_truth(true):
    rng = np.random.default_rng(0)
    first = rng.standard_normal((20_000, 20))
    second = true * first + np.sqrt(1 - true**2) * rng.standard_normal((20_000, 20))
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (first, second))
    sampled = ((a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))).std()
    assert asymptotic_std([[true]], 20)[0, 0] == pytest.approx(sampled, rel=0.15)
    assert fisher_std([[true]], 20)[0, 0] == pytest.approx(sampled, rel=0.08)


def test_that_the_formula_for_parity_is_not_symmetric():
    found = ekp_v2_std([[-0.9, 0.9]], 20)[0]
    assert found[0] > 15 * found[1]


@settings(max_examples=30)
@seeds
def test_that_a_power_of_zero_is_nothing_and_perfect_correlations_stay(seed):
    correlation = np.random.default_rng(seed).uniform(-1, 1, (3, 4))
    np.testing.assert_array_equal(power_weights(correlation, 0.0), np.ones((3, 4)))
    np.testing.assert_array_equal(power_weights(correlation, 2.0, 0.99)[np.abs(correlation) < 0.9], 0)
    perfect = [[1.0, -1.0]]
    for weights in (
        power_weights(perfect, 3.0),
        fisher_weights(perfect, 5),
        nice_weights(perfect, NiceChoice(6, 0.3)),
    ):
        np.testing.assert_array_equal(weights, [[1.0, 1.0]])


@settings(max_examples=30)
@seeds
def test_that_more_members_never_lower_a_weight(seed):
    correlation = np.random.default_rng(seed).uniform(-1, 1, (3, 4))
    assert (fisher_weights(correlation, 30) >= fisher_weights(correlation, 10)).all()


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from(list(CORRELATION_STDS)), st.integers(0, 30))
def test_that_the_survey_of_slices_is_that_of_the_whole(seed, std, cut):
    correlation = np.random.default_rng(seed).uniform(-1, 1, (30, 4))
    whole = survey_norms(correlation, 12, std=std)
    parts = survey_norms(correlation[:cut], 12, std=std) + survey_norms(correlation[cut:], 12, std=std)
    np.testing.assert_allclose(parts.noise, whole.noise, rtol=1e-12)
    np.testing.assert_allclose(parts.products, whole.products, rtol=1e-12, atol=1e-14)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0, 3), st.floats(0, 3))
def test_that_a_smaller_tolerance_never_gives_a_larger_correction_nor_exceeds_the_noise(seed, one, other):
    correlation = np.random.default_rng(seed).uniform(-1, 1, (8, 4))
    survey = survey_norms(correlation, 12)
    small, large = (
        np.linalg.norm((nice_weights(correlation, choose_nice(survey, tolerance)) - 1) * correlation)
        for tolerance in sorted((one, other))
    )
    assert small <= large + 1e-12
    assert large <= max(one, other) * np.linalg.norm(asymptotic_std(correlation, 12)) + 1e-12


def test_that_a_tolerance_of_zero_and_perfect_correlations_give_no_correction():
    correlation = np.random.default_rng(0).uniform(-1, 1, (8, 4))
    for block, tolerance in ((correlation, 0.0), (np.ones((3, 3)), 1.0), (np.zeros((3, 3)), 0.0)):
        choice = choose_nice(survey_norms(block, 12), tolerance)
        np.testing.assert_allclose(nice_weights(block, choice) * block, block, atol=1e-12)


def test_that_even_powers_keep_a_block_positive_semidefinite():
    rng = np.random.default_rng(3)
    correlation = np.corrcoef(rng.standard_normal((6, 5)) @ rng.standard_normal((5, 12)), rowvar=False)
    choice = choose_nice(survey_norms(correlation, 6))
    assert np.linalg.eigvalsh(nice_weights(correlation, choice) * correlation)[0] > -1e-12


def test_that_what_cannot_be_used_is_refused():
    with pytest.raises(CombinationError, match="4 or more"):
        fisher_weights([[0.5]], 3)
    with pytest.raises(ConfigError, match="power"):
        power_weights([[0.5]], -1.0)
    with pytest.raises(ConfigError, match="fisher"):
        survey_norms([[0.5]], 10, std="exact")
    with pytest.raises(ConfigError, match="tolerance"):
        choose_nice(survey_norms([[0.5]], 10), -1.0)
    with pytest.raises(DataError, match="exceeds 1"):
        power_weights([[1.5]], 1.0)
    with pytest.raises(DataError, match="two members"):
        asymptotic_std([[0.5]], 1)
