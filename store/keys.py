"""Canonical JSON and the run key: one name for everything that defines a run.

Invariant: two specs give one key exactly if they are equal in every value that can change what the
run leaves behind. The catalog's name of a source is a nickname and is not part of the key.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import fields, is_dataclass

from store.specs import RunSpec, SourceSpec


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no blanks, and one spelling for each number (`1.0` is `1`).

    Args:
        value: None, bool, int, float, text, list, tuple, dict with text keys, or a dataclass of
            these.

    Raises:
        ValueError: for a number that is not finite. TypeError: for any other type.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _plain(value: object) -> object:
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value!r} has no canonical JSON")
        return int(value) if value == int(value) else value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("canonical JSON takes text keys only")
        return {key: _plain(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {
            item.name: _plain(getattr(value, item.name))
            for item in fields(value)
            if not (item.metadata.get("keyed_if_set") and getattr(value, item.name) == item.default)
        }
    raise TypeError(f"{type(value).__name__} has no canonical JSON")


def _identity(source: SourceSpec) -> dict[str, object]:
    """A source without its nickname."""
    return {item.name: getattr(source, item.name) for item in fields(source) if item.name != "name"}


def source_id(source: SourceSpec) -> str:
    """A readable id: the nickname and 12 hexadecimal digits of everything that the source is."""
    digest = hashlib.sha256(canonical_json(_identity(source)).encode()).hexdigest()
    return f"{source.name}-{digest[:12]}"


def run_key(spec: RunSpec, numerics_version: str) -> str:
    """SHA-256 in 64 hexadecimal digits.

    Args:
        spec: the run, every revision resolved.
        numerics_version: of the engine; changed when equal specs would leave other numbers.
    """
    content = {
        "numerics": numerics_version,
        "source": _identity(spec.source),
        "kind": spec.kind,
        "messages": spec.messages,
        "tools": spec.tools,
        "sampling": spec.sampling,
        "steering": spec.steering,
    }
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()
