"""Documents and examples keep up with the code: every reason is explained, every example is valid and listed."""

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest

from slipway.api import PodState, Reason, parse_spec
from slipway.controller.metrics import Metrics
from slipway_tools.errors import Reason as FetchReason

ROOT = Path(__file__).parents[1]
TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text()
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
MONITORING = (ROOT / "docs" / "monitoring.md").read_text()
FOLDERS = [".", "docs", "examples", "charts/slipway", "dev/cluster", "images", "tests/conformance"]
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)#?([^)\s]*)\)")
FENCED = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_of_a_status_is_explained(reason: Reason) -> None:
    assert f"| `{reason.value}` |" in TROUBLESHOOTING


@pytest.mark.parametrize("reason", sorted(set(FetchReason) - {FetchReason.VERSION_EXISTS}))
def test_every_reason_of_a_fetch_is_explained(reason: FetchReason) -> None:
    assert f"| `{reason.value}` |" in TROUBLESHOOTING


def test_nothing_is_explained_that_does_not_exist() -> None:
    known = {word.value for word in (*Reason, *FetchReason, *PodState)}
    first_words = set(re.findall(r"^\| `([A-Z]\w+)` \|", TROUBLESHOOTING, re.MULTILINE))
    assert first_words <= known


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_valid_commented_and_listed(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# ")
    bodies = [body for body in yaml.safe_load_all(text) if body["kind"] == "ModelDeployment"]
    assert len(bodies) == 1
    parse_spec(bodies[0]["metadata"]["name"], bodies[0]["spec"])
    assert "namespace" not in bodies[0]["metadata"]
    assert f"({path.name})" in (ROOT / "examples" / "README.md").read_text()


@pytest.mark.parametrize("state", PodState)
def test_every_state_of_a_pod_is_explained(state: PodState) -> None:
    assert f"| `{state.value}` |" in TROUBLESHOOTING.partition("## States of a pod")[2].partition("\n## ")[0]


def test_every_metric_is_explained_and_none_that_does_not_exist() -> None:
    own = set(re.findall(r"^# TYPE (slipway_\w+)", generate_latest(Metrics().registry).decode(), re.MULTILINE))
    own = {name for name in own if not name.endswith("_created")}
    explained = set(re.findall(r"^\| .*?`(slipway_\w+)|, `(slipway_\w+)", MONITORING, re.MULTILINE))
    explained = {name for found in explained for name in found if name and not name.startswith("slipway_gate_")}
    assert explained == own


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for file, anchor in LINK.findall(prose(page)):
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), file
        assert not anchor or anchor in anchors(target), f"{file}#{anchor}"


def prose(page: Path) -> str:
    """Return a page without what stands in it as code."""
    return re.sub(r"`[^`\n]+`", "", FENCED.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}
