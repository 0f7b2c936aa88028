"""The pod template of a revision: fetch brings the model, the server serves it, a prober checks its answers."""

from typing import Any

from slipway.api import ModelDeploymentSpec, PodTemplate
from slipway.domain import names
from slipway.domain.names import Owner
from slipway.domain.objects import Manifest
from slipway.domain.pod_defaults import PodDefaults
from slipway.domain.servers import Images, Version, architecture
from slipway.render import fetch_container, gpu, prober_container, server_container, termination

LOCAL_VOLUMES = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
OS, ARCHITECTURE = "kubernetes.io/os", "kubernetes.io/arch"
_TMP_LIMIT = "1Gi"


def pod_template(
    owner: Owner, number: int, spec: ModelDeploymentSpec, images: Images, version: Version | None, defaults: PodDefaults
) -> Manifest:
    """Return the pod template of a revision.

    Args:
        owner: the ModelDeployment.
        number: of the revision.
        spec: of the ModelDeployment.
        images: of the revision.
        version: of the server, or None if it is unknown.
        defaults: what the administrator decides of pods.
    """
    added, name = spec.pod_template, owner.key.name
    volumes = _volumes(spec, defaults)
    return {
        "metadata": {
            "labels": {**added.labels, **names.labels(name, number)},
            "annotations": _annotations(added, volumes),
        },
        "spec": {
            "initContainers": [
                fetch_container.fetch_container(owner, number, spec, images, defaults),
                *prober_container.prober_containers(name, number, spec, images, defaults),
            ],
            "containers": [server_container.server_container(name, spec, images, version)],
            "volumes": volumes,
            "securityContext": {
                "runAsNonRoot": True,
                **defaults.identities,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": termination.grace_seconds(),
            "enableServiceLinks": False,  # a variable for each port of each Service of the namespace, which nothing reads
            **_account(added),
            **_scheduling(spec, images),
        },
    }


def _annotations(added: PodTemplate, volumes: list[Manifest]) -> dict[str, str]:
    return {
        # An autoscaler keeps a node for the sake of a local volume, unless it is named here.
        LOCAL_VOLUMES: ",".join(volume["name"] for volume in volumes if "emptyDir" in volume),
        **added.annotations,
        "kubectl.kubernetes.io/default-container": names.SERVER_CONTAINER,
    }


def _volumes(spec: ModelDeploymentSpec, defaults: PodDefaults) -> list[Manifest]:
    limit = spec.resources.limits.get(fetch_container.STORAGE)
    return [
        {"name": "model", "emptyDir": {"sizeLimit": limit} if limit else {}},
        {"name": "tmp", "emptyDir": {"sizeLimit": _TMP_LIMIT}},
        *fetch_container.source_volumes(spec, defaults),
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


def _scheduling(spec: ModelDeploymentSpec, images: Images) -> dict[str, Any]:
    added = spec.pod_template
    tolerations = [toleration.model_dump(by_alias=True, exclude_none=True) for toleration in added.tolerations]
    found = {
        "nodeSelector": _node_selector(spec, images),
        "tolerations": [*gpu.tolerations(spec.gpu), *tolerations],
        "affinity": added.affinity,
        "priorityClassName": added.priority_class_name,
        "topologySpreadConstraints": added.topology_spread_constraints,
    }
    return {field: value for field, value in found.items() if value}


def _node_selector(spec: ModelDeploymentSpec, images: Images) -> dict[str, str]:
    """Return what the images need of a node, then what the spec asks for; an empty text there takes the need away."""
    needed = {OS: "linux"}
    if built_for := architecture(images.server):
        needed[ARCHITECTURE] = built_for
    found = {**needed, **gpu.node_selector(spec.gpu), **spec.pod_template.node_selector}
    return {label: value for label, value in found.items() if value or label not in (OS, ARCHITECTURE)}
