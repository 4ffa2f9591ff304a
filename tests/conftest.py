"""Whatever all tests go by."""

from hypothesis import HealthCheck, settings

# A machine that is busy with something else is no fault of the code: no example is timed.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
