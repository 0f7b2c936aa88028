"""Compares a desired object with the live one: the live object must contain the desired one; other fields do not count.

Follows server-side apply, so a difference is what an apply would change:

- Maps are compared field by field. A field that the desired object lacks belongs to another manager, or is a default.
- Lists with keys (containers by name, ports by number and protocol …) are compared item by item; further items, such as an
  injected sidecar, belong to others.
- Other lists (arguments, metrics, tolerations …) belong to one manager as a whole: same length, same order.
- `spec.selector` of a Service is a map that an apply replaces as a whole: it must be equal.
- A missing field equals an empty one (`{}`, `[]`, `""`, `0`, `false`): the API server leaves those out.
- Quantities are compared by value.

A field that Slipway no longer sends is not found here. That is safe because every such change comes with a visible one:
a pod template has another revision label, metrics and arguments are whole lists, and the plan watches `spec.replicas`.
"""

from collections.abc import Callable, Iterable
from typing import Any

from slipway.domain import quantities

_Identity = Callable[[dict[str, Any]], object]


def _by(*fields: str, **defaults: str) -> _Identity:
    def identity(item: dict[str, Any]) -> object:
        return tuple(item.get(field, defaults.get(field)) for field in fields)

    return identity


_CONTAINER_PORT = _by("containerPort", "protocol", protocol="TCP")
_SERVICE_PORT = _by("port", "protocol", protocol="TCP")
_NAME = _by("name")
_KEYED: dict[str, _Identity] = {
    "containers": _NAME,
    "initContainers": _NAME,
    "env": _NAME,
    "volumes": _NAME,
    "imagePullSecrets": _NAME,
    "volumeMounts": _by("mountPath"),
    "ports": lambda item: _CONTAINER_PORT(item) if "containerPort" in item else _SERVICE_PORT(item),
    "ownerReferences": _by("uid"),
    "conditions": _by("type"),
    "topologySpreadConstraints": _by("topologyKey", "whenUnsatisfiable"),
}
_QUANTITIES = frozenset({"requests", "limits"})
_QUANTITY = "sizeLimit"
_PRESENT = frozenset({"emptyDir"})
"""Fields that have a meaning even if they are empty."""
_EMPTY: tuple[object, ...] = (None, "", 0, False, [], {})


def in_sync(desired: dict[str, Any], live: dict[str, Any]) -> bool:
    """Return whether an apply of the desired object would change nothing."""
    return difference(desired, live) is None


def difference(desired: dict[str, Any], live: dict[str, Any]) -> str | None:
    """Return the path of the first field that differs, or None if the desired object is contained in the live one."""
    if desired.get("kind") == "Service":
        selector = desired.get("spec", {}).get("selector")
        if selector is not None and (live.get("spec") or {}).get("selector") != selector:
            return "spec.selector"
    return _map(desired, live, "")


def _map(desired: dict[str, Any], live: Any, field: str) -> str | None:
    if desired is live:
        return None
    if not isinstance(live, dict):
        return None if live is None and not any(_filled(value) for value in desired.values()) else field or "."
    quantities_inside = field in _QUANTITIES
    for key, value in desired.items():
        found = live.get(key)
        if value == found and type(value) is type(found):
            continue
        if found is None and key in _PRESENT:
            return key
        if quantities_inside or key == _QUANTITY:
            if not quantities.same(value, found):
                return key
        elif (path := _value(value, found, key)) is not None:
            return key if path == key else f"{key}{'' if path.startswith('[') else '.'}{path}"
    return None


def _value(desired: Any, live: Any, key: str) -> str | None:
    if isinstance(desired, dict):
        return _map(desired, live, key)
    if isinstance(desired, list):
        return _list(desired, live, key)
    if live is None:
        return key if _filled(desired) else None
    equal = desired == live and isinstance(desired, bool) == isinstance(live, bool)
    return None if equal else key


def _list(desired: list[Any], live: Any, key: str) -> str | None:
    if not isinstance(live, list):
        return None if live is None and not desired else key
    identity = _KEYED.get(key)
    if identity is not None and all(isinstance(item, dict) for item in desired):
        return _keyed(desired, live, identity)
    if len(desired) != len(live):
        return key
    for position, (value, found) in enumerate(zip(desired, live, strict=True)):
        if (path := _value(value, found, key)) is not None:
            return f"[{position}]" if path == key else f"[{position}].{path}"
    return None


def _keyed(desired: Iterable[dict[str, Any]], live: Iterable[Any], identity: _Identity) -> str | None:
    known = {identity(item): item for item in live if isinstance(item, dict)}
    for item in desired:
        label = identity(item)
        shown = "/".join(str(word) for word in label) if isinstance(label, tuple) else str(label)
        found = known.get(label)
        if found is None:
            return f"[{shown}]"
        if (path := _map(item, found, "")) is not None:
            return f"[{shown}].{path}"
    return None


def _filled(value: object) -> bool:
    if isinstance(value, dict):
        return any(_filled(item) for item in value.values())
    return not any(value == empty and type(value) is type(empty) for empty in _EMPTY)
