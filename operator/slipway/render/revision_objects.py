"""The ControllerRevision of a revision, and the ConfigMap with its pin."""

from slipway.domain import names
from slipway.domain.names import Owner
from slipway.domain.objects import Manifest
from slipway.domain.revisions import KIND, PIN_KIND, Pin, Revision


def controller_revision(owner: Owner, revision: Revision) -> Manifest:
    """Return the ControllerRevision; Kubernetes makes its data immutable."""
    return {
        "apiVersion": "apps/v1",
        "kind": KIND,
        "metadata": owner.metadata(names.revision(owner.key.name, revision.number), revision.number),
        "revision": revision.number,
        "data": revision.data,
    }


def pin(owner: Owner, revision: Revision, found: Pin) -> Manifest:
    """Return the pin as an immutable ConfigMap.

    The ControllerRevision owns it, and the garbage collector deletes both together: the operator needs no right to change
    or delete ConfigMaps.

    Args:
        owner: the ModelDeployment.
        revision: it exists in the cluster, so its uid is known, and its pods read a pin.
        found: what the first Ready pod reported.
    """
    number = revision.number
    return {
        "apiVersion": "v1",
        "kind": PIN_KIND,
        "metadata": {
            "name": revision.pin_name,
            "namespace": owner.key.namespace,
            "labels": names.labels(owner.key.name, number),
            "ownerReferences": [
                # No controller: an object without one is matched to its ModelDeployment by its labels.
                {
                    "apiVersion": "apps/v1",
                    "kind": KIND,
                    "name": names.revision(owner.key.name, number),
                    "uid": revision.uid,
                    "controller": False,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "immutable": True,
        "data": {"version": str(found.version), "digest": found.digest},
    }
