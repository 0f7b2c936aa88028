"""The resource as a whole: its names, and how a body from the API server becomes a typed spec."""

import json
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from slipway.api.rules import Rule, check, matches
from slipway.api.sentences import sentences
from slipway.api.spec import ModelDeploymentSpec

GROUP = "serving.slipway.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ModelDeployment"
PLURAL = "modeldeployments"
SINGULAR = "modeldeployment"
SHORT_NAMES = ("mdep",)
CATEGORIES = ("all", "slipway")
MAX_NAME_LENGTH = 52
"""Children are called NAME-headless (a Service: 63 characters at most) and NAME-N."""


def name_rules(expression: str = "self") -> tuple[Rule, ...]:
    """Return the rules of a ModelDeployment's name, on a CEL expression that yields it."""
    return (
        matches(
            rf"^.{{1,{MAX_NAME_LENGTH}}}$",
            f"metadata.name is too long: use at most {MAX_NAME_LENGTH} characters, because Services and pods are named "
            "after it with a suffix",
            of=expression,
        ),
        matches(
            r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
            "metadata.name must start with a letter, end with a letter or digit and contain only lower-case letters, "
            "digits and hyphens: Services are named after it (write my-model, not 1-model or my.model)",
            of=expression,
        ),
    )


def parse_spec(name: str, spec: Any) -> ModelDeploymentSpec:
    """Return the typed spec of a ModelDeployment.

    Args:
        name: its metadata.name.
        spec: its spec, as JSON.

    Raises:
        ValueError: with one sentence for each fault, naming its field.
    """
    return _parsed(name, json.dumps(spec or {}))


@lru_cache(maxsize=256)
def _parsed(name: str, text: str) -> ModelDeploymentSpec:
    """See `parse_spec`; remembered, because a rollout reads the same spec half a dozen times."""
    check(name_rules(), name)
    try:
        # From JSON and strictly: the types that the API server accepts, and no others ("3" is no number).
        return ModelDeploymentSpec.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise ValueError(sentences(error, "spec")) from None
