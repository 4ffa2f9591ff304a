"""Laws of the prior: what a member is does not depend on who else is drawn, nor when."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.config.observations import ArrayTruth, DrawnTruth
from daflow.config.parameters import LogitTransform, LogTransform, ParameterSettings
from daflow.config.priors import (
    ArrayPrior,
    ClimatologyPrior,
    ConstantPrior,
    DesignPrior,
    GaussianFieldPrior,
    LognormalPrior,
    NormalPrior,
    TriangularPrior,
    TruncatedNormalPrior,
    UniformPrior,
)
from daflow.errors import ConfigError, DataError
from daflow.execution.tasks import climatology
from daflow.execution.tasks import prior as module
from daflow.execution.tasks.prior import ParameterPrior
from daflow.names import TRUTH
from daflow.records import Grid, Layout, Variable

SEED = 20
GRID = Grid(("row", "column"), (6, 8), ("y", "x"), (10.0, 20.0), (5.0, 10.0))
FIELD = GaussianFieldPrior(mean=3.0, std=0.5, lengths={"x": 60.0, "y": 40.0}, angle=30.0)
REALIZATIONS = np.random.default_rng(3).uniform(1, 2, size=(12, 6, 8))
LOG_MEAN = math.exp(1 + 0.5**2 / 2)


def layout_of(parameters, n_members=10):
    variables, start = [], 0
    for name, one in parameters.items():
        shape = GRID.shape if one.grid else tuple(one.shape or ())
        dims = GRID.dims if one.grid else tuple(f"{name}_{i}" for i in range(len(shape)))
        variables.append(Variable(name, dims, shape, start, GRID if one.grid else None))
        start += variables[-1].size
    return Layout(tuple(variables), n_members, 1, 16)


def prior_of(parameters, n_members=10, truth=None, seed=SEED):
    return ParameterPrior(parameters, layout_of(parameters, n_members), seed, truth)


def member_of(prior, member):
    return np.concatenate(list(prior.pieces(member)))


def variable(prior, **more):
    return ParameterSettings(prior=prior, **more)


def saved(folder, values=REALIZATIONS, name="perm.npy"):
    np.save(folder / name, values)
    return folder / name


@pytest.fixture
def parameters(tmp_path):
    """One variable from every kind of prior."""
    return {
        "perm": variable(FIELD, grid="reservoir"),
        "poro": variable(UniformPrior(lower=0.1, upper=0.3), grid="reservoir"),
        "skin": variable(NormalPrior(mean=0, std=2), shape=(5,)),
        "mult": variable(LognormalPrior(mean_log=0, std_log=1)),
        "cut": variable(TruncatedNormalPrior(mean=0, std=1, lower=0.5), shape=(3,)),
        "peak": variable(TriangularPrior(lower=0, mode=1, upper=4), shape=(2, 2)),
        "fixed": variable(ConstantPrior(value=7.5), shape=(4,)),
        "facies": variable(ArrayPrior(file=saved(tmp_path), truth=11), grid="reservoir"),
        "ocean": variable(ClimatologyPrior(file=saved(tmp_path)), grid="reservoir"),
        "ice": variable(ClimatologyPrior(file=saved(tmp_path), draw="snapshots"), grid="reservoir"),
    }


def part(parameters, name, values):
    for one in layout_of(parameters).variables:
        if one.name == name:
            return values[one.start : one.stop]
    raise KeyError(name)


def test_that_the_pieces_joined_are_the_member(parameters):
    prior = prior_of(parameters)
    assert all(piece.dtype == np.float64 and piece.ndim == 1 for piece in prior.pieces(3))
    assert member_of(prior, 3).size == layout_of(parameters).n_state
    assert np.isfinite(member_of(prior, 3)).all()


def test_that_a_member_has_the_same_numbers_in_any_order_and_process(parameters):
    first, again = prior_of(parameters), prior_of(parameters)
    module._spectrum.cache_clear()
    forwards = [member_of(first, member) for member in range(5)]
    backwards = [member_of(again, member) for member in reversed(range(5))][::-1]
    np.testing.assert_array_equal(forwards, backwards)


def test_that_an_enlarged_ensemble_keeps_its_members(parameters):
    small, large = prior_of(parameters, 3), prior_of(parameters, 11)
    for member in (0, 1, 2, TRUTH):
        np.testing.assert_array_equal(member_of(small, member), member_of(large, member))


def test_that_the_size_of_the_pieces_does_not_matter(parameters, monkeypatch):
    expected = member_of(prior_of(parameters), 2)
    monkeypatch.setattr(module, "PIECE_SIZE", 3)
    pieces = list(prior_of(parameters).pieces(2))
    assert len(pieces) > len(parameters)
    np.testing.assert_array_equal(np.concatenate(pieces), expected)


def test_that_independent_numbers_come_in_pieces_that_do_not_grow_with_the_state(monkeypatch):
    monkeypatch.setattr(module, "PIECE_SIZE", 100)
    for kind in (NormalPrior(mean=0, std=1), ConstantPrior(value=1)):
        sizes = [piece.size for piece in prior_of({"a": variable(kind, shape=(1050,))}).pieces(0)]
        assert sizes == [100] * 10 + [50]


def test_that_other_variables_do_not_matter(parameters):
    expected = member_of(prior_of(parameters), 4)
    for name, one in parameters.items():
        alone = {"added": variable(NormalPrior(mean=0, std=1), shape=(3,)), name: one}
        np.testing.assert_array_equal(
            part(alone, name, member_of(prior_of(alone), 4)), part(parameters, name, expected)
        )


def test_that_members_variables_and_the_truth_are_independent():
    twins = {name: variable(NormalPrior(mean=0, std=1), shape=(4000,)) for name in ("a", "b")}
    prior = prior_of(twins)
    drawn = np.concatenate([member_of(prior, m).reshape(2, -1) for m in (TRUTH, 0, 1, 2, 9)])
    correlation = np.corrcoef(drawn) - np.eye(len(drawn))
    assert np.abs(correlation).max() < 5 / math.sqrt(4000)


def test_that_the_truth_is_no_member(parameters):
    prior = prior_of(parameters)
    truth = member_of(prior, TRUTH)
    for member in range(10):
        same = truth == member_of(prior, member)
        assert part(parameters, "fixed", same).all()
        assert not any(part(parameters, name, same).any() for name in parameters if name != "fixed")


def test_that_another_seed_gives_other_numbers():
    one = {"a": variable(NormalPrior(mean=0, std=1), shape=(50,))}
    assert not np.any(member_of(prior_of(one), 0) == member_of(prior_of(one, seed=SEED + 1), 0))


@settings(max_examples=25)
@given(member=st.integers(0, 9), seed=st.integers(0, 2**63 - 1))
def test_that_draws_lie_within_the_bounds_of_the_prior(member, seed):
    kinds = [
        UniformPrior(lower=-3, upper=5),
        TruncatedNormalPrior(mean=0, std=1, lower=2),
        TruncatedNormalPrior(mean=0, std=1, upper=-2),
        TriangularPrior(lower=1, mode=1, upper=2),
        LognormalPrior(mean_log=0, std_log=3),
        ConstantPrior(value=-1),
    ]
    for kind in kinds:
        values = member_of(prior_of({"a": variable(kind, shape=(20,))}, seed=seed), member)
        lower, upper = kind.bounds
        assert values.min() >= lower
        assert values.max() <= upper


@pytest.mark.parametrize(
    ("kind", "mean", "std"),
    [
        (NormalPrior(mean=2, std=3), 2, 3),
        (
            LognormalPrior(mean_log=1, std_log=0.5),
            math.exp(1.125),
            math.exp(1.125) * math.sqrt(math.expm1(0.25)),
        ),
        (UniformPrior(lower=0, upper=6), 3, math.sqrt(3)),
        (TriangularPrior(lower=0, mode=0, upper=3), 1, math.sqrt(0.5)),
        (TruncatedNormalPrior(mean=0, std=1, lower=0), math.sqrt(2 / math.pi), math.sqrt(1 - 2 / math.pi)),
    ],
)
def test_that_draws_have_the_moments_of_the_prior(kind, mean, std):
    values = member_of(prior_of({"a": variable(kind, shape=(40_000,))}), 0)
    assert abs(values.mean() - mean) < 5 * std / 200
    assert abs(values.std() - std) < 0.03 * std


def test_that_a_field_has_its_mean_std_and_a_correlation_that_falls_with_distance():
    one = {"a": variable(FIELD, grid="reservoir")}
    prior = prior_of(one, 2000)
    fields = np.array([member_of(prior, m) for m in range(2000)]).reshape(2000, 6, 8)
    assert np.abs(fields.mean(axis=0) - 3.0).max() < 5 * 0.5 / math.sqrt(2000)
    assert np.abs(fields.std(axis=0) - 0.5).max() < 0.05
    near = np.corrcoef(fields[:, 2, 2], fields[:, 3, 2])[0, 1]
    far = np.corrcoef(fields[:, 0, 0], fields[:, 5, 0])[0, 1]
    assert near > 0.4
    assert abs(far) < 0.2


def test_that_variables_on_one_grid_share_a_spectrum():
    module._spectrum.cache_clear()
    pair = {name: variable(FIELD, grid="reservoir") for name in ("a", "b")}
    prior = prior_of(pair)
    prior.check()
    a, b = np.split(member_of(prior, 0), 2)
    assert module._spectrum.cache_info().misses == 1
    assert not np.any(a == b)


def test_that_a_field_that_fits_on_no_torus_is_found_by_check():
    slanted = FIELD.model_copy(
        update={"variogram": "gaussian", "lengths": {"x": 2e2, "y": 1e5}, "angle": 45.0}
    )
    prior = prior_of({"a": variable(slanted, grid="reservoir")})
    with pytest.raises(DataError, match=r"parameters\.a\.prior"):
        prior.check()


def test_that_a_distribution_beyond_the_range_of_numbers_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"parameters\.wild\.prior"):
        prior_of({"wild": variable(LognormalPrior(mean_log=0, std_log=100))})


@pytest.mark.parametrize("member", [-2, 10])
def test_that_a_member_that_there_is_not_is_refused(parameters, member):
    with pytest.raises(DataError, match="no such member"):
        member_of(prior_of(parameters), member)


def arrays(folder, values=REALIZATIONS, n_members=10, transform=None, **settings):
    more = {} if transform is None else {"transform": transform}
    kind = ArrayPrior(file=saved(folder, values), **settings)
    return prior_of({"perm": variable(kind, grid="reservoir", **more)}, n_members)


@pytest.mark.parametrize(
    ("chosen", "rows"),
    [({}, range(10)), ({"first": 2}, range(2, 12)), ({"members": tuple(range(9, -1, -1))}, range(9, -1, -1))],
)
def test_that_each_member_takes_its_row(tmp_path, chosen, rows):
    prior = arrays(tmp_path, truth=11, **chosen)
    for member, row in enumerate(rows):
        np.testing.assert_array_equal(member_of(prior, member), REALIZATIONS[row].ravel())
    np.testing.assert_array_equal(member_of(prior, TRUTH), REALIZATIONS[11].ravel())


def test_that_rows_in_one_line_and_of_other_types_are_the_same(tmp_path):
    flat = REALIZATIONS.astype(np.float32).reshape(12, -1)
    np.testing.assert_array_equal(member_of(arrays(tmp_path, flat), 3), flat[3].astype(np.float64))


def test_that_a_number_a_member_is_an_array_of_one_axis(tmp_path):
    kind = ArrayPrior(file=saved(tmp_path, np.arange(10)))
    prior = prior_of({"skin": variable(kind)})
    assert [member_of(prior, m).tolist() for m in range(10)] == [[float(m)] for m in range(10)]


def test_that_the_array_has_the_name_of_the_variable_unless_told(tmp_path):
    np.savez(tmp_path / "a.npz", perm=REALIZATIONS, other=2 * REALIZATIONS)
    for array, factor in ((None, 1), ("other", 2)):
        kind = ArrayPrior(file=tmp_path / "a.npz", array=array)
        got = member_of(prior_of({"perm": variable(kind, grid="reservoir")}), 0)
        np.testing.assert_array_equal(got, factor * REALIZATIONS[0].ravel())


def test_that_a_logarithmic_scale_is_the_natural_logarithm(tmp_path):
    got = member_of(arrays(tmp_path, scale="log"), 5)
    np.testing.assert_array_equal(got, np.log(REALIZATIONS[5].ravel()))


@pytest.mark.parametrize("chosen", [{"first": 3}, {"truth": 12}, {"members": (*range(9), 12)}])
def test_that_too_few_rows_are_found_before_anything_is_drawn(tmp_path, chosen):
    with pytest.raises(DataError, match="too few rows") as caught:
        arrays(tmp_path, **chosen)
    assert "parameters.perm.prior" in str(caught.value)
    assert "at least 13" in str(caught.value)


def test_that_fewer_rows_than_members_are_refused(tmp_path):
    with pytest.raises(DataError, match="not one row a member"):
        arrays(tmp_path, members=(1, 2, 3))


@pytest.mark.parametrize("shape", [(12, 8, 6), (12, 6), (48,), ()])
def test_that_a_shape_that_is_not_the_variables_is_refused(tmp_path, shape):
    with pytest.raises(DataError, match="does not have the shape of variable 'perm'") as caught:
        arrays(tmp_path, np.ones(shape))
    assert ("transpose" in str(caught.value)) == (shape == (12, 8, 6))
    assert "row, column" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "more", "allowed"),
    [
        (np.nan, {}, "finite"),
        (np.inf, {}, "finite"),
        (np.nan, {"scale": "log"}, "above 0"),
        (0.0, {"scale": "log"}, "above 0"),
        (np.inf, {"scale": "log"}, "finite"),
        (0.0, {"transform": LogTransform()}, "above 0"),
        (3.0, {"transform": LogitTransform(lower=0, upper=3)}, "between 0 and 3"),
        (0.0, {"transform": LogitTransform(lower=0, upper=3)}, "between 0 and 3"),
    ],
)
def test_that_a_value_that_cannot_be_used_is_named_by_row_member_and_index(tmp_path, value, more, allowed):
    values = REALIZATIONS.copy()
    values[7, 2, 5] = value
    prior = arrays(tmp_path, values, first=1, **more)
    member_of(prior, 5)
    with pytest.raises(DataError) as caught:
        member_of(prior, 6)
    for word in ("perm.npy", "row 7", "member 6", "'perm'", "1 of 48", "[2, 5]", allowed):
        assert word in str(caught.value)


def test_that_a_truth_without_a_row_is_refused(tmp_path):
    with pytest.raises(DataError, match="no row is the truth"):
        member_of(arrays(tmp_path), TRUTH)


def test_that_a_missing_file_is_found_before_anything_is_drawn(tmp_path):
    with pytest.raises(DataError, match=r"parameters\.perm\.prior.*no such file"):
        prior_of({"perm": variable(ArrayPrior(file=tmp_path / "none.npy"), grid="reservoir")})


def test_that_a_true_array_is_the_truth_and_no_members(tmp_path):
    some = {"perm": variable(FIELD, grid="reservoir"), "skin": variable(NormalPrior(mean=0, std=1))}
    np.savez(tmp_path / "truth.npz", perm=REALIZATIONS[0], s=np.float64(4.0))
    truth = ArrayTruth(file=tmp_path / "truth.npz", arrays={"skin": "s"})
    told, drawn = prior_of(some, truth=truth), prior_of(some, truth=DrawnTruth())
    np.testing.assert_array_equal(member_of(told, TRUTH), [*REALIZATIONS[0].ravel(), 4.0])
    np.testing.assert_array_equal(member_of(told, 1), member_of(drawn, 1))


def test_that_a_true_array_is_checked(tmp_path):
    some = {"perm": variable(FIELD, grid="reservoir")}
    truth = ArrayTruth(file=tmp_path / "truth.npz")
    np.savez(truth.file, perm=REALIZATIONS)
    with pytest.raises(DataError, match="does not have the shape"):
        prior_of(some, truth=truth)
    np.savez(truth.file, perm=np.full((6, 8), np.nan))
    with pytest.raises(DataError, match=r"the truth, variable 'perm'"):
        member_of(prior_of(some, truth=truth), TRUTH)
    np.savez(truth.file, other=REALIZATIONS[0], another=REALIZATIONS[0])
    with pytest.raises(DataError, match="no array 'perm'"):
        prior_of(some, truth=truth)


def test_that_snapshots_are_drawn_each_once_and_of_one_moment_in_all_variables(tmp_path):
    prior = ClimatologyPrior(file=saved(tmp_path), draw="snapshots")
    twice = {"a": variable(prior, grid="reservoir"), "b": variable(prior, grid="reservoir")}
    members = [member_of(prior_of(twice, 11), member) for member in (*range(11), TRUTH)]
    rows = []
    for values in members:
        np.testing.assert_array_equal(values[:48], values[48:])
        rows.append(int(np.flatnonzero((REALIZATIONS.reshape(12, -1) == values[:48]).all(axis=1))[0]))
    assert sorted(rows) == list(range(12))
    assert rows != sorted(rows)


def test_that_combinations_have_the_mean_and_the_covariance_of_the_snapshots(tmp_path):
    snapshots = np.random.default_rng(5).standard_normal((30, 3)) @ np.triu(np.ones((3, 3))) + 4.0
    prior = {"a": variable(ClimatologyPrior(file=saved(tmp_path, snapshots), scale=0.5), shape=(3,))}
    n = 20_000
    drawn = prior_of(prior, n)
    members = np.array([member_of(drawn, member) for member in range(n)])
    expected = 0.25 * np.cov(snapshots.T)
    # Five standard deviations of a sample's moments.
    assert np.abs(members.mean(axis=0) - snapshots.mean(axis=0)).max() < 5 * np.sqrt(expected.max() / n)
    assert np.abs(np.cov(members.T) - expected).max() < 5 * expected.max() * np.sqrt(2 / n)


def test_that_snapshots_too_large_to_be_kept_give_the_same_members_row_by_row(tmp_path, monkeypatch):
    prior = prior_of({"a": variable(ClimatologyPrior(file=saved(tmp_path)), grid="reservoir")})
    expected = member_of(prior, 2)
    monkeypatch.setattr(climatology, "KEPT_BYTES", 0)
    np.testing.assert_allclose(member_of(prior, 2), expected, rtol=1e-13)


def test_that_too_few_snapshots_are_refused(tmp_path):
    wanted = {"a": variable(ClimatologyPrior(file=saved(tmp_path), draw="snapshots"), grid="reservoir")}
    with pytest.raises(DataError, match="too few snapshots"):
        prior_of(wanted, 13)
    with pytest.raises(DataError, match="no snapshot is left for the truth"):
        member_of(prior_of(wanted, 12), TRUTH)


def test_that_a_design_gives_each_member_its_row(tmp_path):
    (tmp_path / "design.csv").write_text("ecs,f\n2.5,1\n3.5,2\n4.5,x\n")
    read = lambda **more: DesignPrior(file=tmp_path / "design.csv", **more)  # noqa: E731 - a name for a call
    prior = prior_of({"ecs": variable(read()), "b": variable(read(column="ecs"))}, 3)
    np.testing.assert_array_equal(member_of(prior, 1), [3.5, 3.5])
    with pytest.raises(DataError, match="a design has no truth"):
        member_of(prior, TRUTH)
    for bad, n_members, message in (
        ({"f": variable(read())}, 3, "a cell is no number"),
        ({"g": variable(read())}, 3, "there is no such column"),
        ({"ecs": variable(read())}, 4, "fewer rows than members"),
        ({"ecs": variable(read(), shape=(2,))}, 3, "one number a member"),
    ):
        with pytest.raises(DataError, match=message):
            prior_of(bad, n_members)
