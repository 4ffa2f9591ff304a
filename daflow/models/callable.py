"""A Python function of the user's as the forward model."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Final

from daflow.config.external_models import CallableSettings
from daflow.models.attempt_directory import attempt_directory
from daflow.models.predictions import checked_predictions
from daflow.models.user_functions import (
    accepted_keywords,
    call_for_member,
    load_function,
    table_of_observables,
)
from daflow.ports import FloatArray, MemberInput, ObservationTable

OFFERED: Final = ("seed", "member", "step", "work_dir", "log_dir")
"""Keywords that a function gets if its signature has them."""


class Callable:
    """A model that calls ``function(parameters, observations, **keywords)``.

    The function gets the member's parameters (variable name -> array) and the observation table, and
    returns the predicted observations (n_obs,) in the table's order. Of ``seed``, ``member``, ``step``,
    ``work_dir`` and ``log_dir`` it gets those that its signature names, and all of the settings'
    ``arguments``. The simplest is ``def forecast(parameters, observations)``.

    Laws: a function is called with what its signature accepts and no more; whatever it raises becomes
    `ModelFailed` with its traceback in the log folder; what it returns is checked before it counts.

    Raises
    ------
    daflow.errors.ConfigError
        The function cannot be imported, or not be called with these arguments.
    """

    def __init__(self, settings: CallableSettings) -> None:
        self.settings = settings
        key = "model.function"
        self._function = load_function(settings.function, settings.folder, key)
        self._passed = accepted_keywords(
            self._function, positional=2, offered=OFFERED, asked=settings.arguments, key=key
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as settings: the function is imported where it arrives."""
        return type(self), (self.settings,)

    def observables(self) -> ObservationTable:
        """Return the table of the user's ``observables`` function."""
        settings = self.settings
        return table_of_observables(settings.observables, settings.folder, settings.arguments, settings.kind)

    def forecast(self, given: MemberInput) -> FloatArray:
        """Return the predicted observations (n_obs,), in the order of ``given.observations``.

        ``given.work_dir`` is gone afterwards unless the settings keep it; a function that does not ask for
        one has none.
        """
        keywords = {name: getattr(given, name) for name in self._passed} | self.settings.arguments
        name = self.settings.function
        # Folders are made when they are asked for: most functions are done before two of them are.
        kept = (
            attempt_directory(given.work_dir, self.settings.keep) if "work_dir" in keywords else nullcontext()
        )
        with kept:
            predicted = call_for_member(
                lambda: self._function(given.parameters, given.observations, **keywords),
                name,
                lambda: given.log_dir,
            )
            return checked_predictions(predicted, given.observations, name)
