"""From the section ``policy`` to what a run does; and that none of it moves a run's keys."""

import pytest
import yaml

from daflow.assemble.sections.build import policy_of
from daflow.assemble.sections.keys import stage_keys
from daflow.config.load import load_workflow
from daflow.names import Status
from daflow.runs.policy import RETRIES, Policy
from daflow.runs.stragglers import StragglerRule
from tests.end_to_end.small_run import CALLABLE, WELL, written


def loaded(folder, policy):
    text = CALLABLE + yaml.safe_dump({"policy": policy})
    return load_workflow(written(folder, text, WELL))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, Policy()),
        ({"retries": 2}, Policy()),
        ({"retries": 0}, Policy({**RETRIES, Status.INVALID: 0})),
        ({"retries": 100}, Policy({**RETRIES, Status.INVALID: 100, Status.LOST: 100})),
        (
            {"retries": {"timed_out": 1, "lost": 3, "cancelled": 1, "failed": 2, "invalid": 0}},
            Policy(
                {
                    Status.FAILED: 2,
                    Status.INVALID: 0,
                    Status.TIMED_OUT: 1,
                    Status.CANCELLED: 1,
                    Status.LOST: 3,
                }
            ),
        ),
        ({"retries": {"lost": 3}}, Policy({**RETRIES, Status.LOST: 3})),
        ({"on_failure": "stop"}, Policy(stop_on=frozenset(RETRIES))),
        (
            {"on_failure": {"lost": "stop", "timed_out": "stop", "failed": "drop"}},
            Policy(stop_on=frozenset({Status.LOST, Status.TIMED_OUT})),
        ),
        (
            {"node_failures": None, "stragglers": {"factor": 2, "least": 0.9}, "min_members": 5},
            Policy(min_members=5, node_failures=None, stragglers=StragglerRule(2.0, 0.9)),
        ),
        ({"stragglers": {"least": "min_members"}}, Policy(stragglers=StragglerRule(3.0, 0.0))),
    ],
)
def test_that_a_run_keeps_to_what_the_workflow_says(tmp_path, settings, expected):
    assert policy_of(loaded(tmp_path, settings)) == expected


def test_that_what_follows_from_failures_moves_no_key_of_a_run(tmp_path):
    before = stage_keys(loaded(tmp_path, {}), 2)
    policy = {
        "retries": {"lost": 1},
        "on_failure": {"lost": "stop"},
        "node_failures": None,
        "stragglers": {"factor": 2},
    }
    assert stage_keys(loaded(tmp_path, policy), 2) == before
