"""The filter with a shrunk covariance, fitted to its snapshots and observations."""

from __future__ import annotations

import numpy as np
import pytest

from daflow.assemble.build import model_of
from daflow.assemble.methods import KINDS, check_method, surveys
from daflow.assemble.shrinkage import OBSERVING
from daflow.config.load import workflow_from
from daflow.errors import CombinationError, ConfigError
from daflow.methods.filters_shrinkage import GivenGamma, LaplaceDraws
from daflow.numerics.filters.shrinkage_target import rblw_gamma
from daflow.ports import MemberInput, Observations

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
    assert (made(base).gamma, made(base).n_synthetic) == (rblw_gamma, 100)
    base["method"] |= {"gamma": 0.25, "synthetic": 7, "draws": "laplace"}
    method = made(base | {"seed": 4})
    assert (method.gamma, method.n_synthetic, method.draw) == (GivenGamma(0.25), 7, LaplaceDraws(4))
    assert surveys(workflow_from(base))


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
