"""The filter with a shrunk covariance, fitted to its snapshots and observations."""

from __future__ import annotations

import numpy as np
import pytest

from daflow.assemble.sections.build import model_of
from daflow.assemble.sections.keys import stage_keys
from daflow.assemble.sections.methods import KINDS, check_method, surveys
from daflow.assemble.sections.shrinkage import OBSERVING
from daflow.config.load import workflow_from
from daflow.errors import CombinationError, ConfigError
from daflow.methods.filters_local import LocalTransformFilter
from daflow.methods.filters_shrinkage import LaplaceDraws, LocalShrinkageFilter
from daflow.methods.shrinkage_choices import GivenGamma, dynamic, ledoit_wolf, low_rank, rao_blackwell
from daflow.ports import MemberInput, Observations, SlicePoints
from tests.methods.in_slices import InSlices

N = 8
TIMES = np.repeat([0.05, 0.1], 3)


@pytest.fixture
def base(tmp_path):
    np.save(tmp_path / "long.npy", np.random.default_rng(1).standard_normal((20, N)))
    return {
        "ensemble": {"size": 6},
        "parameters": {"x": {"shape": [N], "prior": {"kind": "normal", "mean": 0, "std": 1}}},
        "model": {"kind": "lorenz96", "n": N, "every_steps": 1, "n_times": 2},
        "observations": {"kind": "twin", "error": {"default": {"absolute": 1}}},
        "cycling": {},
        "method": {"kind": "shrinkage_etkf", "target": {"file": str(tmp_path / "long.npy")}},
    }


def observations(component=(1, 4, 6, 1, 4, 6), times=TIMES):
    n_obs = len(times)
    names = {"name": np.array([f"x{i}" for i in component]), "kind": np.array(["x"] * n_obs)}
    places = {axis: np.full(n_obs, np.nan) for axis in "xyz"}
    values = {"value": np.linspace(-1, 1, n_obs), "error_std": np.ones(n_obs)}
    component = np.asarray(component)
    return Observations(names | places | values | {"time": times, "component": component}, {})


def made(values, given=None):
    flow = workflow_from(values)
    return KINDS["shrinkage_etkf"].make(flow, observations() if given is None else given)


def test_that_it_observes_states_as_the_model_does_at_the_end_of_a_cycle(base, tmp_path):
    method = made(base)
    assert method.n_steps == 2
    states = np.random.default_rng(2).standard_normal((3, N))
    np.testing.assert_array_equal(method.observe(1, states), states[:, [1, 4, 6]])
    model = model_of(workflow_from(base))
    table = {name: column[:3] for name, column in observations().table.items()}
    given = MemberInput(0, 0, {"x": states[0]}, table, 0, tmp_path, tmp_path)
    end = model.advance(given, 0.0, 0.05)
    np.testing.assert_array_equal(method.observe(0, end.state["x"][np.newaxis])[0], end.predicted)


def test_that_settings_reach_the_filter(base):
    assert (made(base).gamma, made(base).n_synthetic) == (rao_blackwell, 100)
    base["method"] |= {"gamma": 0.25, "synthetic": 7, "draws": "laplace"}
    method = made(base | {"seed": 4})
    assert (method.gamma, method.n_synthetic, method.draw) == (GivenGamma(0.25), 7, LaplaceDraws(4))
    assert surveys(workflow_from(base))


@pytest.mark.parametrize(
    ("word", "root"), [("symmetric", None), ("low_rank", low_rank), ("dynamic", dynamic)]
)
def test_that_each_root_and_weight_has_its_word_and_the_first_no_key(base, word, root):
    plain = stage_keys(workflow_from(base), 1)
    base["method"] |= {"root": word, "gamma": "ledoit_wolf"}
    method = made(base)
    assert (method.root, method.gamma) == (root, ledoit_wolf)
    base["method"]["gamma"] = "rblw"
    assert (stage_keys(workflow_from(base), 1) == plain) == (root is None)


def test_that_every_model_that_can_carry_a_state_can_be_observed(base):
    assert set(OBSERVING) == {
        "lorenz63", "lorenz96", "lorenz96_two_scale", "kuramoto_sivashinsky", "quasigeostrophic"
    }  # fmt: skip
    base["parameters"]["forcing"] = {"prior": {"kind": "normal", "mean": 8, "std": 1}}
    base["model"] |= {"forcing": "forcing"}
    with pytest.raises(CombinationError, match=r"parameters: x, forcing(.|\n)*parameters: x, without"):
        check_method(workflow_from(base))


