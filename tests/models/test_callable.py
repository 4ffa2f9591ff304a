from __future__ import annotations

import pickle
import textwrap

import numpy as np
import pytest

from daflow.config.external_models import CallableSettings
from daflow.errors import ConfigError, ModelFailed, OutputInvalid
from daflow.models.callable import Callable
from daflow.ports import MemberInput

OBSERVATIONS = {"name": np.array(["a", "b"]), "time": np.array([1.0, 2.0])}
SIMPLEST = "def forecast(parameters, observations):\n    return parameters['k'] * observations['time']\n"


@pytest.fixture
def write(tmp_path):
    """Return what writes a user's module and makes the settings that name its function."""

    def make(text, function="forecast", module="users_model", **more):
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(text))
        return CallableSettings(function=f"{module}:{function}", folder=tmp_path, **more)

    return make


@pytest.fixture
def given(tmp_path):
    for kind in ("work", "logs"):
        (tmp_path / kind).mkdir()
    parameters = {"k": np.array(3.0)}
    return MemberInput(5, 2, parameters, OBSERVATIONS, 99, tmp_path / "work", tmp_path / "logs")


def test_that_the_simplest_function_is_enough(write, given):
    assert Callable(write(SIMPLEST)).forecast(given).tolist() == [3.0, 6.0]


def test_that_a_function_gets_what_its_signature_accepts_and_no_more(write, given):
    text = "def forecast(parameters, observations, *, seed, member, factor): return [seed + member, factor]"
    assert Callable(write(text, arguments={"factor": 0.5})).forecast(given).tolist() == [104.0, 0.5]
    text = "def forecast(parameters, observations, **all): return [len(all), all['step']]"
    assert Callable(write(text)).forecast(given).tolist() == [5.0, 2.0]


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (SIMPLEST, {"factor": 1}, "unexpected keyword argument 'factor'"),
        ("def forecast(parameters): return 1", {}, "too many positional arguments"),
        (
            "def forecast(parameters, observations, factor): return 1",
            {},
            "missing a required argument: 'factor'",
        ),
        ("def forecast(parameters, observations, seed): return 1", {"seed": 1}, "given by daflow itself"),
        (
            "def forcast(parameters, observations): return 1",
            {},
            r"no function 'forecast'(.|\n)*users_model:forcast",
        ),
        ("import no_such_module", {}, "imports 'no_such_module', which is not installed"),
        ("1 / 0", {}, r"ZeroDivisionError: division by zero \(.*users_model.py, line 1\)"),
        ("def forecast(:", {}, "SyntaxError"),
    ],
)
def test_that_what_cannot_be_called_is_refused_at_construction(write, text, arguments, message):
    with pytest.raises(ConfigError, match=message):
        Callable(write(text, arguments=arguments))


def test_that_a_missing_module_names_the_folder_and_its_neighbours(tmp_path):
    (tmp_path / "reservoir_model.py").touch()
    with pytest.raises(ConfigError, match=r"no module 'resevoir_model'(.|\n)*did you mean 'reservoir_model'"):
        Callable(CallableSettings(function="resevoir_model:forecast", folder=tmp_path))


@pytest.mark.parametrize("text", ["model", "model:", ":f", "a b:f"])
def test_that_a_name_that_is_no_function_is_refused(text):
    with pytest.raises(ValueError, match="does not name a function"):
        CallableSettings(function=text)


@pytest.mark.parametrize("what", ["ValueError('k is too large')", "SystemExit('k is too large')"])
def test_that_what_a_function_raises_is_a_failure_with_its_traceback_kept(write, given, what):
    model = Callable(write(f"def forecast(parameters, observations):\n    raise {what}\n"))
    with pytest.raises(ModelFailed, match=r"k is too large \(.*users_model.py, line 2\)"):
        model.forecast(given)
    kept = (given.log_dir / "traceback.txt").read_text()
    assert "users_model.py" in kept
    assert "user_functions.py" not in kept


def test_that_lack_of_memory_passes_as_it_is(write, given):
    with pytest.raises(MemoryError):
        Callable(write("def forecast(parameters, observations): raise MemoryError")).forecast(given)


