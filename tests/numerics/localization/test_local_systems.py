"""Laws of local systems: numpy's and the compiled solver against the plain formula and each other."""

import importlib.util
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.numerics.localization import compiled_systems, local_systems
from tests.numerics.localization.local_problems import plain_gains, plain_root_gains, random_system

SOLVERS = pytest.mark.parametrize("solver", [local_systems, compiled_systems], ids=["numpy", "compiled"])
shapes = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 110)), max_size=4)


def copied(systems):
    return [system._replace(heard=system.heard.copy()) for system in systems]


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * np.abs(expected).max(initial=1e-3))


@SOLVERS
@settings(max_examples=30)
@given(shapes=shapes, n_members=st.integers(2, 20), seed=st.integers(0, 2**32 - 1))
def test_that_each_point_has_the_gains_of_the_plain_formula(solver, shapes, n_members, seed):
    rng = np.random.default_rng(seed)
    systems = [random_system(rng, q, n_members, p) for q, p in shapes]
    solved, rooted = copied(systems), copied(systems)
    solver.gains(solved)
    of_mean = solver.root_gains(rooted)
    for given_system, one, two, mean in zip(systems, solved, rooted, of_mean, strict=True):
        z, w, departures = given_system.anomalies, given_system.weights, given_system.departures
        expected = plain_gains(z, w, departures)
        close(one.heard, expected)
        close(mean, expected)
        close(two.heard, plain_root_gains(z, w, departures))


@settings(max_examples=20)
@given(
    shapes=shapes, n_members=st.integers(2, 20), seed=st.integers(0, 2**32 - 1), power=st.floats(-3.0, 3.0)
)
def test_that_both_solvers_agree(shapes, n_members, seed, power):
    rng = np.random.default_rng(seed)
    systems = [random_system(rng, q, n_members, p, 10.0**power) for q, p in shapes]
    results = []
    for solver in (local_systems, compiled_systems):
        solved, rooted = copied(systems), copied(systems)
        solver.gains(solved)
        of_mean = solver.root_gains(rooted)
        results.append([system.heard for system in solved] + [system.heard for system in rooted] + of_mean)
    condition = max(1.0, local_systems.largest_eigenvalue(systems))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-14 * condition * np.abs(one).max(initial=1e-3))


@SOLVERS
def test_that_a_point_that_hears_nothing_has_no_gains(solver):
    system = random_system(np.random.default_rng(1), 7, 5, 60)
    system.weights[:, 50:] = 0.0
    rooted = copied([system])
    solver.gains([system])
    (of_mean,) = solver.root_gains(rooted)
    for gains in (system.heard, rooted[0].heard, of_mean):
        assert (gains[:, 50:] == 0.0).all()
        assert (gains[:, 0] != 0.0).all()


@SOLVERS
def test_that_weights_need_not_be_writeable_nor_neighbours(solver):
    system = random_system(np.random.default_rng(1), 7, 5, 60)
    fixed = np.asfortranarray(system.weights)
    fixed.flags.writeable = False
    other = system._replace(weights=fixed, heard=system.heard.copy())
    solver.gains([system])
    solver.gains([other])
    np.testing.assert_array_equal(other.heard, system.heard)


def test_that_chunks_of_points_do_not_count(monkeypatch):
    systems = [random_system(np.random.default_rng(1), 30, 9, 60) for _ in range(3)]
    whole, cut = copied(systems), copied(systems)
    local_systems.gains(whole)
    monkeypatch.setattr(local_systems, "CHUNK_BYTES", 1)
    local_systems.gains(cut)
    for one, other in zip(whole, cut, strict=True):
        close(one.heard, other.heard)


@pytest.fixture
def uncompiled(monkeypatch):
    """The compiled solver as Python runs it, with few lanes."""
    monkeypatch.setattr(numba, "njit", lambda **options: lambda function: function)
    path = Path(compiled_systems.__file__)
    spec = importlib.util.spec_from_file_location("uncompiled_systems", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "uncompiled_systems", module)
    spec.loader.exec_module(module)
    module.LANES = 3
    return module


@pytest.mark.parametrize(("q", "n_members"), [(4, 6), (6, 3)])
def test_that_what_is_compiled_is_what_stands_there(uncompiled, q, n_members):
    system = random_system(np.random.default_rng(2), q, n_members, 5)
    results = []
    for solver in (uncompiled, compiled_systems):
        one, two = copied([system, system])
        solver.gains([one])
        results.append((one.heard, two.heard, *solver.root_gains([two])))
    for one, other in zip(*results, strict=True):
        close(one, other)


def test_that_where_nothing_can_be_kept_it_is_compiled_all_the_same(monkeypatch):
    def refusing(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: (function, options)

    monkeypatch.setattr(numba, "njit", refusing)
    function, options = compiled_systems.compiled(len)
    assert function is len
    assert options["nogil"]


def test_that_no_systems_are_no_special_case():
    for solver in (local_systems, compiled_systems):
        solver.gains([])
        assert solver.root_gains([]) == []
    assert local_systems.largest_eigenvalue([]) == 0.0
