"""Forecasts that take several cores: workers run only as many at once as they carry."""

from tests.end_to_end.small_run import CALLABLE, assert_same_bits, finals, run_by_workers, run_inline, written

SLOW = """
import time
from pathlib import Path

def forecast(parameters, observations):
    began = time.time()
    time.sleep(0.05)
    with Path(__file__).with_name("calls").open("a") as calls:
        calls.write(f"{began} {time.time()}\\n")
    return parameters["level"][:3] ** 2 + parameters["level"][4:7]
"""
EXECUTION = "execution: {kind: local, workers: 2, threads: 2, memory: 3GB, group: 1, member: {memory: 2GB}}\n"


def test_that_two_workers_of_two_threads_that_carry_one_forecast_each_never_run_three(place):
    workflow = written(place, CALLABLE.replace("steps: 2", "steps: 1") + EXECUTION, SLOW)
    run = run_by_workers(workflow, place / "run")
    calls = [tuple(map(float, line.split())) for line in (place / "calls").read_text().splitlines()]
    assert len(calls) == 12 * 2 + 1
    at_once = [sum(began <= start < ended for began, ended in calls) for start, _ in calls]
    assert max(at_once) <= 2
    assert_same_bits(finals(run), finals(run_inline(workflow, place / "inline")))
