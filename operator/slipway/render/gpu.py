"""What `spec.gpu` becomes in a pod: resource, node selector, toleration, environment and memory fraction."""

from typing import Any

from slipway.api import Gpu
from slipway.domain.servers import NVIDIA, gpu_resource

PRODUCT_LABEL = "nvidia.com/gpu.product"
_TAINT = "nvidia.com/gpu"


def limits(gpu: Gpu | None) -> dict[str, str]:
    """Return the extended resource as a limit; Kubernetes sets the request to the same number."""
    return {gpu_resource(gpu): str(gpu.count)} if gpu else {}


def node_selector(gpu: Gpu | None) -> dict[str, str]:
    """Return the label that GPU feature discovery puts on nodes with the product."""
    return {PRODUCT_LABEL: gpu.product} if gpu and gpu.product else {}


def tolerations(gpu: Gpu | None) -> list[dict[str, Any]]:
    """Return the toleration of the taint that keeps other pods off GPU nodes."""
    if gpu is None or not gpu_resource(gpu).startswith(NVIDIA):
        return []
    return [{"key": _TAINT, "operator": "Exists"}]


def environment(gpu: Gpu | None) -> list[dict[str, str]]:
    """Return the variable that lets TensorFlow allocate GPU memory as it needs it, unless a fraction is set."""
    if gpu is None or gpu.memory_fraction is not None:
        return []
    return [{"name": "TF_FORCE_GPU_ALLOW_GROWTH", "value": "true"}]


def flags(gpu: Gpu | None) -> dict[str, str]:
    """Return the flag for the fraction of GPU memory."""
    if gpu is None or gpu.memory_fraction is None:
        return {}
    return {"per_process_gpu_memory_fraction": f"{gpu.memory_fraction:g}"}
