import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from daflow.names import Purpose
from daflow.numerics.arrays.random import standard_normals
from daflow.numerics.obs_error.covariance import (
    BlockDiagonalCovariance,
    DenseCovariance,
    DiagonalCovariance,
    LowRankPlusDiagonalCovariance,
)
from daflow.numerics.observations.perturbations import Perturbations

SEED, STEP, MEMBERS, N_OBS = 3, 2, (0, 4, 7), 9
RNG = np.random.default_rng(1)
VALUES = RNG.standard_normal(N_OBS)
VARIANCES = RNG.uniform(0.5, 2.0, N_OBS)
FACTOR = RNG.standard_normal((N_OBS, 2))
KEPT = st.sets(st.integers(0, N_OBS - 1), min_size=1).map(sorted)


def drawn(source, size):
    perturb = source.begin(STEP, MEMBERS, 4.0)
    return np.concatenate([perturb(*part) for part in source.obs_error.parts(size)], axis=1)


@given(KEPT, st.integers(1, N_OBS))
def test_that_those_that_stay_draw_the_same_whichever_are_left_out_and_whatever_the_parts(kept, size):
    rows = np.array(kept)
    whole = drawn(Perturbations(VALUES, DiagonalCovariance(VARIANCES), SEED), N_OBS)
    left = Perturbations(VALUES[rows], DiagonalCovariance(VARIANCES[rows]), SEED, rows)
    assert drawn(left, size).tobytes() == whole[:, rows].tobytes()


@given(KEPT)
def test_that_errors_with_common_causes_draw_the_same_too(kept):
    rows = np.array(kept)
    whole = drawn(Perturbations(VALUES, LowRankPlusDiagonalCovariance(FACTOR, VARIANCES), SEED), N_OBS)
    error = LowRankPlusDiagonalCovariance(FACTOR[rows], VARIANCES[rows])
    left = drawn(Perturbations(VALUES[rows], error, SEED, rows), N_OBS)
    np.testing.assert_allclose(left, whole[:, rows], rtol=1e-13)


def test_that_correlated_errors_colour_the_normals_of_those_that_stay():
    rows, matrix = np.array([0, 3, 8]), np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.3], [0.1, 0.3, 1.5]])
    normals = np.stack(
        [standard_normals(SEED, Purpose.OBSERVATION_PERTURBATION, (STEP, m), 0, N_OBS)[rows] for m in MEMBERS]
    )
    expected = VALUES[rows] + 2.0 * normals @ np.linalg.cholesky(matrix).T
    for error in (DenseCovariance(matrix), BlockDiagonalCovariance([matrix])):
        found = drawn(Perturbations(VALUES[rows], error, SEED, rows), 1)
        np.testing.assert_allclose(found, expected, rtol=1e-13)
