from __future__ import annotations

import re
from pathlib import Path

import pytest

from daflow.config.load import load_workflow
from daflow.errors import ConfigError

GOOD = """
name: flood
seed: 7
ensemble: {size: 10, exclude: [3]}
grids:
  field: {shape: [4, 5], spacing: [10, 20]}
parameters:
  permeability:
    grid: field
    prior: {kind: gaussian_field, mean: 4.6, std: 1.0, lengths: {x: 40, y: 20}}
  factor:
    prior: {kind: uniform, lower: 0.5, upper: 1.5}
model: {kind: callable, function: 'model:forecast'}
observations:
  kind: twin
  error: {WOPR: {absolute: 2, relative: 0.05}}
localization:
  kind: distance
  lengths: {x: 30, y: 30}
  variables: {factor: none}
"""

UNIFORM = "kind: uniform, lower: 0.5, upper: 1.5"
BILLION = b"a0: &a0 [x, x]\n" + b"".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n".encode() for i in range(1, 10)
)

BAD: list[tuple[str, str, str, list[str]]] = [
    # (what is replaced, by what, the key that the message names, the words of its cure)
    ("seed: 7", "sead: 7", "sead", ["did you mean 'seed'?"]),
    ("seed: 7", "seed: -1", "seed", ["at least 0"]),
    ("seed: 7", "seed: '7'", "seed", ["a whole number"]),
    ("seed: 7", "seed: true", "seed", ["a whole number", "true"]),
    ("seed: 7", "seed: 7.5", "seed", ["a whole number"]),
    ("seed: 7", "seed: 9999999999999999999999", "seed", ["at most"]),
    ("seed: 7", "seed: 2026-01-01", "seed", ["a whole number"]),
    ("seed: 7", "seed: 7\nseed: 8", "seed", ["twice", "lines 3 and 4", "delete one"]),
    ("seed: 7", "7: 7", "line 3", ["a key must be a word"]),
    ("seed: 7", "seed: !!binary aGk=", "", ["no file can hold"]),
    ("seed: 7", "seed: !!python/name:os.system", "line 3", ["not YAML"]),
    ("name: flood", "name: ''", "name", ["at least one character"]),
    ("name: flood", "name: [a]", "name", ["a text"]),
    ("size: 10", "size: 1", "ensemble.size", ["at least 2"]),
    ("size: 10", "sise: 10", "ensemble.sise", ["did you mean 'size'?"]),
    ("{size: 10, exclude: [3]}", "10", "ensemble", ["a mapping"]),
    ("exclude: [3]", "exclude: [10]", "ensemble.exclude", ["no such member", "0 to 9"]),
    ("exclude: [3]", "exclude: [3, 3]", "ensemble.exclude", ["twice"]),
    ("exclude: [3]", "exclude: [0,1,2,3,4,5,6,7,8]", "ensemble.exclude", ["at least 2"]),
    ("exclude: [3]", "exclude: 3", "ensemble.exclude", ["a list"]),
    ("shape: [4, 5]", "shape: [4, 0]", "grids.field.shape.1", ["at least 1"]),
    ("shape: [4, 5]", "shape: []", "grids.field.shape", ["at least 1"]),
    ("shape: [4, 5]", "shape: [4, 5, 6]", "grids.field.spacing", ["2 for 3", "3 entries"]),
    ("spacing: [10, 20]", "spacing: [10, -20]", "grids.field.spacing.1", ["above 0"]),
    ("spacing: [10, 20]", "axes: [x, x]", "grids.field.axes", ["each once"]),
    ("spacing: [10, 20]", "axes: [x, w]", "grids.field.axes.1", ["x, y, z"]),
    ("spacing: [10, 20]", "dims: [member, row]", "grids.field.dims.0", ["choose another"]),
    ("spacing: [10, 20]", "dims: [x, row]", "grids.field.dims", ["lies along axis 'y'"]),
    ("spacing: [10, 20]", "dims: [permeability, row]", "parameters.permeability", ["name of a variable"]),
    ("grid: field", "grid: feild", "parameters.permeability.grid", ["did you mean 'field'?"]),
    ("grid: field", "shape: [4]", "parameters.permeability.prior.kind", ["set 'grid'"]),
    ("grid: field", "grid: field\n    shape: [4]", "parameters.permeability.shape", ["one of them"]),
    ("grid: field", "grid: field\n    dims: [a]", "parameters.permeability.dims", ["'shape'"]),
    (
        "  factor:\n    prior",
        "  factor:\n    shape: [2]\n    dims: [a, a]\n    prior",
        "parameters.factor.dims",
        ["1 names"],
    ),
    (
        "  factor:\n    prior",
        "  factor:\n    shape: [2]\n    dims: [row]\n    prior",
        "parameters.factor",
        ["'row'", "anew"],
    ),
    ("  permeability:", "  2nd:", "parameters.2nd", ["starts with no digit"]),
    ("  permeability:", "  x:", "parameters.x", ["name of one of its axes"]),
    ("  permeability:", "  state:", "parameters.state", ["choose another"]),
    (
        "kind: uniform",
        "kind: unifrom",
        "parameters.factor.prior.kind",
        ["did you mean 'uniform'?", "lognormal"],
    ),
    ("kind: uniform, ", "", "parameters.factor.prior.kind", ["missing", "truncated_normal"]),
    ("lower: 0.5, ", "", "parameters.factor.prior.lower", ["missing", "The smallest value"]),
    ("lower: 0.5", "lower: 1.5", "parameters.factor.prior.upper", ["above 1.5"]),
    ("lower: 0.5", "lower: .nan", "parameters.factor.prior.lower", ["a finite number"]),
    ("lower: 0.5", "lower: -.inf", "parameters.factor.prior.lower", ["a finite number"]),
    ("std: 1.0", "std: -1.0", "parameters.permeability.prior.std", ["above 0"]),
    *(
        ("  factor:\n", f"    {words}\n  factor:\n", f"parameters.permeability.{key}", cure)
        for words, key, cure in (
            ("facies: [{value: 1, share: 0.5}]", "facies", ["at least 2"]),
            ("facies: [{value: 1, share: 0.5}, {value: 2, share: 0.6}]", "facies", ["1 within"]),
            ("transform: {kind: triangular, lower: 3, mode: 9, upper: 5}", "transform.mode", ["3.0 to 5.0"]),
            ("transform: {kind: triangular, lower: 5, mode: 4, upper: 3}", "transform.upper", ["above 5"]),
            ("transform: {kind: triangular, lower: 1, mode: 4, upper: 7}", "transform.kind", ["1 to 7"]),
        )
    ),
    (
        "  factor:\n",
        "  factor:\n    facies: [{value: 1, share: 0.5}, {value: 2, share: 0.5}]\n",
        "parameters.factor.facies",
        ["gaussian_field"],
    ),
    ("std: 1.0", "std: '1.0'", "parameters.permeability.prior.std", ["a number", "'1.0'"]),
    ("std: 1.0", "std: null", "parameters.permeability.prior.std", ["a number", "nothing"]),
    (
        "std: 1.0",
        "std: 1.0, variogram: spheric",
        "parameters.permeability.prior.variogram",
        ["did you mean 'spherical'?"],
    ),
    ("{x: 40, y: 20}", "{x: 40}", "parameters.permeability.prior.lengths", ["one length an axis", "y, x"]),
    ("{x: 40, y: 20}", "{x: 40, y: 0}", "parameters.permeability.prior.lengths.y", ["above 0"]),
    ("{x: 40, y: 20}", "{x: 40, north: 9}", "parameters.permeability.prior.lengths.north", ["x, y, z"]),
    ("{x: 40, y: 20}", "{x: 40}, angle: 30", "parameters.permeability.prior.angle", ["both must be given"]),
    (
        "upper: 1.5}",
        "upper: 1.5}\n    transform: {kind: logit, lower: 0.6, upper: 2}",
        "parameters.factor.transform.kind",
        ["within 0.6 to 2"],
    ),
    (
        "y: 20}}",
        "y: 20}}\n    transform: {kind: log}",
        "parameters.permeability.transform.kind",
        ["within 0 to inf"],
    ),
    ("upper: 1.5}", "upper: 1.5}\n    clip: {}", "parameters.factor.clip", ["clip: null"]),
    (
        "upper: 1.5}",
        "upper: 1.5}\n    clip: {lower: 2, upper: 1}",
        "parameters.factor.clip.upper",
        ["above 2"],
    ),
    (UNIFORM, "kind: array, file: p.npz, members: [1]", "parameters.factor.prior.members", ["10 rows"]),
    (UNIFORM, "kind: array, file: p.npz", "parameters.factor.prior.truth", ["a row that is no member's"]),
    (UNIFORM, "kind: array, file: p.npz, truth: 4", "parameters.factor.prior.truth", ["member 4"]),
    (
        UNIFORM,
        "kind: array, file: p.npz, first: 1, members: [1]",
        "parameters.factor.prior.first",
        ["left out"],
    ),
    (
        UNIFORM,
        "kind: array, file: '${NO_SUCH_NAME}/p'",
        "parameters.factor.prior.file",
        ["'NO_SUCH_NAME' is not set"],
    ),
    (UNIFORM, "kind: array, file: ~/p", "parameters.factor.prior.file", ["${HOME}"]),
    (UNIFORM, "kind: truncated_normal, mean: 0, std: 1", "parameters.factor.prior.lower", ["kind: normal"]),
    (
        UNIFORM,
        "kind: truncated_normal, mean: 0, std: 1, lower: 99",
        "parameters.factor.prior.mean",
        ["30 std"],
    ),
    (
        UNIFORM,
        "kind: triangular, lower: 0, mode: 3, upper: 2",
        "parameters.factor.prior.mode",
        ["0.0 to 2.0"],
    ),
    ("kind: callable", "kind: calable", "model.kind", ["did you mean 'callable'?", "command"]),
    ("model: {kind: callable, function: 'model:forecast'}\n", "", "model", ["missing", "The forward model"]),
    ("kind: twin", "kind: file", "observations.path", ["missing"]),
    ("absolute: 2", "absolute: -2", "observations.error.WOPR.absolute", ["at least 0"]),
    ("{absolute: 2, relative: 0.05}", "{}", "observations.error.WOPR", ["above 0"]),
    ("{WOPR: {absolute: 2, relative: 0.05}}", "{}", "observations.error", ["at least 1"]),
    (
        "kind: twin",
        "kind: twin\n  keep: {kinds: [WBHP]}",
        "observations.error",
        ["no error is given for WBHP"],
    ),
    ("kind: twin", "kind: twin\n  keep: {every: 0}", "observations.keep.every", ["at least 1"]),
    (
        "kind: twin",
        "kind: twin\n  truth: {kind: array, file: t.npz, arrays: {factr: a}}",
        "observations.truth.arrays",
        ["'factor'"],
    ),
    ("seed: 7", "method: {kind: es_mad}", "method.kind", ["did you mean 'es_mda'?"]),
    ("seed: 7", "method: {steps: 0}", "method.steps", ["at least 1"]),
    ("seed: 7", "method: {alphas: [2, 2]}", "method.alphas", ["2 for 4 steps"]),
    ("seed: 7", "method: {steps: 2, alphas: [1, 1]}", "method.alphas", ["sum of 1/alpha", "normalise: true"]),
    ("seed: 7", "method: {steps: 2, alphas: [2, -2]}", "method.alphas.1", ["above 0"]),
    (
        "seed: 7",
        "method: {alphas: konstant}",
        "method.alphas",
        ["'constant' or 'discrepancy' or a mapping or a list"],
    ),
    (
        "seed: 7",
        "method: {alphas: 4}",
        "method.alphas",
        ["of a wrong type", "'constant' or 'discrepancy' or a mapping or a list"],
    ),
    ("seed: 7", "method: {alphas: {ratio: 0}}", "method.alphas.ratio", ["above 0"]),
    ("seed: 7", "method: {normalise: true}", "method.normalise", ["a list of alphas"]),
    ("seed: 7", "method: {normalise: maybe}", "method.normalise", ["true or false"]),
    ("seed: 7", "method: {inversion: cholesky}", "method.inversion", ["did you mean 'exact_cholesky'?"]),
    ("seed: 7", "method: {truncation: 0.9}", "method.truncation", ["leaves nothing out", "subspace"]),
    ("seed: 7", "method: {truncation: 1.1, inversion: rescaled}", "method.truncation", ["at most 1"]),
    ("factor: none", "faktor: none", "localization.variables.faktor", ["did you mean 'factor'?"]),
    ("{factor: none}", "{}", "localization.variables.factor", ["lies on no grid", "factor: none"]),
    ("factor: none", "factor: nothing", "localization.variables.factor", ["'none' or a mapping"]),
    ("lengths: {x: 30, y: 30}", "lengths: {}", "localization.lengths", ["at least 1"]),
    (
        "lengths: {x: 30, y: 30}",
        "lengths: {x: 30, z: 3}",
        "localization.variables.permeability",
        ["count along z"],
    ),
    ("lengths: {x: 30, y: 30}", "lengths: {x: 3}\n  angle: 5", "localization.angle", ["both must be given"]),
    ("lengths: {x: 30, y: 30}", "lengths: {x: 3}\n  cutoff: 5", "localization.cutoff", ["ends by itself"]),
    ("lengths: {x: 30, y: 30}", "lengths: {x: 3}\n  exponent: 5", "localization.exponent", ["family: beta"]),
    (
        "lengths: {x: 30, y: 30}",
        "lengths: {x: 3}\n  family: gauss",
        "localization.family",
        ["did you mean 'gaussian'?"],
    ),
    (
        "lengths: {x: 30, y: 30}",
        "lengths: {x: 3}\n  observations: {W: {lengths: {z: 3}}}",
        "localization.variables.permeability",
        ["for 'W'"],
    ),
    ("  kind: distance", "", "localization.kind", ["missing", "distance, index, none"]),
    ("seed: 7", "execution: {workers: 2}", "execution.kind", ["missing", "address, htcondor, local"]),
    ("seed: 7", "execution: {kind: local, workers: 0}", "execution.workers", ["at least 1"]),
    ("seed: 7", "execution: {kind: local, memory: 2 gigs}", "execution.memory", ["2GB"]),
    ("seed: 7", "execution: {kind: local, memory: 2kB}", "execution.memory", ["at least 100MB"]),
    ("seed: 7", "execution: {kind: address, address: host}", "execution.address", ["tcp://host:8786"]),
    (
        "seed: 7",
        "execution: {kind: local, threads: 2}\npolicy: {timeout: 9}",
        "execution.threads",
        ["timeout: null"],
    ),
    ("seed: 7", "policy: {timeout: 0}", "policy.timeout", ["above 0"]),
    ("seed: 7", "policy: {min_members: 10}", "policy.min_members", ["2 to 9"]),
    ("seed: 7", "policy: {retries: -1}", "policy.retries", ["at least 0"]),
    ("seed: 7", "policy: {retries: {lost: -1}}", "policy.retries.lost", ["at least 0"]),
    ("seed: 7", "policy: {retries: {timedout: 1}}", "policy.retries", ["did you mean 'timed_out'"]),
    ("seed: 7", "policy: {retries: many}", "policy.retries", ["a whole number or a mapping"]),
    ("seed: 7", "policy: {on_failure: clone}", "policy.on_failure", ["'drop' or 'stop' or a mapping"]),
    ("seed: 7", "policy: {on_failure: {lost: wait}}", "policy.on_failure.lost", ["drop, stop"]),
    ("seed: 7", "policy: {on_failure: {blocked: stop}}", "policy.on_failure", ["cancelled, lost"]),
    ("seed: 7", "policy: {node_failures: 1}", "policy.node_failures", ["at least 2"]),
    ("seed: 7", "policy: {stragglers: {factor: 1}}", "policy.stragglers.factor", ["above 1"]),
    ("seed: 7", "policy: {stragglers: {least: 0}}", "policy.stragglers.least", ["above 0"]),
    ("seed: 7", "policy: {stragglers: {least: half}}", "policy.stragglers.least", ["'min_members'"]),
    ("seed: 7", "policy: {stragglers: {}, on_failure: stop}", "policy.stragglers", ["cancelled: drop"]),
    ("seed: 7", "storage: {slice_size: 0}", "storage.slice_size", ["at least 1"]),
    ("seed: 7", "storage: {codec: lzma}", "storage.codec", ["'lzma'", "none, lz4, zstd"]),
    (
        "seed: 7",
        "storage: {sharding: align}",
        "storage.sharding",
        ["did you mean 'aligned'", "none, aligned"],
    ),
    (
        "seed: 7",
        "storage: {codec: zstd, slice_size: 300000000}",
        "storage.slice_size",
        ["1 to 268434944", "codec: none"],
    ),
    ("seed: 7", "storage: {slice_size: big}", "storage.slice_size", ["'auto' or a whole number"]),
    ("seed: 7", "storage: {dtype: float16}", "storage.dtype", ["float64, float32"]),
    (
        "std: 1.0",
        "std: 1.0, smoothness: 2",
        "parameters.permeability.prior.smoothness",
        ["spherical has none"],
    ),
    ("std: 1.0", "std: 1.0, variogram: matern", "parameters.permeability.prior.smoothness", ["0.1 to 20"]),
    ("std: 1.0", "std: 1.0, variogram: matern, smoothness: 0", "prior.smoothness", ["at least 0.1"]),
    (
        "kind: twin\n",
        "kind: file\n  path: o.csv\n  columns: {x: y}\n",
        "observations.columns.y",
        ["same column"],
    ),
    ("kind: twin", "kind: twin\n  keep: {kinds: []}", "observations.keep.kinds", ["at least 1"]),
]

