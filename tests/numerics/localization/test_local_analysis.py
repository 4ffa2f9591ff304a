"""Laws of the stochastic local analysis, compiled and not."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import CombinationError, DataError
from daflow.numerics.inversion.updates import InversionSettings, perturbed_observation_update
from daflow.numerics.localization import compiled_systems, local_systems, localized_update
from daflow.numerics.localization.cell_planning import plan_localization
from daflow.numerics.localization.distance import DistanceTaper
from daflow.numerics.localization.local_analysis import (
    add_local_analysis,
    fastest_solver,
    local_analysis_factors,
)
from tests.numerics.localization.local_problems import plain_local_analysis
from tests.numerics.localization.tapers_by_hand import (
    close,
    dense_by_kind,
    ensembles,
    mixed_rules,
    options,
    scattered,
    seeds,
    taper_of,
)

SOLVERS = pytest.mark.parametrize("solver", [local_systems, compiled_systems], ids=["numpy", "compiled"])


def updated(plan, slab, anomalies, mismatch, solver=None):
    posterior = slab.copy()
    add_local_analysis(plan, posterior, anomalies, mismatch, solver)
    return posterior


def mixed(seed, n, m):
    rng = np.random.default_rng(seed)
    points, obs_points = scattered(seed, n), scattered(seed + 1, m)
    return points, rng.choice([3, 8], n), obs_points, rng.integers(0, 3, m), mixed_rules()


@SOLVERS
@given(seed=seeds, n_members=st.integers(2, 12))
@settings(max_examples=15)
def test_that_it_equals_the_plain_formula_of_each_point(solver, seed, n_members):
    given_arrays = mixed(seed, 400, 30)
    slab, anomalies, mismatch = ensembles(seed, n_members, 400, 30)
    expected = plain_local_analysis(dense_by_kind(*given_arrays), slab, anomalies, mismatch)
    close(updated(plan_localization(*given_arrays), slab, anomalies, mismatch, solver), expected)


@SOLVERS
@given(seed=seeds, cut=st.integers(0, 400))
@settings(max_examples=10)
def test_that_it_does_not_depend_on_the_split_into_slices(solver, seed, cut):
    points, variables, obs_points, kinds, rules = mixed(seed, 400, 30)
    slab, anomalies, mismatch = ensembles(seed, 6, 400, 30)
    whole = updated(plan_localization(points, variables, obs_points, kinds, rules), slab, anomalies, mismatch)
    for part in (slice(0, cut), slice(cut, 400)):
        plan = plan_localization(points[part], variables[part], obs_points, kinds, rules)
        close(updated(plan, slab[:, part], anomalies, mismatch, solver), whole[:, part])


@SOLVERS
@pytest.mark.parametrize("tapered", [True, False])
def test_that_with_weights_of_one_it_is_the_global_update(solver, tapered):
    rng = np.random.default_rng(4)
    prior, predicted, observed = (rng.standard_normal((9, size)) for size in (120, 14, 14))
    variances = rng.uniform(0.5, 2.0, 14)
    expected = perturbed_observation_update(prior, predicted, observed, variances)
    far = DistanceTaper("step", (1e6, 1e6, 1e6)) if tapered else None
    plan = plan_localization(scattered(1, 120), 0, scattered(2, 14), 0, {(0, 0): far})
    factors = local_analysis_factors(predicted, observed, variances / 3.0, InversionSettings(alpha=3.0))
    close(updated(plan, prior, *(factor.T for factor in factors), solver), expected)


@pytest.mark.parametrize(
    ("error", "options", "words"),
    [
        (np.eye(3), {}, "depend on each other"),
        (np.ones(3), {"inversion": "subspace"}, "inversion of its own"),
        (np.ones(3), {"inversion": "rescaled", "truncation": 0.9}, "inversion of its own"),
        (np.ones(3), {"obs_obs_taper": np.eye(3)}, "no obs-obs taper"),
    ],
)
def test_that_factors_refuse_what_cannot_be_honoured(error, options, words):
    with pytest.raises(CombinationError, match=words):
        local_analysis_factors(np.zeros((4, 3)), np.zeros((4, 3)), error, InversionSettings(**options))


def test_that_factors_refuse_what_is_no_ensemble():
    for predicted, observed, words in (
        (np.zeros((1, 3)), np.zeros((1, 3)), "two members"),
        (np.zeros((4, 3)), np.zeros((4, 2)), "wrong shape"),
        (np.full((4, 3), np.nan), np.zeros((4, 3)), "not finite"),
        (np.full((4, 3), 1e308) * [[1], [-1], [1], [-1]], np.zeros((4, 3)), "overflows"),
    ):
        with pytest.raises(DataError, match=words):
            local_analysis_factors(predicted, observed, np.full(3, 1e-300), InversionSettings())


@SOLVERS
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_that_what_hears_nothing_stays_as_it_is_bit_for_bit(solver, dtype):
    points, obs_points = scattered(3, 500), np.array([[2.0, 2.0, np.nan]])
    slab, anomalies, mismatch = ensembles(1, 5, 500, 1)
    slab = slab.astype(dtype)
    far = np.hypot(*(points[:, :2] - 2.0).T) > 4.0
    slab[:, np.flatnonzero(far)[:3]] = [-0.0, np.nan, np.inf]
    plan = plan_localization(points, 0, obs_points, 0, {(0, 0): taper_of()})
    posterior = updated(plan, slab, anomalies, mismatch, solver)
    assert posterior[:, far].tobytes() == slab[:, far].tobytes()
    assert (posterior != slab)[:, ~far].any(axis=0).mean() > 0.9


@given(option=options, seed=seeds)
@settings(max_examples=10)
def test_that_compiled_or_not_and_whatever_the_buffer_it_is_the_same(option, seed):
    rules = {(0, 0): DistanceTaper("gaspari_cohn", **option)}
    plan = plan_localization(scattered(seed, 700), 0, scattered(seed + 1, 23), 0, rules)
    given_arrays = ensembles(seed, 6, 700, 23)
    expected = updated(plan, *given_arrays, local_systems)
    close(updated(plan, *given_arrays, compiled_systems), expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(localized_update, "BUFFER_BYTES", 1 << 12)
        close(updated(plan, *given_arrays, local_systems), expected)


def test_that_the_fastest_solver_is_the_compiled_one_where_numba_is(monkeypatch):
    assert fastest_solver() is compiled_systems
    for name in ("localization.compiled_systems", "arrays.compiling"):
        monkeypatch.delitem(sys.modules, f"daflow.numerics.{name}")
    monkeypatch.setitem(sys.modules, "numba", None)
    assert fastest_solver.__wrapped__() is local_systems


def test_that_numba_is_not_imported_before_it_is_needed():
    code = "import sys, daflow.numerics.localization.letkf, daflow.methods; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["slab", "anomalies", "mismatch"])
def test_that_what_does_not_fit_or_is_not_finite_is_refused(name):
    plan = plan_localization(scattered(1, 40), 0, scattered(2, 12), 0, {(0, 0): taper_of()})
    arrays = dict(zip(("slab", "anomalies", "mismatch"), ensembles(1, 5, 40, 12), strict=True))
    update = partial(add_local_analysis, plan, solver=local_systems)
    with pytest.raises(DataError, match="fit the localization plan"):
        update(**(arrays | {name: arrays[name][:, :-1]}))
    arrays[name][2, 3] = np.nan
    with pytest.raises(DataError, match="not finite"):
        update(**arrays)
