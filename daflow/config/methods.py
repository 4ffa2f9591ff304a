"""Section ``method``: how the ensemble is updated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import Discriminator, Field, Tag

from daflow.config.es_mda import EsMdaSettings, EsSettings, GeometricAlphas, RestrictedAlphas
from daflow.config.filters import FilterSettings
from daflow.config.inversions import TRUNCATING, Inversion
from daflow.config.iterative_smoothers import EnrmlSettings, IesSettings
from daflow.config.kalman_inversion import EkiSettings, EtkiSettings

__all__ = [
    "TRUNCATING",
    "EkiSettings",
    "EnrmlSettings",
    "EsMdaSettings",
    "EsSettings",
    "EtkiSettings",
    "GeometricAlphas",
    "IesSettings",
    "Inversion",
    "MethodSettings",
    "RestrictedAlphas",
]

SmootherSettings = (
    Annotated[EsMdaSettings, Tag("es_mda")]
    | Annotated[EsSettings, Tag("es")]
    | Annotated[EkiSettings, Tag("eki")]
    | Annotated[EtkiSettings, Tag("etki")]
    | Annotated[IesSettings, Tag("ies")]
    | Annotated[EnrmlSettings, Tag("enrml")]
)
Choices = SmootherSettings | FilterSettings


def _kind(given: object) -> str:
    """Return the kind of a section; one without a kind means what it did when there was one kind only."""
    return str(given.get("kind", "es_mda") if isinstance(given, Mapping) else getattr(given, "kind", ""))


def _tell_kinds(schema: dict[str, Any]) -> None:
    """Say in the JSON schema that ``kind`` tells the methods apart: editors and messages go by that."""
    places = {choice.__metadata__[0].tag: choice.__origin__.__name__ for choice in get_args(Choices)}
    mapping = {kind: f"#/$defs/{name}" for kind, name in places.items()}
    schema["discriminator"] = {"propertyName": "kind", "mapping": mapping}


MethodSettings = Annotated[Choices, Discriminator(_kind), Field(json_schema_extra=_tell_kinds)]
"""The methods there are, told apart by ``kind``."""
