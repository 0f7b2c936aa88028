"""What the chart repeats: its copy of the CRD, the schema of its values, and the table in its README.

`python -m dev.generate chart` writes the files. The CRD comes from the types (dev.generate.crd), schema and table from
values.yaml: lines `# -- …` describe the value below them, a line `# @schema {…}` adds to what is inferred from its
default.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dev.generate import crd
from dev.repository import ROOT

CHART = ROOT / "charts" / "slipway"
CRD_FILE = CHART / "templates" / "crds" / "modeldeployments.yaml"
README_FILE = CHART / "README.md"
SCHEMA_FILE = CHART / "values.schema.json"
TABLE_BEGIN = "<!-- values: written by dev/generate/chart.py -->\n"
TABLE_END = "<!-- values end -->\n"
_PARENTS = {
    "global": {
        "type": "object",
        "description": "Values that a parent chart shares with its dependencies; not used here.",
    },
    "enabled": {
        "type": "boolean",
        "description": "The `condition` of a parent chart that has this one as a dependency; not used here.",
    },
}
"""What comes along with the values when the chart is a dependency: Helm adds the first, and reads the second itself."""
_JSON_TYPES = {"str": "string", "int": "integer", "bool": "boolean", "float": "number", "map": "object", "seq": "array"}


@dataclass(frozen=True)
class Value:
    """One entry of values.yaml: its dotted key, what is written about it, and its default.

    `schema` is None for a map that only groups other values.
    """

    key: str
    description: str
    schema: dict[str, Any] | None
    default: Any
    children: tuple["Value", ...] = ()


def values(text: str) -> tuple[Value, ...]:
    """Read values.yaml with its comments. Raises ValueError for a value that nobody described."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        raise ValueError("values.yaml is not a map")  # noqa: TRY004  the file is wrong, not the argument
    return tuple(_values(node, text.splitlines(), ""))


def _values(node: yaml.MappingNode, lines: Sequence[str], prefix: str) -> Iterator[Value]:
    for key_node, value_node in node.value:
        key = f"{prefix}{key_node.value}"
        description, extra = _comment(lines, key_node.start_mark.line)
        default = yaml.SafeLoader("").construct_object(value_node, deep=True)
        if not description:
            if not (isinstance(value_node, yaml.MappingNode) and value_node.value):
                raise ValueError(f"values.yaml: {key} has no `# --` comment")
            yield Value(key, "", None, default, tuple(_values(value_node, lines, f"{key}.")))
            continue
        kind = _JSON_TYPES[value_node.tag.removeprefix("tag:yaml.org,2002:")]
        if kind in ("object", "array") and not ({"additionalProperties", "items"} & extra.keys()):
            raise ValueError(f"values.yaml: {key} needs a `# @schema` line that says what may be in it")
        yield Value(key, description, {"type": kind} | extra, default)


def _comment(lines: Sequence[str], line: int) -> tuple[str, dict[str, Any]]:
    """Return the description and the schema in the comment lines right above a line."""
    above: list[str] = []
    while line > 0 and lines[line - 1].strip().startswith("#"):
        line -= 1
        above.insert(0, lines[line].strip().removeprefix("#").removeprefix(" "))
    start = next((index for index, words in enumerate(above) if words.startswith("-- ")), None)
    if start is None:
        return "", {}
    words = [entry for entry in above[start:] if not entry.startswith("@schema ")]
    schemas = [entry.removeprefix("@schema ") for entry in above[start:] if entry.startswith("@schema ")]
    extra: dict[str, Any] = json.loads(schemas[0]) if schemas else {}
    return " ".join(words).removeprefix("-- "), extra


def values_schema(found: Sequence[Value]) -> str:
    """Return values.schema.json: every value typed, and no other allowed."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart slipway",
        **_object(found),
    }
    schema["properties"] |= _PARENTS
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _object(found: Sequence[Value]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {value.key.rsplit(".", 1)[-1]: _property(value) for value in found},
    }


def _property(value: Value) -> dict[str, Any]:
    if value.schema is None:
        return _object(value.children)
    return {"description": value.description, **value.schema, "default": value.default}


def table(found: Sequence[Value]) -> str:
    """Return the README's table of values, in alphabetical order."""
    rows = sorted(_leaves(found), key=lambda value: value.key.lower())
    lines = ["| value | default | what it does |", "|---|---|---|"]
    for value in rows:
        default = json.dumps(value.default, ensure_ascii=False).replace("|", "\\|")
        lines.append(f"| `{value.key}` | `{default}` | {value.description.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def _leaves(found: Sequence[Value]) -> Iterator[Value]:
    for value in found:
        if value.schema is None:
            yield from _leaves(value.children)
        else:
            yield value


def readme(old: str, found: Sequence[Value]) -> str:
    """Return the README with its table of values replaced. Raises ValueError when it has no place for one."""
    if TABLE_BEGIN not in old or TABLE_END not in old:
        raise ValueError(f"{README_FILE} has no lines {TABLE_BEGIN.strip()!r} and {TABLE_END.strip()!r}")
    before, rest = old.split(TABLE_BEGIN, 1)
    return before + TABLE_BEGIN + "\n" + table(found) + "\n" + TABLE_END + rest.split(TABLE_END, 1)[1]


def crd_template(definition: dict[str, Any]) -> str:
    """Return the CRD as a template: installed or not, kept or not, with the chart's labels."""
    text = crd.to_yaml(definition)
    if "{{" in text:
        raise ValueError("the CRD holds {{, which Helm would take for its own")
    metadata = re.compile(r"^metadata:\n  name: (\S+)\n", re.MULTILINE)
    if len(metadata.findall(text)) != 1:
        raise ValueError("the CRD has no plain metadata.name")
    return (
        "{{- /* Written by dev/generate/chart.py from the types in operator/slipway/api. */ -}}\n"
        "{{- if .Values.crds.install }}\n" + metadata.sub(_CRD_METADATA, text) + "{{- end }}\n"
    )


_CRD_METADATA = r"""metadata:
  name: \1
  labels:
    {{- include "slipway.labels" . | nindent 4 }}
  {{- if or .Values.crds.keep .Values.crds.annotations }}
  annotations:
    {{- if .Values.crds.keep }}
    helm.sh/resource-policy: keep
    {{- end }}
    {{- with .Values.crds.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
"""


def texts() -> dict[Path, str]:
    """Return the text of every generated file."""
    found = values((CHART / "values.yaml").read_text(encoding="utf-8"))
    return {
        CRD_FILE: crd_template(crd.definition()),
        SCHEMA_FILE: values_schema(found),
        README_FILE: readme(README_FILE.read_text(encoding="utf-8"), found),
    }
