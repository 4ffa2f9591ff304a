"""Objects under a prefix of a bucket: put whole, read by ranges, and errors that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import obstore
from numpy.typing import NDArray
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from daflow.errors import StoreError

LARGEST_PUT: Final = 64 * 2**20
"""Bytes; what is larger goes in parts, which appear together."""
_CODE: Final = re.compile(r"<Code>(\w+)</Code>(?:\s*<Message>([^<]*)</Message>)?")
_QUERY: Final = re.compile(r"\?\S*")
_LONGEST: Final = 300
MACHINE: Final = "169.254.169.254"
"""Where a machine in a cloud tells its credentials: asked last, where nothing else gave any."""
_REFUSED: Final = (
    "401",
    "403",
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
)


@contextmanager
def object_errors(what: str, url: str) -> Iterator[None]:
    """Turn what an object store says into a `StoreError` that says what to do."""
    try:
        yield
    except (BaseError, OSError) as error:
        said = _said(error)
        raise StoreError(f"cannot {what} {url}", got=said, do=_cure(said)) from error


def _said(error: Exception) -> str:
    """Return the sense of an error, without the queries of URLs: a signature may be in them."""
    text = str(error).partition("\n\nDebug source")[0]
    code = _CODE.search(text)
    if code is not None:
        status = re.search(r"\b[45]\d\d [A-Z][A-Za-z ]+", text)
        told = f"{code[1]}: {code[2]}" if code[2] else code[1]
        return f"{told} ({status[0].strip()})" if status else told
    text = " ".join(_QUERY.sub("", text).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _cure(said: str) -> str:
    resume = "then `daflow resume` the run: nothing is lost"
    if MACHINE in said:
        return f"there are no credentials: set them in the environment or in the usual files, {resume}"
    if "NoSuchBucket" in said or "ContainerNotFound" in said or "bucket does not exist" in said:
        return f"make the bucket, or mend storage.path; {resume}"
    if any(word in said for word in _REFUSED):
        return f"see that the credentials are right and may read, write and list there, {resume}"
    if "not found" in said or "NoSuchKey" in said:
        return "restore the object, or run the workflow again with a prefix of its own"
    return f"see that the server runs and can be reached from here (storage.options.endpoint_url), {resume}"


class Objects:
    """Objects under a prefix.

    Laws: an object is there whole or not at all, and once `put` has returned any reader finds it and any list
    has it. That is what S3, Google Cloud Storage and Azure Blob Storage promise; a server that is only
    compatible has to promise the same.

    Parameters
    ----------
    store
        The prefix, opened: see `daflow.storage.object_access.connect`.
    url
        What messages call it.
    """

    def __init__(self, store: ObjectStore, url: str) -> None:
        self.store, self.url = store, url

    def __str__(self) -> str:
        return self.url

    def put(self, name: str, data: bytes) -> None:
        """Write an object, in the place of the one that was there.

        Raises
        ------
        daflow.errors.StoreError
            The server did not acknowledge it, for as long as it was asked to.
        """
        with object_errors("write", f"{self.url}/{name}"):
            obstore.put(self.store, name, data, use_multipart=len(data) > LARGEST_PUT)

    def get(self, name: str) -> memoryview | None:
        """Return what an object holds; ``None``: there is none."""
        with object_errors("read", f"{self.url}/{name}"):
            try:
                return memoryview(obstore.get(self.store, name).bytes())
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

    def read(self, name: str, offset: int, out: NDArray[Any]) -> None:
        """Fill contiguous memory with what an object holds from an offset on.

        Raises
        ------
        daflow.errors.StoreError
            It is not there, or too short.
        """
        if not out.size:
            return
        with object_errors("read", f"{self.url}/{name}"):
            data = memoryview(obstore.get_range(self.store, name, start=offset, length=out.nbytes))
        if data.nbytes != out.nbytes:
            raise StoreError(
                f"{self.url}/{name} is shorter than it was written",
                got=f"{data.nbytes} bytes after {offset}",
                allowed=f"{out.nbytes} bytes",
                do="restore the object, or run the workflow again with a prefix of its own",
            )
        out[:] = np.frombuffer(data, dtype=out.dtype).reshape(out.shape)

    def exists(self, name: str) -> bool:
        """Say whether there is an object of this name."""
        with object_errors("look for", f"{self.url}/{name}"):
            try:
                obstore.head(self.store, name)
            except FileNotFoundError:
                return False
        return True

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of all objects in a folder of this one, at any depth."""
        with object_errors("list", f"{self.url}/{prefix}"):
            for some in obstore.list(self.store, prefix or None):
                yield from (found["path"] for found in some)

    def delete(self, name: str) -> None:
        """Remove an object; one that is not there is fine."""
        with object_errors("remove", f"{self.url}/{name}"):
            try:
                obstore.delete(self.store, name)
            except FileNotFoundError:
                return
