"""The section ``localization`` as a run takes it: what it becomes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.assemble.sections.keys import _localization
from daflow.assemble.sections.kinds import EVERY_WEIGHT
from daflow.assemble.sections.localities import locality_of, network_of
from daflow.assemble.sections.localization_table import SETTINGS
from daflow.assemble.sections.methods import check_method, method_of, surveys
from daflow.config.load import workflow_from
from daflow.errors import CombinationError, ConfigError, DataError
from daflow.ports import Observations, SlicePoints
from tests.methods.in_slices import InSlices

N_MEMBERS, N_LINE, N_STATE, N_OBS = 12, 30, 33, 6
NORMAL = {"kind": "normal", "mean": 0.0, "std": 1.0}
NAN = np.full(N_OBS, np.nan)
TABLE = {
    "name": np.array(list("abcdef")),
    "kind": np.array(["k", "k", "k", "h", "h", "h"]),
    "time": np.arange(6.0),
    "x": np.arange(0.5, N_LINE, 5.0),
    "y": NAN,
    "z": NAN,
    "component": np.arange(0, N_LINE, 5),
    "word": np.array(["p"] * 6),
    "far": np.arange(30, 36),
    "value": np.linspace(-1, 1, 6),
    "error_std": np.full(N_OBS, 0.5),
}
OBSERVED = Observations(TABLE, {})
RNG = np.random.default_rng(2)
PRIOR = RNG.standard_normal((N_MEMBERS, N_STATE))
PREDICTED = PRIOR[:, TABLE["component"]] + 0.2 * RNG.standard_normal((N_MEMBERS, N_OBS))
POINTS = SlicePoints(
    (np.arange(N_STATE) >= N_LINE).astype(np.int64),
    np.column_stack(
        [
            np.append(np.arange(0.5, N_LINE), np.full(3, np.nan)),
            np.full(N_STATE, np.nan),
            np.full(N_STATE, np.nan),
        ]
    ),
)

DISTANCE = {"kind": "distance", "lengths": {"x": 4.0}, "variables": {"b": "none"}}
THRESHOLD = {"kind": "correlation", "family": "threshold", "noise": 0.4}
EXPONENTIAL = {"kind": "correlation", "family": "exponential", "tapers": "observation_error"}
SHUFFLED = {"kind": "correlation", "family": "tempered", "noise": "shuffled"}
POWER = {"kind": "sampling_error", "family": "power"}
NICE = {"kind": "sampling_error", "family": "nice"}
DELTA = {"kind": "index", "family": "delta", "belongs_to": "component"}
PLUGIN = {"kind": "plugin", "function": "rivers:weights", "arguments": {"reach": 9.0}}
CASES = {
    "distance": DISTANCE,
    "distance, both": DISTANCE | {"tapers": "cross_covariance", "obs_obs": "same"},
    "delta": DELTA,
    "radial": {"kind": "index", "family": "radial", "length": 3.0, "obs_obs": "same"},
    "dropout": {"kind": "index", "family": "dropout", "keep": 0.5},
    "power": POWER,
    "fisher": {"kind": "sampling_error", "family": "fisher", "tapers": "gain"},
    "nice": NICE,
    "nice alone": NICE | {"obs_obs": "none", "std": "fisher", "tolerance": 0.5},
    "threshold": THRESHOLD,
    "threshold of errors": THRESHOLD | {"tapers": "observation_error"},
    "tempered": {"kind": "correlation", "family": "tempered", "tapers": "cross_covariance"},
    "shuffled": SHUFFLED,
    "exponential": EXPONENTIAL,
    "plugin": PLUGIN,
    "product": {"kind": "product", "of": [DISTANCE, NICE, PLUGIN, {"kind": "none"}]},
    "product of errors": {"kind": "product", "of": [DISTANCE, THRESHOLD], "tapers": "observation_error"},
    "product, both": {
        "kind": "product",
        "of": [DISTANCE, POWER, DELTA],
        "tapers": "cross_covariance",
        "obs_obs": "same",
    },
}
METHODS = {
    "es_mda": {"kind": "es_mda", "steps": 2},
    "es": {"kind": "es"},
    "eki": {"kind": "eki"},
    "enkf": {"kind": "enkf"},
    "denkf": {"kind": "denkf"},
    "gain_inflated_enkf": {"kind": "gain_inflated_enkf", "zeta": 0.1},
    "letkf": {"kind": "letkf"},
}
LOCAL = [name for name, case in CASES.items() if case.get("tapers") == "observation_error"]
"""What letkf takes as well."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("functions")
    (path / "rivers.py").write_text(
        "import numpy as np\n"
        "def weights(points, observations, reach):\n"
        "    assert 'value' not in observations\n"
        "    apart = np.abs(points['x'][:, None] - observations['x'])\n"
        "    return np.where(np.isnan(apart), 1.0, np.clip(1.0 - apart / reach, 0.0, 1.0))\n"
        "def broken(points, observations):\n"
        "    raise LookupError('no such river')\n"
    )
    return path


