"""The demo's and the e2e tests' `watch`, with the real kubectl: a change while it is being set up is yielded, too."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp
from aiohttp import web

from dev.cluster.controlplane import ControlPlane
from dev.kit.fault_proxy import FaultProxy
from dev.kit.installation import tool
from dev.kit.kubectl import Kubectl
from tests.integration.world import World


class SlowToWatch(FaultProxy):
    """Does something between the moment that a watch is requested and the moment that the API server receives it."""

    def __init__(self, kubeconfig: Path, folder: Path, meanwhile: Callable[[], object]) -> None:
        super().__init__(kubeconfig, folder)
        self._meanwhile = meanwhile

    async def _send(self, request: web.Request) -> aiohttp.ClientResponse:
        if request.query.get("watch"):
            await asyncio.to_thread(self._meanwhile)
        return await super()._send(request)


def test_a_change_between_reading_and_watching_is_yielded(plane: ControlPlane, world: World, tmp_path: Path) -> None:
    config = plane.kubeconfig("kubectl", ["system:masters"])
    straight = Kubectl(tool("kubectl"), config, world.namespace)
    straight.run("create", "configmap", "watched", "--from-literal=state=first")

    def change() -> None:
        straight.patch("configmap", "watched", {"data": {"state": "second"}})

    with SlowToWatch(config, tmp_path, change) as proxy:
        behind = Kubectl(straight.program, proxy.kubeconfig, world.namespace)
        with behind.watch("configmap", "watched", 30, renew=30) as states:
            seen = [next(states, None) for _ in range(2)]
    assert [state and state["data"]["state"] for state in seen] == ["first", "second"]
