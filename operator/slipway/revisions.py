"""Revisions: numbered, immutable states of everything that decides what the pods serve.

A ControllerRevision records each of them: the part of the spec that was asked for, the images that it was resolved to,
and the pod template that came of it. While the newest record's part equals the spec's, the recorded template is what is
rolled out, so neither new defaults nor another release of the operator restarts a pod.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from slipway import loose, names, quantities
from slipway.api import ModelDeploymentSpec
from slipway.observed import Manifest, Pod, Ref
from slipway.runtimes import Images

KIND = "ControllerRevision"
_PIN = "ConfigMap"
PARTS: dict[str, Any] = {
    **dict.fromkeys(("model", "runtime", "resources", "gpu", "pod_template"), True),
    "rollout": {"gate"},
}
"""Fields of the spec that make a revision. The others (replicas, autoscaling, the rest of rollout) change no pod."""
_EMPTY: tuple[object, ...] = ({}, [])


@dataclass(frozen=True, slots=True)
class Record:
    """One recorded revision.

    Attributes:
        number: its number; it never changes its meaning.
        data: what the ControllerRevision holds: `spec`, `images`, `template`, and `retry` where there was such a token.
        uid: of the ControllerRevision; empty while it is not in the cluster.
        created: when the ControllerRevision was made, as the API server says it; empty while it is not in the cluster.
    """

    number: int
    data: Manifest
    uid: str = ""
    created: str = ""

    @property
    def spec(self) -> Manifest:
        """The part of the spec that it was made from."""
        return loose.mapping(self.data.get("spec"))

    @property
    def template(self) -> Manifest:
        """The pod template that it was rendered to."""
        return loose.mapping(self.data.get("template"))

    @property
    def image(self) -> str:
        """The image of its server."""
        return str(loose.mapping(self.data.get("images")).get("server", ""))

    @property
    def retry(self) -> str:
        """The token that the ModelDeployment carried when it was made; empty if there was none."""
        return loose.text(self.data.get("retry"))


def part(spec: ModelDeploymentSpec) -> Manifest:
    """Return what of a spec makes a revision, as JSON without empty maps and lists."""
    found = spec.model_dump(mode="json", by_alias=True, exclude_none=True, include=PARTS)
    filled = {
        name: {field: value for field, value in fields.items() if value not in _EMPTY} for name, fields in found.items()
    }
    return {name: fields for name, fields in filled.items() if fields}


def make(number: int, spec: ModelDeploymentSpec, images: Images, template: Manifest, retry: str = "") -> Record:
    """Return the record of a new revision; `retry` is the token that the ModelDeployment carries."""
    resolved = {"server": images.server, "tools": images.tools, "pullPolicy": images.pull_policy}
    data: Manifest = {"spec": part(spec), "images": resolved, "template": template}
    return Record(number, data | {"retry": retry} if retry else data)


def held(number: int, template: Manifest) -> Record:
    """Return what stands for a record that is lost and cannot be made again: the pod template that runs, and nothing else."""
    return Record(number, {"spec": {}, "template": template})


def read(children: Mapping[Ref, Manifest], name: str, uid: str) -> tuple[Record, ...]:
    """Return the records of a ModelDeployment among its children, newest first; others' and unreadable ones are left out."""
    found = [
        Record(
            body["revision"],
            body["data"],
            str(body.get("metadata", {}).get("uid", "")),
            loose.text(body.get("metadata", {}).get("creationTimestamp")),
        )
        for ref, body in children.items()
        if ref.kind == KIND and names.holder(body, name, uid) is None and _readable(ref, body, name)
    ]
    return tuple(sorted(found, key=lambda record: record.number, reverse=True))


def highest_number(children: Mapping[Ref, Manifest], name: str, known: Iterable[int]) -> int:
    """Return the highest number that is taken: by an object of that name, whoever owns it, or by anything else.

    Args:
        children: the observed children; records, and the pins that are named like them.
        name: of the ModelDeployment.
        known: numbers that are taken besides: by the Deployment, by pods, in the status.
    """
    taken = (_number(ref.name, name) for ref in children if ref.kind in {KIND, _PIN})
    return max(0, *known, *(number for number in taken if number is not None))


def same(recorded: Manifest, wanted: Manifest) -> bool:
    """Tell whether two parts ask for the same, however they are written.

    A record made by an older release lacks fields that have come since: they count with their defaults. Quantities
    count by their value.
    """
    if recorded == wanted:
        return True
    left, right = _normal(recorded), _normal(wanted)
    return left is not None and left == right


def images_of(template: object) -> Images | None:
    """Return the images in a pod template, or None if it is not one of Slipway's."""
    spec = loose.mapping(loose.mapping(template).get("spec"))
    fetch = _container(spec.get("initContainers"), names.FETCH_CONTAINER)
    server = _container(spec.get("containers"), names.SERVER_CONTAINER)
    image, tools, policy = server.get("image"), fetch.get("image"), server.get("imagePullPolicy")
    if isinstance(image, str) and isinstance(tools, str) and isinstance(policy, str):
        return Images(image, tools, policy)
    return None


def surplus(records: Iterable[Record], kept: Iterable[int], pods: Iterable[Pod], limit: int) -> tuple[Record, ...]:
    """Return the records beyond the limit, oldest first; those that are to be kept and those of running pods stay."""
    used = {pod.revision for pod in pods} | set(kept)
    newest_first = sorted(records, key=lambda record: record.number, reverse=True)
    return tuple(record for record in reversed(newest_first[limit:]) if record.number not in used)


def _readable(ref: Ref, body: Manifest, name: str) -> bool:
    number = body.get("revision")
    return (
        isinstance(number, int)
        and _number(ref.name, name) == number
        and isinstance(body.get("data"), dict)
        and isinstance(body["data"].get("spec"), dict)
        and isinstance(body["data"].get("template"), dict)
    )


def _number(child: str, name: str) -> int | None:
    prefix, _, number = child.rpartition("-")
    return names.digits(number) if prefix == name else None


def _normal(recorded: Manifest) -> Manifest | None:
    try:
        found = part(ModelDeploymentSpec.model_validate(recorded))
    except (ValidationError, ValueError):
        return None
    found["resources"] = {
        field: {name: quantities.canonical(text) for name, text in amounts.items()}
        for field, amounts in found.get("resources", {}).items()
    }
    return found


def _container(containers: object, name: str) -> Mapping[str, Any]:
    for container in containers if isinstance(containers, list) else ():
        if isinstance(container, dict) and container.get("name") == name:
            return container
    return {}