def test_that_a_function_may_say_itself_that_its_output_is_invalid(write, given):
    text = """
        from daflow.errors import OutputInvalid
        def forecast(parameters, observations): raise OutputInvalid("not converged")
    """
    with pytest.raises(OutputInvalid, match="not converged"):
        Callable(write(text)).forecast(given)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[1.0]", "not one prediction for each observation"),
        ("[1.0, float('inf')]", r"1 of 2 predictions are not finite(.|\n)*row 1 \(b at 2.0\): inf"),
        ("None", "not real numbers"),
        ("[1j, 2]", "not real numbers"),
        ("[[1.0], [1.0, 2.0]]", "rows of different lengths"),
    ],
)
def test_that_what_it_returns_is_checked_before_it_counts(write, given, value, message):
    with pytest.raises(OutputInvalid, match=message):
        Callable(write(f"def forecast(parameters, observations): return {value}")).forecast(given)


def test_that_two_workflows_may_have_modules_of_one_name(tmp_path, given):
    models = []
    for value in (1.0, 2.0):
        folder = tmp_path / str(value)
        folder.mkdir()
        (folder / "twin_model.py").write_text(
            f"def forecast(parameters, observations): return [{value}] * 2\n"
        )
        models.append(
            Callable(CallableSettings(function="twin_model:forecast", folder=folder, keep="always"))
        )
    assert [model.forecast(given)[0] for model in models] == [1.0, 2.0]


def test_that_a_model_travels_as_its_settings(write, given):
    model = pickle.loads(pickle.dumps(Callable(write(SIMPLEST))))  # noqa: S301 - its own
    assert model.forecast(given).tolist() == [3.0, 6.0]


def test_that_observables_come_from_the_user_as_a_table(write):
    text = SIMPLEST + "def seen(last): return {'name': ['a', 'b'], 'time': [1.0, last]}\n"
    text = text.replace("observations):", "observations, last):")
    model = Callable(write(text, observables="users_model:seen", arguments={"last": 9.0}))
    assert model.observables()["time"].tolist() == [1.0, 9.0]


@pytest.mark.parametrize("value", ["3", "{}", "{'a': [1], 'b': [1, 2]}", "{'a': [[1]]}", "1 / 0"])
def test_that_observables_that_are_no_table_are_refused(write, value):
    text = SIMPLEST + f"def seen(): return {value}\n"
    with pytest.raises(ConfigError, match=r"model\.observables"):
        Callable(write(text, observables="users_model:seen")).observables()


def test_that_a_twin_needs_observables(write):
    with pytest.raises(ConfigError, match="twin experiment"):
        Callable(write(SIMPLEST)).observables()


ADVANCE = SIMPLEST + textwrap.dedent("""
    def advance(state, observations, start, stop, *, seed):
        k = state["k"] * (stop - start)
        return {"k": k}, k * observations["time"] + 0 * seed
""")


def test_that_a_function_carries_a_state_from_one_time_to_another(write, given):
    model = pickle.loads(pickle.dumps(Callable(write(ADVANCE, advance="users_model:advance"))))  # noqa: S301 - its own
    made = model.advance(given, 0.5, 2.5)
    assert made.state["k"] == 6.0
    assert made.predicted.tolist() == [6.0, 12.0]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("observations['time']", "not a state and predictions"),
        ("({'k': 1.0}, [1.0])", "not one prediction for each observation"),
        ("([1.0], observations['time'])", "not a state and predictions"),
    ],
)
def test_that_what_it_returns_is_a_state_and_predictions(write, given, answer, message):
    text = SIMPLEST + f"def advance(state, observations, start, stop): return {answer}\n"
    with pytest.raises(OutputInvalid, match=message):
        Callable(write(text, advance="users_model:advance")).advance(given, 0.0, 1.0)


def test_that_a_state_is_not_lost_where_predictions_are_missing(write, given):
    text = SIMPLEST + "def advance(state, observations, start, stop): return state, [1.0, float('nan')]\n"
    made = Callable(write(text, advance="users_model:advance")).advance(given, 0.0, 1.0)
    assert made.state["k"] == 3.0
    assert np.isnan(made.predicted).tolist() == [False, True]


def test_that_a_model_without_such_a_function_says_so(write, given):
    with pytest.raises(ConfigError, match=r"model\.advance"):
        Callable(write(SIMPLEST)).advance(given, 0.0, 1.0)
    with pytest.raises(ConfigError, match=r"model\.advance"):
        Callable(write(SIMPLEST, advance="users_model:forecast"))
