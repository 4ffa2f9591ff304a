"""Filters of the workflow file, fitted to what was observed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from daflow.assemble.sections.filters import FILTERS
from daflow.assemble.sections.kinds import EVERY_LOCALIZATION, EVERY_WEIGHT, check_localization
from daflow.assemble.sections.methods import KINDS, check_method, n_steps_of, summary_of
from daflow.config.load import workflow_from
from daflow.config.yaml_text import parse_document
from daflow.errors import CombinationError, ConfigError
from daflow.methods import filters_global
from daflow.methods.filters_global import RandomRotation, TransformFilter
from daflow.methods.filters_local import LocalSerialFilter, LocalTransformFilter
from daflow.methods.filters_perturbed import Halfway, PerturbedFilter
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.localization.distance import DistanceTaper
from daflow.numerics.obs_error.covariance import DenseCovariance
from daflow.ports import Observations, SlicePoints, StepInput
from tests.methods.in_slices import InSlices

N_STATE = 12
BARE = {
    "ensemble": {"size": 7},
    "grids": {"line": {"shape": [N_STATE], "dims": ["cell"], "axes": ["x"]}},
    "parameters": {"level": {"grid": "line", "prior": {"kind": "normal", "mean": 0, "std": 1}}},
    "model": {"kind": "lorenz96", "variable": "level", "n": N_STATE},
    "observations": {"kind": "twin", "error": {"default": {"absolute": 1}}},
}
DISTANCE = {"kind": "distance", "lengths": {"x": 2.0}}
RNG = np.random.default_rng(1)
PRIOR = RNG.standard_normal((7, N_STATE))
POINTS = SlicePoints(
    np.zeros(N_STATE, np.int64),
    np.column_stack([np.arange(N_STATE), np.full((N_STATE, 2), np.nan)]).astype(float),
)


def workflow(method, tapers=None, localization=None, **sections):
    localized = (
        {} if tapers is None else {"localization": DISTANCE | {"tapers": tapers} | (localization or {})}
    )
    return workflow_from(BARE | {"method": method} | localized | sections)


def observed(n_obs=4, times=None, kinds=None, error=None, numbers=None):
    x = np.arange(n_obs) * 3.0 % N_STATE
    table = {
        "name": np.array([f"o{i}" for i in range(n_obs)]),
        "kind": np.array(["k"] * n_obs if kinds is None else kinds),
        "time": np.ones(n_obs) if times is None else np.array(times, float),
        "x": x,
        "y": np.full(n_obs, np.nan),
        "z": np.full(n_obs, np.nan),
        "value": np.linspace(-1, 1, n_obs),
        "error_std": np.full(n_obs, 0.5),
    }
    return Observations(table, error or {}, numbers)


def made(flow, observations):
    return KINDS[flow.method.kind].make(flow, observations)


def posterior(method, predicted=PRIOR[:, ::3], step=0, cuts=(5,)):
    return InSlices(method, POINTS, cuts).step(step, PRIOR, predicted)[0]


CLASSES = {
    ("enkf", None): PerturbedFilter,
    ("enkf", "gain"): PerturbedFilter,
    ("denkf", None): PerturbedFilter,
    ("denkf", "observation_error"): PerturbedFilter,
    ("etkf", None): TransformFilter,
    ("enkf_n", None): TransformFilter,
    ("ensrf", None): TransformFilter,
    ("eakf", "cross_covariance"): LocalSerialFilter,
    ("letkf", "observation_error"): LocalTransformFilter,
}


@pytest.mark.parametrize(("kind", "tapers"), CLASSES)
def test_that_each_kind_becomes_the_filter_of_its_name_with_one_update(kind, tapers):
    flow = workflow({"kind": kind}, tapers)
    method = made(flow, observed())
    assert type(method) is CLASSES[kind, tapers]
    assert method.n_steps == n_steps_of(flow) == 1
    assert summary_of(flow).startswith(f"{kind}, 1 step")
    found = posterior(method)
    assert np.isfinite(found).all()
    assert np.abs(found - PRIOR).max() > 0.01


def test_that_settings_reach_the_filter():
    method = made(
        workflow(
            {"kind": "gain_inflated_enkf", "zeta": 0.25, "perturbations": "raw", "inversion": "subspace"}
        ),
        observed(),
    )
    assert (method.settings.alpha, method.settings.inversion) == (0.8, "subspace")
    assert (method.targets.centring, method.figures) == ("raw", {"zeta": 0.25})
    assert isinstance(made(workflow({"kind": "denkf"}), observed()).targets, Halfway)
    assert made(workflow({"kind": "etkf", "rotation": "random"}), observed()).rotate == RandomRotation(0)
    finite = made(workflow({"kind": "enkf_n", "hyperprior": "jeffreys", "root": "inflated"}), observed())
    assert finite.analysis.root == "inflated"


def test_that_the_figures_of_a_filter_go_to_the_journal():
    given = StepInput(0, range(7), lambda start, stop: PRIOR[:, ::3][:, start:stop], {})
    zeta = made(workflow({"kind": "gain_inflated_enkf", "zeta": 0.25}), observed()).prepare(given)
    assert zeta.figures == {"zeta": 0.25}
    assert made(workflow({"kind": "enkf"}), observed()).prepare(given).figures == {}
    assert list(made(workflow({"kind": "enkf_n"}), observed()).prepare(given).figures) == ["inflation"]


def test_that_every_filter_says_which_localizations_it_takes_and_refuses_the_others():
    needed = {
        "gain_inflated_enkf": {"zeta": 0.1},
        "shrinkage_etkf": {"target": {"file": "long.npy"}},
    }
    for kind, each in FILTERS.items():
        extra = needed.get(kind, {})
        for tapers in EVERY_LOCALIZATION:
            flow = workflow({"kind": kind} | extra, None if tapers == "none" else tapers)
            if tapers in each.localizations:
                check_localization(each, flow)
                if kind != "shrinkage_etkf":
                    posterior(made(flow, observed()))
            else:
                with pytest.raises(CombinationError, match=f"{kind} cannot be localized"):
                    check_localization(each, flow)


@pytest.mark.parametrize("kind", ["letkf", "ensrf", "eakf"])
def test_that_local_filters_refuse_errors_that_depend_on_each_other(kind, tmp_path):
    np.save(tmp_path / "r.npy", np.eye(4))
    (tmp_path / "obs.csv").write_text("name,kind,time,x,value\na,k,1,0,1\n")
    tapers = "observation_error" if kind == "letkf" else "cross_covariance"
    error = {"kind": "dense", "file": str(tmp_path / "r.npy")}
    source = {"kind": "file", "path": str(tmp_path / "obs.csv"), "error": error}
    flow = workflow({"kind": kind}, tapers, observations=source)
    with pytest.raises(CombinationError, match="errors one by one"):
        made(flow, observed(error={"matrix": np.eye(4) + 0.1}))


def test_that_a_dense_r_is_used_by_filters_without_localization():
    matrix = 0.3 * np.eye(4) + 0.1
    observations = observed(error={"matrix": matrix})
    found = posterior(made(workflow({"kind": "etkf"}), observations))
    transform = etkf(PRIOR[:, ::3], observations.table["value"], DenseCovariance(matrix))
    np.testing.assert_allclose(found, transform.matrix @ PRIOR, atol=1e-12)


CYCLES = {"cycling": {"start": 0.0}}


@pytest.mark.parametrize(("kind", "tapers"), CLASSES)
def test_that_a_filter_has_a_step_a_cycle_each_with_its_own_observations(kind, tapers):
    everything = observed(8, times=[1, 1, 1, 1, 2, 2, 2, 2])
    method = made(workflow({"kind": kind}, tapers, **CYCLES), everything)
    assert method.n_steps == 2
    alone = made(workflow({"kind": kind}, tapers, **CYCLES), observed())
    assert posterior(method).shape == PRIOR.shape
    if kind != "enkf":
        # The second cycle's network and R are those of the first, its values are not.
        table = everything.table | {"value": np.tile(everything.table["value"][:4], 2)}
        same = made(workflow({"kind": kind}, tapers, **CYCLES), Observations(table, {}))
        np.testing.assert_array_equal(posterior(same, step=1), posterior(same, step=0))
    assert alone.n_steps == 1


def test_that_cycles_with_the_same_network_share_a_plan_and_others_have_their_own():
    times, kinds = [1, 1, 2, 2, 3, 3, 4, 4], ["k", "k", "k", "k", "k", "j", "k", "k"]
    everything = observed(8, times, kinds)
    table = everything.table | {"x": np.array([0.0, 3, 0, 3, 0, 3, 1, 3])}
    flow = workflow({"kind": "enkf"}, "gain", {"observations": {"j": {"lengths": {"x": 5.0}}}}, **CYCLES)
    method = made(flow, Observations(table, {}))
    assert method.networks.of_step == (0, 0, 1, 2)
    assert len(method.networks.localities) == 3
    for step in range(4):
        predicted = PRIOR[:, [0, 3]] if step < 3 else PRIOR[:, [1, 3]]
        assert np.isfinite(posterior(method, predicted, step)).all()


def test_that_observations_hear_each_other_as_far_as_the_one_that_speaks_reaches():
    own = {"observations": {"j": {"lengths": {"x": 5.0}}, "l": "none"}, "variables": {"level": "none"}}
    method = made(
        workflow({"kind": "ensrf"}, "cross_covariance", own), observed(4, kinds=["k", "j", "l", "k"])
    )
    (network,) = method.among_observations
    lengths = {pair: None if taper is None else taper.lengths[0] for pair, taper in network.rules.items()}
    assert isinstance(network.rules[0, 0], DistanceTaper)
    # Kinds are numbered by name: j, k, l.
    assert lengths == {(s, h): {0: 5.0, 1: 2.0, 2: None}[s] for s in range(3) for h in range(3)}


def test_that_a_serial_filter_is_not_asked_for_what_it_always_does():
    flow = workflow({"kind": "ensrf"}, "cross_covariance", {"obs_obs": "same"})
    with pytest.raises(CombinationError, match="always tapers observations among themselves"):
        made(flow, observed())


def test_that_leaving_observations_out_draws_the_same_errors_for_the_others():
    flow = workflow({"kind": "enkf", "perturbations": "raw"})
    whole, few = observed(), observed()
    keep = np.array([0, 2, 3])
    few = Observations({name: column[keep] for name, column in whole.table.items()}, {}, keep)
    targets = [
        method.targets.whole(
            method.observed(0), StepInput(0, range(7), lambda a, b, n=n: np.zeros((7, n))[:, a:b], {})
        )[1]
        for method, n in ((made(flow, whole), 4), (made(flow, few), 3))
    ]
    np.testing.assert_array_equal(targets[1], targets[0][:, keep])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "gain_inflated_enkf"}, "zeta"),
        ({"kind": "gain_inflated_enkf", "zeta": -1.0}, "zeta"),
        ({"kind": "enkf", "truncation": 0.9}, "leaves nothing out"),
        ({"kind": "enkf", "perturbations": "some"}, "recentred"),
        ({"kind": "enkf_n", "hyperprior": "jeffreys", "certainty": 2.0}, "no certainty"),
        ({"kind": "etkf", "inversion": "subspace"}, "inversion"),
        ({"kind": "etkff"}, "etkf"),
    ],
)
def test_that_settings_that_mean_nothing_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        workflow(settings)


PAGE = (Path(filters_global.__file__).parent / "FILTERS.md").read_text()


def test_that_the_users_page_tells_which_localizations_each_filter_takes():
    told = {}
    table = PAGE.partition("## Which localization each takes")[2].partition("```")[0]
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and cells[1].startswith("`") and cells[1].strip("`") in FILTERS:
            told[cells[1].strip("`")] = (set(cells[2].split(", ")), {*cells[3].split(", ")} - {""})
    assert set(told) == set(FILTERS)
    for kind, (sorts, tapers) in told.items():
        takes = FILTERS[kind].localizations
        assert tapers == takes - {"none"}
        assert ("none" in sorts) == ("none" in takes)
        weights = {"any"} if FILTERS[kind].weights == EVERY_WEIGHT else set(FILTERS[kind].weights)
        assert sorts - {"none"} == (weights if tapers else set())


def test_that_the_examples_of_the_users_page_are_workflows():
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 7
    for text in examples:
        flow = workflow_from(BARE | parse_document(text, "the page").values)
        check_method(flow)


def test_that_every_filter_has_a_row_on_the_users_page():
    table = PAGE.partition("## The kinds")[2].partition("## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(FILTERS)
