"""A run whose model forecasts several members in one call ends as one that forecasts them one by one."""

from tests.end_to_end.small_run import RING, assert_same_bits, finals, run_inline, written


def test_that_members_forecast_in_one_call_end_with_the_same_bits(tmp_path):
    workflow = written(tmp_path, RING)
    alone = run_inline(workflow, tmp_path / "alone")
    together = run_inline(workflow, tmp_path / "together", "model.together=7", "execution.group=10", seed=3)
    assert_same_bits(finals(together), finals(alone))
