import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from daflow.config.energy_balance import LEAST, MOST, EnergyBalanceSettings
from daflow.errors import DataError, ModelFailed
from daflow.models.energy_balance import EnergyBalance, Layers, temperatures_of
from daflow.models.integrators import rk4_step
from daflow.ports import MemberInput

PLAIN = {"heat_capacities": (8.0, 100.0), "heat_transfers": (1.2, 0.7), "terms": {"co2": 1.0}}
YEARS = np.arange(1850.0, 1900.0)
CO2 = np.linspace(0.0, 2.0, 50)
SUN = 0.3 * np.sin(YEARS)


@st.composite
def layers(draw, sizes=(2, 3)):
    n = draw(st.sampled_from(sizes))
    capacities = np.array([draw(st.floats(1.0, 200.0)) for _ in range(n)])
    transfers = np.array([draw(st.floats(0.1, 5.0)) for _ in range(n)])
    return Layers(capacities, transfers, draw(st.floats(0.3, 3.0)))


def means_of(of, forcing, years=1.0):
    return temperatures_of(of.propagator(years)[np.newaxis], np.asarray(forcing)[np.newaxis])[0]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("forcing") / "erf.csv"
    rows = [
        f"{year:.0f},{co2!r},{sun!r},x"
        for year, co2, sun in zip(YEARS, CO2.tolist(), SUN.tolist(), strict=True)
    ]
    path.write_text("\n".join(["year,co2,sun,note", *rows]) + "\n")
    return path


def model_of(table, **more):
    return EnergyBalance(EnergyBalanceSettings.model_validate(PLAIN | {"forcing": table} | more))


def forecast(model, **parameters):
    parameters = {name: np.asarray(value) for name, value in parameters.items()}
    return model.forecast(MemberInput(0, 0, parameters, model.observables(), 0, Path(), Path()))


