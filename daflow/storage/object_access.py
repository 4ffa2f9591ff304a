"""Object stores, opened: whose URL it is, with which credentials, and whether it can be used at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from configparser import ConfigParser
from configparser import Error as NotAnIni
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from daflow.config.object_stores import FROM_WHERE, ObjectStoreOptions, bucket_of
from daflow.errors import ConfigError, DataError, StoreError
from daflow.storage.object_medium import ObjectMedium
from daflow.storage.objects import Objects

ARRAYS: Final = "ensemble.zarr"
WORK: Final = "work"
LOOKING_SECONDS: Final = 10.0
"""How long a first look at a store may be tried again: a wrong address should be told soon."""
_READ_AGAIN: Final = timedelta(minutes=10)
"""After so long a file of credentials is read again: who renews them writes them there."""
_BY_BOTO: Final = frozenset(
    {
        "role_arn",
        "sso_session",
        "sso_start_url",
        "credential_process",
        "login_session",
        "web_identity_token_file",
    }
)
"""Ways to credentials in ~/.aws that need the provider's own library."""


def medium_of(url: str, options: ObjectStoreOptions | None) -> ObjectMedium:
    """Return the prefix of a run in an object store; nothing is asked of the server.

    Raises
    ------
    daflow.errors.ConfigError
        The credentials cannot be had in the way that the files of the provider say.
    """
    options = options or ObjectStoreOptions()
    parts = (Objects(connect(f"{url}/{part}", options), f"{url}/{part}") for part in (ARRAYS, WORK))
    return ObjectMedium(*parts)


@cache
def connect(url: str, options: ObjectStoreOptions) -> ObjectStore:
    """Open a prefix; connections are shared by all that is opened alike in a process."""
    scheme, bucket, prefix = bucket_of(url)
    how: dict[str, Any] = {
        "prefix": prefix,
        "client_options": {
            "timeout": timedelta(seconds=options.request_timeout),
            "allow_http": (options.endpoint_url or "").startswith("http://"),
        },
        "retry_config": {
            # The time is what counts; the waits between attempts grow to some seconds.
            "max_retries": 1000 if options.retry_seconds else 0,
            "retry_timeout": timedelta(seconds=options.retry_seconds),
            "backoff": {"max_backoff": timedelta(seconds=5)},
        },
    }
    return _OPEN[scheme](bucket, options, how)


def _s3(bucket: str, options: ObjectStoreOptions, how: Mapping[str, Any]) -> ObjectStore:
    profile = _Profile(options.profile)
    region = options.region or (
        None if _of_environment("AWS_REGION", "AWS_DEFAULT_REGION") else profile.region
    )
    given: dict[str, Any] = {"endpoint": options.endpoint_url, "region": region}
    if options.anonymous:
        given["skip_signature"] = True
    else:
        given["credential_provider"] = profile.credentials(named=options.profile is not None)
    return S3Store(bucket, **how, **_told(given))


def _gs(bucket: str, options: ObjectStoreOptions, how: Mapping[str, Any]) -> ObjectStore:
    given = {"base_url": options.endpoint_url, "skip_signature": options.anonymous or None}
    return GCSStore(bucket, **how, **_told(given))


def _az(bucket: str, options: ObjectStoreOptions, how: Mapping[str, Any]) -> ObjectStore:
    given = {
        "account_name": options.account,
        "endpoint": options.endpoint_url,
        "skip_signature": options.anonymous or None,
    }
    return AzureStore(bucket, **how, **_told(given))


_OPEN: Final[Mapping[str, Callable[[str, ObjectStoreOptions, Mapping[str, Any]], ObjectStore]]] = {
    "s3": _s3,
    "gs": _gs,
    "az": _az,
}


