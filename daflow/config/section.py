"""What every section of a workflow file has in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo


class Section(BaseModel):
    """A part of the workflow file: frozen, every key known, every value checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _beside_the_workflow(path: Path, info: ValidationInfo) -> Path:
    folder: Path | None = (info.context or {}).get("folder")
    return path if folder is None or path.is_absolute() else folder / path


InputPath = Annotated[Path, AfterValidator(_beside_the_workflow)]
"""A path to a file or folder that the workflow reads; a relative one starts at the workflow file's folder.

Validation only resolves it (from the context's ``folder``); who reads it checks that something is there.
"""
