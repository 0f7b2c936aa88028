"""The ControllerRevision: what one revision serves, for ever."""

from slipway import names
from slipway.observed import Manifest
from slipway.render.parts import Owner
from slipway.revisions import Record


def controller_revision(owner: Owner, record: Record) -> Manifest:
    """Return the record of a revision as an object; its data is immutable in Kubernetes."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": owner.metadata(names.revision(owner.key.name, record.number), record.number),
        "revision": record.number,
        "data": record.data,
    }
