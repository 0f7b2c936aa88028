"""What the conditions of a ModelDeployment say. Pure."""

from dev.kit.kubectl import Manifest


def condition(resource: Manifest, kind: str) -> Manifest:
    """Return a condition of the status, or an empty one."""
    for found in resource.get("status", {}).get("conditions", []):
        if found["type"] == kind:
            return dict(found)
    return _unknown(kind)


def current(resource: Manifest, kind: str) -> Manifest:
    """Return a condition if it is about the newest generation, else an empty one."""
    found = condition(resource, kind)
    return found if found.get("observedGeneration") == resource["metadata"]["generation"] else _unknown(kind)


def _unknown(kind: str) -> Manifest:
    return {"type": kind, "status": "Unknown", "reason": "", "message": ""}
