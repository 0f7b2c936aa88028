"""A model is served under the name that its clients know: over gRPC, REST, to its gate, in metrics and status."""

import json

import grpc
import pytest

from dev.kit import traffic, wait
from dev.kit.archive_server import url
from dev.kit.eventually import eventually
from dev.kit.gates import config_map, gated, half_plus, npz
from dev.kit.kubectl import Kubectl
from dev.kit.model_deployments import deployment
from dev.kit.prediction import http
from dev.kit.reach import service
from dev.kit.tiny_models import HALVES

NAME, SERVED = "renamed", "half_plus_two"
TWO = half_plus(HALVES[SERVED])


def test_clients_ask_for_the_served_name(shared_namespace: Kubectl) -> None:
    namespace = shared_namespace
    namespace.apply(config_map(f"{NAME}-golden", golden__npz=npz(TWO)))
    gate = gated({"configMap": f"{NAME}-golden"}, {"matches": ">=1"})
    served = deployment(NAME, url(f"{SERVED}.tar.gz"), runtime={"modelName": SERVED}, rollout=gate)
    namespace.apply(served)
    state = wait.ready(namespace, NAME)
    assert state["status"]["endpoints"]["rest"].endswith(f"//{NAME}.{namespace.namespace}.svc:8501/v1/models/{SERVED}")
    with traffic.held(namespace, NAME) as predictor:
        assert traffic.predict(predictor, SERVED) == traffic.answer_of(HALVES[SERVED])
        with pytest.raises(grpc.RpcError) as refused:
            traffic.predict(predictor, NAME)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    with service(namespace, NAME) as route:
        answer = http(f"{route.http}/v1/models/{SERVED}:predict", {"instances": [traffic.X]})
        assert json.loads(answer) == {"predictions": [traffic.answer_of(HALVES[SERVED])]}
        assert f'model_name="{SERVED}"' in http(f"{route.http}/monitoring/prometheus/metrics")
    # Back to the name of the resource: another revision, and its gate uses that name.
    namespace.apply(deployment(NAME, url(f"{SERVED}.tar.gz"), rollout=gate))
    assert wait.ready(namespace, NAME)["status"]["updateRevision"] == 2
    eventually(lambda: _answers(namespace), "the endpoints have only pods with the name of the resource", 60)


def _answers(namespace: Kubectl) -> bool:
    """Return whether a new connection reaches a pod that serves the name of the resource.

    For about a second after Ready, kube-proxy may still route one to an old pod, which does not know that name.
    """
    with traffic.held(namespace, NAME) as predictor:
        try:
            return traffic.predict(predictor, NAME) == traffic.answer_of(HALVES[SERVED])
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return False
