"""The CustomResourceDefinition: pydantic's JSON schema becomes the structural schema that the API server wants.

`python -m dev.generate crd` writes the manifest into crds/.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dev.repository import ROOT
from slipway.api.base import ApiModel
from slipway.api.resource import CATEGORIES, GROUP, KIND, PLURAL, SHORT_NAMES, SINGULAR, VERSION, name_rules
from slipway.api.spec import ModelDeploymentSpec
from slipway.api.status_fields import ModelDeploymentStatus

Schema = dict[str, Any]


FILE = ROOT / "crds" / f"{GROUP}_{PLURAL}.yaml"

DESCRIPTION = (
    "A TensorFlow model in service: where it comes from, which server runs it, on how many pods, and how a change "
    "reaches them. Its name is the name under which clients request the model, and the name of its Service."
)
_READY = '.status.conditions[?(@.type=="Ready")]'
COLUMNS: tuple[Mapping[str, str], ...] = (
    {
        "name": "Ready",
        "type": "string",
        "jsonPath": f"{_READY}.status",
        "description": "Whether every desired pod runs the update revision and answers.",
    },
    {
        "name": "Revision",
        "type": "integer",
        "jsonPath": ".status.updateRevision",
        "description": "Revision that the spec requests.",
    },
    {
        "name": "Target",
        "type": "integer",
        "jsonPath": ".status.targetRevision",
        "description": "Revision that the pods are brought to: another one after a rollback.",
    },
    {
        "name": "Replicas",
        "type": "integer",
        "jsonPath": ".status.readyReplicas",
        "description": "Pods that are Ready.",
    },
    {
        "name": "Version",
        "type": "string",  # prints numbers, too
        "jsonPath": ".status.modelVersion",
        "description": "Version of the model that is served.",
    },
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    # Last, so that a long one moves no other column.
    {
        "name": "Message",
        "type": "string",
        "jsonPath": f"{_READY}.message",
        "description": "Why it is ready or not, and what to do.",
    },
)
_INT32_MAX = 2**31 - 1
# What pydantic adds for itself, and what structural schemas say in another way.
_DROPPED = frozenset({"title", "default", "additionalProperties", "$ref", "$defs", "exclusiveMinimum", "const"})


def definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition as JSON."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": SINGULAR,
                "shortNames": list(SHORT_NAMES),
                "categories": list(CATEGORIES),
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [dict(column) for column in COLUMNS],
                    "schema": {"openAPIV3Schema": root_schema()},
                    "subresources": {
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                        "status": {},
                    },
                }
            ],
        },
    }


def root_schema() -> Schema:
    """Return the structural schema of the whole resource."""
    return {
        "description": DESCRIPTION,
        "type": "object",
        "required": ["spec"],
        "x-kubernetes-validations": [rule.schema() for rule in name_rules("self.metadata.name")],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Always {GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"Always {KIND}."},
            "metadata": {"type": "object"},
            "spec": model_schema(ModelDeploymentSpec),
            "status": model_schema(ModelDeploymentStatus),
        },
    }


def model_schema(model: type[ApiModel]) -> Schema:
    """Return the structural schema of one type, with every reference resolved."""
    schema = model.model_json_schema(by_alias=True)
    return structural(schema, schema.get("$defs", {}))


def structural(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Return one node of a JSON schema as a node of a structural schema.

    An optional field is one that is not required: the `null` alternatives go. Unknown fields are refused by the API
    server for whoever requests strict validation, as kubectl does, so `additionalProperties: false` goes too.
    """
    node = _resolved(node, definitions)
    made: Schema = {key: value for key, value in node.items() if key not in _DROPPED}
    if made.get("x-kubernetes-int-or-string"):
        del made["type"]  # a structural schema says it as alternatives
        made.pop("maximum", None)  # kept as a float there, and of texts a rule has to say it anyway
    if "description" in made:
        made["description"] = _one_paragraph(made["description"])
    if "exclusiveMinimum" in node:
        made |= {"minimum": node["exclusiveMinimum"], "exclusiveMinimum": True}
    made |= _type_details(node)
    default = default_of(node)
    if default is not None:
        made["default"] = default
    if "properties" in node:
        made["properties"] = {name: structural(child, definitions) for name, child in node["properties"].items()}
    if isinstance(node.get("additionalProperties"), dict):
        made["additionalProperties"] = structural(node["additionalProperties"], definitions)
    if "items" in node:
        made["items"] = structural(node["items"], definitions)
        made.setdefault("x-kubernetes-list-type", "atomic")
    return {key: made[key] for key in sorted(made, key=_rank)}


def _rank(key: str) -> tuple[int, str]:
    first = ("description", "type", "format", "enum", "default")
    last = ("required", "properties", "items", "additionalProperties")
    if key in first:
        return first.index(key), key
    return (len(first) + 1 + last.index(key) if key in last else len(first)), key


def default_of(node: Schema) -> Any:
    """Return the default that the API server fills in, or None.

    Empty lists and maps mean the same as nothing and are left out, so that `kubectl get -o yaml` shows what the user
    wrote. An object gets `{}`: the defaults of its fields then fill it.
    """
    default = _without_empty(node.get("default"))
    if default is None:
        return None
    return {} if isinstance(default, dict) and "properties" in node else default


def _resolved(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Follow a reference or the one alternative that is not null; what stands beside it wins."""
    choices = [choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"]
    if choices:
        if len(choices) > 1:
            raise ValueError(f"a structural schema has no room for alternatives: {node}")
        node = {key: value for key, value in node.items() if key != "anyOf"}
        return _resolved(choices[0] | node, definitions)
    if "$ref" not in node:
        return node
    target = definitions[node["$ref"].rsplit("/", 1)[-1]]
    return _resolved(target | {key: value for key, value in node.items() if key != "$ref"}, definitions)


def _type_details(node: Schema) -> Schema:
    if node.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    if node.get("type") == "integer":
        return {"format": "int32" if node.get("maximum", _INT32_MAX + 1) <= _INT32_MAX else "int64"}
    if node.get("type") == "number":
        return {"format": "double"}
    if "const" in node:
        return {"enum": [node["const"]]}
    return {}


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: found for key, item in value.items() if (found := _without_empty(item)) is not None}
        return kept or None
    if isinstance(value, list):
        return [_without_empty(item) for item in value] or None
    return value


def _one_paragraph(text: str) -> str:
    return " ".join(text.split())


def to_yaml(document: object) -> str:
    """Return a JSON document as YAML whose text depends on the document alone."""
    return str(yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True))


def manifest() -> str:
    """Return the text of the generated file."""
    header = "# Generated by `python -m dev.generate crd` from the types in operator/slipway/api: edit those.\n"
    return header + "---\n" + to_yaml(definition())


def texts() -> dict[Path, str]:
    """Return the text of the generated file."""
    return {FILE: manifest()}
