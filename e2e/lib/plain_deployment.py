"""A plain Deployment made from the operator's own, with its termination changed: what a test compares, or takes away."""

import copy

from dev.kit.kubectl import Kubectl, Manifest

# As in the image of the real server, where process 1 is a shell: it has no handler for SIGTERM, so the kernel drops it,
# and the server behind it hears nothing until everything is killed.
_DEAF = ["sh", "-c", 'tensorflow_model_server "$@"; exit $?', "sh"]
_CHANNEL_ARGUMENTS = "--grpc_channel_arguments="


def objects(rendered: Manifest, name: str, *, drained: bool, deaf: bool) -> list[Manifest]:
    """Return the Deployment and its two Services.

    Args:
        rendered: the operator's Deployment of a model, as the API server has it.
        name: of the new Deployment and of its Services (`name`, `name-headless`).
        drained: keep what the operator set: preStop, connection age, grace period; else none of it, and a grace period
            of one second.
        deaf: the server does not hear SIGTERM.
    """
    spec = copy.deepcopy(rendered["spec"])
    labels = {"app": name}
    spec["selector"] = {"matchLabels": labels}
    template = spec["template"]
    template["metadata"] = {"labels": labels}
    [server] = template["spec"]["containers"]
    if deaf:
        server["command"] = _DEAF
    if not drained:
        del server["lifecycle"]
        server["args"] = [word for word in server["args"] if not word.startswith(_CHANNEL_ARGUMENTS)]
        template["spec"]["terminationGracePeriodSeconds"] = 1
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    return [deployment, _service(name, labels, {}), _service(f"{name}-headless", labels, {"clusterIP": "None"})]


def _service(name: str, labels: dict[str, str], extra: Manifest) -> Manifest:
    port = {"name": "grpc", "port": 8500, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"}
    spec = {"selector": labels, "ports": [port], **extra}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def rolled_out(kubectl: Kubectl, name: str) -> None:
    """Wait until a Deployment serves what it says."""
    kubectl.run("rollout", "status", f"deployment/{name}", "--timeout=240s", timeout=250)
