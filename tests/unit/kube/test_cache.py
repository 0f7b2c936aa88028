"""The cache has what the API server has, in whatever order objects arrive."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api import KIND, PodState
from slipway.domain.names import OWNS_REPLICAS
from slipway.domain.objects import Key, Manifest, Pod, Ref
from slipway.kube.cache import Cache

KEY = Key("ns", "digits")


def project(body: Manifest) -> Pod:
    return Pod(body["metadata"]["name"], 1, PodState(body["status"]["phase"]))


def make(kind: str, name: str, version: int, *, uid: str = "", owner: str = "digits", **fields: Any) -> Manifest:
    metadata: Manifest = {"namespace": "ns", "name": name, "uid": uid or f"uid-{kind}-{name}"}
    metadata["resourceVersion"] = str(version)
    if kind != KIND:
        metadata["labels"] = {"serving.slipway.dev/name": owner}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}


@pytest.fixture
def cache() -> Cache:
    return Cache(project)


def test_a_snapshot_has_no_managed_fields(cache: Cache) -> None:
    body = make("Service", "digits", 5, spec={"a": 1}, status={"loadBalancer": {}})
    body["metadata"]["managedFields"] = [{"manager": "another"}]
    assert cache.upsert(copy.deepcopy(body)) == {KEY}
    found = cache.snapshot(KEY).children[Ref("Service", "digits")]
    assert "managedFields" not in found["metadata"]
    assert found["metadata"]["resourceVersion"] == "5"
    assert found["spec"] == {"a": 1}


def test_the_newest_version_wins(cache: Cache) -> None:
    assert cache.upsert(make("Deployment", "digits", 9, spec={"new": True}))
    assert cache.upsert(make("Deployment", "digits", 10, spec={"new": True})) == frozenset(), "only the version changed"
    assert cache.upsert(make("Deployment", "digits", 8, spec={"new": False})) == frozenset()
    assert cache.snapshot(KEY).children[Ref("Deployment", "digits")]["spec"] == {"new": True}
    assert cache.upsert(make("Deployment", "digits", 100, spec={"new": 2})) == {KEY}, "versions are numbers, not text"


def test_an_older_response_does_not_bring_back_what_was_deleted(cache: Cache) -> None:
    cache.upsert(make("Service", "digits", 5))
    assert cache.delete(make("Service", "digits", 7)) == {KEY}
    assert cache.upsert(make("Service", "digits", 6)) == frozenset()
    assert cache.snapshot(KEY).children == {}
    assert cache.upsert(make("Service", "digits", 8, uid="successor")) == {KEY}


def test_an_old_deletion_does_not_remove_its_successor(cache: Cache) -> None:
    cache.upsert(make("Service", "digits", 10, uid="second"))
    assert cache.delete(make("Service", "digits", 7, uid="first")) == frozenset()
    assert cache.snapshot(KEY).children


def test_an_object_that_left_the_selector_can_come_back(cache: Cache) -> None:
    """A user removes our label: for a watch with a selector that is a deletion, but the object still exists."""
    cache.upsert(make("Service", "digits", 5))
    cache.delete(make("Service", "digits", 6))
    assert cache.upsert(make("Service", "digits", 7)) == {KEY}, (
        "the same uid, newer: our apply has added the label again"
    )


def test_a_child_that_changes_its_owner_label_moves(cache: Cache) -> None:
    cache.upsert(make("Service", "digits", 5))
    assert cache.upsert(make("Service", "digits", 6, owner="other")) == {KEY, Key("ns", "other")}
    [(ref, seen)] = cache.snapshot(KEY).children.items()  # it still has a name that digits needs
    assert (ref, seen["metadata"]["labels"]["serving.slipway.dev/name"]) == (Ref("Service", "digits"), "other")
    without = make("Service", "digits", 7)
    del without["metadata"]["labels"]
    assert cache.upsert(without) == {Key("ns", "other")}
    assert cache.snapshot(KEY).children == {}


def test_pods_are_kept_as_their_projection(cache: Cache) -> None:
    assert cache.upsert(make("Pod", "digits-b", 1, status={"phase": "Pending"})) == {KEY}
    assert cache.upsert(make("Pod", "digits-a", 2, status={"phase": "Ready"})) == {KEY}
    assert cache.upsert(make("Pod", "digits-a", 3, status={"phase": "Ready", "more": 1})) == frozenset()
    assert [pod.name for pod in cache.snapshot(KEY).pods] == ["digits-a", "digits-b"]
    assert cache.snapshot(KEY).children == {}


def test_an_autoscalers_status_changes_no_key(cache: Cache) -> None:
    cache.upsert(make("HorizontalPodAutoscaler", "digits", 1, status={"currentMetrics": [1]}))
    assert cache.upsert(make("HorizontalPodAutoscaler", "digits", 2, status={"currentMetrics": [2]})) == frozenset()


def test_who_owns_the_replicas_is_kept(cache: Cache) -> None:
    fields: Manifest = {"f:spec": {"f:replicas": {}}}
    entries = [
        {"manager": "slipway", "operation": "Apply", "fieldsV1": {"f:metadata": {}}},
        {"manager": "slipway", "operation": "Update", "fieldsV1": fields},
        {"manager": "slipway", "operation": "Apply", "subresource": "scale", "fieldsV1": fields},
        {"manager": "kubectl", "operation": "Apply", "fieldsV1": fields},
    ]
    body = make("Deployment", "digits", 1)
    body["metadata"]["managedFields"] = entries
    cache.upsert(body)
    assert OWNS_REPLICAS not in cache.snapshot(KEY).children[Ref("Deployment", "digits")]["metadata"]
    body = make("Deployment", "digits", 2)
    body["metadata"]["managedFields"] = [*entries, {"manager": "slipway", "operation": "Apply", "fieldsV1": fields}]
    cache.upsert(body)
    assert cache.snapshot(KEY).children[Ref("Deployment", "digits")]["metadata"][OWNS_REPLICAS] is True


def test_a_complete_list_removes_what_it_lacks_but_nothing_newer(cache: Cache) -> None:
    cache.upsert(make("Service", "digits", 5))
    cache.upsert(make("Service", "digits-headless", 20))
    cache.upsert(make("Deployment", "digits", 5))
    assert cache.replace("Service", None, [], 10) == {KEY}
    assert set(cache.snapshot(KEY).children) == {Ref("Service", "digits-headless"), Ref("Deployment", "digits")}
    assert cache.replace("Service", "elsewhere", [], 100) == frozenset()
    cache.upsert(make(KIND, "digits", 3))
    assert cache.replace(KIND, "ns", [("ns", "digits")], 10) == frozenset()
    assert cache.replace(KIND, "ns", [], 10) == {KEY}
    assert cache.snapshot(KEY).resource is None


def test_a_snapshot_is_the_callers_own(cache: Cache) -> None:
    cache.upsert(make(KIND, "digits", 3, spec={"list": []}))
    first = cache.snapshot(KEY).resource
    assert first is not None
    first["spec"]["list"].append(1)
    second = cache.snapshot(KEY).resource
    assert second is not None
    assert second["spec"] == {"list": []}


def test_a_snapshot_shows_another_modeldeployments_child_that_has_a_needed_name(cache: Cache) -> None:
    cache.upsert(make("Service", "digits-headless", 1, owner="digits"))
    contended = cache.snapshot(Key("ns", "digits-headless")).children
    assert contended[Ref("Service", "digits-headless")]["metadata"]["labels"]["serving.slipway.dev/name"] == "digits"


def test_kubectls_copy_of_the_spec_is_not_kept(cache: Cache) -> None:
    body = make(KIND, "digits", 3)
    body["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 1000, "mine": "y"}
    cache.upsert(body)
    found = cache.snapshot(KEY).resource
    assert found is not None
    assert found["metadata"]["annotations"] == {"mine": "y"}


@given(st.data())
def test_any_order_of_events_ends_in_the_servers_state(data: st.DataObject) -> None:
    """One name lives through several objects; each event may arrive several times and in any order."""
    history: list[tuple[str, Manifest]] = []
    version, living = 0, False
    uid = 0
    for step in data.draw(st.lists(st.sampled_from(["write", "delete"]), min_size=1, max_size=12)):
        version += 1
        if step == "write":
            uid += not living
            living = True
            history.append(("write", make("Service", "digits", version, uid=f"u{uid}", spec={"v": version})))
        elif living:
            living = False
            history.append(("delete", make("Service", "digits", version, uid=f"u{uid}")))
    shuffled = data.draw(st.permutations(history + history))
    cache = Cache(project)
    for what, body in shuffled:
        (cache.upsert if what == "write" else cache.delete)(copy.deepcopy(body))
    found = cache.snapshot(KEY).children.get(Ref("Service", "digits"))
    if living:
        assert found is not None
        assert found["spec"] == {"v": version} or history[-1][0] == "write"
    else:
        assert found is None


def test_of_a_configmap_only_the_pin_is_kept(cache: Cache) -> None:
    """One that a user has labelled may contain a megabyte."""
    data = {"version": "3", "digest": "sha256:" + "a" * 64, "golden.jsonl": "x" * 10**6}
    body = make("ConfigMap", "digits-1", 5, data=data, binaryData={"golden.npz": "eHg="}, immutable=True)
    body["metadata"]["annotations"] = {"note": "y" * 10**5}
    assert cache.upsert(body) == {KEY}
    found = cache.snapshot(KEY).children[Ref("ConfigMap", "digits-1")]
    assert found["data"] == {"version": "3", "digest": "sha256:" + "a" * 64}
    assert (found["immutable"], found["metadata"]["uid"]) == (True, "uid-ConfigMap-digits-1")
    assert not {"binaryData", "annotations"} & (found.keys() | found["metadata"].keys())


def test_a_configmap_without_our_label_is_not_kept(cache: Cache) -> None:
    body = make("ConfigMap", "digits-golden", 5, data={"golden.npz": "x"})
    del body["metadata"]["labels"]
    assert cache.upsert(body) == frozenset()
    assert cache.snapshot(KEY).children == {}


@pytest.mark.parametrize("data", [None, {}, {"version": "x" * 10**6}])
def test_a_configmap_that_is_no_pin_is_small(cache: Cache, data: Manifest | None) -> None:
    body = make("ConfigMap", "digits-1", 5)
    if data is not None:
        body["data"] = data
    cache.upsert(body)
    assert len(str(cache.snapshot(KEY).children[Ref("ConfigMap", "digits-1")])) < 1000
