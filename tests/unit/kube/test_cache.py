"""The store's picture is that of the API server, whatever order news arrives in."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api import KIND, PodState
from slipway.domain.names import OWNS_REPLICAS
from slipway.domain.objects import Key, Pod, Ref
from slipway.kube.cache import Cache

KEY = Key("ns", "digits")
Manifest = dict[str, Any]


def project(body: Manifest) -> Pod:
    return Pod(body["metadata"]["name"], 1, PodState(body["status"]["phase"]))


def make(kind: str, name: str, version: int, *, uid: str = "", owner: str = "digits", **fields: Any) -> Manifest:
    metadata: Manifest = {"namespace": "ns", "name": name, "uid": uid or f"uid-{kind}-{name}"}
    metadata["resourceVersion"] = str(version)
    if kind != KIND:
        metadata["labels"] = {"serving.slipway.dev/name": owner}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}


@pytest.fixture
def store() -> Cache:
    return Cache(project)


def test_what_is_put_in_comes_out_without_managed_fields(store: Cache) -> None:
    body = make("Service", "digits", 5, spec={"a": 1}, status={"loadBalancer": {}})
    body["metadata"]["managedFields"] = [{"manager": "somebody"}]
    assert store.put(copy.deepcopy(body)) == {KEY}
    found = store.snapshot(KEY).children[Ref("Service", "digits")]
    assert "managedFields" not in found["metadata"]
    assert found["metadata"]["resourceVersion"] == "5"
    assert found["spec"] == {"a": 1}


def test_the_newest_version_wins(store: Cache) -> None:
    assert store.put(make("Deployment", "digits", 9, spec={"new": True}))
    assert store.put(make("Deployment", "digits", 10, spec={"new": True})) == frozenset(), "only the version changed"
    assert store.put(make("Deployment", "digits", 8, spec={"new": False})) == frozenset()
    assert store.snapshot(KEY).children[Ref("Deployment", "digits")]["spec"] == {"new": True}
    assert store.put(make("Deployment", "digits", 100, spec={"new": 2})) == {KEY}, "versions are numbers, not text"


def test_an_older_answer_does_not_bring_back_what_was_deleted(store: Cache) -> None:
    store.put(make("Service", "digits", 5))
    assert store.drop(make("Service", "digits", 7)) == {KEY}
    assert store.put(make("Service", "digits", 6)) == frozenset()
    assert store.snapshot(KEY).children == {}
    assert store.put(make("Service", "digits", 8, uid="successor")) == {KEY}


def test_an_old_deletion_does_not_take_its_successor(store: Cache) -> None:
    store.put(make("Service", "digits", 10, uid="second"))
    assert store.drop(make("Service", "digits", 7, uid="first")) == frozenset()
    assert store.snapshot(KEY).children


def test_an_object_that_left_the_selector_can_come_back(store: Cache) -> None:
    """Somebody takes our label off: for a watch with a selector that is a deletion, but the object lives on."""
    store.put(make("Service", "digits", 5))
    store.drop(make("Service", "digits", 6))
    assert store.put(make("Service", "digits", 7)) == {KEY}, "the same uid, newer: our apply has put the label back"


def test_a_child_that_changes_its_owner_label_moves(store: Cache) -> None:
    store.put(make("Service", "digits", 5))
    assert store.put(make("Service", "digits", 6, owner="other")) == {KEY, Key("ns", "other")}
    [(ref, seen)] = store.snapshot(KEY).children.items()  # it still holds a name that digits needs
    assert (ref, seen["metadata"]["labels"]["serving.slipway.dev/name"]) == (Ref("Service", "digits"), "other")
    without = make("Service", "digits", 7)
    del without["metadata"]["labels"]
    assert store.put(without) == {Key("ns", "other")}
    assert store.snapshot(KEY).children == {}


def test_pods_are_kept_as_what_matters_of_them(store: Cache) -> None:
    assert store.put(make("Pod", "digits-b", 1, status={"phase": "Pending"})) == {KEY}
    assert store.put(make("Pod", "digits-a", 2, status={"phase": "Ready"})) == {KEY}
    assert store.put(make("Pod", "digits-a", 3, status={"phase": "Ready", "more": 1})) == frozenset()
    assert [pod.name for pod in store.snapshot(KEY).pods] == ["digits-a", "digits-b"]
    assert store.snapshot(KEY).children == {}


def test_an_autoscalers_status_wakes_nobody(store: Cache) -> None:
    store.put(make("HorizontalPodAutoscaler", "digits", 1, status={"currentMetrics": [1]}))
    assert store.put(make("HorizontalPodAutoscaler", "digits", 2, status={"currentMetrics": [2]})) == frozenset()


def test_who_owns_the_replicas_is_kept(store: Cache) -> None:
    fields: Manifest = {"f:spec": {"f:replicas": {}}}
    entries = [
        {"manager": "slipway", "operation": "Apply", "fieldsV1": {"f:metadata": {}}},
        {"manager": "slipway", "operation": "Update", "fieldsV1": fields},
        {"manager": "slipway", "operation": "Apply", "subresource": "scale", "fieldsV1": fields},
        {"manager": "kubectl", "operation": "Apply", "fieldsV1": fields},
    ]
    body = make("Deployment", "digits", 1)
    body["metadata"]["managedFields"] = entries
    store.put(body)
    assert OWNS_REPLICAS not in store.snapshot(KEY).children[Ref("Deployment", "digits")]["metadata"]
    body = make("Deployment", "digits", 2)
    body["metadata"]["managedFields"] = [*entries, {"manager": "slipway", "operation": "Apply", "fieldsV1": fields}]
    store.put(body)
    assert store.snapshot(KEY).children[Ref("Deployment", "digits")]["metadata"][OWNS_REPLICAS] is True


def test_a_complete_list_forgets_what_it_lacks_but_nothing_newer(store: Cache) -> None:
    store.put(make("Service", "digits", 5))
    store.put(make("Service", "digits-headless", 20))
    store.put(make("Deployment", "digits", 5))
    assert store.keep_only("Service", None, [], 10) == {KEY}
    assert set(store.snapshot(KEY).children) == {Ref("Service", "digits-headless"), Ref("Deployment", "digits")}
    assert store.keep_only("Service", "elsewhere", [], 100) == frozenset()
    store.put(make(KIND, "digits", 3))
    assert store.keep_only(KIND, "ns", [("ns", "digits")], 10) == frozenset()
    assert store.keep_only(KIND, "ns", [], 10) == {KEY}
    assert store.snapshot(KEY).resource is None


def test_a_snapshot_is_its_owners(store: Cache) -> None:
    store.put(make(KIND, "digits", 3, spec={"list": []}))
    first = store.snapshot(KEY).resource
    assert first is not None
    first["spec"]["list"].append(1)
    second = store.snapshot(KEY).resource
    assert second is not None
    assert second["spec"] == {"list": []}


def test_a_snapshot_shows_a_name_that_another_modeldeployments_child_holds(store: Cache) -> None:
    store.put(make("Service", "digits-headless", 1, owner="digits"))
    held = store.snapshot(Key("ns", "digits-headless")).children
    assert held[Ref("Service", "digits-headless")]["metadata"]["labels"]["serving.slipway.dev/name"] == "digits"


def test_kubectls_copy_of_the_spec_is_not_kept(store: Cache) -> None:
    body = make(KIND, "digits", 3)
    body["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 1000, "mine": "y"}
    store.put(body)
    found = store.snapshot(KEY).resource
    assert found is not None
    assert found["metadata"]["annotations"] == {"mine": "y"}


@given(st.data())
def test_any_order_of_news_ends_in_the_servers_picture(data: st.DataObject) -> None:
    """One name lives through several objects; each event may arrive several times and in any order."""
    history: list[tuple[str, Manifest]] = []
    version, living = 0, False
    uid = 0
    for step in data.draw(st.lists(st.sampled_from(["write", "delete"]), min_size=1, max_size=12)):
        version += 1
        if step == "write":
            uid += not living
            living = True
            history.append(("put", make("Service", "digits", version, uid=f"u{uid}", spec={"v": version})))
        elif living:
            living = False
            history.append(("drop", make("Service", "digits", version, uid=f"u{uid}")))
    shuffled = data.draw(st.permutations(history + history))
    store = Cache(project)
    for happened, body in shuffled:
        (store.put if happened == "put" else store.drop)(copy.deepcopy(body))
    found = store.snapshot(KEY).children.get(Ref("Service", "digits"))
    if living:
        assert found is not None
        assert found["spec"] == {"v": version} or history[-1][0] == "put"
    else:
        assert found is None


def test_of_a_configmap_only_the_pin_is_kept(store: Cache) -> None:
    """One that somebody else has labelled may hold a megabyte."""
    data = {"version": "3", "digest": "sha256:" + "a" * 64, "golden.jsonl": "x" * 10**6}
    body = make("ConfigMap", "digits-1", 5, data=data, binaryData={"golden.npz": "eHg="}, immutable=True)
    body["metadata"]["annotations"] = {"note": "y" * 10**5}
    assert store.put(body) == {KEY}
    found = store.snapshot(KEY).children[Ref("ConfigMap", "digits-1")]
    assert found["data"] == {"version": "3", "digest": "sha256:" + "a" * 64}
    assert (found["immutable"], found["metadata"]["uid"]) == (True, "uid-ConfigMap-digits-1")
    assert not {"binaryData", "annotations"} & (found.keys() | found["metadata"].keys())


def test_a_configmap_without_our_label_is_not_kept(store: Cache) -> None:
    body = make("ConfigMap", "digits-golden", 5, data={"golden.npz": "x"})
    del body["metadata"]["labels"]
    assert store.put(body) == frozenset()
    assert store.snapshot(KEY).children == {}


@pytest.mark.parametrize("data", [None, {}, {"version": "x" * 10**6}])
def test_a_configmap_that_is_no_pin_is_small(store: Cache, data: Manifest | None) -> None:
    body = make("ConfigMap", "digits-1", 5)
    if data is not None:
        body["data"] = data
    store.put(body)
    assert len(str(store.snapshot(KEY).children[Ref("ConfigMap", "digits-1")])) < 1000
