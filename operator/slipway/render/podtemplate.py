"""The pod template of a revision: fetch brings the model, the server serves it, a prober checks its answers."""

from typing import Any

from slipway.api import ModelDeploymentSpec, PodTemplate
from slipway.domain import names
from slipway.domain.names import Owner
from slipway.domain.objects import Manifest
from slipway.domain.servers import Images, Version
from slipway.render import fetch_container, gpu, prober_container, server_container, termination

USER = 65532
_TMP_LIMIT = "1Gi"


def pod_template(
    owner: Owner, number: int, spec: ModelDeploymentSpec, images: Images, version: Version | None
) -> Manifest:
    """Return the pod template of a revision.

    Args:
        owner: the ModelDeployment.
        number: of the revision.
        spec: of the ModelDeployment.
        images: of the revision.
        version: of the server, or None if it is unknown.
    """
    added, name = spec.pod_template, owner.key.name
    return {
        "metadata": {
            "labels": {**added.labels, **names.labels(name, number)},
            "annotations": {**added.annotations, "kubectl.kubernetes.io/default-container": names.SERVER_CONTAINER},
        },
        "spec": {
            "initContainers": [
                fetch_container.fetch_container(owner, number, spec, images),
                *prober_container.prober_containers(name, number, spec, images),
            ],
            "containers": [server_container.server_container(name, spec, images, version)],
            "volumes": _volumes(spec),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": termination.grace_seconds(),
            "enableServiceLinks": False,  # a variable for each port of each Service of the namespace, which nothing reads
            **_account(added),
            **_scheduling(spec),
        },
    }


def _volumes(spec: ModelDeploymentSpec) -> list[Manifest]:
    limit = spec.resources.limits.get(fetch_container.STORAGE)
    return [
        {"name": "model", "emptyDir": {"sizeLimit": limit} if limit else {}},
        {"name": "tmp", "emptyDir": {"sizeLimit": _TMP_LIMIT}},
        *fetch_container.source_volumes(spec),
        *prober_container.prober_volumes(spec),
    ]


def _account(added: PodTemplate) -> Manifest:
    found: Manifest = {}
    if added.service_account_name:
        found["serviceAccountName"] = added.service_account_name
    else:
        found["automountServiceAccountToken"] = False
    if added.image_pull_secrets:
        found["imagePullSecrets"] = [{"name": secret.name} for secret in added.image_pull_secrets]
    return found


def _scheduling(spec: ModelDeploymentSpec) -> dict[str, Any]:
    added = spec.pod_template
    tolerations = [toleration.model_dump(by_alias=True, exclude_none=True) for toleration in added.tolerations]
    found = {
        "nodeSelector": {**gpu.node_selector(spec.gpu), **added.node_selector},
        "tolerations": [*gpu.tolerations(spec.gpu), *tolerations],
        "affinity": added.affinity,
        "priorityClassName": added.priority_class_name,
        "topologySpreadConstraints": added.topology_spread_constraints,
    }
    return {field: value for field, value in found.items() if value}
