"""What a user meets at admission, on a real API server; and that the operator judges the same bodies alike."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dev.cluster.api_client import ApiError
from dev.cluster.controlplane import ControlPlane
from tests.crd.cases import BAD, GOOD, Bad, Body, body, parse
from tests.crd.conftest import COLLECTION, Kubectl

DRY_RUN = f"{COLLECTION}?dryRun=All&fieldValidation=Strict"


@pytest.mark.parametrize("case", BAD, ids=str)
def test_admission_refuses(case: Bad, plane: ControlPlane, kubectl: Kubectl) -> None:
    with pytest.raises(ApiError) as refusal:
        plane.api().create(DRY_RUN, case.body)
    assert refusal.value.status in (400, 422)
    for words in case.says:
        assert words in str(refusal.value)


@pytest.mark.parametrize("case", BAD, ids=str)
def test_the_operator_refuses_what_admission_refuses(case: Bad) -> None:
    with pytest.raises(ValueError) as refusal:
        parse(case.body)
    for words in case.operator_says or case.says:
        assert words in str(refusal.value)


@pytest.mark.parametrize("name", GOOD)
def test_both_accept(name: str, plane: ControlPlane, kubectl: Kubectl) -> None:
    plane.api().create(DRY_RUN, GOOD[name])
    parse(GOOD[name])


# What the user sees who types `kubectl apply`: one each of the things that go wrong most.
TYPED = [
    case
    for case in BAD
    if case.name
    in {
        "misspelt field",
        "text for a number",
        "version and image",
        "minReplicas above maxReplicas",
        "GPU with a CPU image",
        "unknown scheme",
        "credentials",
        "dot-dot inside",
        "digest without its kind",
        "name too long",
        "autoscaling without requests",
    }
]


@pytest.mark.parametrize("case", TYPED, ids=str)
def test_kubectl_says_what_is_wrong(case: Bad, kubectl: Kubectl) -> None:
    done = kubectl("apply", "--filename", "-", body=case.body, check=False)
    assert done.returncode != 0
    for words in case.says:
        assert words in done.stderr
    assert kubectl("get", "mdep", "--output", "name").stdout == ""


def test_typed_cases_are_all_there() -> None:
    assert len(TYPED) == 11


def test_an_update_is_judged_like_a_creation(plane: ControlPlane, kubectl: Kubectl) -> None:
    api, path = plane.api(), f"{COLLECTION}/updated"
    api.create(COLLECTION, body("updated"))
    try:
        with pytest.raises(ApiError, match=r"spec\.model\.uri must not carry credentials"):
            api.patch(path, {"spec": {"model": {"uri": "https://me:secret@host/model.tar"}}})
        with pytest.raises(ApiError, match=r"spec\.replicas.*less than or equal to 1000"):
            api.patch(f"{path}/scale", {"spec": {"replicas": 1001}})
        assert api.get(path)["spec"]["model"] == {"uri": "pvc://models/digits"}
    finally:
        api.delete(path)


def test_what_admission_fills_in(plane: ControlPlane, kubectl: Kubectl) -> None:
    """Defaults of nested objects come from the server, and nothing empty is written into the user's object."""
    api, path = plane.api(), f"{COLLECTION}/filled"
    spec: Body = {
        "runtime": {"batching": {}, "warmup": {}},
        "gpu": {},
        "autoscaling": {"maxReplicas": 2},
        "resources": {"requests": {"cpu": "1"}},
        "rollout": {"gate": {"golden": {"path": "golden.npz"}}},
    }
    api.create(COLLECTION, body("filled", **spec))
    try:
        assert api.get(path)["spec"] == {
            "model": {"uri": "pvc://models/digits"},
            "runtime": {
                "batching": {"maxBatchSize": 32, "timeoutMicros": 1000, "maxEnqueuedBatches": 100},
                "warmup": {"iterations": 1},
            },
            "gpu": {"count": 1},
            "replicas": 1,
            "resources": {"requests": {"cpu": "1"}},
            "autoscaling": {"minReplicas": 1, "maxReplicas": 2, "metrics": [{"type": "CPU", "target": 70}]},
            "rollout": {
                "strategy": "Auto",
                "progressDeadline": "10m",
                "onFailure": "Rollback",
                "gate": {
                    "golden": {"path": "golden.npz"},
                    "tolerance": {"absolute": 1e-5, "relative": 1e-3},
                    "topK": 5,
                    "batchSize": 1,
                    "timeout": "30s",
                },
                "revisionHistoryLimit": 10,
            },
        }
    finally:
        api.delete(path)


@pytest.mark.parametrize("name", GOOD)
def test_defaults_are_the_same_on_both_sides(name: str, plane: ControlPlane, kubectl: Kubectl) -> None:
    api, path = plane.api(), f"{COLLECTION}/{GOOD[name]['metadata']['name']}"
    api.create(COLLECTION, GOOD[name])
    try:
        assert parse(api.get(path)) == parse(GOOD[name])
    finally:
        api.delete(path)


def test_who_does_not_ask_for_strictness_loses_unknown_fields(plane: ControlPlane, kubectl: Kubectl) -> None:
    api, path = plane.api(), f"{COLLECTION}/pruned"
    api.create(f"{COLLECTION}?fieldValidation=Ignore", body("pruned", replica=2))
    try:
        assert "replica" not in api.get(path)["spec"]
    finally:
        api.delete(path)


TEXT = st.text(st.sampled_from("aA0.-_/\\@:?#% \n\t\x00\x7f\u00a0é2eE"), max_size=12)
SPECS = st.one_of(
    st.builds(
        lambda head, tail: {"model": {"uri": head + tail}},
        st.sampled_from(["pvc://", "https://h", "http://", "ftp://", "", "pvc:/"]),
        TEXT,
    ),
    st.builds(
        lambda head, middle, tail: {"gpu": {}, "runtime": {"image": head + middle + tail}},
        st.sampled_from(["", "tensorflow/serving", "a"]),
        TEXT,
        st.sampled_from(["", "-gpu"]),
    ),
    st.builds(lambda flag: {"runtime": {"args": {flag: "1"}}}, TEXT),
    st.builds(lambda quantity: {"resources": {"limits": {"memory": quantity}}}, TEXT),
    st.builds(lambda key, value: {"podTemplate": {"labels": {key: "1", "a": value}}}, TEXT, TEXT),
    st.builds(lambda text: {"rollout": {"progressDeadline": text}}, TEXT),
)


def _admitted(plane: ControlPlane, asked: Body) -> bool:
    try:
        plane.api().create(DRY_RUN, asked)
    except ApiError as error:
        if error.status not in (400, 422):
            raise
        return False
    return True


def _parsed(asked: Body) -> bool:
    try:
        parse(asked)
    except ValueError:
        return False
    return True


@settings(
    max_examples=250, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(spec=SPECS)
def test_both_judge_odd_texts_alike(plane: ControlPlane, kubectl: Kubectl, spec: Body) -> None:
    """CEL runs RE2, the operator Python's and Rust's expressions: none may take what another refuses."""
    asked = body(**spec)
    assert _admitted(plane, asked) == _parsed(asked)
