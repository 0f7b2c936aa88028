"""The pin of a revision: the version and digest of the model that all its pods serve, found by the first of them.

The first pod's fetch reports what it found; the pin keeps it; fetch of every later pod gets it from there and refuses
anything else. Where the spec names a digest, that is the pin, in the template itself, and there is no object.

A pin belongs to the record of its revision, and the garbage collector takes it when the record goes: the operator needs no right
to change or delete a ConfigMap.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from slipway import loose, names
from slipway.api import ModelDeploymentSpec
from slipway.observed import Manifest, Ref
from slipway.render.parts import Owner
from slipway.revisions import KIND as RECORD
from slipway.revisions import Record

KIND = "ConfigMap"
_VERSION, _DIGEST = "version", "digest"
_VARIABLES = {"SLIPWAY_PINNED_VERSION": _VERSION, "SLIPWAY_PINNED_DIGEST": _DIGEST}


@dataclass(frozen=True, slots=True)
class Pin:
    """What all pods of a revision serve."""

    version: int
    digest: str


def pin(owner: Owner, record: Record, found: Pin) -> Manifest:
    """Return the pin of a revision as an object: immutable, and gone with the record.

    Args:
        owner: the ModelDeployment.
        record: of the revision; it is in the cluster, so that its uid is known.
        found: what the first pod reported.
    """
    number = record.number
    return {
        "apiVersion": "v1",
        "kind": KIND,
        "metadata": {
            "name": names.pin(owner.key.name, number),
            "namespace": owner.key.namespace,
            "labels": names.labels(owner.key.name, number),
            "ownerReferences": [
                # No controller: whose a child is, is read off its labels where none is named.
                {
                    "apiVersion": "apps/v1",
                    "kind": RECORD,
                    "name": names.revision(owner.key.name, number),
                    "uid": record.uid,
                    "controller": False,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "immutable": True,
        "data": {_VERSION: str(found.version), _DIGEST: found.digest},
    }


def read(children: Mapping[Ref, Manifest], name: str, record: Record) -> Pin | None:
    """Return the pin of a record among the observed children; None if there is none, or it is one of an earlier record.

    Args:
        children: the observed children.
        name: of the ModelDeployment.
        record: whose pin.
    """
    body = children.get(Ref(KIND, names.pin(name, record.number)))
    if body is None or not record.uid or record.uid not in _owners(body):
        return None
    data = loose.mapping(body.get("data"))
    version, digest = names.digits(data.get(_VERSION)), loose.text(data.get(_DIGEST))
    return Pin(version, digest) if version is not None and digest else None


def wants(template: Manifest) -> bool:
    """Tell whether the pods of a recorded template look for a pin.

    Not where the spec names the digest, and not in templates of releases that knew no pins: those revisions get none, so that
    an upgrade writes nothing.
    """
    containers = loose.items(loose.mapping(template.get("spec")).get("initContainers"))
    fetch = next((item for item in containers if item.get("name") == names.FETCH_CONTAINER), {})
    return any(item.get("name") in _VARIABLES for item in loose.items(fetch.get("env")))


def environment(name: str, number: int, spec: ModelDeploymentSpec) -> Manifest:
    """Return the fields of fetch's container that hand it the pin, from the moment when there is one."""
    if spec.model.digest is not None:
        return {}
    source = names.pin(name, number)
    return {
        "env": [
            {"name": variable, "valueFrom": {"configMapKeyRef": {"name": source, "key": key, "optional": True}}}
            for variable, key in _VARIABLES.items()
        ]
    }


def _owners(body: Manifest) -> Iterator[str]:
    for reference in loose.items(loose.mapping(body.get("metadata")).get("ownerReferences")):
        yield loose.text(reference.get("uid"))
