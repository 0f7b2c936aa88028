"""Validates a spec: the body of a ModelDeployment becomes a typed spec or one Problem that names every faulty field.

The API server has checked most of it on admission. What passed it otherwise (an older CRD, a flag that the version of the
server lacks) is found here, and never raised.
"""

import re
from collections.abc import Iterator

from slipway.api import ModelDeploymentSpec, Reason, parse_spec
from slipway.domain import flags, lenient
from slipway.domain.objects import Key, Problem
from slipway.domain.servers import Defaults, version_of

MESSAGE_LENGTH = 2048
_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})
_HUGE_PAGES = "hugepages-"
_MAX_DEPTH = 32
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def read(key: Key, spec: object) -> ModelDeploymentSpec | Problem:
    """Return the typed spec of ModelDeployment `key`, or everything that keeps it from being one."""
    if _deeper(spec, _MAX_DEPTH):
        return Problem(Reason.INVALID_SPEC, f"spec is nested more than {_MAX_DEPTH} levels deep: make it flatter")
    try:
        return parse_spec(key.name, spec)
    except ValueError as error:
        return Problem(Reason.INVALID_SPEC, lenient.one_line(str(error), MESSAGE_LENGTH))


def check(spec: ModelDeploymentSpec, defaults: Defaults) -> Problem | None:
    """Return what keeps a well-formed spec from becoming pods with the server that it asks for, or None."""
    version = version_of(spec.runtime, defaults)
    problems = [*_resources(spec), *_keys(spec), *flags.check(spec.runtime, version)]
    if not problems:
        return None
    reasons = {problem.reason for problem in problems}
    reason = reasons.pop() if len(reasons) == 1 else Reason.INVALID_SPEC
    return Problem(reason, lenient.one_line("; ".join(problem.message for problem in problems), MESSAGE_LENGTH))


def _resources(spec: ModelDeploymentSpec) -> Iterator[Problem]:
    for field, amounts in (("requests", spec.resources.requests), ("limits", spec.resources.limits)):
        for name in sorted(amounts):
            if name not in _RESOURCES and not name.startswith(_HUGE_PAGES):
                fix = "request it with spec.gpu" if "/" in name else f"use {', '.join(sorted(_RESOURCES))}"
                yield Problem(
                    Reason.INVALID_SPEC,
                    f"spec.resources.{field}.{name[:128]}: not a resource of the server container: {fix}",
                )


def _keys(spec: ModelDeploymentSpec) -> Iterator[Problem]:
    added = spec.pod_template
    fields = {"labels": added.labels, "annotations": added.annotations, "nodeSelector": added.node_selector}
    for field, entries in fields.items():
        for key in sorted(entries):
            if not _KEY.fullmatch(key):
                yield Problem(
                    Reason.INVALID_SPEC,
                    f"spec.podTemplate.{field}: {key[:64]!r} is not a valid key: write NAME or DOMAIN/NAME, with at most 63 "
                    "letters, digits, '-', '_' and '.' in NAME",
                )


def _deeper(value: object, levels: int) -> bool:
    """Return whether JSON is nested more than so many levels deep, without recursion."""
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
