"""Keys ``storage.path`` and ``storage.options`` where the arrays go to an object store."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, TypeAdapter, ValidationInfo, WithJsonSchema, model_validator
from pydantic.functional_validators import PlainValidator

from daflow.config.section import ENVIRONMENT_VARIABLE, InputPath, Problem, Section, refuse

SCHEMES: Final[Mapping[str, str]] = {"s3": "S3", "gs": "Google Cloud Storage", "az": "Azure Blob Storage"}
"""What URLs of object stores begin with, and whose they are."""
FROM_WHERE: Final[Mapping[str, str]] = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, ~/.aws/credentials, or the role "
    "of the machine",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS in the environment, `gcloud auth application-default login`, or "
    "the machine's service account",
    "az": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN in the "
    "environment, or the machine's identity",
}
"""Where credentials are looked for."""
OUTSIDE: Final = (
    "the environment or the usual files: AWS_ACCESS_KEY_ID ..., ~/.aws/credentials; "
    "GOOGLE_APPLICATION_CREDENTIALS; AZURE_STORAGE_ACCOUNT_KEY ..."
)
_SECRET: Final = re.compile(
    r"secret|token|passw|credential|signature|sas|connection|(^|_)key|(^|_)auth", re.IGNORECASE
)
_BUCKET: Final = re.compile(r"[A-Za-z0-9][\w.-]+")


class Bucket(NamedTuple):
    """What the URL of an object store says."""

    scheme: str
    bucket: str
    prefix: str
    """What the names of all objects begin with, without slashes at its ends; may be empty."""


def bucket_of(url: str) -> Bucket:
    """Return what the URL of an object store says."""
    parts = urlsplit(url)
    return Bucket(parts.scheme, parts.netloc, parts.path.strip("/"))


def _expanded(text: str) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            what = f"the environment variable {found[1]!r} is not set: set it, or write the URL out"
            refuse([Problem("", what)])
        return os.environ[found[1]]

    return ENVIRONMENT_VARIABLE.sub(value, text)


def _endpoint(url: str | None) -> str | None:
    if url is None:
        return None
    url = _expanded(url)
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        refuse([Problem("", "credentials do not belong into a URL", allowed=OUTSIDE)])
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        refuse([Problem("", "not the URL of a server", url, "http://host:port or https://host")])
    return url.rstrip("/")


class ObjectStoreOptions(Section):
    """How an object store is reached. Credentials are no part of it: see ``storage.path``."""

    endpoint_url: Annotated[str | None, AfterValidator(_endpoint)] = Field(
        default=None,
        description="The server, where it is not the provider's own: https://minio.example.org:9000. "
        "${NAME} stands for an environment variable.",
    )
    region: str | None = Field(
        default=None, description="Of the bucket, for S3; null: AWS_REGION, or what ~/.aws/config says."
    )
    profile: str | None = Field(
        default=None, description="Whose credentials in ~/.aws, for S3; null: AWS_PROFILE, or default."
    )
    account: str | None = Field(
        default=None, description="The storage account, for Azure; null: AZURE_STORAGE_ACCOUNT_NAME."
    )
    anonymous: bool = Field(default=False, description="Whether requests go without credentials.")
    request_timeout: float = Field(
        default=60.0, gt=0, description="The longest that one request may take, s."
    )
    retry_seconds: float = Field(
        default=120.0,
        ge=0,
        le=280.0,
        description="How long a request that fails by the server or the network is tried again before the "
        "run is laid down, s; 0: not at all. Signatures grow too old for more than 280.",
    )

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            secret = [
                name for name in map(str, values) if name not in cls.model_fields and _SECRET.search(name)
            ]
            # The values are not told: messages go into logs.
            refuse(
                Problem(name, "credentials do not belong into a workflow file", allowed=OUTSIDE)
                for name in secret
            )
        return values


def _object_url(text: str) -> str:
    url = _expanded(text)
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        refuse([Problem("", "credentials do not belong into a URL", allowed=OUTSIDE)])
    if parts.scheme not in SCHEMES:
        allowed = ", ".join(f"{scheme}://bucket/prefix" for scheme in SCHEMES)
        refuse([Problem("", "there is no such kind of object store", f"'{parts.scheme}://'", allowed)])
    if not _BUCKET.fullmatch(parts.netloc):
        refuse(
            [Problem("", "no bucket, or not the name of one", f"'{url}'", f"{parts.scheme}://bucket/prefix")]
        )
    _, bucket, prefix = bucket_of(url)
    if any(part in {"", ".", ".."} for part in prefix.split("/")):
        what = "a run has a prefix of its own, whose parts are neither empty nor '.' nor '..'"
        refuse([Problem("", what, f"'{url}'", f"{parts.scheme}://{bucket}/prefix")])
    return f"{parts.scheme}://{bucket}/{prefix}"


_folder: Final[TypeAdapter[Path]] = TypeAdapter(InputPath)


def _place(value: object, info: ValidationInfo) -> Path | str:
    if isinstance(value, str) and "://" in value:
        return _object_url(value)
    if not isinstance(value, str | Path):
        refuse(
            [Problem("", "of a wrong type", repr(value), "a text: a folder, or the URL of an object store")]
        )
    return _folder.validate_python(value, context=info.context)


StoragePlace = Annotated[Path | str, PlainValidator(_place), WithJsonSchema({"type": "string"})]
"""A folder (a path as any other), or the URL of a prefix in a bucket: ``s3://``, ``gs://``, ``az://``."""
