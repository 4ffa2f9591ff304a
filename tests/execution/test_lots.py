"""Members that a model forecasts in one call: the same ends as one by one."""

import numpy as np
import pytest

from daflow.errors import ModelFailed
from daflow.execution.tasks.carry_out import carry_out, carry_out_all
from daflow.names import Phase, Status
from daflow.records import Task
from tests.contracts.toy_run import N_MEMBERS, Model, ToyRun, failing

FORECASTS = [Task(Phase.FORECAST, 0, member) for member in range(N_MEMBERS)]


class InLots(Model):
    """The toy model, which takes several members; its call fails where it is told to."""

    def __init__(self, fails, *, together, breaks=False):
        super().__init__(fails)
        self.together, self.breaks, self.lots = together, breaks, []

    def forecast_many(self, given):
        self.lots.append([each.member for each in given])
        if self.breaks:
            raise RuntimeError("none of them")
        return [self._one(each) for each in given]

    def _one(self, given):
        try:
            return self.forecast(given)
        except ModelFailed as failure:
            return failure


def forecast(tmp_path, model, **more):
    run = ToyRun(tmp_path)
    for task in (Task(Phase.TRUTH, 0, 0), *(Task(Phase.PRIOR, 0, member) for member in range(N_MEMBERS))):
        assert carry_out(run.bench(), task).status == Status.OK
    return run, carry_out_all(run.bench(model=model, **more), FORECASTS)


@pytest.mark.parametrize(("together", "lots"), [(4, [[0, 1, 2, 3], [4, 5]]), (9, [[0, 1, 2, 3, 4, 5]])])
def test_that_members_in_lots_end_as_members_one_by_one(tmp_path, together, lots):
    fails = failing((2, 0))
    apart, expected = forecast(tmp_path / "apart", Model(fails))
    model = InLots(fails, together=together)
    run, outcomes = forecast(tmp_path / "lots", model)
    assert model.lots == lots
    for outcome, other in zip(outcomes, expected, strict=True):
        assert (outcome.status, outcome.reason) == (other.status, other.reason)
        assert outcome.digest == other.digest
    np.testing.assert_array_equal(run.store.predicted(0), apart.store.predicted(0))


def test_that_each_member_of_a_lot_has_its_share_of_the_time(tmp_path):
    _, outcomes = forecast(tmp_path, InLots({}, together=3))
    for outcome in outcomes:
        assert outcome.figures["model_seconds"] > 0.0
        assert outcome.seconds >= outcome.figures["model_seconds"]


def test_that_members_are_forecast_alone_where_their_call_fails(tmp_path):
    model = InLots(failing((4, 0)), together=6, breaks=True)
    run, outcomes = forecast(tmp_path, model)
    assert [outcome.status for outcome in outcomes] == [*[Status.OK] * 4, Status.FAILED, Status.OK]
    assert np.isfinite(run.store.predicted(0)[[0, 1, 2, 3, 5]]).all()


def test_that_members_who_are_timed_are_forecast_one_by_one(tmp_path):
    model = InLots({}, together=6)
    _, outcomes = forecast(tmp_path, model, timeout=60.0)
    assert model.lots == []
    assert {outcome.status for outcome in outcomes} == {Status.OK}
