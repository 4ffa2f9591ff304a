"""A Python function of the user's as the forward model."""

from __future__ import annotations

from collections.abc import Callable as Calling
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np

from daflow.config.external_models import CallableSettings
from daflow.errors import ConfigError, OutputInvalid, PredictionsMissing
from daflow.models.attempt_directory import attempt_directory
from daflow.models.predictions import checked_predictions
from daflow.models.user_functions import (
    accepted_keywords,
    call_for_member,
    load_function,
    table_of_observables,
)
from daflow.ports import Advanced, FloatArray, MemberInput, ObservationTable

OFFERED: Final = ("seed", "member", "step", "work_dir", "log_dir")
"""Keywords that a function gets if its signature has them."""
Answer = TypeVar("Answer")


class Callable:
    """A model that calls ``function(parameters, observations, **keywords)``.

    The function gets the member's parameters (variable name -> array) and the observation table, and
    returns the predicted observations (n_obs,) in the table's order. Of ``seed``, ``member``, ``step``,
    ``work_dir`` and ``log_dir`` it gets those that its signature names, and all of the settings'
    ``arguments``. The simplest is ``def forecast(parameters, observations)``. In cycles it is the function
    ``advance`` that is called, with a start and a stop as well.

    Laws: a function is called with what its signature accepts and no more; whatever it raises becomes
    `ModelFailed` with its traceback in the log folder; what it returns is checked before it counts.

    Raises
    ------
    daflow.errors.ConfigError
        The function cannot be imported, or not be called with these arguments.
    """

    def __init__(self, settings: CallableSettings) -> None:
        self.settings = settings
        self._forecast = _loaded(settings, settings.function, "model.function", 2)
        self._advance = _loaded(settings, settings.advance, "model.advance", 4)

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
        return self._called(
            self._forecast,
            given,
            (given.parameters, given.observations),
            lambda answer, name: checked_predictions(answer, given.observations, name),
        )

    def advance(self, given: MemberInput, start: float, stop: float) -> Advanced:
        """Return the state at ``stop`` and the predicted observations, by the user's ``advance`` function.

        Raises
        ------
        daflow.errors.ConfigError
            The settings name none.
        daflow.errors.OutputInvalid
            It returned something else than a state and predictions.
        """
        return self._called(
            self._advance,
            given,
            (given.parameters, given.observations, start, stop),
            lambda answer, name: _checked_advance(answer, given, name),
        )

    def _called(
        self,
        function: Loaded | None,
        given: MemberInput,
        arguments: tuple[object, ...],
        check: Calling[[object, str], Answer],
    ) -> Answer:
        """Return what a function of the user's answers, once it is checked."""
        if function is None:
            raise ConfigError(
                "model: the function that is to be called is not named",
                got="null",
                allowed="'module:function'",
                do="name model.advance for a run with 'cycling', model.function for one without",
            )
        keywords = {name: getattr(given, name) for name in function.passed} | self.settings.arguments
        # Folders are made when they are asked for: most functions are done before two of them are.
        kept = (
            attempt_directory(given.work_dir, self.settings.keep) if "work_dir" in keywords else nullcontext()
        )
        with kept:
            answer = call_for_member(
                lambda: function.call(*arguments, **keywords), function.name, lambda: given.log_dir
            )
            return check(answer, function.name)


class Loaded(NamedTuple):
    """A function of the user's."""

    name: str
    call: Calling[..., object]
    passed: tuple[str, ...]
    """The keywords that it takes of those on offer."""


def _loaded(settings: CallableSettings, name: str | None, key: str, positional: int) -> Loaded | None:
    if name is None:
        return None
    call = load_function(name, settings.folder, key)
    passed = accepted_keywords(
        call, positional=positional, offered=OFFERED, asked=settings.arguments, key=key
    )
    return Loaded(name, call, passed)


def _checked_advance(answer: object, given: MemberInput, name: str) -> Advanced:
    """Return a state and predictions if they can be used; who keeps the state looks at its shapes."""
    if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[0], Mapping)):
        raise OutputInvalid(
            f"{name}: not a state and predictions",
            got=type(answer).__name__,
            allowed="a pair: (variable -> array at the time 'stop', predictions (n_obs,))",
            do="return state, predicted",
        )
    state, predicted = answer
    known = {variable: np.asarray(values, dtype=np.float64) for variable, values in state.items()}
    try:
        return Advanced(known, checked_predictions(predicted, given.observations, name))
    except PredictionsMissing as missing:
        # The state is sound: whether these may be missing is the run's policy to say.
        return Advanced(known, missing.predicted)
