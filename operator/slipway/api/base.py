"""What the API types have in common: naming, strictness, rules of a type, quantities and durations."""

import re
from enum import Enum
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from slipway.api.rules import SCHEMA_KEY, Rule, Rules, check

_LONGEST = 64


class ApiModel(BaseModel):
    """Base of every type in the resource: immutable, camelCase outside, unknown fields refused.

    Attributes:
        rules: rules over several fields of the type.
        renamed: former names of fields, each with the path of its successor. A resource that uses one is refused with
            the new name; the API server would otherwise prune the field without a word.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()
    renamed: ClassVar[dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _refuse_former_names(cls, value: Any) -> Any:
        for former, successor in cls.renamed.items() if isinstance(value, dict) else ():
            if former in value:
                raise ValueError(_renamed(former, successor).message)
        return value

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        if self.rules:
            check(self.rules, cel_value(self))
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the type's rules and the former names of its fields to its schema."""
        found = handler(schema)
        node = handler.resolve_ref_schema(found)
        rules = [*cls.rules, *(_renamed(former, successor) for former, successor in cls.renamed.items())]
        if rules:
            node[SCHEMA_KEY] = [rule.schema() for rule in rules]
        for former, successor in cls.renamed.items():
            field = dict(node["properties"][to_camel(successor.rpartition(".")[2])])
            kind = field.get("type", "string")
            bound = {"maxLength": _LONGEST} if kind == "string" else {}  # the API server estimates CEL's cost from it
            node["properties"][former] = {"type": kind, **bound, "description": f"Renamed: {successor}."}
        return found


def _renamed(former: str, successor: str) -> Rule:
    parent = successor.rpartition(".")[0]
    return Rule(f"!has(self.{former})", f"{parent}.{former} was renamed: use {successor}")


def cel_value(value: Any) -> Any:
    """Return a value as the API server hands it to CEL.

    Fields without a value are absent. So are empty lists, maps and objects that come from a default: the CRD has no
    defaults for them.
    """
    if isinstance(value, ApiModel):
        fields = type(value).model_fields
        found = {field.alias or name: cel_value(getattr(value, name)) for name, field in fields.items()}
        given = {fields[name].alias or name for name in value.model_fields_set}
        return {
            name: item for name, item in found.items() if item is not None and (item not in ({}, []) or name in given)
        }
    if isinstance(value, dict):
        return {key: cel_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [cel_value(item) for item in value]
    return value.value if isinstance(value, Enum) else value


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
"""A Kubernetes resource quantity such as `500m`, `2` or `1Gi`; whole numbers are accepted as their text."""

MAX_VERSION = 2**63 - 1
"""TensorFlow Serving keeps version numbers as int64."""
_VERSION_PATTERN = "^[0-9]{1,19}$"


def _as_version(value: object) -> object:
    return int(value) if isinstance(value, str) and re.fullmatch(_VERSION_PATTERN, value) else value


VersionNumber = Annotated[
    int,
    Field(ge=0, le=MAX_VERSION),
    BeforeValidator(_as_version),
    Field(
        # No maximum: the API server keeps it as a float, which is one too many. The rule has it.
        json_schema_extra={"x-kubernetes-int-or-string": True, "pattern": _VERSION_PATTERN, "maxLength": 19},
    ),
]
"""A version of a model. Numbers above 2^53 may be written as texts: JSON libraries that read numbers as floats round them."""

DURATION_PATTERN = r"^([0-9]{1,3}h)?([0-9]{1,4}m)?([0-9]{1,5}s)?$"
BOUND_PATTERN = r"^(>=|<=) ?[0-9]{1,15}([.][0-9]{1,15})?([eE][-+]?[0-9]{1,2})?$"
DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"


def parse_duration(text: str) -> int:
    """Return the seconds in a duration such as `90s`, `10m` or `1h30m`; raise ValueError if it is not one."""
    match = re.fullmatch(DURATION_PATTERN, text)
    if not text or match is None:
        raise ValueError(f"{text!r} is not a duration: write it like 90s, 10m or 1h30m")
    hours, minutes, seconds = (int(part[:-1]) if part else 0 for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def duration(message: str, *, least: int, most: int) -> tuple[Any, ...]:
    """Return the annotations that make a text field a duration of `least` to `most` seconds.

    Args:
        message: what the user reads when the value is outside, naming the field and the fix.
        least: seconds.
        most: seconds.
    """
    # The API server evaluates rules of texts that do not match the pattern, too; `duration()` fails on those.
    rule = (
        f"!self.matches('{DURATION_PATTERN}') || self == '' || "
        f"(duration(self) >= duration('{least}s') && duration(self) <= duration('{most}s'))"
    )
    return Field(pattern=DURATION_PATTERN, min_length=2, max_length=16), Rules(Rule(rule, message))
