"""The init container `fetch`: brings the model, and the golden set of a gate, into the pod's own volume."""

from slipway.api import ModelDeploymentSpec
from slipway.domain import names, quantities
from slipway.domain.names import Owner
from slipway.domain.objects import Manifest
from slipway.domain.pod_defaults import CA_VOLUME, FETCH_RESOURCES, PodDefaults
from slipway.domain.revisions import PIN_VARIABLES
from slipway.domain.servers import Images
from slipway.render import server_container
from slipway.render.shared import CONFIG, MODELS, SOURCE_VOLUME, Claim, claim_of, literal, resources, restricted

_SOURCE = "/source"
_GOLDEN_VOLUME = "golden"
_GOLDEN_MAP, _GOLDEN_CLAIM = "/golden", "/golden-source"
_CA = "/ca"
STORAGE = "ephemeral-storage"


def fetch_container(
    owner: Owner, number: int, spec: ModelDeploymentSpec, images: Images, defaults: PodDefaults
) -> Manifest:
    """Return the container of revision `number` of a ModelDeployment."""
    mounts: list[Manifest] = [{"name": "model", "mountPath": MODELS}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - a mount of the pod
    if _reads_ca(spec, defaults):
        mounts.append({"name": CA_VOLUME, "mountPath": _CA, "readOnly": True})
    if claim_of(spec.model.uri):
        mounts.append({"name": SOURCE_VOLUME, "mountPath": _SOURCE, "readOnly": True})
    return {
        "name": names.FETCH_CONTAINER,
        "image": images.tools,
        "imagePullPolicy": images.pull_policy,
        "args": _arguments(owner.key.name, spec, defaults),
        **_environment(owner, number, spec),
        "resources": _resources(spec, defaults),
        "securityContext": restricted(),
        "volumeMounts": [*mounts, *_golden_mounts(spec)],
    }


def _resources(spec: ModelDeploymentSpec, defaults: PodDefaults) -> Manifest:
    """Return what spec or administrator say of this container, or else what the server has.

    With those of the server, the pod as a whole requests no more than the server does.
    """
    for given in (spec.pod_template.fetch_resources, defaults.fetch_resources):
        if given is not None:
            return resources(given)
    return resources(spec.resources) or resources(FETCH_RESOURCES)


def source_volumes(spec: ModelDeploymentSpec, defaults: PodDefaults) -> list[Manifest]:
    """Return the volumes that fetch reads from."""
    claim = claim_of(spec.model.uri)
    found = [claim.volume(SOURCE_VOLUME)] if claim else []
    if _reads_ca(spec, defaults):
        # Optional: fetch does without where nobody has put it, and names it if that is why a certificate is not accepted.
        items = [{"key": defaults.ca_key, "path": defaults.ca_key}]
        found.append(
            {"name": CA_VOLUME, "configMap": {"name": defaults.ca_config_map, "items": items, "optional": True}}
        )
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


def _reads_ca(spec: ModelDeploymentSpec, defaults: PodDefaults) -> bool:
    """Return whether there is a CA bundle, and something to download that may redirect to https://."""
    gate = spec.rollout.gate
    addresses = (spec.model.uri, gate.golden.uri if gate else None)
    downloads = any(address is not None and claim_of(address) is None for address in addresses)
    return bool(defaults.ca_config_map) and downloads


def _arguments(name: str, spec: ModelDeploymentSpec, defaults: PodDefaults) -> list[str]:
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
    if _reads_ca(spec, defaults):
        found = {"ca-dir": _CA, "ca-name": defaults.ca_config_map, "ca-key": defaults.ca_key}
        arguments += [f"--{option}={value}" for option, value in found.items()]
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
