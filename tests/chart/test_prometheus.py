"""What a real Prometheus makes of the operator's page when it scrapes as the chart's ServiceMonitor says.

No operator of Prometheus runs here: the few fields of the endpoint are turned into a scrape configuration as it would do it,
and the labels of the target are those that it would give to an operator's pod.
"""

import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from dev.cluster.controlplane import free_ports
from dev.kit import prometheus
from slipway.controller.metrics import Metrics
from slipway.domain.objects import Key
from tests.chart.conftest import NAMESPACE, ROOT, Render

ALERTS = (ROOT / "docs" / "monitoring.md").read_text().partition("## Alerts")[2]
EXPRESSIONS = re.findall(r"^\| `([^`]+)` \| \d+m \|", ALERTS, re.MULTILINE)
NOBODY_ANSWERS = EXPRESSIONS[0]


def status(*, ready: int, target: int = 1, update: int = 1, version: int = 1) -> dict[str, Any]:
    """Return a status; after a rollback the target is older than the update revision."""
    return {
        "updateRevision": update,
        "currentRevision": target,
        "targetRevision": target,
        "modelVersion": version,
        "replicas": ready,
        "readyReplicas": ready,
        "updatedReplicas": ready,
        "conditions": [
            {"type": "Ready", "status": "False" if update != target else "True", "reason": "GateFailed"},
            {"type": "RolledBack", "status": str(update != target)},
        ],
    }


@pytest.fixture(scope="module")
def page() -> bytes:
    """The page of an operator: `digits` is down in `ml` and wanted nowhere in `dev`; `faces` was rolled back."""
    metrics = Metrics()
    metrics.leading(leads=True)
    metrics.watch_age("Deployment", "ml", lambda: 3.0)
    metrics.watch_namespace("ml", lambda: False)
    metrics.show(Key("ml", "digits"), status(ready=0), 1)
    metrics.show(Key("dev", "digits"), status(ready=0), 0)
    metrics.show(Key("ml", "faces"), status(ready=2, target=2, update=3, version=7), 2)
    found: bytes = generate_latest(metrics.registry)
    return found


@pytest.fixture(scope="module")
def server(page: bytes, render: Render, tmp_path_factory: pytest.TempPathFactory) -> Iterator[prometheus.Prometheus]:
    """Prometheus, which scrapes that page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    [port] = free_ports(1)
    web = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    [endpoint] = render("monitoring").one("ServiceMonitor")["spec"]["endpoints"]
    scrape = {
        "job_name": "slipway",
        "metrics_path": endpoint["path"],
        "honor_labels": endpoint.get("honorLabels", False),
        "static_configs": [
            {
                "targets": [f"127.0.0.1:{port}"],
                "labels": {"namespace": NAMESPACE, "pod": "slipway-0", "service": "slipway"},
            }
        ],
    }
    folder: Path = tmp_path_factory.mktemp("prometheus")
    with prometheus.running([scrape], folder) as running:
        running.scraped()
        yield running
    web.shutdown()
    web.server_close()


def test_series_keep_the_namespace_of_their_model(server: prometheus.Prometheus) -> None:
    found = server.query("slipway_modeldeployment_ready")
    assert {(each.labels["namespace"], each.labels["name"]) for each in found} == {
        ("ml", "digits"),
        ("dev", "digits"),
        ("ml", "faces"),
    }
    assert not any("exported_namespace" in each.labels for each in found)
    assert [each.labels["namespace"] for each in server.query("slipway_leader")] == [NAMESPACE]


def test_the_model_that_is_down_is_not_hidden_by_one_of_its_name(server: prometheus.Prometheus) -> None:
    found = server.query(NOBODY_ANSWERS)
    assert [(each.labels["namespace"], each.labels["name"]) for each in found] == [("ml", "digits")]


def test_a_revision_is_shown_with_the_version_that_it_serves(server: prometheus.Prometheus) -> None:
    [found] = server.query('slipway_modeldeployment_info{name="faces"}')
    assert (found.labels["revision"], found.labels["model_version"]) == ("2", "7")
    wanted = server.query('slipway_modeldeployment_revision{name="faces", which="update"}')
    assert [each.value for each in wanted] == [3]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_alert_of_the_docs_is_understood(server: prometheus.Prometheus, expression: str) -> None:
    server.query(expression)


def test_the_alerts_of_the_docs_are_found() -> None:
    assert len(EXPRESSIONS) == 7