def workflow(folder, localization, **sections):
    values = {
        "seed": 3,
        "ensemble": {"size": N_MEMBERS},
        "grids": {"line": {"shape": [N_LINE], "axes": ["x"], "origin": [0.5]}},
        "parameters": {"a": {"grid": "line", "prior": NORMAL}, "b": {"shape": [3], "prior": NORMAL}},
        "model": {"kind": "callable", "function": "model:forecast"},
        "observations": {"kind": "twin", "error": {"default": {"absolute": 1.0}}},
        "method": METHODS["es_mda"],
        "localization": localization,
    }
    return workflow_from(values | sections, folder)


def updated(flow, cuts, step=0):
    slices = InSlices(method_of(flow, OBSERVED), POINTS, cuts)
    return slices.step(step, PRIOR, PREDICTED)[0]


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=3)
@given(
    cuts=st.lists(st.integers(0, N_STATE), max_size=3).map(sorted),
    name=st.sampled_from([name for name in METHODS if name not in ("es_mda", "letkf")]),
)
def test_that_every_localization_goes_with_every_method_that_takes_it_whatever_the_slices(
    folder, case, cuts, name
):
    for method in ("es_mda", name, *(["letkf"] if case in LOCAL else [])):
        flow = workflow(folder, CASES[case], method=METHODS[method])
        check_method(flow)
        whole = updated(flow, ())
        margin = 1e-12 * np.abs(whole).max()
        np.testing.assert_allclose(updated(flow, cuts), whole, rtol=0, atol=margin)
        assert np.isfinite(whole).all()
        assert (whole != PRIOR).any()


def test_that_the_cases_are_of_every_kind():
    kinds = {str(each.model_fields["kind"].default) for each in SETTINGS}
    assert {case["kind"] for case in CASES.values()} == kinds == EVERY_WEIGHT


@pytest.mark.parametrize("case", CASES)
def test_that_it_is_known_beforehand_which_localizations_look_at_the_whole_prior(folder, case):
    flow = workflow(folder, CASES[case])
    locality = locality_of(flow, TABLE)
    locality.check()
    assert locality.surveys == surveys(flow) == ("nice" in case or "shuffled" in case or case == "product")


@pytest.mark.parametrize("one", ["distance", "plugin", "delta", "nice", "power", "threshold", "dropout"])
def test_that_a_product_of_one_is_that_one(folder, one):
    part = {key: value for key, value in CASES[one].items() if key not in ("tapers", "obs_obs")}
    among = "same" if part["kind"] == "sampling_error" else "none"
    tapers = "cross_covariance" if part["kind"] == "sampling_error" else "gain"
    product = {"kind": "product", "of": [{"kind": "none"}, part], "tapers": tapers, "obs_obs": among}
    np.testing.assert_allclose(
        updated(workflow(folder, product), [11]), updated(workflow(folder, CASES[one]), [11]), atol=1e-12
    )


def test_that_a_product_of_none_is_none(folder):
    product = {"kind": "product", "of": [{"kind": "none"}]}
    none = updated(workflow(folder, {"kind": "none"}), ())
    np.testing.assert_allclose(updated(workflow(folder, product), [20]), none, atol=1e-12)