@settings(max_examples=30)
@given(of=layers(), forcing=st.floats(-8.0, 8.0))
def test_that_a_forcing_that_lasts_warms_the_surface_by_itself_over_the_feedback(of, forcing):
    long = means_of(of, np.full(3, forcing), years=1e6)
    np.testing.assert_allclose(long[-1], forcing / of.transfers[0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(of.imbalance(long[-1], np.array(forcing)), 0.0, atol=1e-5)


@settings(max_examples=30)
@given(of=layers(), seed=st.integers(0, 99))
def test_that_the_layers_gain_what_the_imbalance_brings(of, seed):
    forcing = np.random.default_rng(seed).standard_normal(20)
    n, propagator, now, brought = of.capacities.size, of.propagator(1.0), np.zeros(of.capacities.size), 0.0
    for driven in forcing:
        both = propagator @ np.append(now, driven)
        now, mean = both[:n], both[n:]
        brought += of.imbalance(mean, np.array(driven))
    np.testing.assert_allclose(of.capacities @ now, brought, rtol=1e-8, atol=1e-9)


@settings(max_examples=30)
@given(of=layers(), forcing=st.floats(-5.0, 5.0))
def test_that_two_halves_of_a_step_are_the_step(of, forcing):
    n = of.capacities.size
    half, whole = of.propagator(0.5), of.propagator(1.0)
    start = np.append(np.linspace(1.0, 0.2, n), forcing)
    first = half @ start
    second = half @ np.append(first[:n], forcing)
    np.testing.assert_allclose(second[:n], (whole @ start)[:n], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(0.5 * (first[n:] + second[n:]), (whole @ start)[n:], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("n", [2, 3])
def test_that_a_step_is_what_runge_and_kutta_come_to_in_fourth_order(n):
    of = Layers(np.array([5.0, 20.0, 100.0])[:n], np.array([1.2, 2.0, 0.8])[:n], 1.4)
    exact = of.propagator(4.0) @ np.append(np.zeros(n), 3.7)
    source = np.append(3.7 / of.capacities[0], np.zeros(n - 1))
    errors = []
    for n_steps in (8, 16, 32):
        now = np.zeros(n)
        for _ in range(n_steps):
            now = rk4_step(lambda t: of.rates() @ t + source, now, 4.0 / n_steps)
        errors.append(np.abs(now - exact[:n]).max())
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / np.array(errors[1:])), 4.0, atol=0.3)


def test_that_the_budget_closes_for_all_layers_that_are_let_through():
    for c, deep, feedback, exchange, efficacy in itertools.product((LEAST, 1.0, MOST), repeat=5):
        of = Layers(np.array([c, deep]), np.array([feedback, exchange]), efficacy)
        both = of.propagator(1.0) @ [0.0, 0.0, 1.0]
        brought = of.imbalance(both[2:], np.array(1.0))
        # Against the largest of the flows that cancel in the imbalance.
        size = max(1.0, np.abs(of.capacities * both[:2]).max(), np.abs(efficacy * exchange * both[2:]).max())
        assert abs(of.capacities @ both[:2] - brought) <= 1e-8 * size


@settings(max_examples=30)
@given(of=layers(sizes=(2,)))
def test_that_the_rates_of_two_layers_are_those_of_the_paper(of):
    (c, deep), (feedback, exchange), e = of.capacities, of.transfers, of.efficacy
    expected = [
        [-(feedback + e * exchange) / c, e * exchange / c],
        [exchange / deep, -exchange / deep],
    ]
    np.testing.assert_allclose(of.rates(), expected, rtol=1e-13)


@settings(max_examples=30)
@given(of=layers(sizes=(3,)))
def test_that_the_rates_of_three_layers_are_those_of_the_paper(of):
    (c1, c2, c3), (k1, k2, k3), e = of.capacities, of.transfers, of.efficacy
    expected = [
        [-(k1 + k2) / c1, k2 / c1, 0.0],
        [k2 / c2, -(k2 + e * k3) / c2, e * k3 / c2],
        [0.0, k3 / c3, -k3 / c3],
    ]
    np.testing.assert_allclose(of.rates(), expected, rtol=1e-13)


def test_that_forcings_add_up_and_scale(table):
    one, other = forecast(model_of(table)), forecast(model_of(table, terms={"sun": 1.0}))
    both = model_of(table, terms={"co2": 2.0, "sun": "s"})
    np.testing.assert_allclose(forecast(both, s=-0.5), 2.0 * one - 0.5 * other, rtol=1e-11, atol=1e-13)
    assert both.needed == {"s": ()}


def test_that_a_forecast_is_the_means_of_the_layers(table):
    of = Layers(np.array([8.0, 100.0]), np.array([1.2, 0.7]), 1.0)
    means = means_of(of, CO2)
    both = model_of(table, observe=("imbalance", "temperature"))
    seen = forecast(both).reshape(50, 2)
    np.testing.assert_allclose(seen[:, 1], means[:, 0], rtol=1e-12)
    np.testing.assert_allclose(seen[:, 0], of.imbalance(means, CO2), rtol=1e-12)
    asked = both.observables()
    assert asked["kind"][:3].tolist() == ["imbalance", "temperature", "imbalance"]
    np.testing.assert_array_equal(asked["time"], np.repeat(YEARS, 2))


def test_that_the_mean_of_the_reference_period_counts_as_nothing(table):
    whole, anomalies = forecast(model_of(table)), forecast(model_of(table, reference=(1860, 1869)))
    assert abs(anomalies[10:20].mean()) < 1e-15
    np.testing.assert_allclose(anomalies, whole - whole[10:20].mean(), rtol=1e-12, atol=1e-15)


def test_that_numbers_may_be_variables(table):
    own = model_of(table, heat_capacities=("c", 100.0), heat_transfers=("k", "g"), efficacy="e")
    assert set(own.needed) == {"c", "k", "g", "e"}
    np.testing.assert_array_equal(forecast(own, c=8.0, k=1.2, g=[0.7], e=1.0), forecast(model_of(table)))


@pytest.mark.parametrize("wrong", [0.0, -1.0, 1e-300, 1e300, np.nan])
def test_that_a_variable_that_no_layer_can_have_fails_the_member(table, wrong):
    own = model_of(table, heat_capacities=("c", 100.0))
    with pytest.raises(ModelFailed, match="'c' cannot be used"):
        forecast(own, c=wrong)


def test_that_temperatures_beyond_numbers_fail_the_member(table):
    with pytest.raises(ModelFailed, match="not finite"):
        forecast(model_of(table, terms={"co2": "s"}), s=1e308)


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("year,co2\n1,0\n2,1\n4,1\n", {}, "equal steps"),
        ("year,co2\n2,0\n1,1\n", {}, "equal steps"),
        ("year,co2\n1,0\n", {}, "one row"),
        ("year,ch4\n1,0\n2,1\n", {}, "no column 'co2'"),
        ("when,co2\n1,0\n2,1\n", {}, "no column 'year'"),
        ("year,co2\n1,0\n2,much\n", {}, "not of numbers"),
        ("year,co2\n1,0\n2,nan\n", {}, "not finite in row 2"),
        ("year,co2\n1,0\n2,1\n", {"reference": (3.0, 4.0)}, "within 1 to 2"),
    ],
)
def test_that_forcing_tables_that_cannot_be_used_are_refused(tmp_path, text, more, said):
    path = tmp_path / "erf.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        model_of(path, **more)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"heat_transfers": (1.0, 1.0, 1.0)}, "as many as layers"),
        ({"heat_capacities": (1.0,)}, "heat_capacities"),
        ({"heat_capacities": (1.0, 0.0)}, "heat_capacities"),
        ({"observe": ("imbalance", "imbalance")}, "twice"),
        ({"reference": (1900.0, 1850.0)}, "ends before"),
        ({"terms": {}}, "terms"),
    ],
)
def test_that_settings_without_sense_are_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        EnergyBalanceSettings.model_validate(PLAIN | {"forcing": "erf.csv"} | wrong)


@settings(max_examples=15)
@given(group=st.lists(st.integers(0, 4), max_size=8), n=st.sampled_from([2, 3]))
def test_that_members_together_are_members_one_by_one_whatever_the_company(table, group, n):
    names = ("c", 50.0, 100.0)[:n], ("k", 0.7, 0.4)[:n]
    model = model_of(
        table,
        heat_capacities=names[0],
        heat_transfers=names[1],
        efficacy="e",
        terms={"co2": 1.0, "sun": "s"},
        observe=("temperature", "imbalance"),
        reference=(1860, 1869),
        together=25,
    )
    assert model.together == 25
    asked, members = model.observables(), []
    for number in range(5):
        random = np.random.default_rng(number)
        values = {name: np.array(random.uniform(0.5, 9.0)) for name in ("c", "k", "e", "s")}
        members.append(MemberInput(number, 0, values, asked, 0, Path(), Path()))
    members[4].parameters["k"][...] = -1.0
    results = model.forecast_many([members[number] for number in group])
    for number, result in zip(group, results, strict=True):
        if number == 4:
            assert isinstance(result, ModelFailed)
        else:
            assert result.tobytes() == model.forecast(members[number]).tobytes()
