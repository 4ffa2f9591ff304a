import numpy as np
import pytest

from daflow.execution.tasks import member as tasks
from daflow.execution.tasks.carry_out import carry_out
from daflow.execution.tasks.member import StoredParameters, log_files, log_folder
from daflow.execution.tasks.workbench import Stopwatch
from daflow.names import TRUTH, Phase, Status
from daflow.numerics.arrays.random import model_seed
from daflow.numerics.priors.facies import Facies
from daflow.records import Task
from tests.contracts.toy_run import SEED, Model, ToyRun


class Spy(Model):
    """Keeps what it is given, and returns what it is told to."""

    def __init__(self, answer=None, *, leaves=False, asks=True):
        super().__init__({})
        self.answer, self.leaves, self.asks, self.seen = answer, leaves, asks, []

    def forecast(self, given):
        self.seen.append(given)
        if self.asks:
            assert list(given.work_dir.iterdir()) == []
            assert given.log_dir.is_dir()
            assert given.work_dir is given.work_dir
        if self.leaves:
            (given.work_dir / "deck.data").write_text("kept")
        return super().forecast(given) if self.answer is None else self.answer


def forecast(tmp_path, model, attempts=1):
    run = ToyRun(tmp_path)
    for task in (Task(Phase.TRUTH, 0, 0), Task(Phase.PRIOR, 0, 2)):
        assert carry_out(run.bench(), task).status == Status.OK
    bench = run.bench(model=model)
    return run, [carry_out(bench, Task(Phase.FORECAST, 0, 2, attempt)) for attempt in range(attempts)]


def test_that_a_model_gets_its_member_s_address_and_the_questions_without_the_answers(tmp_path):
    model = Spy()
    run, _ = forecast(tmp_path, model)
    (given,) = model.seen
    assert (given.member, given.step, given.seed) == (2, 0, model_seed(SEED, 0, 2))
    assert set(given.observations) == {"name", "kind", "time", "x", "y", "z"}
    np.testing.assert_array_equal(given.parameters["perm"], run.store.read_member(0, 2, 0, 6))
    np.testing.assert_array_equal(given.parameters["shift"], run.store.read_member(0, 2, 6, 11))


def test_that_each_attempt_has_an_empty_folder_that_is_gone_unless_the_model_left_files(tmp_path):
    for leaves, expected in ((False, 0), (True, 2)):
        model = Spy(leaves=leaves)
        _, outcomes = forecast(tmp_path / str(leaves), model, attempts=2)
        assert [outcome.status for outcome in outcomes] == [Status.OK] * 2
        assert len({given.work_dir for given in model.seen}) == 2
        assert sum(given.work_dir.exists() for given in model.seen) == expected


def test_that_a_model_that_asks_for_no_folder_has_none(tmp_path):
    forecast(tmp_path, Spy(asks=False))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (np.zeros(3), "wrong shape"),
        (np.zeros((1, 4)), "wrong shape"),
        (np.float64(1.0), "wrong shape"),
        (np.array([0.0, np.nan, 1.0, -np.inf]), "2 of 4, the first ones observation 1 (k b at 1): nan"),
    ],
)
def test_that_predictions_that_cannot_be_used_are_invalid_and_not_written(tmp_path, answer, words):
    run, (outcome,) = forecast(tmp_path, Spy(answer))
    assert outcome.status == Status.INVALID
    assert words in outcome.reason
    assert np.isnan(run.store.predicted(0)).all()


def test_that_integers_and_single_precision_are_predictions_as_well(tmp_path):
    for name, answer in (
        ("int", np.arange(4)),
        ("single", np.arange(4, dtype=np.float32)),
        ("list", [0, 1, 2, 3]),
    ):
        run, (outcome,) = forecast(tmp_path / name, Spy(answer))
        assert outcome.status == Status.OK
        np.testing.assert_array_equal(run.store.predicted(0)[2], np.arange(4.0))


def test_that_variables_are_read_when_they_are_first_asked_for_and_once(tmp_path):
    run = ToyRun(tmp_path)
    watch = Stopwatch()
    parameters = StoredParameters(run.store, 0, 1, watch)
    assert list(parameters) == ["perm", "shift"]
    assert len(parameters) == 2
    run.store.write_member(0, 1, [np.arange(11.0)])
    np.testing.assert_array_equal(parameters["shift"], np.arange(6.0, 11.0))
    assert parameters["shift"] is parameters["shift"]
    assert "read_seconds" in watch.figures
    with pytest.raises(KeyError):
        parameters["no such variable"]


def test_that_a_model_sees_the_categories_of_a_field_and_the_store_the_field(tmp_path):
    run = ToyRun(tmp_path)
    view = Facies((7.0, 9.0), (0.5, 0.5), mean=8.0).of
    run.store.write_member(0, 1, [np.arange(11.0)])
    parameters = StoredParameters(run.store, 0, 1, Stopwatch(), {"shift": view})
    np.testing.assert_array_equal(parameters["shift"], [7, 7, 9, 9, 9])
    np.testing.assert_array_equal(parameters["perm"], np.arange(6.0))


def test_that_the_truth_is_drawn_forecast_and_observed(tmp_path):
    run = ToyRun(tmp_path)
    outcome = carry_out(run.bench(), Task(Phase.TRUTH, 0, 0))
    assert outcome.status == Status.OK
    assert np.isfinite(run.store.read_member(0, TRUTH, 0, 11)).all()
    value = run.store.read_observations().table["value"]
    predicted = run.store.read_predicted(0, [TRUTH], 0, 4)[0]
    assert 0 < np.abs(value - predicted).max() < 5 * 0.5
    assert tasks.observe_truth(run.bench(twin=None), Task(Phase.TRUTH, 0, 0), Stopwatch()) == ""


def test_that_every_kind_of_task_keeps_its_logs_apart(tmp_path):
    folders = [
        log_folder(tmp_path, Task(phase, 0, 0))
        for phase in (Phase.COORDINATES, Phase.TRUTH, Phase.FORECAST, Phase.PREPARE, Phase.UPDATE)
    ]
    assert len(set(folders)) == 5
    assert log_folder(tmp_path, Task(Phase.TRUTH, 0, TRUTH)) == log_folder(tmp_path, Task(Phase.TRUTH, 0, 0))


def test_that_a_member_s_log_files_are_found_by_step_or_over_all_steps(tmp_path):
    for task in (Task(Phase.FORECAST, 0, 3), Task(Phase.FORECAST, 1, 3, 1), Task(Phase.FORECAST, 0, 4)):
        folder = log_folder(tmp_path, task)
        folder.mkdir(parents=True)
        (folder / "stdout.txt").write_text(task.label)
    truth = log_folder(tmp_path, Task(Phase.TRUTH, 0, 0))
    (truth / "empty").mkdir(parents=True)
    (truth / "stdout.txt").write_text("")
    assert [path.read_text() for path in log_files(tmp_path, 3, None)] == [
        "forecast-0-00003-0",
        "forecast-1-00003-1",
    ]
    assert len(log_files(tmp_path, 3, 1)) == 1
    assert log_files(tmp_path, 9, None) == []
    assert log_files(tmp_path, TRUTH, 0) == [truth / "stdout.txt"]
