"""Keys ``storage.path`` and ``storage.options`` of an object store."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from daflow.config.load import from_json, to_json, workflow_from
from daflow.config.object_stores import ObjectStoreOptions, bucket_of
from daflow.config.storage import StorageSettings
from daflow.errors import ConfigError

WORKFLOW = {
    "name": "w",
    "seed": 1,
    "ensemble": {"size": 2},
    "parameters": {"a": {"shape": [3], "prior": {"kind": "normal", "mean": 0, "std": 1}}},
    "model": {"kind": "linear", "variable": "a", "n": 3},
    "observations": {"kind": "twin", "error": {"default": {"absolute": 1.0}}},
    "method": {"kind": "es_mda", "steps": 1},
}
WORD = "wJalrXUtnFEMI"


def storage(**given) -> StorageSettings:
    return workflow_from(WORKFLOW | {"storage": given}, "/scratch").storage


PARTS = st.from_regex(r"\A[a-z0-9][a-z0-9._=-]{0,8}\Z").filter(lambda part: part not in {".", ".."})


@given(
    st.sampled_from(["s3", "gs", "az"]),
    st.from_regex(r"\A[a-z0-9][a-z0-9.-]{1,8}\Z"),
    st.lists(PARTS, min_size=1, max_size=3),
)
def test_that_a_url_of_an_object_store_is_kept_and_taken_apart(scheme, bucket, parts):
    prefix = "/".join(parts)
    kept = storage(path=f"{scheme}://{bucket}/{prefix}/").path
    assert kept == f"{scheme}://{bucket}/{prefix}"
    assert bucket_of(kept) == (scheme, bucket, prefix)


def test_that_a_path_without_a_scheme_is_a_folder_beside_the_workflow_as_ever():
    assert storage(path="arrays").path == Path("/scratch/arrays")
    assert storage(path="/s3:/arrays").path == Path("/s3:/arrays")
    assert storage().path is None


def test_that_what_was_asked_for_is_what_is_resolved(monkeypatch):
    monkeypatch.setenv("SITE", "minio.example.org:9000")
    options = {"endpoint_url": "https://${SITE}/", "region": "eu-west-1", "retry_seconds": 5}
    workflow = workflow_from(WORKFLOW | {"storage": {"path": "s3://lab/${SITE}", "options": options}})
    assert workflow.storage.path == "s3://lab/minio.example.org:9000"
    assert workflow.storage.options.endpoint_url == "https://minio.example.org:9000"
    assert from_json(to_json(workflow)) == workflow


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("s3://bucket", "a prefix of its own"),
        ("s3://bucket/", "a prefix of its own"),
        ("s3://bucket/a//b", "neither empty"),
        ("s3://bucket/../b", "neither empty"),
        ("s3:///prefix", "no bucket"),
        ("http://host/prefix", "no such kind of object store"),
        ("file:///prefix", "no such kind of object store"),
        ("s3://${NOWHERE_SET}/a", "NOWHERE_SET"),
        (7, "a folder, or the URL of an object store"),
    ],
)
def test_that_what_is_no_place_is_refused(path, said):
    with pytest.raises(ConfigError, match=r"storage\.path") as refused:
        storage(path=path)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        {"path": f"s3://AKIA:{WORD}@bucket/a"},
        {"path": f"s3://bucket/a?token={WORD}"},
        {"path": f"az://container/a#{WORD}"},
        {"path": "s3://bucket/a", "options": {"endpoint_url": f"https://me:{WORD}@host"}},
        {"path": "s3://bucket/a", "options": {"endpoint_url": f"https://host?sig={WORD}"}},
        *(
            {"path": "s3://bucket/a", "options": {name: WORD}}
            for name in (
                "secret",
                "key",
                "aws_access_key_id",
                "AWS_SECRET_ACCESS_KEY",
                "session_token",
                "sas_token",
                "account_key",
                "connection_string",
                "password",
                "credentials",
            )
        ),
    ],
)
def test_that_credentials_are_refused_and_not_repeated(given):
    with pytest.raises(ConfigError) as refused:
        storage(**given)
    assert "credentials do not belong" in str(refused.value)
    assert "AWS_ACCESS_KEY_ID" in str(refused.value)
    assert WORD not in str(refused.value)


def test_that_options_that_a_folder_has_not_are_refused():
    for path in (None, "arrays"):
        with pytest.raises(ConfigError, match=r"storage\.options: a folder has none"):
            storage(path=path, options={"region": "eu-west-1"})
    with pytest.raises(ConfigError, match="did you mean 'region'"):
        storage(path="s3://bucket/a", options={"regoin": "eu-west-1"})


@pytest.mark.parametrize("seconds", [-1, 281])
def test_that_retries_end_before_signatures_do(seconds):
    with pytest.raises(ConfigError, match="retry_seconds"):
        storage(path="s3://bucket/a", options={"retry_seconds": seconds})


def test_that_no_key_could_hold_a_secret():
    """What has a default is told in resolved.json."""
    names = set(TypeAdapter(ObjectStoreOptions).json_schema()["properties"])
    assert names == {
        "endpoint_url",
        "region",
        "profile",
        "account",
        "anonymous",
        "request_timeout",
        "retry_seconds",
    }