JARGON = re.compile(
    r"Input should|pydantic|Extra inputs|validation error|Traceback|Literal|type=|ctx|union_tag"
)


def error_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_workflow(path)
    # Nothing of what lies beneath is shown with it.
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "key", "cure"), BAD, ids=[f"{case[2]}={case[1]}"[:60] for case in BAD]
)
def test_that_a_bad_value_is_refused_with_its_key_and_the_cure(
    tmp_path: Path, old: str, new: str, key: str, cure: list[str]
) -> None:
    assert GOOD.count(old) == 1
    good = tmp_path / "water.yaml"
    good.write_text(GOOD.replace(old, new))
    message = error_of(good)
    assert str(good) in message
    assert key in message
    for words in cure:
        assert words in message
    assert not JARGON.search(message)
    assert len(message.splitlines()) <= 12


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"# nothing but this\n", "the file is empty"),
        (b"- a\n- b\n", "not a mapping"),
        (b"just words", "not a mapping"),
        (b"name: [a, b\nseed: 3", "line 2, column 5: not YAML"),
        (b"name: a\n\tseed: 3", "line 2, column 1: not YAML"),
        (b"name: a\n\tseed: 3", "YAML takes no tabs"),
        (b"prior: {mean: 0,5}", "a decimal has a point"),
        (b"name: 'a", "not YAML"),
        (b"name: a\n---\nname: b", "not YAML"),
        (b"name: *a", "not YAML"),
        (b"name: \xff\xfe", "not UTF-8"),
        (b"name: \x00", "is not text"),
        (b"[a]: b", "a key must be a word"),
        (b"a: &a [*a]", "an alias holds itself"),
        (b"a: " + b"[" * 5000, "nested too deep"),
        (b"a: " + b"[" * 5000 + b"]" * 5000, "nested too deep"),
        (b"a: " + b"9" * 5000, "a number too long"),
        (BILLION, "too large"),
    ],
)
def test_that_a_file_that_is_no_workflow_is_refused_in_words(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "water.yaml"
    path.write_bytes(content)
    message = error_of(path)
    assert words in message
    assert "water.yaml" in message
    assert len(message) < 500
