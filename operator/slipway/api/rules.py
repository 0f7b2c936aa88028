"""Validation rules of the API types: each is declared once, in CEL, beside the field or type that it constrains.

The generated CRD carries the rule to the API server. When the operator parses a resource, pydantic evaluates the same CEL
text, so a resource that was admitted by an older CRD is refused in the same words.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext.ext_strings import ExtStrings
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

SCHEMA_KEY = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        cel: a CEL expression over `self` that is true for a valid value. Besides the standard functions it may use those
            of Kubernetes' strings library that cel-expr-python has, too (`substring`, `trim`, `lowerAscii` …).
        message: what the user reads when the rule is broken; names the field and the fix.
    """

    cel: str
    message: str

    def schema(self) -> dict[str, str]:
        """Return the rule as an entry of `x-kubernetes-validations`."""
        return {"rule": self.cel, "message": self.message}


def matches(pattern: str, message: str, *, of: str = "self") -> Rule:
    """Return a rule: the text `of` matches an RE2 pattern, searched anywhere in it."""
    return Rule(f"{of}.matches({_quoted(pattern)})", message)


def excludes(pattern: str, message: str, *, of: str = "self") -> Rule:
    """Return a rule: the text `of` does not match an RE2 pattern, searched anywhere in it."""
    return Rule(f"!{of}.matches({_quoted(pattern)})", message)


def check(rules: Iterable[Rule], value: Any) -> None:
    """Evaluate rules on a JSON value.

    Raises:
        ValueError: with the message of the first rule that is broken, or that cannot be evaluated.
    """
    for rule in rules:
        if _compiled(rule.cel).eval(data={"self": _without_nul(value)}).plain_value() is not True:
            raise ValueError(rule.message)


class Rules:
    """Annotation of a field: `Annotated[str, Field(…), Rules(rule, …)]`."""

    def __init__(self, *rules: Rule) -> None:
        """Keep the rules; they are evaluated in this order."""
        self.rules = rules

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Evaluate the rules after the field's own validation."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the rules to the field's schema."""
        found = handler(schema)
        return found | {SCHEMA_KEY: [*found.get(SCHEMA_KEY, ()), *(rule.schema() for rule in self.rules)]}

    def _check(self, value: Any) -> Any:
        check(self.rules, value)
        return value


def _without_nul(value: Any) -> Any:
    """Return a JSON value in which U+0001 stands for NUL: no rule tells them apart, and cel-expr-python ends a text at NUL."""
    if isinstance(value, str):
        return value.replace("\0", "\x01")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


@lru_cache(maxsize=1)
def _environment() -> cel.Env:
    return cel.NewEnv(variables={"self": cel.Type.DYN}, extensions=[ExtStrings()])


@lru_cache(maxsize=256)
def _compiled(expression: str) -> cel.Expression:
    return _environment().compile(expression)
