import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.errors import ConfigError
from daflow.numerics.smoothers.schedules import constant_alphas, geometric_alphas, given_alphas

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "alphas_geometric.json").read_text())


@pytest.mark.parametrize("case", GOLDEN)
def test_that_geometric_schedules_match_the_golden_numbers(case):
    n_steps, ratio = (part.split("=")[1] for part in case.split(","))
    np.testing.assert_allclose(geometric_alphas(int(n_steps), float(ratio)), GOLDEN[case], rtol=1e-12)


@given(st.integers(1, 30), st.floats(0.3, 3))
def test_that_the_reciprocals_sum_to_one(n_steps, ratio):
    assert abs((1 / constant_alphas(n_steps)).sum() - 1) < 1e-12
    assert abs((1 / geometric_alphas(n_steps, ratio)).sum() - 1) < 1e-12


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=10))
def test_that_normalising_keeps_the_proportions(alphas):
    normalised = given_alphas(alphas, normalise=True)
    assert abs((1 / normalised).sum() - 1) < 1e-12
    np.testing.assert_allclose(normalised / normalised[0], np.array(alphas) / alphas[0], rtol=1e-12)


def test_that_a_ratio_of_one_is_constant():
    np.testing.assert_array_equal(geometric_alphas(5, 1.0), constant_alphas(5))


def test_that_given_alphas_within_tolerance_are_taken_as_they_are():
    alphas = [2.0, 2.0 + 1e-9]
    assert given_alphas(alphas).tolist() == alphas


def test_that_alphas_that_miss_one_are_refused_with_the_sum_and_the_cure():
    with pytest.raises(ConfigError, match=r"sums to 1\.5") as caught:
        given_alphas([1.0, 2.0])
    assert "[1.5, 3.0]" in str(caught.value)


BAD = {
    "none": lambda: given_alphas([]),
    "negative": lambda: given_alphas([2.0, -2.0]),
    "zero": lambda: given_alphas([0.0], normalise=True),
    "nan": lambda: given_alphas([np.nan]),
    "text": lambda: given_alphas(["four"]),
    "tiny": lambda: given_alphas([1e-320, 1.0], normalise=True),
    "no steps": lambda: constant_alphas(0),
    "half a step": lambda: constant_alphas(1.5),
    "true": lambda: constant_alphas(n_steps=True),
    "ratio zero": lambda: geometric_alphas(3, 0.0),
    "ratio infinite": lambda: geometric_alphas(3, np.inf),
    "ratio text": lambda: geometric_alphas(3, "2"),
    "steep": lambda: geometric_alphas(3000, 3.0),
    "flat": lambda: geometric_alphas(3000, 1 / 3),
}


@pytest.mark.parametrize("case", BAD)
def test_that_what_is_no_schedule_is_refused(case):
    with pytest.raises(ConfigError):
        BAD[case]()
