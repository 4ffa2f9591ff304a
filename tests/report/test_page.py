"""The page: whole, safe, self-contained, the same bytes for the same contents, whatever is missing."""

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from daflow.errors import StoreError
from daflow.names import Phase, Status
from daflow.report import EndSummary, MemberFailure, PhaseTiming, StepPredictions, StepSpread, write_report
from daflow.report.page import render

VOID = {"meta", "br", "hr", "img", "link", "input"}
EVIL = '<script>alert("1")</script>&amp; $x_1$ \' --> ]]>'


class Page(HTMLParser):
    """Checks nesting, and gathers ids, addresses and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self._note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self._note(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    def _note(self, tag, attrs):
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in {"href", "src", "xlink:href", "action", "data", "srcset"}:
                self.addresses.append(value)
            assert not name.startswith("on")

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def finished(finished_contents):
    return render(finished_contents)


def test_that_a_finished_run_is_told_whole(finished):
    page = Page(finished)
    for told in (
        "small flood",
        "finished",
        "2030-01-02 03:04 UTC",
        "8 of 8",
        "2 of 2",
        "P1 · oil_rate",
        "P2 · pressure",
        "Misfit by step",
        "Misfit against spread",
        "log-permeability",
        "Prior mean",
        "Posterior spread",
        "Truth",
        "no convergence",
        "logs/1/3/0",
        "3 attempts at 2 members",
        "Wall time",
        "Busy with",
        "ES-MDA, 2 steps",
        "A note to the reader.",
    ):
        assert told in page.text
    assert page.tags["svg"] == 4 + 2 + 5 + 2
    assert page.tags["script"] == 0


def test_that_every_picture_has_an_alternative_text_and_ids_never_meet(finished):
    page = Page(finished)
    assert len(re.findall(r'<svg role="img" aria-label="[^"]+"', finished)) == page.tags["svg"]
    assert len(page.ids) == len(set(page.ids))


def test_that_the_page_asks_the_network_for_nothing(finished):
    page = Page(finished)
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.addresses)
    assert not re.search(r"https?:|@import|url\((?!#)", finished)
    targets = {address[1:] for address in page.addresses if address.startswith("#")}
    targets |= set(re.findall(r"url\(#([^)]+)\)", finished))
    assert targets <= set(page.ids)


def test_that_nothing_in_the_contents_can_become_markup(make_contents, make_maps):
    given = make_contents()
    table = dict(given.observations) | {
        "well": np.full(given.n_obs, EVIL),
        "kind": np.full(given.n_obs, EVIL),
    }
    evil = make_contents(
        name=EVIL,
        status=EVIL,
        when=EVIL,
        observations=table | {"time": np.arange(given.n_obs)},
        maps=[make_maps(variable=EVIL, label=EVIL, updated=False, truth=None, points={EVIL: (5.0, 5.0)})],
        failures=[MemberFailure(1, 0, 0, Status.FAILED, EVIL, EVIL)],
        spread=[StepSpread(step, {EVIL: 1.0}) for step in range(3)],
        summary={EVIL: EVIL},
        notes=[EVIL],
    )
    page = Page(render(evil))
    assert page.tags["script"] == 0
    assert EVIL in page.text


def test_that_the_same_contents_give_the_same_bytes_whatever_the_readers_settings(
    finished, make_contents, tmp_path
):
    with mpl.rc_context({"font.size": 30, "axes.grid": False, "svg.hashsalt": "other"}):
        again = write_report(make_contents(), tmp_path / "report.html").read_bytes()
        assert mpl.rcParams["font.size"] == 30
    assert again == finished.encode()


def test_that_a_report_replaces_the_last_one_and_leaves_nothing_beside_it(make_contents, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    assert write_report(make_contents(n_forecasts=0, maps=()), path) == path
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("where", ["missing/report.html", "folder"])
def test_that_a_report_that_cannot_be_written_says_so_and_leaves_nothing(make_contents, tmp_path, where):
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        write_report(make_contents(n_forecasts=0, maps=()), tmp_path / where)
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_that_a_run_without_any_forecast_has_a_report(make_contents):
    bare = make_contents(
        n_forecasts=0, truth=None, maps=(), failures=(), timings=(), spread=(), summary={}, notes=()
    )
    page = Page(render(bare))
    assert page.tags["svg"] == 0
    for told in (
        "No forecast is finished yet",
        "0 of 2",
        "No maps",
        "None: every attempt",
        "No task has been timed",
    ):
        assert told in page.text


def test_that_a_run_with_the_prior_only_has_a_report(make_contents):
    page = Page(render(make_contents(n_forecasts=1, status="running")))
    assert "there is no posterior yet" in page.text
    assert "posterior: median" not in page.text
    assert "Posterior mean" not in page.text
    assert page.tags["svg"] == 4 + 2 + 3 + 2


def test_that_a_run_between_updates_says_what_posterior_means(make_contents):
    assert "the ensemble after update 1 of 2" in Page(render(make_contents(n_forecasts=2, maps=()))).text


def test_that_spread_may_run_ahead_of_the_forecasts(make_contents):
    ahead = [StepSpread(step, {"logk": 1.0 - 0.2 * step}) for step in range(3)]
    assert "0.600" in Page(render(make_contents(n_forecasts=2, spread=ahead, maps=()))).text


def test_that_one_observation_one_member_and_a_perfect_fit_are_drawn(make_contents):
    table = {"value": np.array([3.0]), "error_std": np.array([1.0])}
    steps = [StepPredictions(step, [0], np.array([[3.0 + 1 - step]])) for step in range(2)]
    page = Page(
        render(make_contents(observations=table, predictions=steps, truth=None, n_members=1, maps=()))
    )
    assert "all observations" in page.text


def test_that_predictions_beyond_all_measure_are_drawn(make_contents):
    table = {"value": np.zeros(3), "error_std": np.ones(3)}
    steps = [
        StepPredictions(step, range(4), np.full((4, 3), 1e200 if step == 0 else 1.0)) for step in range(2)
    ]
    text = render(make_contents(observations=table, predictions=steps, truth=None, maps=()))
    assert "1.00e+200 → 1.00" in Page(text).text


def test_that_ends_are_summed_up_by_reason_before_every_attempt_is_told(make_contents):
    failures = [
        MemberFailure(3, 1, 0, Status.LOST, "its worker died"),
        MemberFailure(4, 1, 0, Status.FAILED, EVIL),
    ]
    ends = [
        EndSummary(Status.FAILED, 1, 1, 0, "", EVIL),
        EndSummary(Status.LOST, 1200, 30, 29, "n1 (1100), n2 (100)", "1200 x its worker died"),
    ]
    text = Page(render(make_contents(failures=failures, ends=ends))).text
    assert "n1 (1100), n2 (100)" in text
    assert text.index("1200 x its worker died") < text.index("Every attempt")
    assert "1,200" in text
    assert EVIL in text
    assert "done since" not in Page(render(make_contents(failures=failures))).text


def test_that_what_is_left_out_is_counted(make_contents, make_maps):
    given = make_contents(n_times=10)
    table = dict(given.observations) | {"well": np.array([f"W{i:02d}" for i in range(given.n_obs)])}
    failures = [MemberFailure(i, 0, 0, Status.FAILED, f"reason {i}") for i in range(130)]
    many = make_contents(
        n_times=10,
        observations=table,
        failures=failures,
        maps=[make_maps(shape=(1, 5)) for _ in range(13)],
        timings=[PhaseTiming(Phase.FORECAST, step, 8, 1.0, 2.0) for step in range(30)],
        spread=[StepSpread(0, {f"v{i}": 1.0 for i in range(6)})],
    )
    text = Page(render(many)).text
    for told in (
        "The 12 groups with the largest misfit, of 40.",
        "Not shown: 118 reasons",
        "Not shown: 30 attempts",
        "Not shown: 1 more field.",
        "30 phases of steps are summed",
        "2 more variables are in the table below",
    ):
        assert told in text


def test_that_many_observations_are_thinned_openly(make_contents):
    n_obs = 100_000
    rng = np.random.default_rng(1)
    table = {"value": rng.normal(size=n_obs), "error_std": np.ones(n_obs), "kind": np.full(n_obs, "radiance")}
    predicted = table["value"] + rng.normal(size=(4, n_obs))
    steps = [StepPredictions(0, range(4), predicted)]
    text = render(make_contents(observations=table, predictions=steps, truth=None, maps=()))
    assert "150 of 100,000 observations drawn" in Page(text).text
    assert "in rising order of value" in text
    assert len(text) < 1_000_000


def test_that_dates_are_a_time_axis(make_contents):
    given = make_contents()
    dates = np.datetime64("2030-01-01") + given.observations["time"].astype(int).astype("timedelta64[D]")
    text = render(make_contents(observations=dict(given.observations) | {"time": dates}, maps=()))
    assert "2030-0" in text


def test_that_times_that_are_no_times_give_way_to_ranks(make_contents):
    given = make_contents()
    for times in (np.full(given.n_obs, np.nan), np.full(given.n_obs, "Monday")):
        text = render(
            make_contents(observations=dict(given.observations) | {"time": times}, maps=(), n_forecasts=1)
        )
        assert text.count("observations, in rising order of value") == 4


def test_that_names_may_be_long_and_in_any_script(make_contents, make_maps):
    long = "Скважина 井 بئر " * 20
    given = make_contents()
    table = dict(given.observations) | {"well": np.full(given.n_obs, long)}
    text = render(make_contents(name=long, observations=table, maps=[make_maps(points={long: (1.0, 1.0)})]))
    assert long.strip() in Page(text).text


def test_that_a_reason_that_is_no_text_does_not_cost_the_report(make_contents, tmp_path: Path):
    reason = "last words: \udc80\x00" + "x" * 1000
    failure = MemberFailure(1, 0, 0, Status.FAILED, reason)
    text = write_report(
        make_contents(failures=[failure], n_forecasts=0, maps=()), tmp_path / "r.html"
    ).read_text(encoding="utf-8")
    assert "last words" in text
    assert "x" * 400 not in text
