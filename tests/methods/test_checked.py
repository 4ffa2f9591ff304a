import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from daflow.methods import checked
from daflow.methods.checked import Fitted, averaged, checked_method, chosen
from daflow.ports import Prepared, SlicePoints
from daflow.records import StateSlice

N_OBS = 30
PREDICTED = np.random.default_rng(0).standard_normal((4, N_OBS))
ROWS = st.sets(st.integers(0, N_OBS - 1), min_size=1).map(sorted)


def read(start, stop):
    assert 0 <= start <= stop <= N_OBS
    return PREDICTED[:, start:stop].copy()


@given(ROWS, st.integers(0, N_OBS), st.integers(0, N_OBS), st.integers(1, 9), st.integers(1, 9))
def test_that_some_observations_are_read_as_they_are_whatever_is_read_at_once(kept, a, b, gap, longest):
    rows, (start, stop) = np.array(kept), sorted((a, b))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checked, "GAP", gap)
        patch.setattr(checked, "LONGEST", longest)
        found = chosen(read, rows)(start, stop)
    assert found.tobytes() == np.ascontiguousarray(PREDICTED[:, rows[start:stop]]).tobytes()


@given(st.integers(0, 2**32 - 1), st.integers(0, 7), st.integers(0, 7))
def test_that_averages_are_read_by_blocks(seed, a, b):
    rng, (start, stop) = np.random.default_rng(seed), sorted((a, b))
    boxes = np.append(np.arange(7), rng.integers(0, 7, N_OBS - 7))
    weights = sparse.csr_array((rng.uniform(0.1, 1, N_OBS), (boxes, np.arange(N_OBS))))
    found = averaged(read, weights)(start, stop)
    np.testing.assert_allclose(found, (PREDICTED @ weights.toarray().T)[:, start:stop], atol=1e-13)


class Local:
    """A method that counts how often it asks where numbers lie, and for which observations."""

    n_steps = 3

    def __init__(self, n_obs):
        self.n_obs = n_obs

    def base(self, step):
        return step

    def prepare(self, given):
        return Prepared({"n": np.array(given.predicted(0, self.n_obs).shape[1])}, last=given.step == 1)

    def localize(self, locate):
        return {"near": locate().coordinates[:, 0] + locate().start, "n": np.array(self.n_obs)}


def test_that_a_method_is_told_of_places_for_the_observations_of_its_step():
    made = []

    def make(scale):
        made.append(int(np.isfinite(scale).sum()))
        return Fitted(Local(made[-1]))

    method = checked_method(None, make, N_OBS)
    assert (method.n_steps, method.base(2), made) == (3, 2, [N_OBS])
    points = SlicePoints(np.zeros(2, np.int64), np.arange(6.0).reshape(2, 3), 7)
    places = method.localize(lambda: points)
    assert "near" not in places
    given = checked.SliceInput(0, StateSlice(0, 0, 2), (0, 1), {}, places, {})
    inside = method._slice(given, Local(12))
    assert inside.places["near"].tolist() == [7.0, 10.0]
    assert inside.places["n"] == 12


def test_that_what_ends_a_run_is_passed_on():
    method = checked_method(None, lambda scale: Fitted(Local(N_OBS)), N_OBS)
    step = lambda number: checked.StepInput(number, range(4), read, {})  # noqa: E731 - one line
    assert [method.prepare(step(number)).last for number in (0, 1)] == [False, True]
