"""Real runs of every smoother and inversion: in any order, and with members that are lost on the way."""

from __future__ import annotations

import numpy as np
import pytest

from daflow.assemble.reading.contents import report_contents
from tests.end_to_end.small_run import CALLABLE, assert_same_bits, finals, run_inline, written

METHODS = {
    "nesterov": "{kind: eki, time_step: 0.5, steps: 4, perturbed: none, acceleration: nesterov}",
    "etki": "{kind: etki}",
    "ies": "{kind: ies, steps: 3}",
    "small ies": "{kind: ies, steps: 3}",
    "enrml": "{kind: enrml, steps: 5}",
}
FAILS = """
def forecast(parameters, observations, member, step):
    if step == 1 and member == 7:
        raise ArithmeticError("no convergence")
    return parameters["level"][:3] ** 2 + parameters["level"][4:7]
"""


@pytest.mark.parametrize("name", METHODS)
def test_that_the_order_of_tasks_does_not_change_a_bit(place, name):
    text = CALLABLE.replace("{kind: es_mda, steps: 2}", METHODS[name])
    if name == "small ies":
        text = text.replace("{size: 12}", "{size: 18}")
    workflow = written(place, text, FAILS)
    run = run_inline(workflow, place / "run")
    assert 7 not in run.parameters()["member"].values
    assert_same_bits(finals(run_inline(workflow, place / "shuffled", seed=3)), finals(run))
    found = run.diagnostics()
    misfits = found["misfit_mean"] if "misfit_mean" in found else found["misfit"]
    assert float(misfits[-2]) < float(misfits[0])
    told = report_contents(run._made, run._plan, run._store, run._progress(), run.status())
    spread = [each.mean_std["level"] for each in told.spread]
    # What a step shows is what the one before it made, not the prior again.
    assert len(spread) == len(found["step"]) > 3
    for step in range(2, len(spread)):
        width = run.parameters(step)["level"].std("member", ddof=1).mean()
        np.testing.assert_allclose(spread[step], width, rtol=1e-6)
