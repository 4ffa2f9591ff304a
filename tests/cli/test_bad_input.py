"""Bad input by the command line: exit code 2, one screen that names the place and the cure, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from daflow.assemble.folder import make_run
from daflow.cli.app import app
from daflow.config.load import load_workflow

ONE_SCREEN = 25
GOOD = """
name: small
seed: 3
ensemble: {size: 6}
grids:
  line: {shape: [8], dims: [cell], axes: [x]}
parameters:
  level: {grid: line, prior: {kind: normal, mean: 0, std: 1}}
  shift: {prior: {kind: normal, mean: 0, std: 1}}
model: {kind: linear, matrix: matrix.npy}
observations: {kind: file, path: obs.csv}
method: {kind: es_mda, steps: 2}
localization: {kind: distance, lengths: {x: 3}, variables: {shift: none}}
"""
TABLE = "name,kind,index,x,value,error_std\na,h,0,1,0.5,0.1\nb,h,1,3,0.4,0.1\nc,g,2,5,0.3,0.1\n"
MATRIX = "model: {kind: linear, matrix: matrix.npy}"
FILE = "observations: {kind: file, path: obs.csv}"
NORMAL = "level: {grid: line, prior: {kind: normal, mean: 0, std: 1}}"
DISTANCE = "lengths: {x: 3}, variables: {shift: none}"
CALLED = "model: {kind: callable, function: 'users:forecast'}"
WITH = ", observables: 'users:observables'}"
TWIN = "observations: {kind: twin, error: {default: {absolute: 1}}}"
RUN = "model: {kind: command, command: [%s], output: {kind: npy, file: out.npy}%s}"

Prepare = Callable[[Path], object]


def nothing(folder: Path) -> None:
    """Leave the good files as they are."""


def table(text: str) -> Prepare:
    return lambda folder: (folder / "obs.csv").write_text(text)


def array(name: str, values: object) -> Prepare:
    return lambda folder: np.save(folder / name, np.asarray(values))


def archive(name: str, **arrays: object) -> Prepare:
    return lambda folder: np.savez(folder / name, **{key: np.asarray(each) for key, each in arrays.items()})


def text(name: str, content: str) -> Prepare:
    return lambda folder: (folder / name).write_text(content)


@dataclass(frozen=True)
class Case:
    """What is done to a good workflow, and the words that the message must have."""

    name: str
    words: tuple[str, ...]
    replaced: tuple[str, str] = ("", "")
    prepare: Prepare = nothing
    override: str = ""


SKEWED = [[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
DENSE = "observations: {kind: file, path: obs.csv, error: {kind: dense, file: r.npz}}"
PRIOR = "level: {grid: line, prior: {kind: array, file: prior.npz}}"

CASES = [
    Case("unknown key", ("sead", "did you mean 'seed'?"), ("seed: 3", "sead: 3")),
    Case("unknown key below", ("ensemble.sise", "did you mean 'size'?"), ("size: 6", "sise: 6")),
    Case("key twice", ("seed", "twice", "delete one"), ("seed: 3", "seed: 3\nseed: 4")),
    Case("not YAML", ("line", "not YAML"), ("seed: 3", "seed: [3")),
    Case("seed of a wrong type", ("seed", "a whole number"), ("seed: 3", "seed: '3'")),
    Case("negative seed", ("seed", "at least 0"), ("seed: 3", "seed: -3")),
    Case("one member", ("ensemble.size", "at least 2"), ("size: 6", "size: 1")),
    Case("one member left", ("ensemble.exclude", "at least 2"), ("size: 6", "size: 3, exclude: [0, 1]")),
    Case("no such member", ("ensemble.exclude", "0 to 5"), ("size: 6", "size: 6, exclude: [6]")),
    Case("too many asked for", ("policy.min_members", "2 to 6"), override="policy.min_members=7"),
    Case("unknown dtype", ("storage.dtype", "float64, float32"), override="storage.dtype=float16"),
    Case("slice of nothing", ("storage.slice_size", "at least 1"), override="storage.slice_size=0"),
    Case("setting without a value", ("--set", "ensemble.size=50"), override="ensemble.size"),
    Case("setting that is no YAML", ("--set seed",), override="seed=[1"),
    Case("setting of an unknown key", ("metod", "did you mean 'method'?"), override="metod.steps=3"),
    Case("setting below a number", ("--set seed.x", "no keys"), override="seed.x=3"),
    Case("unknown model", ("model.kind", "did you mean 'linear'?"), ("kind: linear", "kind: lineer")),
    Case("matrix missing", ("matrix.npy", "model.matrix"), prepare=lambda f: (f / "matrix.npy").unlink()),
    Case("matrix no array", ("matrix.npy", "model.matrix"), prepare=text("matrix.npy", "1 2 3")),
    Case("matrix does not fit the state", ("matrix", "9"), prepare=array("matrix.npy", np.ones((3, 7)))),
    Case(
        "matrix does not fit the observations",
        ("cannot predict", "index = 2"),
        prepare=array("matrix.npy", np.ones((2, 9))),
    ),
    Case("matrix not finite", ("not finite", "[0, 0]"), prepare=array("matrix.npy", np.full((3, 9), np.nan))),
    Case("observations missing", ("obs.csv",), prepare=lambda f: (f / "obs.csv").unlink()),
    Case("observations a folder", ("obs",), ("path: obs.csv", "path: obs"), lambda f: (f / "obs").mkdir()),
    Case("observations empty", ("obs.csv",), prepare=table("")),
    Case("no rows", ("obs.csv",), prepare=table("name,kind,x,value,error_std\n")),
    Case("no values", ("value",), prepare=table(TABLE.replace("value", "what"))),
    Case("observation not finite", ("value", "NaN"), prepare=table(TABLE.replace("0.5", "nan"))),
    Case("observation no number", ("value", "wet"), prepare=table(TABLE.replace("0.5", "wet"))),
    Case("error negative", ("error_std", "-0.1"), prepare=table(TABLE.replace("0.5,0.1", "0.5,-0.1"))),
    Case("error zero", ("error_std",), prepare=table(TABLE.replace("0.5,0.1", "0.5,0"))),
    Case("no errors", ("error_std",), prepare=table(TABLE.replace("error_std", "sigma"))),
    Case("R of another size", ("covariance", "3"), (FILE, DENSE), archive("r.npz", covariance=np.eye(4))),
    Case("R not positive definite", ("positive",), (FILE, DENSE), archive("r.npz", covariance=SKEWED)),
    Case("R missing", ("r.npz",), (FILE, DENSE)),
    Case("R under another name", ("covariance", "cov"), (FILE, DENSE), archive("r.npz", cov=np.eye(3))),
    Case("prior missing", ("prior.npz",), (NORMAL, PRIOR)),
    Case(
        "prior of another shape",
        ("level", "(8,)"),
        (NORMAL, PRIOR),
        archive("prior.npz", level=np.ones((6, 7))),
    ),
    Case(
        "prior of too few", ("prior.npz", "6"), (NORMAL, PRIOR), archive("prior.npz", level=np.ones((5, 8)))
    ),
    Case("prior no zip", ("prior.npz",), (NORMAL, PRIOR), text("prior.npz", "not a zip")),
    Case("negative spread", ("level.prior.std", "above 0"), ("std: 1}}\n  shift", "std: -1}}\n  shift")),
    Case("unknown grid", ("level.grid", "did you mean 'line'?"), ("{grid: line", "{grid: lime")),
    Case("unknown localization", ("localization.kind", "distance"), ("kind: distance", "kind: distant")),
    Case(
        "localization of an unknown variable",
        ("localization.variables.shiff", "did you mean 'shift'?"),
        ("{shift: none}", "{shift: none, shiff: none}"),
    ),
    Case(
        "localization of an unknown kind",
        ("localization.observations.q", "g, h"),
        (DISTANCE, f"{DISTANCE}, observations: {{q: {{lengths: {{x: 1}}}}}}"),
    ),
    Case("localization without places", ("x",), prepare=table(TABLE.replace(",x,", ",station,"))),
    Case("localization without a grid", ("shift: none",), (", variables: {shift: none}", "")),
    Case(
        "alphas that do not sum to 1",
        ("method.alphas", "normalise"),
        ("steps: 2", "steps: 2, alphas: [2, 3]"),
    ),
    Case("not one alpha a step", ("method.alphas", "one a step"), ("steps: 2", "steps: 2, alphas: [1]")),
    Case(
        "truncation with exact", ("method.truncation", "subspace"), ("steps: 2", "steps: 2, truncation: 0.9")
    ),
    Case(
        "tapered covariance with subspace",
        ("subspace", "subspace_rescaled"),
        (
            "method: {kind: es_mda, steps: 2}\nlocalization: {",
            "method: {kind: es_mda, inversion: subspace}\nlocalization: {tapers: cross_covariance, ",
        ),
        lambda folder: (
            table("name,kind,index,x,value,error_std\n" + "a,h,0,1,0.5,0.1\n" * 6)(folder),
            array("matrix.npy", np.ones((6, 9)))(folder),
        ),
    ),
    Case(
        "local analyses with an inversion",
        ("observation_error", "exact_cholesky"),
        (
            "method: {kind: es_mda, steps: 2}\nlocalization: {",
            "method: {kind: es_mda, inversion: rescaled}\nlocalization: {tapers: observation_error, ",
        ),
    ),
    Case(
        "local analyses with correlated errors",
        ("observation_error", "error.kind: dense"),
        (
            f"{FILE}\nmethod: {{kind: es_mda, steps: 2}}\nlocalization: {{",
            f"{DENSE}\nmethod: {{kind: es_mda, steps: 2}}\nlocalization: {{tapers: observation_error, ",
        ),
        archive("r.npz", covariance=0.01 * np.eye(3)),
    ),
    Case("module missing", ("model.function", "users"), (MATRIX, CALLED)),
    Case(
        "function missing",
        ("forecast", "forecasts"),
        (MATRIX, CALLED),
        text("users.py", "def forecasts(a, b): ..."),
    ),
    Case("module broken", ("users",), (MATRIX, CALLED), text("users.py", "def forecast(a, b)\n")),
    Case(
        "module that raises",
        ("users", "boom"),
        (MATRIX, CALLED),
        text("users.py", "raise ValueError('boom')"),
    ),
    Case(
        "function of one argument",
        ("model.function", "def forecast(a)"),
        (MATRIX, CALLED),
        text("users.py", "def forecast(a): ..."),
    ),
    Case(
        "twin without observables",
        ("observables",),
        (f"{MATRIX}\n{FILE}", f"{CALLED}\n{TWIN}"),
        text("users.py", "def forecast(a, b): ..."),
    ),
    Case(
        "observables without their kind",
        ("model.observables", "no column kind"),
        (f"{MATRIX}\n{FILE}", f"{CALLED.replace('}', WITH)}\n{TWIN}"),
        text("users.py", "def forecast(a, b): ...\n\ndef observables():\n    return {'name': ['a']}"),
    ),
    Case(
        "observables without their places",
        ("x",),
        (f"{MATRIX}\n{FILE}", f"{CALLED.replace('}', WITH)}\n{TWIN}"),
        text(
            "users.py",
            "def forecast(a, b): ...\n\ndef observables():\n    return {'name': ['a'], 'kind': ['b']}",
        ),
    ),
    Case("command missing", ("no-such-program",), (MATRIX, RUN % ("no-such-program", ""))),
    Case(
        "template missing",
        ("deck.tmpl",),
        (MATRIX, RUN % ("'true'", ", files: [{kind: template, source: deck.tmpl}]")),
    ),
    Case(
        "unknown name in a template",
        ("levle", "did you mean 'level'?"),
        (MATRIX, RUN % ("'true'", ", files: [{kind: template, source: deck.tmpl}]")),
        text("deck.tmpl", "{{ levle }}"),
    ),
    Case("unknown placeholder", ("membr",), (MATRIX, RUN % ("'true', '{membr}'", ""))),
    Case(
        "variable that is written is none",
        ("levle", "did you mean 'level'?"),
        (MATRIX, RUN % ("'true'", ", files: [{kind: array, variable: levle, format: npy, target: a.npy}]")),
    ),
    Case(
        "scheduler address",
        ("execution.address", "tcp://host:8786"),
        override="execution={kind: address, address: here}",
    ),
    Case("memory", ("execution.memory", "2GB"), override="execution.memory=lots"),
    Case(
        "timeout with threads",
        ("execution.threads", "timeout: null"),
        ("seed: 3", "execution: {kind: local, threads: 2}\npolicy: {timeout: 9}"),
    ),
    Case(
        "observations of what is not predicted",
        ("cannot predict", "index = 7"),
        prepare=table(TABLE.replace("a,h,0", "a,h,7")),
    ),
    Case(
        "variable of the model is none",
        ("levle", "did you mean 'level'?"),
        (MATRIX, "model: {kind: linear, variable: levle, n: 8}"),
    ),
    Case(
        "model of another size",
        ("level", "(8,)", "(9,)"),
        (f"{MATRIX}\n{FILE}", f"model: {{kind: lorenz96, variable: level, n: 9}}\n{TWIN}"),
    ),
    Case(
        "linear model of another size",
        ("model.n", "8"),
        (MATRIX, "model: {kind: linear, variable: level, n: 9}"),
    ),
    Case("store below a file", ("obs.csv",), override="storage.path=obs.csv/store"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a workflow that nothing is wrong with, which is where the command is given."""
    (tmp_path / "workflow.yaml").write_text(GOOD)
    (tmp_path / "obs.csv").write_text(TABLE)
    np.save(tmp_path / "matrix.npy", np.eye(3, 9))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(*words: str) -> str:
    """Give a command and return what it says; it must be refused as bad input, on one screen."""
    result = CliRunner().invoke(app, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert 1 <= len(result.output.splitlines()) <= ONE_SCREEN
    return result.output


def test_that_the_good_workflow_is_good(folder):
    result = CliRunner().invoke(app, ["check", "workflow.yaml"])
    assert result.exit_code == 0, result.output
    assert "9 numbers a member" in result.output


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_that_a_bad_workflow_is_refused_before_anything_runs(folder, case):
    old, new = case.replaced
    if old:
        assert GOOD.count(old) == 1
    (folder / "workflow.yaml").write_text(GOOD.replace(old, new) if old else GOOD)
    case.prepare(folder)
    override = ["--set", case.override] if case.override else []
    for words in (["check", "workflow.yaml"], ["run", "workflow.yaml", "--run", "run"]):
        message = refused(*words, *override)
        for word in case.words:
            assert word in message
    assert not (folder / "run").exists(), "something is left behind"


GIVEN = {
    "no such file": (["check", "nowhere.yaml"], ["nowhere.yaml", "daflow init"]),
    "a folder for a file": (["check", "."], ["a folder, not a file"]),
    "no file": (["check"], ["Missing argument"]),
    "no folder": (["run", "workflow.yaml"], ["--run"]),
    "unknown command": (["chekc"], ["check"]),
    "unknown option": (["check", "workflow.yaml", "--sett", "a=1"], ["--set"]),
    "run in a folder in use": (["run", "workflow.yaml", "--run", "."], ["in use", "--run"]),
    "run below a file": (["run", "workflow.yaml", "--run", "obs.csv/run"], ["obs.csv", "--run"]),
    "run in a file": (["run", "workflow.yaml", "--run", "obs.csv"], ["obs.csv", "--run"]),
    "resume of no run": (["resume", "nowhere"], ["no run", "daflow run"]),
    "status of no run": (["status", "."], ["no run", "resolved.json"]),
    "report of no run": (["report", "nowhere"], ["no run"]),
    "logs of no run": (["logs", "nowhere", "--member", "1"], ["no run"]),
    "logs of nobody": (["logs", "nowhere"], ["--member"]),
    "init over a file": (["init", "workflow.yaml"], ["there already"]),
    "init below a file": (["init", "obs.csv/workflow.yaml"], ["cannot be written"]),
}


@pytest.mark.parametrize("name", GIVEN)
def test_that_a_command_that_makes_no_sense_is_refused(folder, name):
    words, expected = GIVEN[name]
    message = refused(*words)
    for word in expected:
        assert word in message


@pytest.fixture
def made(folder: Path) -> Path:
    """A run that was made but never driven."""
    make_run(load_workflow(folder / "workflow.yaml"), folder / "run", GOOD)
    return folder / "run"


def test_that_a_report_is_refused_before_there_is_anything_to_tell(made):
    message = refused("report", str(made))
    assert "no observations" in message
    assert "daflow resume" in message


def test_that_logs_of_a_member_that_is_not_there_are_refused(made):
    assert "members 0 to 5" in refused("logs", str(made), "--member", "6")
    assert "no logs" in refused("logs", str(made), "--member", "2")
    assert "steps 0 to 2" in refused("logs", str(made), "--member", "2", "--step", "3")


def test_that_a_run_is_not_gone_on_with_under_other_settings(made, folder):
    message = refused("run", "workflow.yaml", "--run", str(made), "--set", "seed=4")
    assert "seed" in message
    assert "folder of their own" in message
    assert "method" in refused("resume", str(made), "--set", "method.steps=3")
    assert "execution.workers" in refused("resume", str(made), "--set", "execution.workers=0")


def test_that_a_run_whose_description_is_damaged_is_refused(made):
    (made / "resolved.json").write_text('{"workflow": {}')
    assert "resolved.json" in refused("status", str(made))


def test_that_a_store_of_another_run_is_refused(folder):
    (folder / "store" / "step=0").mkdir(parents=True)
    message = refused("run", "workflow.yaml", "--run", "run", "--set", "storage.path=store")
    assert "in use" in message
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    "words", [["check", "nowhere.yaml"], ["run", "workflow.yaml", "--run", "r", "--set", "seed=x"]]
)
def test_that_a_process_of_its_own_ends_so_too(folder, words):
    ended = subprocess.run(
        [sys.executable, "-m", "daflow.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NO_COLOR": "1"},
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("error: ")
    assert "Traceback" not in ended.stderr
