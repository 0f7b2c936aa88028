"""Names, labels and ownership."""

from typing import Any

import pytest

from slipway.domain import names
from slipway.domain.names import Owner
from slipway.domain.objects import Key

LABELS = {"app.kubernetes.io/managed-by": "slipway", "serving.slipway.dev/name": "digits"}


def child(labels: dict[str, str] | None, *owners: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "digits", "labels": labels, "ownerReferences": list(owners)}}


def owner(
    kind: str = "ModelDeployment", name: str = "digits", uid: str = "u", *, controller: bool = True
) -> dict[str, Any]:
    return {"kind": kind, "name": name, "uid": uid, "controller": controller}


@pytest.mark.parametrize(
    ("body", "foreign"),
    [
        (child(LABELS, owner()), None),
        (child({}, owner()), None),  # our reference counts, whatever became of the labels
        (child(LABELS), None),  # an orphan
        (child(LABELS, owner("App", "x", "v", controller=False)), None),
        (child(LABELS, owner(uid="before")), "a deleted ModelDeployment of the same name"),
        (child(LABELS, owner(name="other", uid="v")), "ModelDeployment other"),
        (child(LABELS, owner("App", "theirs", "v")), "App theirs"),
        (child(None), "another owner"),
        (child(LABELS | {"serving.slipway.dev/name": "other"}), "another owner"),
        ({}, "another owner"),
    ],
)
def test_the_owner_of_a_child(body: dict[str, Any], foreign: str | None) -> None:
    assert Owner(Key("team-a", "digits"), "u").foreign(body) == foreign


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("0042", 42), ("9007199254740991", 2**53 - 1), ("9007199254740992", None), ("9" * 19, None), ("", None), ("-1", None), ("1.0", None), ("\u0661", None), ("1\n", None), (1, None), (None, None)],
)  # fmt: skip
def test_digits(text: object, number: int | None) -> None:
    assert names.digits(text) == number


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"metadata": None},
        {"metadata": {"labels": []}},
        {"metadata": {"labels": {names.REVISION_LABEL: "x"}}},
    ],
)
def test_what_carries_no_revision(body: object) -> None:
    assert names.revision_number(body) == 0


def test_children_of_the_longest_name() -> None:
    name = "a" * 52
    assert all(len(made) <= 63 for made in (names.headless_service(name), names.revision(name, 10**9)))


def test_the_selector_is_among_the_labels_of_every_revision() -> None:
    for number in (1, 2):
        assert names.selector("digits").items() <= names.labels("digits", number).items()
