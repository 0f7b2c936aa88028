"""Health and metrics over HTTP: two small servers on the operator's own event loop, so a stuck loop is noticed.

`/healthz` fails if a restart would help, `/readyz` until the informers are synced; a standby is ready, too.
"""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from slipway.settings import Address

Check = Callable[[], str]
"""Returns what is wrong; empty if nothing is."""


def health_routes(fault: Check, unready: Check) -> web.Application:
    """Return the application for the probes of liveness (`fault`) and readiness (`unready`)."""

    def answer(check: Check) -> Callable[[web.Request], "web.Response"]:
        def respond(_: web.Request) -> web.Response:
            wrong = check()
            return web.Response(status=503 if wrong else 200, text=f"{wrong or 'ok'}\n")

        return respond

    return _application({"/healthz": answer(fault), "/readyz": answer(unready)})


def metrics_routes(registry: CollectorRegistry) -> web.Application:
    """Return the application for Prometheus."""

    def respond(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return _application({"/metrics": respond})


def _application(routes: dict[str, Callable[[web.Request], web.Response]]) -> web.Application:
    application = web.Application()
    for path, respond in routes.items():

        async def handler(
            request: web.Request, respond: Callable[[web.Request], web.Response] = respond
        ) -> web.Response:
            return respond(request)

        application.router.add_get(path, handler)
    return application


class Server:
    """One HTTP server."""

    def __init__(self, application: web.Application, address: Address) -> None:
        """Prepare."""
        self._runner = web.AppRunner(application, handle_signals=False, access_log=None, shutdown_timeout=1.0)
        self._address = address

    async def start(self) -> int:
        """Listen; return the port. Raises OSError if the address is not available."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._address.host, self._address.port)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Close."""
        await self._runner.cleanup()