def _told(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _of_environment(*names: str) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


class _Profile:
    """What the files in ~/.aws say for a profile."""

    def __init__(self, name: str | None) -> None:
        self.name = name or _of_environment("AWS_PROFILE", "AWS_DEFAULT_PROFILE") or "default"

    @property
    def region(self) -> str | None:
        return self._settings().get("region")

    def credentials(self, *, named: bool) -> Any:
        """Return what is asked for keys: a file read again and again; ``None``: the environment or machine.

        Parameters
        ----------
        named
            Whether the workflow names the profile: then its keys go before those of the environment.
        """
        if not named and _of_environment("AWS_ACCESS_KEY_ID"):
            return None
        settings = self._settings()
        if "aws_access_key_id" in settings:
            return self._keys
        by_boto = _BY_BOTO & settings.keys()
        if by_boto:
            return self._by_boto(by_boto)
        if named:
            raise ConfigError(
                f"storage.options.profile: there are no credentials of {self.name!r} in ~/.aws",
                allowed=FROM_WHERE["s3"],
                do="name a profile that is there, on the machine of the driver and on those of the workers",
            )
        return None

    def _settings(self) -> dict[str, str]:
        config = os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")
        shared = os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
        section = self.name if self.name == "default" else f"profile {self.name}"
        return _section(config, section) | _section(shared, self.name)

    def _keys(self) -> dict[str, Any]:
        settings = self._settings()
        return {
            "access_key_id": settings["aws_access_key_id"],
            "secret_access_key": settings["aws_secret_access_key"],
            "token": settings.get("aws_session_token"),
            "expires_at": datetime.now(UTC) + _READ_AGAIN,
        }

    def _by_boto(self, found: frozenset[str]) -> Any:
        if find_spec("boto3") is None:
            raise ConfigError(
                f"the profile {self.name!r} in ~/.aws gets its credentials by {', '.join(sorted(found))}",
                got="no boto3, which knows how to",
                do="pip install boto3, where the driver and the workers run; or set AWS_ACCESS_KEY_ID, "
                "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN in the environment",
            )
        session = import_module("boto3").Session(profile_name=self.name)
        return import_module("obstore.auth.boto3").Boto3CredentialProvider(session)


def _section(path: str, name: str) -> dict[str, str]:
    parser = ConfigParser(interpolation=None)
    with suppress(NotAnIni, OSError, UnicodeDecodeError):
        parser.read(Path(path).expanduser(), encoding="utf-8")
    return dict(parser[name]) if parser.has_section(name) else {}


def look(url: str, options: ObjectStoreOptions | None) -> bool:
    """See that a prefix can be listed; return whether anything is there.

    Raises
    ------
    daflow.errors.DataError
        The server cannot be reached, there is no such bucket, or the credentials are missing or wrong.
    """
    objects = _soon(url, options)
    try:
        return next(objects.names(), None) is not None
    except StoreError as error:
        raise _unusable(error) from error


def try_out(url: str, options: ObjectStoreOptions | None) -> None:
    """See that objects can be written, read back, listed and removed; nothing stays behind.

    Raises
    ------
    daflow.errors.DataError
        One of these cannot be done.
    """
    objects, name = _soon(url, options), f"daflow-try-{uuid.uuid4().hex}"
    try:
        objects.put(name, name.encode())
        try:
            read, listed = objects.get(name), name in objects.names()
        finally:
            objects.delete(name)
    except StoreError as error:
        raise _unusable(error) from error
    if read is None or bytes(read) != name.encode() or not listed:
        raise DataError(
            f"storage.path: {url} does not keep what it is given",
            got="an object that was written and acknowledged, and was not there when it was read or listed",
            allowed="a store in which what is written is seen at once: S3, Google Cloud Storage, Azure ...",
            do="name another store",
        )


def _soon(url: str, options: ObjectStoreOptions | None) -> Objects:
    options = options or ObjectStoreOptions()
    seconds = min(options.retry_seconds, LOOKING_SECONDS)
    looking = {"retry_seconds": seconds, "request_timeout": min(options.request_timeout, LOOKING_SECONDS)}
    return Objects(connect(url, options.model_copy(update=looking)), url)


def _unusable(error: StoreError) -> DataError:
    do = str(error.do).replace("then `daflow resume` the run: nothing is lost", "then try again")
    asked = [places for scheme, places in FROM_WHERE.items() if f" {scheme}://" in error.what]
    allowed = f"credentials from {asked[0]}" if "credentials" in do else None
    return DataError(f"storage.path: {error.what}", got=error.got, allowed=allowed, do=do)
