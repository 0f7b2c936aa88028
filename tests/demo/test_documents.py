"""Documents and examples keep up with the code: every reason is explained, every example is valid and listed."""

import re
from pathlib import Path

import pytest
import yaml

from slipway.api import ModelDeployment, Reason
from slipway_tools.errors import Reason as FetchReason

ROOT = Path(__file__).parents[2]
TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text()
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
LINK = re.compile(r"\]\((?!https?://)([^)#]+)")


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_of_a_status_is_explained(reason: Reason) -> None:
    assert f"| `{reason.value}` |" in TROUBLESHOOTING


@pytest.mark.parametrize("reason", sorted(set(FetchReason) - {FetchReason.VERSION_EXISTS}))
def test_every_reason_of_a_fetch_is_explained(reason: FetchReason) -> None:
    assert f"| `{reason.value}` |" in TROUBLESHOOTING


def test_nothing_is_explained_that_does_not_exist() -> None:
    known = {reason.value for reason in (*Reason, *FetchReason)}
    first_words = set(re.findall(r"^\| `([A-Z]\w+)` \|", TROUBLESHOOTING, re.MULTILINE))
    assert first_words <= known


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_valid_commented_and_listed(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# ")
    bodies = [body for body in yaml.safe_load_all(text) if body["kind"] == "ModelDeployment"]
    assert len(bodies) == 1
    ModelDeployment.parse_spec(bodies[0])
    assert "namespace" not in bodies[0]["metadata"]
    assert f"({path.name})" in (ROOT / "examples" / "README.md").read_text()


PAGES = ["examples/README.md", "docs/troubleshooting.md", "docs/getting-started.md", "docs/rollouts.md"]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for link in LINK.findall(path.read_text()):
        assert (path.parent / link).exists(), link
