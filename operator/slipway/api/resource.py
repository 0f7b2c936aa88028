"""The resource as a whole: its names, and how a body read from the API server becomes a typed spec."""

import json
from typing import Any

from pydantic import ValidationError

from slipway.api.base import TextRule, check_text
from slipway.api.spec import ModelDeploymentSpec

GROUP = "serving.slipway.dev"
VERSION = "v1alpha1"
KIND = "ModelDeployment"
PLURAL = "modeldeployments"
SINGULAR = "modeldeployment"
SHORT_NAMES = ("mdep",)
CATEGORIES = ("all", "slipway")
MAX_NAME_LENGTH = 52
"""Children are called NAME-headless (a Service: 63 characters at most) and NAME-N."""
NAME_RULES = (
    TextRule(
        rf"^.{{1,{MAX_NAME_LENGTH}}}$",
        f"metadata.name is too long: use at most {MAX_NAME_LENGTH} characters, because Services and pods are named after "
        "it with a suffix",
    ),
    TextRule(
        r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
        "metadata.name must start with a letter, end with a letter or digit and hold only lower-case letters, digits "
        "and hyphens: Services are named after it (write my-model, not 1-model or my.model)",
    ),
)


class ModelDeployment:
    """Constants and parsing of the resource; its parts are pydantic models, the body stays JSON."""

    api_version = f"{GROUP}/{VERSION}"

    @staticmethod
    def parse_spec(body: dict[str, Any]) -> ModelDeploymentSpec:
        """Return the typed spec of a resource body; its name, where it has one, is checked too.

        Raises:
            ValueError: with one sentence for each thing that is wrong, naming its field.
        """
        check_text(NAME_RULES, str(body.get("metadata", {}).get("name", "unnamed")))
        try:
            # From JSON and strictly: the types that the API server accepts, and no others ("3" is no number).
            return ModelDeploymentSpec.model_validate_json(json.dumps(body.get("spec") or {}), strict=True)
        except ValidationError as error:
            raise ValueError("; ".join(_sentence(item) for item in error.errors(include_url=False))) from None


def _sentence(item: Any) -> str:
    message = str(item["msg"]).removeprefix("Value error, ")
    if message.startswith("spec."):
        return message
    path = ".".join(str(part) for part in ("spec", *item["loc"]))
    return f"{path}: {message}"
