"""Golden manifests: what a ModelDeployment becomes. `pytest tests/golden --update-golden` writes them anew.

Each case is a folder: input.yaml is the resource. `minimal/expected.yaml` has what is applied at its creation, in order;
the `expected.diff` of every other case is what differs from that.
"""

import copy
import difflib
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.domain.objects import Apply
from tests.kit.builders import World, actions, shuffled

HERE = Path(__file__).parent
BASE = "minimal"
CASES = sorted(path.parent.name for path in HERE.glob("*/input.yaml"))
TEMPLATE = "the pod template of the Deployment below"


class Plain(yaml.SafeDumper):
    """Writes each object in full, wherever it is used again."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def read(case: str) -> dict[str, Any]:
    body = yaml.safe_load((HERE / case / "input.yaml").read_text())
    assert isinstance(body, dict)
    return body


def applied(body: dict[str, Any]) -> list[dict[str, Any]]:
    plan = World(body).plan()
    assert plan.problem is None
    assert all(isinstance(action, Apply) for action in plan.actions)
    return [action.manifest for action in plan.actions if isinstance(action, Apply)]


def rendered(case: str) -> str:
    """Return what is applied as YAML, with the pod template once: the ControllerRevision records the Deployment's."""
    found = copy.deepcopy(applied(read(case)))
    template = next(manifest["spec"]["template"] for manifest in found if manifest["kind"] == "Deployment")
    for manifest in found:
        if manifest["kind"] == "ControllerRevision":
            assert manifest["data"]["template"] == template
            manifest["data"]["template"] = TEMPLATE
    return yaml.dump_all(found, Dumper=Plain, sort_keys=False, width=120)


def expectation(case: str) -> tuple[Path, str]:
    """Return the file that holds the expectation of a case, and what it must contain."""
    if case == BASE:
        return HERE / case / "expected.yaml", rendered(case)
    base, changed = rendered(BASE).splitlines(keepends=True), rendered(case).splitlines(keepends=True)
    return HERE / case / "expected.diff", "".join(difflib.unified_diff(base, changed, BASE, case, n=2))


@pytest.mark.parametrize("case", CASES)
def test_rendered(case: str, request: pytest.FixtureRequest) -> None:
    expected, text = expectation(case)
    if request.config.getoption("--update-golden", default=False):
        expected.write_text(text)
    assert text == expected.read_text()


@pytest.mark.parametrize("case", CASES)
def test_the_same_input_gives_the_same_output(case: str) -> None:
    body = read(case)
    before = copy.deepcopy(body)
    first = applied(body)
    assert body == before
    assert applied(body) == first
    assert applied(shuffled(body)) == first
    # Lists too, of which the order counts: two maps that are equal may still have been walked in another order.
    assert yaml.dump(applied(shuffled(body))) == yaml.dump(first)


@pytest.mark.parametrize("case", CASES)
def test_what_was_applied_is_in_sync(case: str) -> None:
    world = World(read(case))
    created = world.settle()
    assert created.actions
    world.serve()
    assert actions(world.plan()) == []


def test_there_are_no_strays() -> None:
    assert {path.parent.name for path in HERE.glob("*/expected.*")} == set(CASES)
