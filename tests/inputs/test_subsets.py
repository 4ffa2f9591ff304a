import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.inputs import covariance_of
from daflow.inputs.subsets import inflated, kept_of
from daflow.ports import Observations

N_OBS, SIZES = 7, (2, 1, 4)
RNG = np.random.default_rng(2)
KEPT = st.sets(st.integers(0, N_OBS - 1), min_size=1).map(sorted)


def matrix(n):
    root = RNG.standard_normal((n, n))
    return root @ root.T + np.eye(n)


BLOCKS = [matrix(n) for n in SIZES]
ERRORS = {
    "diagonal": {},
    "dense": {"matrix": matrix(N_OBS)},
    "block": {"blocks": np.concatenate([b.ravel() for b in BLOCKS]), "block_sizes": np.array(SIZES)},
    "low_rank": {"factor": RNG.standard_normal((N_OBS, 2)), "variances": RNG.uniform(1, 2, N_OBS)},
}


def observed(form):
    table = {"name": np.array([f"o{i}" for i in range(N_OBS)]), "kind": np.full(N_OBS, "k")}
    table |= {"value": np.arange(float(N_OBS)), "error_std": RNG.uniform(1, 2, N_OBS)}
    found = Observations(table, ERRORS[form], notes=("read",))
    return Observations(
        table | {"error_std": np.sqrt(covariance_of(found).diagonal())}, ERRORS[form], notes=("read",)
    )


@given(st.sampled_from(list(ERRORS)), KEPT)
def test_that_those_that_are_kept_have_what_they_had_among_each_other(form, kept):
    whole, rows = observed(form), np.array(kept)
    left = kept_of(whole, rows)
    dense = covariance_of(whole).dense()[np.ix_(rows, rows)]
    np.testing.assert_allclose(covariance_of(left).dense(), dense, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(left.table["error_std"] ** 2, np.diag(dense))
    assert left.table["value"].tolist() == kept
    assert left.notes == ("read",)


@given(KEPT, st.data())
def test_that_a_subset_of_a_subset_remembers_the_numbers_of_the_whole(kept, data):
    again = data.draw(st.sets(st.integers(0, len(kept) - 1), min_size=1).map(sorted))
    left = kept_of(kept_of(observed("diagonal"), np.array(kept)), np.array(again))
    if len(again) < N_OBS:
        assert left.numbers.tolist() == [kept[i] for i in again] == left.table["value"].tolist()


@pytest.mark.parametrize("form", ERRORS)
def test_that_larger_errors_have_the_correlations_that_they_had(form):
    whole, factors = observed(form), RNG.uniform(1, 3, N_OBS)
    found = inflated(whole, factors)
    expected = covariance_of(whole).dense() * np.outer(factors, factors)
    np.testing.assert_allclose(covariance_of(found).dense(), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.table["error_std"] ** 2, np.diag(expected))


@pytest.mark.parametrize("form", ERRORS)
def test_that_keeping_all_and_factors_of_one_return_what_they_got(form):
    whole = observed(form)
    assert kept_of(whole, np.arange(N_OBS)) is whole
    assert inflated(whole, np.ones(N_OBS)) is whole
