"""Calls of tools in what a model wrote, in the formats that chat templates teach.

Read are Mistral's `[TOOL_CALLS]` with a JSON array, an object, or `name[ARGS]{...}`; the demo's
`[TOOL_CALLS] lookup(a; b)`; `<tool_call>{...}</tool_call>`; and a response that is nothing but such
JSON, naming a tool that was offered.

Invariant: no text raises, and text without one of these marks that is not JSON from beginning to
end holds no call, whatever it says of calling tools.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from store.errors import InvalidSpecError
from store.specs import ToolRequest, ToolSpec, is_storable

MARK = "[TOOL_CALLS]"
_ARGUMENTS = "[ARGS]"
_CALL_ID = "[CALL_ID]"
_TAG, _END_TAG = "<tool_call>", "</tool_call>"
_MAX_CHARS = 200_000
_MAX_MALFORMED_CHARS = 2_000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_ENDS = re.compile(
    r"</s>|<\|im_end\|>|<\|eot_id\|>|<\|eom_id\|>|<\|end\|>|<\|endoftext\|>|<end_of_turn>|<eos>"
)
_LEADING = re.compile(r"\s*(?:<\|python_tag\|>|```(?:json|tool_call)?)\s*")
_TRAILING = re.compile(r"\s*```\s*$")
_SHORT_CALL = re.compile(r"\s*([A-Za-z_]\w{0,63})\(([^()]*)\)")
_DECODER = json.JSONDecoder(parse_constant=lambda name: _refuse(name))


@dataclass(frozen=True, slots=True)
class ParsedCalls:
    """What a response calls.

    Attributes:
        calls: in order.
        malformed: text that is marked as a call and cannot be read as one; None if there is none.
        before: what was said before the first call.
    """

    calls: tuple[ToolRequest, ...] = ()
    malformed: str | None = None
    before: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was called, nor meant to be."""
        return not self.calls and self.malformed is None


class _Unreadable(Exception):  # noqa: N818 - a signal inside this module
    """What is marked as a call is none."""


def parse_calls(text: str, offered: Sequence[ToolSpec]) -> ParsedCalls:
    """Reads the calls in a response.

    Args:
        text: what was generated, special tokens included.
        offered: the tools that the model was told of; empty if none was.
    """
    text = text[:_MAX_CHARS]
    for mark, read in ((MARK, _read_marked), (_TAG, _read_tagged)):
        before, found, rest = text.partition(mark)
        if found:
            return _parsed(rest, before, read, offered)
    return _read_bare(text, offered)


def _parsed(
    rest: str,
    before: str,
    read: Callable[[str, Sequence[ToolSpec]], list[ToolRequest]],
    offered: Sequence[ToolSpec],
) -> ParsedCalls:
    before = _storable(_ENDS.sub("", before).strip())
    try:
        calls = read(rest, offered)
    except (_Unreadable, ValueError, RecursionError, InvalidSpecError):
        calls = []
    if calls:
        return ParsedCalls(tuple(calls), None, before)
    shown = _ENDS.split(rest, maxsplit=1)[0].strip()[:_MAX_MALFORMED_CHARS]
    return ParsedCalls((), _storable(shown), before)


def _read_marked(rest: str, offered: Sequence[ToolSpec]) -> list[ToolRequest]:
    if rest.lstrip().startswith(("[", "{")) and not rest.lstrip().startswith((MARK, _CALL_ID)):
        value, _ = _DECODER.raw_decode(rest.lstrip())
        return [_to_request(item) for item in (value if isinstance(value, list) else [value])]
    calls: list[ToolRequest] = []
    for piece in rest.split(MARK):
        piece = _ENDS.split(piece, maxsplit=1)[0]
        if not piece.strip():
            continue
        name, has_arguments, arguments = piece.partition(_ARGUMENTS)
        if has_arguments:
            value, _ = _DECODER.raw_decode(arguments.lstrip())
            plain = {"name": name.partition(_CALL_ID)[0].strip(), "arguments": value}
            calls.append(_to_request(plain))
        else:
            calls += _read_short(piece, offered)
    return calls


def _read_short(piece: str, offered: Sequence[ToolSpec]) -> list[ToolRequest]:
    """Calls as `lookup(Anna Berg; city)`, one after the other; their arguments are in order."""
    calls = []
    position = 0
    while match := _SHORT_CALL.match(piece, position):
        name, inside = match.groups()
        values = [" ".join(value.split()) for value in inside.split(";")] if inside.strip() else []
        spec = next((spec for spec in offered if spec.name == name), None)
        names = list(_properties(spec)) if spec else []
        names += [f"argument_{number}" for number in range(len(names), len(values))]
        arguments = dict(zip(names, values, strict=False))
        calls.append(_to_request({"name": name, "arguments": arguments}))
        position = match.end()
    if not calls:
        raise _Unreadable
    return calls


def _read_tagged(rest: str, _offered: Sequence[ToolSpec]) -> list[ToolRequest]:
    calls = []
    for piece in rest.split(_TAG):
        inside = _ENDS.split(piece.partition(_END_TAG)[0], maxsplit=1)[0].strip()
        if inside:
            calls.append(_to_request(_DECODER.decode(inside)))
    return calls


def _read_bare(text: str, offered: Sequence[ToolSpec]) -> ParsedCalls:
    """A response that is nothing but JSON, and names tools that were offered."""
    names = {spec.name for spec in offered}
    inside = _ENDS.sub("", text).strip()
    if leading := _LEADING.match(inside):
        inside = _TRAILING.sub("", inside[leading.end() :]).strip()
    if not names or not inside.startswith(("{", "[")):
        return ParsedCalls()
    try:
        value = _DECODER.decode(inside)
        items = value if isinstance(value, list) else [value]
        calls = tuple(_to_request(item) for item in items)
    except (_Unreadable, ValueError, RecursionError, InvalidSpecError):
        # a call that was cut off is told from other text by the name of a tool
        named = "|".join(re.escape(name) for name in sorted(names))
        begins = re.match(rf'\[?\s*\{{\s*"name"\s*:\s*"(?:{named})"', inside)
        if begins and not _is_whole(inside):
            return ParsedCalls((), _storable(inside[:_MAX_MALFORMED_CHARS]))
        return ParsedCalls()
    if not calls or any(call.name not in names for call in calls):
        return ParsedCalls()
    return ParsedCalls(calls)


def _is_whole(text: str) -> bool:
    """Whether a text begins with JSON that is not cut off."""
    try:
        _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _to_request(item: object) -> ToolRequest:
    if isinstance(item, dict) and isinstance(item.get("function"), dict):
        item = item["function"]
    if not isinstance(item, dict):
        raise _Unreadable
    name = item.get("name")
    arguments = item.get("arguments", item.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = _DECODER.decode(arguments)
    if arguments is None:
        arguments = {}
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(arguments, dict):
        raise _Unreadable
    plain = json.dumps(arguments, ensure_ascii=False)
    if not is_storable(plain) or "\x00" in plain or "\\u0000" in plain:
        raise _Unreadable
    return ToolRequest(name, plain)


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def _properties(spec: ToolSpec) -> dict[str, object]:
    properties = json.loads(spec.parameters).get("properties", {})
    return properties if isinstance(properties, dict) else {}


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
