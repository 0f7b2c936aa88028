"""Revisions: numbered, immutable states of everything that decides what the pods serve.

A ControllerRevision records each: the part of the spec that makes a revision, the images that it was resolved to, and the
rendered pod template. While the newest revision has the same part as the spec, its recorded template is rolled out, so
neither new defaults nor a new release of the operator restarts a pod.

A pin is the ConfigMap with model version and content digest of a revision: what fetch reported in the first pod that became
Ready. Fetch of every later pod reads both from the pin and refuses any other content.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from slipway.api import Gpu, ModelDeploymentSpec
from slipway.domain import lenient, names, quantities, versions
from slipway.domain.names import Owner
from slipway.domain.objects import Manifest, Pod, Ref
from slipway.domain.servers import Images

KIND = "ControllerRevision"
PIN_KIND = "ConfigMap"
PIN_VARIABLES = {"SLIPWAY_PINNED_VERSION": "version", "SLIPWAY_PINNED_DIGEST": "digest"}
"""Environment variables of fetch, each with the key of the pin that it reads."""
PARTS: dict[str, Any] = {
    **dict.fromkeys(("model", "runtime", "resources", "gpu", "pod_template"), True),
    "rollout": {"gate"},
}
"""Fields of the spec that make a revision. The others (replicas, autoscaling, the rest of rollout) change no pod."""
_MODEL_NAME = "--model_name="
_MAX_COUNTED = 10**12
"""Nobody makes so many revisions: a higher number in a name or label was not counted, and counting on would exceed the bound."""
_EMPTY: tuple[object, ...] = ({}, [])


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision.

    Attributes:
        number: its number.
        data: of the ControllerRevision: `spec`, `images`, `template`, and `retry` if there was such a token.
        uid: of the ControllerRevision; empty while it is not in the cluster.
        created: creationTimestamp of the ControllerRevision; empty while it is not in the cluster.
        ours: it was made for this ModelDeployment, and not for an earlier one of the same name, from which it was left over.
    """

    number: int
    data: Manifest
    uid: str = ""
    created: str = ""
    ours: bool = True

    @property
    def spec(self) -> Manifest:
        """The part of the spec that made it."""
        return lenient.mapping(self.data.get("spec"))

    @property
    def template(self) -> Manifest:
        """Its pod template."""
        return lenient.mapping(self.data.get("template"))

    @property
    def image(self) -> str:
        """Image of its server."""
        return str(lenient.mapping(self.data.get("images")).get("server", ""))

    @property
    def retry(self) -> str:
        """Value of the retry annotation when it was created; empty if there was none."""
        return lenient.text(self.data.get("retry"))

    @property
    def gpu(self) -> Gpu | None:
        """GPUs of its pods, or None."""
        try:
            return Gpu.model_validate(self.spec.get("gpu"))
        except ValueError:
            return None

    @property
    def served_name(self) -> str:
        """Name that its server gives the model, as its template says; empty if it says none."""
        server = lenient.named(lenient.mapping(self.template, "spec").get("containers"), names.SERVER_CONTAINER)
        arguments = server.get("args")
        given = [text for text in arguments if isinstance(text, str)] if isinstance(arguments, list) else []
        # In a template `$$` stands for `$`.
        return next((text.partition("=")[2].replace("$$", "$") for text in given if text.startswith(_MODEL_NAME)), "")

    @property
    def pin_name(self) -> str:
        """Name of the pin that fetch of its pods reads; empty if it reads none, because the spec names the digest."""
        fetch = lenient.named(lenient.mapping(self.template, "spec").get("initContainers"), names.FETCH_CONTAINER)
        for item in lenient.items(fetch.get("env")):
            if item.get("name") in PIN_VARIABLES:
                return lenient.text(lenient.mapping(item, "valueFrom", "configMapKeyRef").get("name"))
        return ""

    @property
    def uses_pin(self) -> bool:
        """Whether fetch of its pods reads a pin."""
        return bool(self.pin_name)


@dataclass(frozen=True, slots=True)
class Pin:
    """Model version and content digest that all pods of a revision serve."""

    version: int
    digest: str


def part(spec: ModelDeploymentSpec) -> Manifest:
    """Return the part of a spec that makes a revision, as JSON without empty maps and lists."""
    found = spec.model_dump(mode="json", by_alias=True, exclude_none=True, include=PARTS)
    filled = {
        name: {field: value for field, value in fields.items() if value not in _EMPTY} for name, fields in found.items()
    }
    return {name: fields for name, fields in filled.items() if fields}


def new(number: int, spec: ModelDeploymentSpec, images: Images, template: Manifest, retry: str = "") -> Revision:
    """Return a new revision; `retry` is the value of the ModelDeployment's retry annotation."""
    resolved = {"server": images.server, "tools": images.tools, "pullPolicy": images.pull_policy}
    data: Manifest = {"spec": part(spec), "images": resolved, "template": template}
    return Revision(number, data | {"retry": retry} if retry else data)


