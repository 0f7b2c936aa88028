"""Whose object it is that holds the name of a child to be made. Pure; for the verbs of the cluster."""

from slipway.observed import Manifest

NEVER = "1"
"""A resourceVersion that no object has, etcd having counted past it before the first: an apply with it can only create."""
FOREIGN = "somebody else's object has this name; it is left alone: delete it, or give this ModelDeployment another name"


def is_applied(body: Manifest, manager: str) -> bool:
    """Tell whether a field manager has applied to an object, whoever made it and whatever labels it has now."""
    entries = body["metadata"].get("managedFields") or ()
    return any(entry.get("manager") == manager and entry.get("operation") == "Apply" for entry in entries)


def is_copy(body: Manifest, manifest: Manifest) -> bool:
    """Tell whether an object holds the data of another one and belongs to the same owners."""
    return body.get("data") == manifest["data"] and _owners(body) == _owners(manifest)


def _owners(body: Manifest) -> list[str]:
    return [reference["uid"] for reference in body["metadata"].get("ownerReferences") or ()]
