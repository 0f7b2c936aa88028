"""Reads what a user asks for: the body of a ModelDeployment, whatever it holds, becomes a typed spec or one Problem.

The API server has checked most of it on admission. What got in otherwise (an older CRD, a flag that only the table of
versions knows) is found here, named with its field, and never raised.
"""

import re
from collections.abc import Iterator

from slipway import loose, runtimes
from slipway.api import ModelDeployment, ModelDeploymentSpec, Reason
from slipway.observed import Key, Manifest, Problem
from slipway.runtimes import Defaults

MESSAGE_LENGTH = 2048
_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})
_HUGE_PAGES = "hugepages-"
_DEEPEST = 32
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def read(key: Key, body: Manifest) -> ModelDeploymentSpec | Problem:
    """Return the typed spec, or everything that keeps it from being one."""
    too_deep = Problem(Reason.INVALID_SPEC, f"spec is nested more than {_DEEPEST} levels deep: write it flatter")
    if _deeper(body.get("spec"), _DEEPEST):
        return too_deep
    try:
        return ModelDeployment.parse_spec({"metadata": {"name": key.name}, "spec": body.get("spec")})
    except ValueError as error:
        return Problem(Reason.INVALID_SPEC, loose.one_line(str(error), MESSAGE_LENGTH))


def check(spec: ModelDeploymentSpec, defaults: Defaults) -> Problem | None:
    """Return what keeps a well-formed spec from being carried out by the server that it asks for, or None."""
    problems = [*_resources(spec), *_keys(spec), *runtimes.check(spec.runtime, defaults)]
    if not problems:
        return None
    reasons = {problem.reason for problem in problems}
    reason = reasons.pop() if len(reasons) == 1 else Reason.INVALID_SPEC
    return Problem(reason, loose.one_line("; ".join(problem.message for problem in problems), MESSAGE_LENGTH))


def _resources(spec: ModelDeploymentSpec) -> Iterator[Problem]:
    for field, amounts in (("requests", spec.resources.requests), ("limits", spec.resources.limits)):
        for name in sorted(amounts):
            if name not in _RESOURCES and not name.startswith(_HUGE_PAGES):
                fix = "ask for it with spec.gpu" if "/" in name else f"use {', '.join(sorted(_RESOURCES))}"
                yield Problem(
                    Reason.INVALID_SPEC, f"spec.resources.{field}.{name[:128]}: not a resource of the server: {fix}"
                )


def _keys(spec: ModelDeploymentSpec) -> Iterator[Problem]:
    added = spec.pod_template
    fields = {"labels": added.labels, "annotations": added.annotations, "nodeSelector": added.node_selector}
    for field, entries in fields.items():
        for key in sorted(entries):
            if not _KEY.fullmatch(key):
                yield Problem(
                    Reason.INVALID_SPEC,
                    f"spec.podTemplate.{field}: {key[:64]!r} is not a key: write NAME or DOMAIN/NAME, with at most 63 "
                    "letters, digits, '-', '_' and '.' in NAME",
                )


def _deeper(value: object, levels: int) -> bool:
    """Tell whether JSON is nested more deeply than that, without going down by recursion."""
    layer = [value]
    for _ in range(levels):
        layer = [
            item
            for node in layer
            if isinstance(node, dict | list)
            for item in (node.values() if isinstance(node, dict) else node)
            if isinstance(item, dict | list)
        ]
        if not layer:
            return False
    return True
