import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import CombinationError, ConfigError, DataError
from daflow.numerics.obs_error.reconditioning import (
    RECONDITIONINGS,
    minimum_fraction,
    minimum_threshold,
    recondition,
    recondition_correlation,
    ridge_fraction,
    ridge_shift,
)

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = json.loads((GOLDEN / "ufo_cases.json").read_text())
WAYS = {"ridge": "ridge", "mineig": "minimum"}
seeds = given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.99))


def covariance(seed, n=5):
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((n, n)))
    return basis * 10.0 ** np.linspace(-3, 1, n) @ basis.T


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["key"])
def test_that_the_golden_covariances_are_met_or_what_cannot_be_is_refused(case):
    with np.load(GOLDEN / "ufo.npz") as arrays:
        matrix, expected = arrays[f"R_{case['matrix']}"], arrays[f"out_{case['key']}"]
    ((option, number),) = case["options"].items()
    way = f"{WAYS[case['method']]}_{option}"
    singular = case["matrix"] in {"zero2", "diag_zero", "neg3"}
    if option == "fraction" and (singular or case["info"]["skipped"]):
        # There the matrix comes back as it was, or as ill-conditioned as before.
        with pytest.raises(CombinationError, match="condition number"):
            recondition(matrix, way, number)
        return
    found = recondition(matrix, way, float(np.float32(number)))
    assert np.abs(found.matrix - expected).max() <= 1e-7 * np.abs(expected).max()
    assert found.condition_after == pytest.approx(case["info"]["cond_after"], rel=1e-6)


@settings(max_examples=30)
@seeds
def test_that_fractions_of_the_condition_number_are_met_and_eigenvectors_stay(seed, fraction):
    matrix = covariance(seed)
    for way in (ridge_fraction, minimum_fraction):
        found = way(matrix, fraction)
        assert found.condition_before == pytest.approx(1e4, rel=1e-6)
        assert np.linalg.cond(found.matrix) == pytest.approx(fraction * 1e4, rel=1e-5)
        assert found.condition_after == pytest.approx(fraction * 1e4, rel=1e-6)
        np.testing.assert_allclose(found.matrix @ matrix, matrix @ found.matrix, atol=1e-10)
        assert (np.diag(found.matrix) >= np.diag(matrix) * (1 - 1e-10)).all()


@pytest.mark.parametrize("way", [ridge_fraction, minimum_fraction])
def test_that_a_fraction_of_one_changes_nothing(way):
    np.testing.assert_allclose(way(covariance(1), 1.0).matrix, covariance(1), atol=1e-13)
    np.testing.assert_allclose(way(np.eye(3), 1.0).matrix, np.eye(3), atol=1e-15)


def test_that_a_threshold_above_all_eigenvalues_gives_a_multiple_of_the_identity():
    np.testing.assert_allclose(minimum_threshold(covariance(2), 20.0).matrix, 20 * np.eye(5), atol=1e-12)


def test_that_negative_and_zero_eigenvalues_end_positive_under_a_shift_or_threshold():
    negative = covariance(3) - 0.5 * np.eye(5)
    for matrix in (negative, np.ones((3, 3)), np.diag([0.0, 1.0])):
        for way in (ridge_shift, minimum_threshold):
            found = way(matrix, 0.1)
            assert np.isinf(found.condition_before)
            assert np.linalg.eigvalsh(found.matrix)[0] >= 0.1 * (1 - 1e-9)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from(list(RECONDITIONINGS)))
def test_that_reconditioned_correlations_do_not_know_units(seed, way):
    matrix, scale = covariance(seed), 10.0 ** np.random.default_rng(seed).uniform(-3, 3, 5)
    plain = recondition_correlation(matrix, way, 0.3)
    scaled = recondition_correlation(matrix * np.outer(scale, scale), way, 0.3)
    np.testing.assert_allclose(scaled.matrix, plain.matrix * np.outer(scale, scale), rtol=1e-6)
    assert scaled.condition_after == pytest.approx(plain.condition_after, rel=1e-6)


def test_that_correlations_and_covariances_give_different_results():
    matrix = covariance(4)
    whole = recondition(matrix, "ridge_fraction", 0.1).matrix
    assert np.abs(recondition_correlation(matrix, "ridge_fraction", 0.1).matrix - whole).max() > 1e-3


def test_that_a_condition_number_of_one_can_be_met_by_a_minimum_only():
    matrix = np.diag([1.0, 2.0])
    np.testing.assert_allclose(minimum_fraction(matrix, 0.5).matrix, 2 * np.eye(2))
    with pytest.raises(CombinationError, match="no ridge"):
        ridge_fraction(matrix, 0.5)


BAD = {
    "name": lambda: recondition(np.eye(2), "ridge", 0.1),
    "fraction": lambda: ridge_fraction(np.eye(2), 1.5),
    "shift": lambda: ridge_shift(np.eye(2), -0.1),
    "threshold": lambda: minimum_threshold(np.eye(2), np.inf),
}


@pytest.mark.parametrize("case", BAD)
def test_that_settings_out_of_range_are_refused(case):
    with pytest.raises(ConfigError):
        BAD[case]()


def test_that_what_is_no_covariance_is_refused():
    with pytest.raises(DataError, match="no positive eigenvalue"):
        ridge_shift(-np.eye(2), 1.0)
    with pytest.raises(DataError, match="variance"):
        recondition_correlation(np.diag([1.0, 0.0]), "ridge_shift", 0.1)
    with pytest.raises(DataError, match="symmetric"):
        ridge_shift([[1.0, 0.5], [0.0, 1.0]], 0.1)
