"""Where arrays go: what is asked of an object store, by whom, before a run depends on it."""

from types import SimpleNamespace

import pytest

from daflow.assemble.driving import first_workers
from daflow.assemble.sections import storage_place
from daflow.assemble.sections.storage_place import look_at_place, place_of_branch, reached, without_way
from daflow.config.object_stores import ObjectStoreOptions
from daflow.config.storage import StorageSettings
from daflow.errors import ConfigError, PoolError

ON_S3 = StorageSettings(
    path="s3://lab/run", options=ObjectStoreOptions(endpoint_url="http://127.0.0.1:1", retry_seconds=0)
)


def crew_that_says(said):
    """Return workers that say what they say of the store."""
    return SimpleNamespace(client=SimpleNamespace(run=lambda *asked, **how: said))


def test_that_workers_that_do_not_reach_the_store_are_told_before_any_task_is_sent():
    run = SimpleNamespace(workflow=SimpleNamespace(storage=ON_S3))
    first_workers._check_store(run, crew_that_says({"tcp://a": "", "tcp://b": ""}))
    with pytest.raises(PoolError, match="which the driver does") as error:
        first_workers._check_store(run, crew_that_says({"tcp://a": "", "tcp://b": "no credentials"}))
    assert "1 of 2; the one at tcp://b: no credentials" in str(error.value)


def test_that_nobody_is_asked_about_a_folder(tmp_path):
    run = SimpleNamespace(workflow=SimpleNamespace(storage=StorageSettings(path=tmp_path)))
    first_workers._check_store(run, None)
    assert reached(run.workflow.storage) == ""


def test_that_a_worker_says_why_it_does_not_reach_the_store(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    assert "cannot list s3://lab/run" in reached(ON_S3)
    assert "not-a-secret" not in reached(ON_S3)


def test_that_a_missing_library_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setattr(storage_place, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="no obstore") as error:
        look_at_place(ON_S3)
    assert "daflow[object-store]" in str(error.value)


def test_that_branches_go_beside_their_run(tmp_path):
    assert place_of_branch("s3://lab/run", "branches", "a") == "s3://lab/run.branches/a"
    assert place_of_branch(tmp_path / "x", "branches", "a") == str(tmp_path / "x.branches" / "a")


def test_that_a_store_is_the_same_by_another_way():
    plain = {"seed": 1, "storage": ON_S3.model_dump(mode="json")}
    other = {"seed": 1, "storage": plain["storage"] | {"options": None}}
    assert without_way(plain) == without_way(other)
    assert plain["storage"]["options"] is not None
