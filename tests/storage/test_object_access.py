"""Object stores by their URLs: a real server's answers, and where credentials come from."""

import numpy as np
import pytest
from obstore.store import AzureStore, GCSStore

from daflow.config.object_stores import ObjectStoreOptions
from daflow.errors import ConfigError, DataError, StoreError
from daflow.storage import object_access
from daflow.storage.object_access import connect, look, try_out
from daflow.storage.objects import Objects
from tests.storage.s3_server import BUCKET, KEYS, free_port, moto

SECRET_WORDS = ("not-a-secret", "another-word")


@pytest.fixture(scope="module")
def server():
    with moto() as url:
        yield url


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path):
    """Have no credentials, and no machine that has some."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", *KEYS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setattr(object_access, "LOOKING_SECONDS", 1.0)
    connect.cache_clear()
    yield
    connect.cache_clear()


@pytest.fixture
def keys(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def at(server, **given):
    return ObjectStoreOptions(endpoint_url=server, retry_seconds=0.5, **given)


@pytest.mark.usefixtures("keys")
def test_that_a_prefix_is_tried_out_and_left_as_it_was(server):
    url = f"s3://{BUCKET}/tried"
    assert not look(url, at(server))
    try_out(url, at(server))
    assert not look(url, at(server))
    objects = Objects(connect(url, at(server)), url)
    objects.put("a/b", b"abc")
    assert look(url, at(server))
    assert not look(f"s3://{BUCKET}/trie", at(server))
    assert bytes(objects.get("a/b")) == b"abc"
    assert objects.get("a") is None
    assert list(objects.names("a")) == ["a/b"]


@pytest.mark.usefixtures("keys")
def test_that_large_objects_go_in_parts_that_appear_together(server, monkeypatch):
    monkeypatch.setattr("daflow.storage.objects.LARGEST_PUT", 2**20)
    objects = Objects(connect(f"s3://{BUCKET}/large", at(server)), "s3://large")
    data = bytes(range(256)) * 2**15
    objects.put("whole", data)
    assert bytes(objects.get("whole")) == data
    assert list(objects.names()) == ["whole"]


@pytest.mark.usefixtures("keys")
def test_that_a_bucket_that_is_missing_is_told_before_anything_is_done(server):
    for tried in (look, try_out):
        with pytest.raises(DataError, match="NoSuchBucket") as refused:
            tried("s3://nowhere/a", at(server))
        assert "make the bucket" in str(refused.value)


@pytest.mark.usefixtures("keys")
def test_that_a_server_that_is_not_there_is_told():
    with pytest.raises(DataError, match="endpoint_url") as refused:
        look(f"s3://{BUCKET}/a", at(f"http://127.0.0.1:{free_port()}"))
    assert "see that the server runs" in str(refused.value)


def test_that_wrong_credentials_are_told_and_not_repeated(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    # Moto looks at signatures only if it is asked to.
    with (
        moto(INITIAL_NO_AUTH_ACTION_COUNT="1") as url,
        pytest.raises(DataError, match="credentials") as refused,
    ):
        look(f"s3://{BUCKET}/a", at(url))
    assert "InvalidAccessKeyId" in str(refused.value)
    assert "AWS_ACCESS_KEY_ID" in str(refused.value)
    assert not any(word in str(refused.value) for word in SECRET_WORDS)


def test_that_missing_credentials_are_told(server, monkeypatch):
    # The machine is asked last: here, a port at which nobody answers.
    monkeypatch.setattr("daflow.storage.objects.MACHINE", "127.0.0.1:1/")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1/")
    with pytest.raises(DataError, match="there are no credentials"):
        look(f"s3://{BUCKET}/a", at(server))


def test_that_requests_without_credentials_go_where_that_is_asked_for(server):
    assert not look(f"s3://{BUCKET}/anonymous", at(server, anonymous=True))


def credentials_of(store):
    return store.credential_provider() if store.credential_provider else None


def written(path, text):
    path.write_text(text)
    return path


def test_that_credentials_come_from_the_files_of_a_profile(tmp_path, server):
    file = written(
        tmp_path / "credentials",
        "[default]\naws_access_key_id = A\naws_secret_access_key = not-a-secret\n"
        "[lab]\naws_access_key_id = B\naws_secret_access_key = another-word\naws_session_token = t\n",
    )
    written(tmp_path / "config", "[profile lab]\nregion = eu-west-3\n")
    assert not look(f"s3://{BUCKET}/files", at(server))
    found = {}
    for profile in (None, "lab"):
        provider = object_access._Profile(profile).credentials(named=profile is not None)
        found[profile] = provider()
    assert [found[None]["access_key_id"], found["lab"]["access_key_id"]] == ["A", "B"]
    assert found["lab"].pop("token") is not None
    assert object_access._Profile("lab").region == "eu-west-3"
    provider = object_access._Profile(None).credentials(named=False)
    file.write_text("[default]\naws_access_key_id = C\naws_secret_access_key = another-word\n")
    assert provider()["access_key_id"] == "C"


@pytest.mark.usefixtures("keys")
def test_that_the_environment_goes_before_files_unless_a_profile_is_named(tmp_path):
    written(tmp_path / "credentials", "[lab]\naws_access_key_id = B\naws_secret_access_key = another-word\n")
    assert object_access._Profile(None).credentials(named=False) is None
    assert object_access._Profile("lab").credentials(named=True)()["access_key_id"] == "B"
    with pytest.raises(ConfigError, match="'other' in"):
        object_access._Profile("other").credentials(named=True)


def test_that_a_profile_that_takes_a_library_says_so_where_it_is_missing(tmp_path, monkeypatch):
    written(tmp_path / "config", "[default]\nsso_session = lab\n")
    monkeypatch.setattr(object_access, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install boto3"):
        connect(f"s3://{BUCKET}/a", ObjectStoreOptions())


def test_that_the_other_providers_are_opened_by_their_own(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "bm90LWEtc2VjcmV0")
    azure = connect("az://container/prefix", ObjectStoreOptions(account="lab"))
    google = connect("gs://bucket/prefix", ObjectStoreOptions(anonymous=True))
    assert isinstance(azure, AzureStore)
    assert isinstance(google, GCSStore)
    assert (azure.prefix, google.prefix) == ("prefix", "prefix")
    assert azure.config["account_name"] == "lab"


@pytest.mark.usefixtures("keys")
def test_that_an_object_cut_short_and_one_not_there_are_told(server):
    url = f"s3://{BUCKET}/short"
    objects = Objects(connect(url, at(server)), url)
    objects.put("a", bytes(24))
    out = np.zeros(4)
    with pytest.raises(StoreError, match="shorter than it was written"):
        objects.read("a", 0, out)
    with pytest.raises(StoreError, match="NoSuchKey"):
        objects.read("b", 0, out)
    objects.delete("b")
    objects.read("a", 8, out[:2])
