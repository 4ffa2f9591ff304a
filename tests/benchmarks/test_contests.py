"""Every case of `side_by_side.cases`: timed by `make bench`, run through once and small by the tests.

The tests have no peers installed, nor need them: daflow, the limits and what the standard library offers
take part, and whoever computes the same has to agree.
"""

from __future__ import annotations

import pytest
from side_by_side.cases import CASES
from side_by_side.contest import Contest
from side_by_side.memory import peak_in_a_process_of_its_own, peak_of
from side_by_side.page import asked, reached
from side_by_side.settings import rounds_of, size_of


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_that_contenders_agree(case, benchmark, place, tell):
    size = case.small if benchmark.disabled else size_of(case)
    tell(f"\n{case.name}: {case.title.format(**size)}")
    contest = Contest(case, case.make(place, **size), tell)
    benchmark.pedantic(contest.ours, setup=contest.others, rounds=rounds_of(case), warmup_rounds=1)
    for contender in contest.contenders:
        if contender.name in case.memory:
            here = benchmark.disabled
            contest.add(
                contender.name,
                peak_of(contender) if here else peak_in_a_process_of_its_own(case, contender.name, size),
            )
    record = contest.record(size)
    benchmark.extra_info.update(record)
    for aim in record["aims"]:
        tell("  " + " ".join(map(str, (reached(aim), "of", aim["against"], "aim", asked(aim), aim["met"]))))
    assert all(difference <= 1e-9 for difference in record["differences"].values())
