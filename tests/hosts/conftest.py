"""Where small runs are made: as in the tests from end to end."""

from tests.end_to_end.conftest import _ended, place

__all__ = ["_ended", "place"]
