"""What the API types have in common: naming, strictness, and rules that hold in admission and in the operator alike.

A rule is written once, as data. The CRD generator turns it into CEL (`x-kubernetes-validations`), pydantic runs the
same rule when the operator parses a resource that reached it some other way.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """Base of every type in the resource: immutable, camelCase outside, unknown fields refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


@dataclass(frozen=True, slots=True)
class TextRule:
    """A rule about one string: it must match `pattern`, or must not when `forbidden`.

    Attributes:
        pattern: an RE2-compatible regular expression, searched anywhere in the text. RE2 is what CEL runs; Python's
            `re` accepts the same expressions. `$` may only stand for the end of the text.
        message: what the user reads, naming the field and the fix.
        forbidden: turn the rule round.
    """

    pattern: str
    message: str
    forbidden: bool = False

    def accepts(self, text: str) -> bool:
        """Tell whether the text keeps the rule."""
        # Python's `$` also matches before a last line break, RE2's does not.
        return (re.search(self.pattern.replace("$", r"\Z"), text, re.ASCII) is not None) != self.forbidden

    def cel(self, expression: str = "self") -> dict[str, str]:
        """Return the rule as an entry of `x-kubernetes-validations` on the given CEL expression."""
        quoted = self.pattern.replace("\\", "\\\\").replace("'", "\\'")
        return {"rule": f"{'!' if self.forbidden else ''}{expression}.matches('{quoted}')", "message": self.message}


def check_text(rules: Sequence[TextRule], text: str) -> str:
    """Return the text, or raise ValueError with the message of the first broken rule."""
    for rule in rules:
        if not rule.accepts(text):
            raise ValueError(rule.message)
    return text


def validations(*rules: dict[str, str]) -> dict[str, Any]:
    """Return the schema fragment that carries CEL rules."""
    return {"x-kubernetes-validations": list(rules)}


QUANTITY_PATTERN = (
    r"^\+?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    BeforeValidator(_as_text),
    Field(
        pattern=QUANTITY_PATTERN,
        max_length=64,
        # pydantic leaves the pattern out of the JSON schema of a validated type.
        json_schema_extra={"x-kubernetes-int-or-string": True, "pattern": QUANTITY_PATTERN},
    ),
]
"""A Kubernetes resource quantity such as `500m`, `2` or `1Gi`; whole numbers are taken as their text."""
