"""Whether a value fits a JSON schema, as far as the schemas of this project go.

A service that promises structured output keeps the promise nearly always; a proxy or another
service behind its address need not.

Invariant: a keyword that is not known here is an error, never passed over: a schema that is
accepted is checked whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_KNOWN = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "enum", "description"}
)


def find_fault(value: Any, schema: Mapping[str, Any], place: str = "the answer") -> str | None:
    """What of a value does not fit, as one sentence; None if all of it does.

    Args:
        value: as `json.loads` gave it.
        schema: with `type` (one or several), `properties`, `required`, `additionalProperties`,
            `items`, `enum` and `description`.
        place: what the value is called in the sentence.

    Raises:
        ValueError: for a schema with any other keyword.
    """
    if unknown := schema.keys() - _KNOWN:
        raise ValueError(f"schema keywords that are not checked: {sorted(unknown)}")
    wanted = schema.get("type")
    if wanted is not None and not _is_of(value, wanted):
        return f"{place} is not of type {wanted}."
    if "enum" in schema and value not in schema["enum"]:
        return f"{place} is none of {', '.join(map(str, schema['enum']))}."
    if isinstance(value, dict):
        return _object_fault(value, schema, place)
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            if fault := find_fault(item, schema["items"], f"{place}[{number}]"):
                return fault
    return None


def _object_fault(value: dict[str, Any], schema: Mapping[str, Any], place: str) -> str | None:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{place} lacks {name!r}."
    for name, item in value.items():
        if name in properties:
            if fault := find_fault(item, properties[name], f"{place}.{name}"):
                return fault
        elif schema.get("additionalProperties") is False:
            return f"{place} has {name[:40]!r}, which nobody asked for."
    return None


def _is_of(value: Any, wanted: str | list[str]) -> bool:
    names = [wanted] if isinstance(wanted, str) else wanted
    if isinstance(value, bool) and "boolean" not in names:
        return False
    return any(isinstance(value, _TYPES[name]) for name in names)