def test_that_an_observation_of_an_index_reaches_the_number_that_its_column_says(folder):
    for part in (DELTA, DELTA | {"tapers": "cross_covariance"}):
        posterior = updated(workflow(folder, part), [13])
        moved = np.flatnonzero((posterior != PRIOR).any(axis=0))
        assert moved.tolist() == TABLE["component"].tolist()
    rows = updated(workflow(folder, DELTA | {"belongs_to": "row"}), [13])
    assert np.flatnonzero((rows != PRIOR).any(axis=0)).tolist() == list(range(N_OBS))


REFUSED = {
    "unknown kind of observation": (DISTANCE | {"observations": {"q": "none"}}, {}, DataError, "h, k"),
    "the same in a product": (
        {"kind": "product", "of": [DISTANCE | {"observations": {"q": "none"}}]},
        {},
        DataError,
        r"localization.of.0.observations.q",
    ),
    "no such column": (DELTA | {"belongs_to": "componant"}, {}, DataError, "did you mean 'component'"),
    "a column of words": (DELTA | {"belongs_to": "word"}, {}, DataError, "whole numbers from 0 to 32"),
    "a column of places beyond": (DELTA | {"belongs_to": "far"}, {}, DataError, "row 3"),
    "rows that may be left out": (
        {"kind": "index", "family": "radial", "length": 2.0},
        {
            "observations": {
                "kind": "twin",
                "error": {"default": {"absolute": 1}},
                "outliers": {"threshold": 3.0},
            }
        },
        CombinationError,
        "observations.outliers",
    ),
    "too few members for a noise": (
        {"kind": "correlation", "family": "threshold"},
        {"ensemble": {"size": 9}},
        CombinationError,
        "10 or more",
    ),
    "too few members for Fisher": (
        CASES["fisher"],
        {"ensemble": {"size": 3}, "policy": {"min_members": 2}},
        CombinationError,
        "4 or more",
    ),
    "an inversion in the span of the members": (
        POWER,
        {"method": {"kind": "es", "inversion": "subspace_rescaled"}},
        CombinationError,
        "localization.obs_obs",
    ),
    "an inversion beside local ones": (
        EXPONENTIAL,
        {"method": {"kind": "es", "inversion": "rescaled"}},
        CombinationError,
        "exact_cholesky",
    ),
    "a function that fails": (
        PLUGIN | {"function": "rivers:broken", "arguments": {}},
        {},
        DataError,
        "river",
    ),
    "a function that is not there": (PLUGIN | {"function": "rivers:wights"}, {}, ConfigError, "weights"),
    "arguments that a function has not": (PLUGIN | {"arguments": {"rich": 1}}, {}, ConfigError, "rich"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_that_what_cannot_be_is_refused_with_the_key_or_the_cure(folder, case):
    localization, sections, error, said = REFUSED[case]
    flow = workflow(folder, localization, **sections)
    with pytest.raises(error, match=said):
        locality_of(flow, TABLE).check()


@pytest.mark.parametrize("case", [name for name in CASES if name != "distance"])
@pytest.mark.parametrize("method", ["letkf", "ensrf", "etkf", "ies"])
def test_that_methods_with_weights_of_their_own_or_none_refuse_others(folder, case, method):
    if (case.startswith("distance") and method == "ensrf") or (case in LOCAL and method == "letkf"):
        return
    with pytest.raises(CombinationError, match=r"localization\.kind"):
        check_method(workflow(folder, CASES[case], method={"kind": method}))


def test_that_networks_are_told_apart_by_what_their_localization_looks_at(folder):
    other = TABLE | {"component": TABLE["component"] + 1}
    later = TABLE | {"time": TABLE["time"] + 1, "value": TABLE["value"] + 1}
    for case, differs, moves in (("distance", False, False), ("delta", True, False), ("plugin", True, True)):
        flow = workflow(folder, CASES[case])
        known = network_of(flow, TABLE)
        assert (network_of(flow, other) != known) == differs
        assert (network_of(flow, later) != known) == moves


def test_that_distance_at_its_defaults_is_in_the_keys_of_stages_what_it_was(folder):
    flow = workflow(folder, DISTANCE)
    plain = _localization(flow.model_dump(mode="json")["localization"])
    before = "kind tapers family lengths angle cutoff exponent variables observations"
    assert list(plain) == before.split()
    both = workflow(folder, CASES["distance, both"])
    assert "obs_obs" in _localization(both.model_dump(mode="json")["localization"])
