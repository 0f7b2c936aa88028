"""Servers that a revision can run: the operator's defaults, and the image of a spec's runtime."""

import re
from dataclasses import dataclass, field

from slipway.api import Gpu, Runtime
from slipway.domain.pod_defaults import PodDefaults

NVIDIA = "nvidia.com/"
Version = tuple[int, ...]
_AMD64_ONLY = re.compile(r"(^|/)tensorflow/serving([:@]|$)")
"""TensorFlow Serving's own image, from wherever it is pulled: there is no build of it for other processors."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """The operator's settings for specs that do not choose.

    Attributes:
        repository: image repository of the server, without tag.
        version: version of TensorFlow Serving, and tag of the image.
        tools_image: image of fetch and prober.
        pull_policy: imagePullPolicy of all containers.
        pods: what else the administrator decides of pods.
    """

    repository: str
    version: str
    tools_image: str
    pull_policy: str
    pods: PodDefaults = field(default_factory=PodDefaults)


@dataclass(frozen=True, slots=True)
class Images:
    """The images of one revision, as resolved when it was created."""

    server: str
    tools: str
    pull_policy: str


def served_name(name: str, runtime: Runtime) -> str:
    """Return the name under which ModelDeployment `name` serves its model."""
    return name if runtime.model_name is None else runtime.model_name


def server_image(runtime: Runtime, gpu: Gpu | None, defaults: Defaults) -> str:
    """Return the image of the server: the user's own, or that of the version, with `-gpu` for NVIDIA."""
    if runtime.image is not None:
        return runtime.image
    suffix = "-gpu" if gpu is not None and gpu_resource(gpu).startswith(NVIDIA) else ""
    return f"{defaults.repository}:{runtime.version or defaults.version}{suffix}"


def architecture(image: str) -> str | None:
    """Return the only processor architecture that an image runs on, as in the node label; None if it is not known."""
    return "amd64" if _AMD64_ONLY.search(image) else None


def gpu_resource(gpu: Gpu) -> str:
    """Return the extended resource that a pod requests."""
    if gpu.mig is not None:
        return f"{NVIDIA}mig-{gpu.mig}"
    return gpu.resource_name or f"{NVIDIA}gpu"


def version_of(runtime: Runtime, defaults: Defaults) -> Version | None:
    """Return the version of the server, or None for an image of unknown version: the newest flags apply then."""
    text = defaults.version if runtime.version is None else runtime.version
    parts = text.partition("-")[0].split(".")
    known = runtime.image is None and all(part.isdecimal() for part in parts)
    return tuple(int(part) for part in parts) if known else None
