"""The init container `fetch`: brings the model, and the golden set of a gate, into the pod's own volume."""

from slipway.api import ModelDeploymentSpec
from slipway.domain import names, quantities
from slipway.domain.names import Owner
from slipway.domain.objects import Manifest
from slipway.domain.revisions import PIN_VARIABLES
from slipway.domain.servers import Images
from slipway.render import server_container
from slipway.render.shared import CONFIG, MODELS, SOURCE_VOLUME, Claim, claim_of, literal, resources, restricted

_SOURCE = "/source"
_GOLDEN_VOLUME = "golden"
_GOLDEN_MAP, _GOLDEN_CLAIM = "/golden", "/golden-source"
_REQUESTS = {"cpu": "10m", "memory": "64Mi"}
STORAGE = "ephemeral-storage"


def fetch_container(owner: Owner, number: int, spec: ModelDeploymentSpec, images: Images) -> Manifest:
    """Return the container of revision `number` of a ModelDeployment."""
    mounts: list[Manifest] = [{"name": "model", "mountPath": MODELS}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - a mount of the pod
    if claim_of(spec.model.uri):
        mounts.append({"name": SOURCE_VOLUME, "mountPath": _SOURCE, "readOnly": True})
    return {
        "name": names.FETCH_CONTAINER,
        "image": images.tools,
        "imagePullPolicy": images.pull_policy,
        "args": _arguments(owner.key.name, spec),
        **_environment(owner, number, spec),
        # Those of the server, so that the pod as a whole requests no more than the server does.
        "resources": resources(spec.resources) or {"requests": dict(_REQUESTS)},
        "securityContext": restricted(),
        "volumeMounts": [*mounts, *_golden_mounts(spec)],
    }


def source_volumes(spec: ModelDeploymentSpec) -> list[Manifest]:
    """Return the volumes that fetch reads from."""
    claim = claim_of(spec.model.uri)
    found = [claim.volume(SOURCE_VOLUME)] if claim else []
    if spec.rollout.gate is None:
        return found
    golden = spec.rollout.gate.golden
    if golden.config_map is not None:
        # Optional: otherwise the kubelet holds the pod without a word in its status; fetch reports what is missing.
        found.append({"name": _GOLDEN_VOLUME, "configMap": {"name": golden.config_map, "optional": True}})
    golden_claim = claim_of(golden.uri)
    if golden_claim and not _same_claim(spec, golden_claim):
        found.append(golden_claim.volume(_GOLDEN_VOLUME))
    return found


def _arguments(name: str, spec: ModelDeploymentSpec) -> list[str]:
    model, batching = spec.model, spec.runtime.batching
    arguments = ["fetch", f"--uri={literal(model.uri)}"]
    if claim := claim_of(model.uri):
        arguments.append(f"--source={literal(claim.below(_SOURCE))}")
    arguments.append(f"--destination={MODELS}/{name}")
    if model.version is not None:
        arguments.append(f"--version={model.version}")
    if model.digest is not None:
        arguments.append(f"--digest={model.digest}")
    if (storage := quantities.value(spec.resources.limits.get(STORAGE, ""))) is not None:
        arguments.append(f"--max-bytes={max(1, int(storage))}")
    if "saved_model_tags" in spec.runtime.args:
        arguments.append(f"--saved-model-tags={literal(spec.runtime.args['saved_model_tags'])}")
    arguments += [f"--config-dir={CONFIG}", "--monitoring"]
    if batching is not None:
        arguments.append(f"--batching={server_container.batching_parameters(batching)}")
    return [*arguments, *_golden_arguments(spec)]


def _environment(owner: Owner, number: int, spec: ModelDeploymentSpec) -> Manifest:
    """Return the variables that read the pin, as soon as there is one; none if the spec names the digest."""
    if spec.model.digest is not None:
        return {}
    source = names.pin(owner.key.name, number, owner.uid)
    return {
        "env": [
            {"name": variable, "valueFrom": {"configMapKeyRef": {"name": source, "key": key, "optional": True}}}
            for variable, key in PIN_VARIABLES.items()
        ]
    }


def _golden_arguments(spec: ModelDeploymentSpec) -> list[str]:
    if spec.rollout.gate is None:
        return []
    golden = spec.rollout.gate.golden
    arguments = {
        "golden-dir": _GOLDEN_MAP if golden.config_map is not None else None,
        "golden-name": golden.config_map,
        "golden-key": golden.key,
        "golden-uri": golden.uri,
        "golden-source": claim.below(_GOLDEN_CLAIM) if (claim := claim_of(golden.uri)) else None,
        "golden-digest": golden.digest,
        "golden-path": golden.path,
    }
    return [f"--{name}={literal(value)}" for name, value in arguments.items() if value is not None]


def _golden_mounts(spec: ModelDeploymentSpec) -> list[Manifest]:
    if spec.rollout.gate is None:
        return []
    if spec.rollout.gate.golden.config_map is not None:
        return [{"name": _GOLDEN_VOLUME, "mountPath": _GOLDEN_MAP, "readOnly": True}]
    if claim := claim_of(spec.rollout.gate.golden.uri):
        volume = SOURCE_VOLUME if _same_claim(spec, claim) else _GOLDEN_VOLUME
        return [{"name": volume, "mountPath": _GOLDEN_CLAIM, "readOnly": True}]
    return []


def _same_claim(spec: ModelDeploymentSpec, claim: Claim) -> bool:
    """Return whether the model is on the same claim: a kubelet may wait for ever for a pod with two volumes of one claim."""
    model = claim_of(spec.model.uri)
    return model is not None and model.name == claim.name
