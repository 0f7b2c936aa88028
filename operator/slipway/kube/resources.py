"""The kinds that the operator reads and writes, and their paths in the API."""

from dataclasses import dataclass

from slipway.api import GROUP, KIND, PLURAL, VERSION

CHILD_KINDS = (
    "Deployment",
    "Service",
    "ControllerRevision",
    "ConfigMap",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "Pod",
)
"""Kinds with an informer each, which uses the label selector."""
IMMUTABLE_KINDS = frozenset({"ConfigMap"})
"""Kinds that are created once and never changed. A server-side apply with other keys than those of a user's object of the
same name would make no conflict, but take it over. The operator has no right to change or delete them."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind in the API."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Return the path of a collection, an object or its subresource."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        parts = [root, *(("namespaces", namespace) if namespace else ()), self.plural, name, subresource]
        return "/".join(part for part in parts if part)


_ALL = (
    Resource(f"{GROUP}/{VERSION}", KIND, PLURAL),
    Resource("apps/v1", "Deployment", "deployments"),
    Resource("v1", "Service", "services"),
    Resource("apps/v1", "ControllerRevision", "controllerrevisions"),
    Resource("v1", "ConfigMap", "configmaps"),
    Resource("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    Resource("v1", "Pod", "pods"),
    Resource("coordination.k8s.io/v1", "Lease", "leases"),
    Resource("events.k8s.io/v1", "Event", "events"),
)
_BY_KIND = {resource.kind: resource for resource in _ALL}


def resource(kind: str) -> Resource:
    """Return the resource of a kind; KeyError for a kind that the operator does not use."""
    return _BY_KIND[kind]
