"""The laws of the flood: what must hold whatever the rock, the wells and the grid."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.config.builtin_models import ReservoirSettings
from daflow.models.reservoir import Reservoir
from daflow.models.reservoir.fluids import Fluids
from daflow.models.reservoir.network import DARCY, equivalent_radius, face_transmissibilities
from daflow.models.reservoir.transport import plan
from daflow.ports import MemberInput

FLUIDS = Fluids(0.5, 2.0, 0.2, 0.2, 0.4, 1.0, 2.0, 2.0)


def injector(row, column, rate=50.0, name="I", **more):
    return {"name": name, "kind": "injector", "row": row, "column": column, "rate": rate, **more}


def producer(row, column, pressure=100.0, name="P", **more):
    return {"name": name, "kind": "producer", "row": row, "column": column, "pressure": pressure, **more}


def flood(shape, wells, times=(200.0,), **more):
    """Return a reservoir whose permeability ``k`` is in mD."""
    plain = {
        "shape": shape,
        "cell_size": (10.0, 10.0, 5.0),
        "permeability": "k",
        "permeability_is": "linear",
        "wells": tuple(wells),
        "report_times": times,
    }
    return Reservoir(ReservoirSettings.model_validate(plain | more))


def member(model, **parameters):
    return MemberInput(0, 0, parameters, model.observables(), 0, Path(), Path())


def rock(shape, seed, spread=1.0):
    return np.exp(5.0 + spread * np.random.default_rng(seed).standard_normal(shape))


def reading(model, predicted, kind, well):
    table = model.observables()
    return predicted[(table["kind"] == kind) & (table["well"] == well)]


def test_that_the_unit_factor_follows_from_the_units():
    assert pytest.approx(0.00852702, rel=1e-6) == DARCY


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    spread=st.floats(0.0, 2.5),
    exponents=st.tuples(st.floats(1.0, 4.0), st.floats(1.0, 4.0)),
    oil_viscosity=st.floats(0.2, 20.0),
    shape=st.sampled_from([(9, 13), (3, 6, 7)]),
)
def test_that_mass_is_kept_and_saturations_stay_in_bounds(seed, spread, exponents, oil_viscosity, shape):
    wells = [injector(1, 1), injector(4, 3, name="J"), producer(5, 6), producer(0, 5, 95.0, name="Q")]
    wells.append({"name": "R", "kind": "producer", "row": 5, "column": 0, "rate": 20.0})
    fluids = {"water_exponent": exponents[0], "oil_exponent": exponents[1], "oil_viscosity": oil_viscosity}
    model = flood(
        shape,
        wells,
        (30.0, 100.0, 400.0),
        fluids=fluids,
        porosity="phi",
        initial_water=0.3,
        pressure_step=0.1,
    )
    porosity = np.random.default_rng(seed).uniform(0.05, 0.35, shape)
    volume = porosity.ravel() * 500.0 * 0.6
    for report in model.simulate(member(model, k=rock(shape, seed, spread), phi=porosity)):
        water = volume @ report.saturation
        before = volume.sum() * (0.3 - 0.2) / 0.6
        assert report.water_injected == pytest.approx(100.0 * report.time, rel=1e-10)
        assert report.water_injected - report.water_produced == pytest.approx(
            water - before, abs=1e-10 * report.water_injected
        )
        assert report.oil_produced == pytest.approx(water - before, abs=1e-10 * report.water_injected)
        # The flow that rounding loses in a solve is all that can push a saturation past its bounds.
        assert report.saturation.min() >= -1e-10
        assert report.saturation.max() <= 1.0 + 1e-10


def test_that_oil_and_water_rates_add_up_to_what_is_injected():
    model = flood((9, 13), [injector(4, 6), producer(0, 0), producer(8, 12, name="Q")], (50.0, 400.0, 900.0))
    predicted = model.forecast(member(model, k=rock((9, 13), 1)))
    rates = sum(reading(model, predicted, kind, well) for kind in ("WOPR", "WWPR") for well in "PQ")
    np.testing.assert_allclose(rates, 50.0, rtol=1e-10)
    assert reading(model, predicted, "WWPR", "P")[-1] > 1.0


def test_that_a_quarter_five_spot_stays_symmetric():
    model = flood((21, 21), [injector(0, 0), producer(20, 20)], (400.0,))
    (report,) = model.simulate(member(model, k=np.full((21, 21), 100.0)))
    field = report.saturation.reshape(21, 21)
    assert 0.3 < field[10, 10] < 1.0
    np.testing.assert_allclose(field, field.T, atol=1e-10)


def buckley_leverett(edges, injected):
    """Return mean normalised saturations between edges (0 to 1); ``injected`` in movable pore volumes."""
    s = np.linspace(0.0, 1.0, 200_001)
    flow = FLUIDS.fractional_flow(s)
    front = 1 + int(np.argmax(flow[1:] / s[1:]))  # the tangent from the initial saturation (Welge 1952)
    reached = injected * np.gradient(flow, s)[front:]
    points = (edges[:-1, None] + np.diff(edges)[:, None] * (np.arange(20) + 0.5) / 20).ravel()
    at = np.interp(points, reached[::-1], s[front:][::-1], right=0.0)
    return at.reshape(-1, 20).mean(axis=1), float(reached[0])


def test_that_it_converges_to_buckley_and_leverett_at_first_order():
    errors = []
    for n in (50, 100, 200, 400):
        size = (1000.0 / n, 10.0, 10.0)
        wells = [injector(0, 0, 10.0), producer(0, n - 1)]
        model = flood((1, n), wells, (600.0,), cell_size=size, pressure_step=1.0)
        (report,) = model.simulate(member(model, k=np.full((1, n), 200.0)))
        exact, front = buckley_leverett(np.linspace(0.0, 1.0, n + 1), 6000.0 / (0.6 * 20_000.0))
        errors.append(np.abs(report.saturation - exact).mean())
        found = np.flatnonzero(report.saturation > 0.5 * exact[exact > 0].min())[-1] + 0.5
        assert found / n == pytest.approx(front, abs=1.5 / n + 0.01)
    # First order upstream weighting leaves h log(1/h) of a front with a rarefaction behind it.
    widths = np.array([1 / 50, 1 / 100, 1 / 200, 1 / 400])
    constants = np.array(errors) / (widths * np.log(1.0 / widths))
    np.testing.assert_allclose(constants, 0.2, rtol=0.06)


def drop(model, predicted, well="I"):
    return reading(model, predicted, "WBHP", well)[-1] - 100.0


def well_drop(rate, permeability, size):
    """Return the drop between a well and its cell, bar, where only water moves (mobility 0.8/cP)."""
    return rate * np.log(equivalent_radius(size) / 0.1) / (DARCY * 2 * np.pi * size[2] * permeability * 0.8)


def test_that_single_phase_pressure_is_linear_and_the_same_either_way():
    size, n, rate = (20.0, 10.0, 5.0), 30, 8.0
    expected = 100.0 + rate / (DARCY * 50.0 / 20.0 * 250.0 * 0.8) * np.arange(n - 1, -1, -1.0)
    expected += well_drop(rate, 250.0, size)
    for first, last, turn in ((0, n - 1, 1), (n - 1, 0, -1)):
        wells = [injector(0, first, rate), producer(0, last)]
        model = flood((1, n), wells, (10.0,), cell_size=size, initial_water=0.8)
        (report,) = model.simulate(member(model, k=np.full((1, n), 250.0)))
        np.testing.assert_allclose(report.pressure[::turn], expected, rtol=1e-11)


def test_that_flow_across_layers_is_exact():
    size, rate = (20.0, 10.0, 5.0), 8.0
    layers = np.repeat([100.0, 5.0, 900.0], [4, 3, 5])
    wells = [injector(0, 0, rate), producer(0, 11)]
    model = flood((1, 12), wells, (10.0,), cell_size=size, initial_water=0.8)
    (report,) = model.simulate(member(model, k=layers[None, :]))
    # Half cells at both ends: pressures are those of cell centres.
    lengths = 20.0 * np.array([0.5, *np.ones(10), 0.5])
    expected = rate / (DARCY * 50.0 * 0.8) * (lengths / layers).sum()
    assert report.pressure[0] - report.pressure[-1] == pytest.approx(expected, rel=1e-11)


def test_that_pressure_around_a_well_falls_as_the_logarithm_of_the_distance():
    wells = [injector(40, 40, 20.0)]
    wells += [producer(r, c, name=f"P{r}{c}") for r in (0, 80) for c in (0, 80)]
    model = flood((81, 81), wells, (1.0,), initial_water=0.8)
    (report,) = model.simulate(member(model, k=np.full((81, 81), 300.0)))
    field = report.pressure.reshape(81, 81)
    away = np.array([4, 6, 10])  # nearer, the grid is felt
    expected = (
        20.0
        / (DARCY * 2 * np.pi * 5.0 * 300.0 * 0.8)
        * np.log(10.0 * away / equivalent_radius((10.0, 10.0, 5.0)))
    )
    np.testing.assert_allclose(field[40, 40] - field[40, 40 + away], expected, rtol=0.005)
    bottom = report.well_pressure[0] - field[40, 40]
    assert bottom == pytest.approx(well_drop(20.0, 300.0, (10.0, 10.0, 5.0)), rel=1e-9)


@settings(max_examples=8)
@given(factor=st.floats(0.01, 100.0))
def test_that_permeability_times_c_divides_the_drop_of_pressure_by_c(factor):
    model = flood((7, 9), [injector(0, 0), producer(6, 8), injector(6, 0, name="J")], (30.0, 100.0))
    k = rock((7, 9), 5)
    one, other = (model.forecast(member(model, k=values)) for values in (k, factor * k))
    for well in "IJ":
        assert drop(model, other, well) == pytest.approx(drop(model, one, well) / factor, rel=1e-8)
    for kind in ("WOPR", "WWPR"):
        same, as_before = (reading(model, which, kind, "P") for which in (other, one))
        np.testing.assert_allclose(same, as_before, rtol=1e-8, atol=1e-8)


def test_that_equal_layers_flow_as_one_thick_layer():
    k = rock((8, 8), 3)
    wells = [injector(0, 0), producer(7, 7)]
    thin = flood((4, 8, 8), wells, (100.0, 300.0))
    thick = flood((8, 8), wells, (100.0, 300.0), cell_size=(10.0, 10.0, 20.0))
    layered = thin.forecast(member(thin, k=np.broadcast_to(k, (4, 8, 8)).copy()))
    np.testing.assert_allclose(layered, thick.forecast(member(thick, k=k)), rtol=1e-8, atol=1e-8)


def test_that_vertical_transmissibility_scales_with_the_ratio():
    size = (10.0, 20.0, 2.0)
    _, _, values = face_transmissibilities(np.full((2, 1, 1), 50.0), size, 0.2)
    np.testing.assert_allclose(values, [DARCY * 0.2 * 50.0 * 200.0 / 2.0])


def test_that_a_finer_pressure_step_changes_little_and_converges():
    wells = [injector(0, 0), producer(14, 14), producer(0, 14, name="Q")]
    ends = []
    for step in (0.08, 0.04, 0.02, 0.0025):
        model = flood((15, 15), wells, (400.0, 800.0), pressure_step=step)
        ends.append(model.forecast(member(model, k=rock((15, 15), 2))))
    errors = [np.abs(end - ends[-1]).max() for end in ends[:-1]]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1.5


@given(
    throughput=st.lists(st.floats(0.0, 1e3), min_size=1, max_size=300).map(np.array),
    days=st.floats(0.01, 100.0),
)
def test_that_no_cell_passes_on_more_than_the_fastest_wave_carries_through_it(throughput, days):
    cut = plan(throughput, days, 2.5)
    calm = np.delete(throughput, cut.busy)
    assert 2.5 * days * throughput.max() <= cut.steps * cut.parts * (1 + 1e-12)
    assert calm.size == 0 or 2.5 * days * calm.max() <= cut.steps * (1 + 1e-12)


def test_that_small_steps_in_few_cells_give_what_small_steps_in_all_give(monkeypatch):
    shape = (31, 31)
    model = flood(shape, [injector(5, 5), producer(25, 25)], (150.0, 700.0))
    k = rock(shape, 4)
    few = [report.saturation for report in model.simulate(member(model, k=k))]
    monkeypatch.setattr("daflow.models.reservoir.transport.OVERHEAD", 10**9)
    every = [report.saturation for report in model.simulate(member(model, k=k))]
    for one, other in zip(few, every, strict=True):
        assert not np.array_equal(one, other)
        # Smaller steps smear a front a little more, and nothing else.
        assert np.abs(one - other).mean() < 0.004


def test_that_fractional_flow_rises_from_0_to_1_and_is_nowhere_steeper_than_said():
    s = np.linspace(0.0, 1.0, 100_001)
    for fluids in (FLUIDS, Fluids(0.3, 30.0, 0.1, 0.3, 0.2, 0.9, 1.0, 4.0)):
        flow = fluids.fractional_flow(s)
        assert flow[0] == 0.0
        assert flow[-1] == 1.0
        slopes = np.diff(flow) / np.diff(s)
        assert slopes.min() >= 0.0
        assert slopes.max() <= fluids.steepest()
