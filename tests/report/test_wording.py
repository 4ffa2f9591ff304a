"""Numbers and durations for readers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.report.wording import count, duration, number


@given(st.floats(-1e12, 1e12).filter(lambda value: abs(value) > 1e-12), st.integers(2, 5))
def test_that_a_number_reads_back_to_its_digits(value, digits):
    assert float(number(value, digits).replace(",", "")) == pytest.approx(
        value, rel=0.51 * 10.0 ** (1 - digits)
    )


@given(st.floats(0.001, 999_000))
def test_that_there_is_no_exponent_between_a_thousandth_and_a_million(value):
    assert "e" not in number(value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"),
        (1.0, "1.00"),
        (9.996, "10.0"),
        (43.44, "43.4"),
        (12345.6, "12,300"),
        (1e7, "1.00e+07"),
        (-0.5, "-0.500"),
    ],
)
def test_that_numbers_have_sensible_digits(value, words):
    assert number(value) == words


def test_that_what_is_no_number_is_said():
    assert number(float("nan")) == "nan"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.4213, "0.42 s"),
        (31.24, "31.2 s"),
        (59.97, "1 min 00 s"),
        (252, "4 min 12 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (274000, "3 d 04 h"),
    ],
)
def test_that_durations_have_at_most_two_units(seconds, words):
    assert duration(seconds) == words


def test_that_one_is_not_many():
    assert count(1, "member") == "1 member"
    assert count(1200, "member") == "1,200 members"
    assert count(2, "axis", "axes") == "2 axes"
