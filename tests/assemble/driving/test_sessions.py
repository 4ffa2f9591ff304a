import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.assemble.driving.sessions import MOST_MARGIN, Session, left_to_drive, session_here
from daflow.errors import ConfigError

seconds = st.floats(0, 1e7)


@given(seconds, st.none() | seconds)
def test_that_a_run_is_never_driven_longer_than_its_job_lasts(left, margin):
    driven = left_to_drive(left, margin)
    assert 0 <= driven <= left
    if margin is None:
        assert left - driven <= MOST_MARGIN + 1e-9 * left
    else:
        assert driven == max(left - margin, 0.0)


@given(seconds, seconds, st.none() | seconds)
def test_that_a_longer_job_is_driven_no_shorter(left, more, margin):
    assert left_to_drive(left + more, margin) >= left_to_drive(left, margin)


def test_that_a_driver_of_no_job_has_no_end():
    assert session_here({"SLURM_JOB_ID": "17"}) == Session()


def test_that_a_driver_knows_its_job_and_its_end_and_tells_no_worker_that_it_is_one():
    environment = {
        "DAFLOW_MODE": "job",
        "DAFLOW_SYSTEM": "slurm",
        "DAFLOW_MARGIN": "20",
        "DAFLOW_JOB_END": str(time.time() + 100),
        "SLURM_JOB_ID": "17",
    }
    session = session_here(environment)
    assert (session.mode, session.job, session.system) == ("job", "17", "slurm")
    assert 70 < session.ends - time.monotonic() <= 80
    assert environment.keys() == {"DAFLOW_JOB_END", "SLURM_JOB_ID"}
    holder = session.holder()
    assert (holder.mode, holder.job, holder.system) == ("job", "17", "slurm")
    assert holder.told().startswith("job 17 of slurm, process ")


@pytest.mark.parametrize(
    "environment", [{"DAFLOW_MODE": "sideways"}, {"DAFLOW_JOB_END": "soon"}, {"DAFLOW_MARGIN": "1 min"}]
)
def test_that_a_variable_that_cannot_be_kept_to_is_refused(environment):
    with pytest.raises(ConfigError, match=next(iter(environment))):
        session_here(environment)


@pytest.mark.parametrize(
    ("system", "environment", "job"),
    [
        ("pbs", {"PBS_JOBID": "17.server", "SLURM_JOB_ID": "3"}, "17.server"),
        ("pbs", {"SLURM_JOB_ID": "3"}, "3"),
        ("lsf", {"LSB_JOBID": "4"}, "4"),
        ("sge", {"JOB_ID": "5"}, "5"),
        ("", {"SLURM_JOB_ID": "3"}, ""),
    ],
)
def test_that_a_driver_is_the_job_that_its_own_queue_tells(system, environment, job):
    assert session_here({"DAFLOW_SYSTEM": system} | environment).job == job
