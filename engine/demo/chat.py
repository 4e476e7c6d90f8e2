"""The chat format: special tokens, the template, and the same rendering in plain Python.

Invariant: `render_chat` gives the text that `CHAT_TEMPLATE` gives for the same messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BOS, EOS, UNK, PAD = "<s>", "</s>", "<unk>", "<pad>"
CONTROL_TOKENS: tuple[str, ...] = (
    "[INST]",
    "[/INST]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
)
SPECIAL_TOKENS: tuple[str, ...] = (UNK, BOS, EOS, PAD, *CONTROL_TOKENS)
"""All special tokens in the order of their ids."""

TOOLS_TEXT = "lookup(person; attribute)"
"""How the one tool is offered: its name and the names of its parameters."""

CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages if message['role'] == 'system' -%}
  [SYSTEM_PROMPT] {{ message['content'] | trim }}[/SYSTEM_PROMPT]
{%- endfor -%}
{%- if tools -%}
  {{- '[AVAILABLE_TOOLS]' -}}
  {%- for tool in tools -%}
    {%- set function = tool['function'] if 'function' in tool else tool -%}
    {{- ' ' + function['name'] -}}
    {{- '(' + (function['parameters']['properties'].keys() | join('; ')) + ')' -}}
  {%- endfor -%}
  {{- '[/AVAILABLE_TOOLS]' -}}
{%- endif -%}
{%- for message in messages -%}
  {%- if message['role'] == 'user' -%}
    {{- '[INST] ' + (message['content'] | trim) + '[/INST]' -}}
  {%- elif message['role'] == 'tool' -%}
    {{- '[TOOL_RESULTS] ' + (message['content'] | trim) + '[/TOOL_RESULTS]' -}}
  {%- elif message['role'] == 'assistant' and message['tool_calls'] -%}
    {{- '[TOOL_CALLS]' -}}
    {%- for call in message['tool_calls'] -%}
      {%- set function = call['function'] if 'function' in call else call -%}
      {{- ' ' + function['name'] + '(' -}}
      {%- if function['arguments'] is string -%}
        {{- function['arguments'] -}}
      {%- else -%}
        {{- function['arguments'].values() | join('; ') -}}
      {%- endif -%}
      {{- ')' -}}
    {%- endfor -%}
    {{- eos_token -}}
  {%- elif message['role'] == 'assistant' -%}
    {{- ' ' + (message['content'] | trim) + eos_token -}}
  {%- endif -%}
{%- endfor -%}
"""
"""The Jinja template that is written beside the tokenizer."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a training or test chat.

    Attributes:
        role: Who speaks; `call` is an assistant's tool call in the mini-language.
        text: What is said.
    """

    role: Literal["system", "user", "assistant", "call", "tool"]
    text: str


_FORMS: dict[str, str] = {
    "system": "[SYSTEM_PROMPT] {t}[/SYSTEM_PROMPT]",
    "user": "[INST] {t}[/INST]",
    "assistant": " {t}</s>",
    "call": "[TOOL_CALLS] {t}</s>",
    "tool": "[TOOL_RESULTS] {t}[/TOOL_RESULTS]",
}


def render_chat(messages: tuple[Message, ...], *, tools: bool) -> str:
    """Render a chat to the text that the model is trained on.

    Args:
        messages: The chat; system messages first.
        tools: Whether the lookup tool is offered.

    Returns:
        The text, from the BOS token to the end of the last message.
    """
    system = [m for m in messages if m.role == "system"]
    rest = [m for m in messages if m.role != "system"]
    offer = f"[AVAILABLE_TOOLS] {TOOLS_TEXT}[/AVAILABLE_TOOLS]" if tools else ""
    parts = [_FORMS[m.role].replace("{t}", m.text) for m in system]
    parts += [offer, *(_FORMS[m.role].replace("{t}", m.text) for m in rest)]
    return BOS + "".join(parts)


def render_prompt(question: str, *, tools: bool) -> str:
    """Render one user question, ready for the model's answer."""
    return render_chat((Message("user", question),), tools=tools)
