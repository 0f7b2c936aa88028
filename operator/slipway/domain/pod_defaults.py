"""What the operator's administrator decides for all pods: resources of Slipway's own containers, identities, a CA bundle.

Like the images they are resolved when a revision is created, into its recorded pod template: a change restarts no pod.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.api import Resources
from slipway.domain import lenient, names
from slipway.domain.objects import Manifest

USER = 65532
CA_VOLUME = "ca"
FETCH_RESOURCES = Resources(requests={"cpu": "10m", "memory": "64Mi"})
"""Of fetch, if neither spec nor administrator say anything of it, nor the spec of the server."""
PROBER_RESOURCES = Resources(requests={"cpu": "10m", "memory": "64Mi"}, limits={"memory": "256Mi"})


@dataclass(frozen=True, slots=True)
class PodDefaults:
    """The defaults of pods.

    Attributes:
        fetch_resources: of the container that fetches; None: those of the server.
        prober_resources: of the sidecar that checks the gate.
        run_as_user: user of all containers; None leaves it to the cluster's admission, or to the images.
        run_as_group: their group; None likewise.
        fs_group: group of the pod's volumes; None likewise.
        ca_config_map: name of a ConfigMap in the pods' own namespace with further certificate authorities for fetch; empty:
            none.
        ca_key: its key.
    """

    fetch_resources: Resources | None = None
    prober_resources: Resources = PROBER_RESOURCES
    run_as_user: int | None = USER
    run_as_group: int | None = USER
    fs_group: int | None = USER
    ca_config_map: str = ""
    ca_key: str = "ca.crt"

    @property
    def identities(self) -> Manifest:
        """The identities as in a pod's security context."""
        found = {"runAsUser": self.run_as_user, "runAsGroup": self.run_as_group, "fsGroup": self.fs_group}
        return {field: value for field, value in found.items() if value is not None}


def read_resources(text: str) -> Resources | None:
    """Read requests and limits as JSON, with numbers of any kind as their text; None if the text is empty.

    Raises:
        ValueError: it is something else.
    """
    if not text.strip():
        return None
    try:
        return Resources.model_validate(json.loads(text, parse_int=str, parse_float=str))
    except ValueError:
        raise ValueError('is not requests and limits as JSON, such as {"requests": {"cpu": "50m"}}') from None


def used_in(template: object) -> PodDefaults:
    """Return the defaults that a pod template was rendered with, as far as it shows them."""
    spec = lenient.mapping(template, "spec")
    context, volume = lenient.mapping(spec.get("securityContext")), lenient.named(spec.get("volumes"), CA_VOLUME)
    source = lenient.mapping(volume.get("configMap"))
    keys = [lenient.text(item.get("key")) for item in lenient.items(source.get("items"))]
    containers = spec.get("initContainers")
    prober = lenient.named(containers, names.PROBER_CONTAINER)
    return PodDefaults(
        _resources(lenient.named(containers, names.FETCH_CONTAINER)),
        _resources(prober) if prober else PROBER_RESOURCES,
        lenient.number(context.get("runAsUser")),
        lenient.number(context.get("runAsGroup")),
        lenient.number(context.get("fsGroup")),
        lenient.text(source.get("name")),
        keys[0] if keys else "",
    )


def _resources(container: Mapping[str, Any]) -> Resources:
    found = lenient.mapping(container.get("resources"))
    try:
        return Resources.model_validate({field: found[field] for field in ("requests", "limits") if field in found})
    except ValueError:  # not written by Slipway: what is rendered will differ
        return Resources()
