import pytest
from pydantic import TypeAdapter, ValidationError

from daflow.config.localization import LocalizationSettings, distances, for_kinds

ADAPTER = TypeAdapter(LocalizationSettings)
NEAR = {"kind": "distance", "lengths": {"x": 4.0}}
DROPOUT = {"kind": "index", "family": "dropout", "keep": 0.1}
POWER = {"kind": "sampling_error", "family": "power"}
NICE = {"kind": "sampling_error", "family": "nice"}
THRESHOLD = {"kind": "correlation", "family": "threshold"}
EXPONENTIAL = {"kind": "correlation", "family": "exponential"}
PLUGIN = {"kind": "plugin", "function": "rivers:weights"}
BOTH = {"obs_obs": "same"}
ERRORS = {"tapers": "observation_error"}


def product(*parts, **settings):
    return {"kind": "product", "of": list(parts), **settings}


BAD = {
    # name: (the section, words of the message)
    "a length that delta has not": ({"kind": "index", "family": "delta", "length": 2.0}, "family: radial"),
    "a radius without length": ({"kind": "index", "family": "radial"}, "length: radial needs one"),
    "chance without probability": ({"kind": "index", "family": "dropout"}, "keep: dropout needs one"),
    "a probability beyond one": (DROPOUT | {"keep": 1.5}, "keep"),
    "chance by a column": (DROPOUT | {"belongs_to": "component"}, "belongs_to"),
    "chance among observations": (DROPOUT | BOTH, "obs_obs: none"),
    "a power of nice": (NICE | {"power": 1.0}, "family: power"),
    "a tolerance of powers": (POWER | {"tolerance": 1.0}, "family: nice"),
    "corrections of errors": (POWER | ERRORS, "tapers"),
    "a cutoff of one": (POWER | {"cutoff": 1.0}, "cutoff"),
    "noise of exponential": (EXPONENTIAL | ERRORS | {"noise": "theory"}, "exponential needs none"),
    "an onset of threshold": (THRESHOLD | {"onset": 0.2}, "family: exponential"),
    "an end before the onset": (EXPONENTIAL | ERRORS | {"onset": 0.8}, "above onset = 0.8"),
    "exponential of the gain": (EXPONENTIAL, "observation_error"),
    "noise beyond one": (THRESHOLD | {"noise": 1.5}, "noise"),
    "noise of another name": (THRESHOLD | {"noise": "guessed"}, "noise"),
    "shuffled among observations": (THRESHOLD | BOTH | {"noise": "shuffled"}, "theory, a number"),
    "errors among observations": (THRESHOLD | ERRORS | BOTH, "obs_obs"),
    "lengths of their own among observations": (
        NEAR | BOTH | {"observations": {"k": "none"}},
        "observations: tapers of several lengths",
    ),
    "no function": (PLUGIN | {"function": "rivers"}, "module:function"),
    "a function among observations": (product(PLUGIN, **BOTH), "of.0.kind"),
    "chance in a product among observations": (product(NEAR, DROPOUT, **BOTH), "of.1.family"),
    "corrections of errors in a product": (product(NEAR, NICE, **ERRORS), "of.1.kind"),
    "exponential in a product of gains": (product(NEAR, EXPONENTIAL), "tapers"),
    "an empty product": (product(), "of"),
    "a product in a product": (product(product(NEAR)), "product"),
    "what a part multiplies": (product(NEAR | {"tapers": "gain"}), "tapers"),
}


@pytest.mark.parametrize("case", BAD)
def test_that_a_section_that_cannot_be_right_is_refused_with_the_cure(case):
    section, said = BAD[case]
    with pytest.raises(ValidationError) as refused:
        ADAPTER.validate_python(section)
    assert said in str(refused.value)


GOOD = [
    NEAR | BOTH,
    {"kind": "index", "family": "delta", "belongs_to": "component"},
    DROPOUT,
    POWER | {"power": 0.0, "cutoff": 0.2},
    NICE | {"std": "ekp_v2", "tolerance": 0.0, "obs_tolerance": 2.0},
    THRESHOLD | ERRORS,
    THRESHOLD | {"noise": 0.3} | BOTH,
    EXPONENTIAL | ERRORS | {"onset": 0.0, "end": 0.1},
    PLUGIN | {"arguments": {"reach": 3}},
    product(NEAR, NICE, PLUGIN, {"kind": "none"}),
    product(NEAR, EXPONENTIAL, DROPOUT, **ERRORS),
    product(NEAR, POWER, **BOTH),
]


@pytest.mark.parametrize("section", GOOD)
def test_that_a_section_comes_back_from_json_as_it_was(section):
    read = ADAPTER.validate_python(section)
    assert ADAPTER.validate_json(ADAPTER.dump_json(read)) == read


def test_that_kinds_that_are_not_there_are_forgotten_wherever_distance_speaks_of_them():
    of_kinds = NEAR | {"observations": {"k": "none", "h": {"lengths": {"x": 1.0}}}}
    for section in (of_kinds, product(of_kinds, NICE)):
        ((_, left),) = distances(for_kinds(ADAPTER.validate_python(section), {"h", "other"}))
        assert list(left.observations) == ["h"]
    assert for_kinds(ADAPTER.validate_python(NICE), set()) == ADAPTER.validate_python(NICE)
