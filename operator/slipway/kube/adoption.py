"""Whose object has the name of a child that is to be created. Pure; for the client."""

from slipway.domain.objects import Manifest

NEVER = "1"
"""A resourceVersion that no object has, since etcd counts past it before the first: an apply with it can only create."""
FOREIGN = "another owner's object has this name; it is left alone: delete it, or give this ModelDeployment another name"


def was_applied_by(body: Manifest, manager: str) -> bool:
    """Return whether a field manager has applied an object, whoever created it and whatever labels it has now."""
    entries = body["metadata"].get("managedFields") or ()
    return any(entry.get("manager") == manager and entry.get("operation") == "Apply" for entry in entries)


def is_copy(body: Manifest, manifest: Manifest) -> bool:
    """Return whether two objects have the same data and owners."""
    return body.get("data") == manifest["data"] and _owners(body) == _owners(manifest)


def _owners(body: Manifest) -> list[str]:
    return [reference["uid"] for reference in body["metadata"].get("ownerReferences") or ()]
