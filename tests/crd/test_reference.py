"""The API reference says what the CRD says."""

import re
from pathlib import Path

import pytest

from dev.generate import crd, reference
from dev.generate.__main__ import main as generate
from tests.crd.conftest import ROOT

PAGE = ROOT / "docs" / "api-reference.md"


def _fields(node: crd.Schema) -> set[str]:
    found = set(node.get("properties", {}))
    for child in node.get("properties", {}).values():
        found |= _fields(child)
    return found | (_fields(node["items"]) if "items" in node else set())


def test_the_page_is_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert generate(["reference", "--check"]) == 0
    stale = tmp_path / "page.md"
    stale.write_text(PAGE.read_text() + "by hand\n")
    monkeypatch.setattr(reference, "FILE", stale)
    assert generate(["reference", "--check"]) == 1


def test_every_field_has_a_row() -> None:
    properties = crd.root_schema()["properties"]
    wanted = _fields(properties["spec"]) | _fields(properties["status"])
    assert set(re.findall(r"^\| \[?`(\w+)`", PAGE.read_text(), re.MULTILINE)) == wanted


def test_every_link_has_a_target() -> None:
    text = PAGE.read_text()
    headings = {re.sub(r"[^a-z0-9_-]", "", heading.lower()) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    links = set(re.findall(r"\(#([^)]+)\)", text))
    assert len(links) > 10
    assert links <= headings


def test_tables_have_as_many_cells_as_columns() -> None:
    for line in PAGE.read_text().splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (4, 5), line
