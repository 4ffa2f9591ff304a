import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.filters.ensemble_transform import (
    EnsembleTransform,
    apply_transform,
    mean_free_basis,
    mean_preserving_rotation,
    rotated,
)
from daflow.numerics.filters.filter_transforms import etkf

sizes = given(st.integers(0, 2**32 - 1), st.integers(2, 9))


def problem(seed, n_members):
    rng = np.random.default_rng(seed)
    prior = 5 + rng.standard_normal((n_members, 7))
    return rng, prior, etkf(prior[:, :3] + prior[:, 3:6], rng.standard_normal(3), rng.uniform(0.5, 2, 3))


@settings(max_examples=30)
@sizes
def test_that_a_rotation_is_orthogonal_and_keeps_the_mean(seed, n_members):
    rotation = mean_preserving_rotation(np.random.default_rng(seed).standard_normal((n_members - 1,) * 2))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(n_members), atol=1e-13)
    np.testing.assert_allclose(rotation.sum(axis=0), 1, atol=1e-13)
    np.testing.assert_allclose(rotation.sum(axis=1), 1, atol=1e-13)


def test_that_rotations_are_uniform_to_second_order():
    rng = np.random.default_rng(0)
    draws = np.array([mean_preserving_rotation(rng.standard_normal((3, 3))) for _ in range(4000)])
    basis = mean_free_basis(4)
    inner = basis.T @ draws @ basis
    np.testing.assert_allclose(inner.mean(axis=0), 0, atol=0.04)
    np.testing.assert_allclose((inner**2).mean(axis=0), 1 / 3, atol=0.03)


@settings(max_examples=30)
@sizes
def test_that_a_rotation_changes_neither_mean_nor_covariance(seed, n_members):
    rng, prior, transform = problem(seed, n_members)
    rotation = mean_preserving_rotation(rng.standard_normal((n_members - 1,) * 2))
    plain, turned = apply_transform(transform, prior), apply_transform(rotated(transform, rotation), prior)
    np.testing.assert_allclose(turned.mean(axis=0), plain.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(np.cov(turned.T), np.cov(plain.T), atol=1e-12)


@settings(max_examples=30)
@sizes
def test_that_slices_and_linear_maps_of_the_state_commute_with_a_transform(seed, n_members):
    rng, prior, transform = problem(seed, n_members)
    whole = apply_transform(transform, prior)
    slices = [apply_transform(transform, prior[:, part]) for part in (slice(3), slice(3, None))]
    np.testing.assert_allclose(np.hstack(slices), whole, rtol=1e-12)
    matrix = rng.standard_normal((7, 4))
    np.testing.assert_allclose(apply_transform(transform, prior @ matrix), whole @ matrix, atol=1e-11)


def test_that_the_identity_returns_the_prior_to_the_bit():
    prior = np.random.default_rng(0).standard_normal((4, 5))
    identity = EnsembleTransform(np.zeros(4), np.eye(4))
    np.testing.assert_array_equal(apply_transform(identity, prior), prior)


def test_that_a_mean_far_from_zero_costs_no_digits():
    _, prior, transform = problem(1, 6)
    np.testing.assert_allclose(
        apply_transform(transform, prior + 2.0**30) - 2.0**30, apply_transform(transform, prior), atol=1e-6
    )


def test_that_arrays_that_do_not_fit_are_refused():
    _, prior, transform = problem(1, 6)
    with pytest.raises(DataError):
        apply_transform(transform, prior[:5])
    with pytest.raises(DataError):
        rotated(transform, np.eye(5))
    with pytest.raises(DataError, match="square"):
        mean_preserving_rotation(np.ones((2, 3)))
