"""Laws of the twin experiment's observer."""

import math

import numpy as np
import pytest

from daflow.config.observations import ErrorSize, KeepSettings, TwinObservations
from daflow.errors import ConfigError, DataError
from daflow.execution.tasks.twin import TwinObserver
from daflow.inputs.observations import covariance_of

SEED = 4
KINDS = {"WOPR": ErrorSize(absolute=2.0, relative=0.05), "WBHP": ErrorSize(absolute=0.5)}


def observables(n_times=6):
    """Two wells of each kind at each time, time running slowest."""
    rows = [
        (well, kind, 30.0 * (time + 1))
        for time in range(n_times)
        for kind, wells in (("WOPR", ("P1", "P2")), ("WBHP", ("I1", "I2")))
        for well in wells
    ]
    n = len(rows)
    table = {"name": np.array([r[0] for r in rows]), "kind": np.array([r[1] for r in rows])}
    places = {axis: np.full(n, np.nan) for axis in ("x", "y", "z")}
    return table | {"time": np.array([r[2] for r in rows])} | places | {"unit": np.full(n, "m3")}


def observer(error=KINDS, table=None, seed=SEED, **keep):
    settings = TwinObservations(error=error, keep=KeepSettings(**keep))
    return TwinObserver(settings, observables() if table is None else table, seed)


def truth_of(twin):
    return 100.0 + np.arange(len(twin.table()["kind"]), dtype=float)


def rows(table):
    return list(zip(table["name"].tolist(), table["kind"].tolist(), table["time"].tolist(), strict=True))


def test_that_everything_is_observed_unless_told():
    got, expected = observer().table(), observables()
    assert list(got) == list(expected)
    for name, column in expected.items():
        np.testing.assert_array_equal(got[name], column)


def test_that_kept_kinds_are_kept_in_the_models_order():
    assert rows(observer(kinds=("WBHP",)).table()) == [r for r in rows(observables()) if r[1] == "WBHP"]


@pytest.mark.parametrize(
    ("every", "times"), [(1, [30, 60, 90, 120, 150, 180]), (2, [60, 120, 180]), (4, [60, 180]), (9, [180])]
)
def test_that_every_so_many_are_kept_from_the_last_back_by_name_and_kind(every, times):
    table = observer(every=every).table()
    for name, kind in (("P1", "WOPR"), ("P2", "WOPR"), ("I1", "WBHP"), ("I2", "WBHP")):
        chosen = (table["name"] == name) & (table["kind"] == kind)
        assert table["time"][chosen].tolist() == times


def test_that_what_is_kept_does_not_depend_on_the_order_of_the_models_rows():
    shuffle = np.random.default_rng(0).permutation(24)
    mixed = {name: column[shuffle] for name, column in observables().items()}
    assert set(rows(observer(table=mixed, every=2).table())) == set(rows(observer(every=2).table()))


def test_that_rows_stand_for_times_where_there_are_none():
    table = observables() | {"time": np.full(24, np.nan), "row": np.arange(24)}
    assert observer(table=table, every=3).table()["row"].tolist() == [*range(8, 12), *range(20, 24)]


def test_that_the_standard_deviation_is_the_larger_of_absolute_and_relative():
    twin = observer()
    truth = truth_of(twin)
    truth[0] = -10.0
    std = twin.observe(truth).table["error_std"]
    oil = twin.table()["kind"] == "WOPR"
    np.testing.assert_array_equal(std[oil], np.maximum(2.0, 0.05 * np.abs(truth[oil])))
    np.testing.assert_array_equal(std[~oil], 0.5)


def test_that_the_default_speaks_for_the_kinds_not_named():
    twin = observer({"default": ErrorSize(absolute=3.0), "WBHP": ErrorSize(absolute=0.5)})
    std = twin.observe(truth_of(twin)).table["error_std"]
    np.testing.assert_array_equal(std, np.where(twin.table()["kind"] == "WBHP", 0.5, 3.0))


def test_that_values_are_the_truth_plus_normal_errors_of_that_size():
    table = observables(2500)
    twin = observer(table=table)
    truth = np.full(10_000, 60.0)
    observed = twin.observe(truth).table
    z = (observed["value"] - truth) / observed["error_std"]
    assert abs(z.mean()) < 5 / 100
    assert abs(z.std() - 1) < 5 / math.sqrt(2 * 10_000)


def test_that_observing_again_gives_the_same_and_another_seed_another():
    truth = truth_of(observer())
    first, again, other = (observer(seed=s).observe(truth).table["value"] for s in (SEED, SEED, SEED + 1))
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == other)


def test_that_an_error_does_not_depend_on_which_others_are_kept():
    everything, some = observer(), observer(every=2, kinds=("WBHP",))
    truth = np.full(24, 50.0)
    whole = dict(zip(rows(everything.table()), everything.observe(truth).table["value"], strict=True))
    kept = some.observe(truth[: len(some.table()["kind"])]).table
    assert kept["value"].tolist() == [whole[row] for row in rows(kept)]


def test_that_observations_have_the_models_columns_and_a_diagonal_covariance():
    twin = observer()
    observed = twin.observe(truth_of(twin))
    assert list(observed.table) == [*observables(), "value", "error_std"]
    np.testing.assert_allclose(covariance_of(observed).diagonal(), observed.table["error_std"] ** 2)
    assert "value" not in twin.table()


def test_that_an_observation_without_error_is_refused_by_name():
    twin = observer({"default": ErrorSize(relative=0.1)})
    truth = truth_of(twin)
    truth[5] = 0.0
    with pytest.raises(DataError, match=r"observation 5 \(WOPR P2\) would have no error") as caught:
        twin.observe(truth)
    assert "absolute" in str(caught.value)


@pytest.mark.parametrize("truth", [np.ones(3), np.full(24, np.nan)])
def test_that_a_truth_that_cannot_be_observed_is_refused(truth):
    with pytest.raises(DataError, match="cannot be observed"):
        observer().observe(truth)


def test_that_an_entry_for_a_kind_that_the_model_does_not_have_is_refused():
    error = KINDS | {"WOPRR": ErrorSize(absolute=1)}
    with pytest.raises(ConfigError, match=r"observations\.error.*'WOPRR'") as caught:
        observer(error)
    assert "did you mean 'WOPR'?" in str(caught.value)
    with pytest.raises(ConfigError, match=r"observations\.keep\.kinds.*'FOPT'"):
        observer(KINDS | {"default": ErrorSize(absolute=1)}, kinds=("FOPT",))


def test_that_an_entry_for_a_kind_that_is_not_kept_may_stay():
    assert set(observer(kinds=("WOPR",)).table()["kind"].tolist()) == {"WOPR"}


def test_that_a_kind_without_an_error_is_refused():
    with pytest.raises(ConfigError, match="no error is given for WBHP"):
        observer({"WOPR": ErrorSize(absolute=1)})


def test_that_a_model_without_observables_is_refused():
    with pytest.raises(ConfigError, match="nothing that could be observed"):
        observer({"default": ErrorSize(absolute=1)}, observables(0))