def from_template(number: int, template: Manifest) -> Revision:
    """Return a stand-in for a revision whose ControllerRevision is lost: the pod template that runs, and nothing else."""
    return Revision(number, {"spec": {}, "template": template})


def read(children: Mapping[Ref, Manifest], owner: Owner) -> tuple[Revision, ...]:
    """Return the revisions of a ModelDeployment among its children, newest first, without unreadable and foreign ones."""
    found = [
        _read(body, owner)
        for ref, body in children.items()
        if ref.kind == KIND and owner.foreign(body) is None and _readable(ref, body, owner.key.name)
    ]
    return tuple(sorted(found, key=lambda revision: revision.number, reverse=True))


def _read(body: Manifest, owner: Owner) -> Revision:
    metadata, number = lenient.mapping(body.get("metadata")), body["revision"]
    revision = Revision(
        number, body["data"], str(metadata.get("uid", "")), lenient.text(metadata.get("creationTimestamp"))
    )
    # What its pods read is bound to the uid of the ModelDeployment. In release 0.1 it was not: there the owner tells.
    bound = {"", names.pin(owner.key.name, number, owner.uid)}
    former = revision.pin_name == names.former_pin(owner.key.name, number) and owner.controls(body)
    return replace(revision, ours=revision.pin_name in bound or former)


def read_pin(children: Mapping[Ref, Manifest], name: str, revision: Revision) -> Pin | None:
    """Return the pin of a revision among the children of ModelDeployment `name`.

    None if there is none, or if it belongs to an earlier ControllerRevision of that name. One that a backup brought back
    without an owner counts, if its labels are right: the revision's pods read it.
    """
    body = children.get(Ref(PIN_KIND, revision.pin_name))
    if body is None or not revision.uid:
        return None
    metadata = lenient.mapping(body.get("metadata"))
    owners = [reference.get("uid") for reference in lenient.items(metadata.get("ownerReferences"))]
    unowned = not owners and metadata.get("labels") == names.labels(name, revision.number)
    if revision.uid not in owners and not unowned:
        return None
    data = lenient.mapping(body.get("data"))
    version = versions.read(data["version"]) if isinstance(data.get("version"), str) else None
    digest = lenient.text(data.get("digest"))
    return Pin(version, digest) if version is not None and digest else None


def highest_number(children: Mapping[Ref, Manifest], name: str, known: Iterable[int]) -> int:
    """Return the highest revision number in use.

    Args:
        children: the observed children: ControllerRevisions, whoever owns them, and the pins named like them.
        name: of the ModelDeployment.
        known: numbers in use elsewhere: by the Deployment, by pods, in the status.
    """
    used = [_number(ref.name, name) for ref in children if ref.kind in {KIND, PIN_KIND}]
    used += [_number(ref.name.rpartition("-")[0], name) for ref in children if ref.kind == PIN_KIND]
    numbers = (number for number in (*known, *used) if number is not None and number <= _MAX_COUNTED)
    return max(numbers, default=0)


def same(recorded: Manifest, asked_for: Manifest) -> bool:
    """Return whether two parts of a spec mean the same, however they are written.

    A revision of an older release lacks fields that were added since: they count with their defaults. Quantities
    are compared by value.
    """
    if recorded == asked_for:
        return True
    left, right = _normal(recorded), _normal(asked_for)
    return left is not None and left == right


def images_of(template: object) -> Images | None:
    """Return the images in a pod template, or None if it is not one of Slipway's."""
    spec = lenient.mapping(template, "spec")
    fetch = lenient.named(spec.get("initContainers"), names.FETCH_CONTAINER)
    server = lenient.named(spec.get("containers"), names.SERVER_CONTAINER)
    image, tools, policy = server.get("image"), fetch.get("image"), server.get("imagePullPolicy")
    if isinstance(image, str) and isinstance(tools, str) and isinstance(policy, str):
        return Images(image, tools, policy)
    return None


def surplus(revisions: Iterable[Revision], kept: Iterable[int], pods: Iterable[Pod], limit: int) -> list[Revision]:
    """Return the revisions beyond the limit, oldest first, without those that are to be kept or have pods."""
    used = {pod.revision for pod in pods} | set(kept)
    newest_first = sorted(revisions, key=lambda revision: revision.number, reverse=True)
    return [revision for revision in reversed(newest_first[limit:]) if revision.number not in used]


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
    pods = found.get("podTemplate", {})
    pods |= {field: _canonical(pods[field]) for field in ("fetchResources", "proberResources") if field in pods}
    found["resources"] = _canonical(found.get("resources", {}))
    return found


def _canonical(resources: Manifest) -> Manifest:
    return {
        field: {name: quantities.canonical(text) for name, text in amounts.items()}
        for field, amounts in resources.items()
    }
