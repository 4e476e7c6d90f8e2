"""Messages as chat templates take them: plain dictionaries, calls of tools with their ids.

Invariant: a function of the messages alone, so that equal chats are rendered equally; each result
of a tool carries the id of the call that it answers.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Sequence
from typing import Any

from store.specs import Message, ToolRequest

_ID_CHARS = 9
"""Mistral's templates want exactly so many letters and digits."""


def to_template_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages for `apply_chat_template`.

    Args:
        messages: of a chat; results of tools follow the message that called them, in its order.
    """
    plain: list[dict[str, Any]] = []
    open_calls: deque[tuple[str, ToolRequest]] = deque()
    for number, message in enumerate(messages):
        item: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            ids = [_call_id(number, index, call) for index, call in enumerate(message.tool_calls)]
            open_calls = deque(zip(ids, message.tool_calls, strict=True))
            item["tool_calls"] = [
                {
                    "id": call_id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.loads(call.arguments)},
                }
                for call_id, call in open_calls
            ]
        elif message.role == "tool" and open_calls:
            call_id, call = open_calls.popleft()
            item["tool_call_id"], item["name"] = call_id, call.name
        plain.append(item)
    return plain


def spoken_texts(message: Message) -> tuple[str, ...]:
    """Texts of a message that its rendering has, in order: content, then names and values."""
    texts = [message.content.strip()]
    for call in message.tool_calls:
        texts += [call.name, *_leaves(json.loads(call.arguments))]
    return tuple(text for text in texts if text)


def _leaves(value: object) -> list[str]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value if isinstance(value, str) else json.dumps(value)]


def _call_id(number: int, index: int, call: ToolRequest) -> str:
    content = f"{number}\n{index}\n{call.name}\n{call.arguments}"
    return hashlib.sha256(content.encode()).hexdigest()[:_ID_CHARS]
