"""The update of a slice against the matrix product that it cannot do without.

`make bench` times them, each beside its limit; in the test run they are carried out once, untimed, so that
they stay runnable.
"""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from daflow.methods import EsMda, Locality
from daflow.numerics.covariance import DiagonalCovariance
from daflow.numerics.localization import DistanceTaper
from daflow.ports import SlicePoints

N_MEMBERS, N_STATE, N_OBS = 100, 100_000, 1_000


@pytest.fixture(autouse=True)
def one_blas_thread():
    with threadpool_limits(1):
        yield


@pytest.fixture
def problem():
    rng = np.random.default_rng(1)
    side = int(np.sqrt(N_STATE))
    y, x = np.divmod(np.arange(side * side), side)
    points = np.stack([x, y, np.full(len(x), np.nan)], axis=1).astype(float)
    obs_points = np.stack([*rng.uniform(0, side, (2, N_OBS)), np.full(N_OBS, np.nan)], axis=1)
    return {
        "prior": rng.standard_normal((N_MEMBERS, side * side)),
        "predicted": rng.standard_normal((N_MEMBERS, N_OBS)),
        "points": SlicePoints(np.zeros(side * side, np.int64), points),
        "locality": Locality(
            tapers="gain",
            obs_points=obs_points,
            kind_codes=np.zeros(N_OBS, np.int64),
            # About 18 observations within two lengths of a point.
            rules={(0, 0): DistanceTaper("gaspari_cohn", (12.0, 12.0, None))},
        ),
    }


def method(locality):
    return EsMda((1.0,), np.zeros(N_OBS), DiagonalCovariance(np.ones(N_OBS)), 1, locality=locality)


@pytest.mark.benchmark(group="global update, 1e5 x 100, 1000 observations")
def test_that_the_limit_is_one_matrix_product(benchmark, problem):
    transform = np.eye(N_MEMBERS) + 0.01
    out = np.empty_like(problem["prior"])
    benchmark(np.matmul, transform, problem["prior"], out=out)


@pytest.mark.benchmark(group="global update, 1e5 x 100, 1000 observations")
def test_that_a_global_update_prepares_and_applies(benchmark, problem):
    es_mda = method(None)
    places = es_mda.localize(lambda: problem["points"])

    def update():
        factors = es_mda.prepare(0, range(N_MEMBERS), lambda a, b: problem["predicted"][:, a:b])
        es_mda.apply(factors, places, problem["prior"])

    benchmark(update)
    assert np.isfinite(problem["prior"]).all()


@pytest.mark.benchmark(group="localized update, 1e5 x 100, 1000 observations, 18 in reach")
def test_that_a_localized_update_prepares_and_applies(benchmark, problem):
    es_mda = method(problem["locality"])
    places = es_mda.localize(lambda: problem["points"])

    def update():
        factors = es_mda.prepare(0, range(N_MEMBERS), lambda a, b: problem["predicted"][:, a:b])
        es_mda.apply(factors, places, problem["prior"])

    benchmark(update)
    assert np.isfinite(problem["prior"]).all()
