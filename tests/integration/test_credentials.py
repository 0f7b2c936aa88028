"""The operator's token expires and its file has another one: it logs in again, and is not restarted."""

from pathlib import Path

import yaml

from dev.kit.eventually import eventually
from tests.integration.conftest import StartOperator
from tests.integration.world import World

ACCOUNT = "slipway"


def account(world: World) -> str:
    """Create the operator's service account anew, which invalidates the old tokens; return a token of the new one."""
    path = f"/api/v1/namespaces/{world.namespace}/serviceaccounts"
    world.api.delete(f"{path}/{ACCOUNT}")
    assert world.api.create(path, {"metadata": {"name": ACCOUNT}})
    response = world.api._json("POST", f"{path}/{ACCOUNT}/token", {"spec": {"expirationSeconds": 3600}})
    return str(response["status"]["token"])


def allow(world: World) -> None:
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": world.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    binding = {"metadata": {"name": world.namespace}, "roleRef": role, "subjects": [subject]}
    assert world.api.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)


def test_a_token_is_replaced(world: World, start: StartOperator, tmp_path: Path) -> None:
    allow(world)
    token = tmp_path / "token"
    token.write_text(account(world))
    config = yaml.safe_load(world.plane.kubeconfig().read_text())
    config["users"][0]["user"] = {"tokenFile": str(token)}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    operator = start(world, "--watch-idle-seconds=5", kubeconfig=kubeconfig)
    world.create("before")
    world.settle("before")
    process = operator.process
    token.write_text(account(world))
    world.create("after")
    eventually(lambda: world.find("Deployment", "after"), "the operator works with the new token")
    world.settle("after")
    assert world.api.delete(world.path("Service", "before"))
    eventually(lambda: world.find("Service", "before"), "children are still watched")
    assert operator.process is process
    assert operator.alive()