def test_that_what_it_cannot_do_is_refused(base):
    with pytest.raises(CombinationError, match="no section cycling"):
        check_method(workflow_from({key: value for key, value in base.items() if key != "cycling"}))
    prior = {"kind": "lognormal", "mean_log": 1.0, "std_log": 0.2}
    logged = {"x": {"shape": [N], "prior": prior, "transform": {"kind": "log"}}}
    with pytest.raises(CombinationError, match="with a transform: x"):
        check_method(workflow_from(base | {"parameters": logged}))
    with pytest.raises(CombinationError, match="cycle 0 has 3 observations before its end"):
        made(base | {"cycling": {"window": 0.1}})
    with pytest.raises(CombinationError, match="cannot be localized"):
        check_method(workflow_from(base | {"localization": {"kind": "sampling_error", "family": "fisher"}}))
    for gamma in (1.5, "stoica"):
        with pytest.raises(ConfigError):
            workflow_from(base | {"method": base["method"] | {"gamma": gamma}})


DISTANCE = {"kind": "distance", "lengths": {"x": 1.5}, "tapers": "observation_error"}


def on_a_line(base, method=None, **sections):
    """A workflow whose state lies along a line, and what is observed there: elsewhere in the second cycle."""
    prior = {"kind": "normal", "mean": 0, "std": 1}
    line = {
        "grids": {"line": {"shape": [N], "axes": ["x"], "origin": [0], "spacing": [1]}},
        "parameters": {"level": {"grid": "line", "prior": prior}},
        "model": base["model"] | {"variable": "level"},
    }
    component = (1, 4, 6, 0, 3, 7)
    given = observations(component)
    given.table["x"][:] = component
    flow = workflow_from(base | line | {"method": method or base["method"]} | sections)
    check_method(flow)
    return KINDS[flow.method.kind].make(flow, given)


def posterior(method, prior, cuts=(), step=1):
    coordinates = np.column_stack([np.arange(float(N)), np.full((N, 2), np.nan)])
    places = SlicePoints(np.zeros(N, np.int64), coordinates)
    seen = prior[:, [1, 4, 6] if step == 0 else [0, 3, 7]]
    return InSlices(method, places, cuts).step(step, prior, seen)[0]


def test_that_with_a_localization_each_number_hears_what_is_in_its_reach(base):
    prior = 2 + np.random.default_rng(3).standard_normal((6, N))
    method = on_a_line(base, localization=DISTANCE)
    assert isinstance(method, LocalShrinkageFilter)
    assert method.networks.of_step == (0, 1)
    found = posterior(method, prior)
    np.testing.assert_allclose(posterior(method, prior, [2, 5]), found, rtol=0, atol=1e-12)
    short = on_a_line(base, localization=DISTANCE | {"family": "step", "lengths": {"x": 0.5}})
    for step, heard in ((0, [1, 4, 6]), (1, [0, 3, 7])):
        assert np.flatnonzero((posterior(short, prior, step=step) != prior).any(axis=0)).tolist() == heard
    everywhere = DISTANCE | {"family": "step", "lengths": {"x": 100}}
    wide = posterior(on_a_line(base, localization=everywhere), prior, [3])
    np.testing.assert_allclose(wide, posterior(on_a_line(base), prior), rtol=0, atol=1e-10)
    letkf = on_a_line(base, {"kind": "letkf"}, localization=DISTANCE)
    assert isinstance(letkf, LocalTransformFilter)
    zero = on_a_line(base, base["method"] | {"gamma": 0.0}, localization=DISTANCE)
    np.testing.assert_allclose(posterior(zero, prior), posterior(letkf, prior), rtol=0, atol=1e-10)
    assert np.abs(found - wide).max() > 0.01


def test_that_another_root_is_refused_where_each_number_has_its_own_analysis(base):
    with pytest.raises(CombinationError, match="symmetric root"):
        on_a_line(base, base["method"] | {"root": "low_rank"}, localization=DISTANCE)


def test_that_a_localization_that_it_does_not_take_is_refused(base, tmp_path):
    for tapers in ("gain", "cross_covariance"):
        with pytest.raises(CombinationError, match=r"distance with localization\.tapers: observation_error"):
            on_a_line(base, localization=DISTANCE | {"tapers": tapers})
    of = {"kind": "index", "family": "delta", "belongs_to": "component", "tapers": "observation_error"}
    with pytest.raises(CombinationError, match="cannot be localized so"):
        on_a_line(base, localization=of)
    np.save(tmp_path / "r.npy", np.eye(6))
    error = {"kind": "dense", "file": str(tmp_path / "r.npy")}
    (tmp_path / "obs.csv").write_text("name,kind,time,x,value\na,x,0.05,0,1\n")
    source = {"kind": "file", "path": str(tmp_path / "obs.csv"), "error": error}
    with pytest.raises(CombinationError, match="errors one by one"):
        on_a_line(base, localization=DISTANCE, observations=source)
