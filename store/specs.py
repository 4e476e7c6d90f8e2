"""What defines a run: every value that can change what a run leaves behind.

Invariant: specs are frozen and hold only coerced, validated, finite values, so that two equal
specs always give one canonical JSON and one run key (see keys.py). Nothing here knows of torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from store.coercion import set_field, to_real, to_whole
from store.errors import InvalidSpecError
from store.interventions import Condition as Condition
from store.interventions import Intervention as Intervention
from store.interventions import SteeringSpec as SteeringSpec
from store.interventions import parse_interventions as parse_interventions

Role = Literal["system", "user", "assistant", "tool"]
RunKind = Literal["generation", "text"]
ROLES: tuple[str, ...] = get_args(Role)
MAX_TEXT_CHARS = 1_000_000
"""Longest text of all messages of one run, in characters; a longer one is refused unseen."""
MAX_NEW_TOKENS = 32_768
KEYED_IF_SET: Mapping[str, bool] = {"keyed_if_set": True}
"""Of a field that came later: where it has its default, keys are those of specs without it."""


def is_storable(text: str) -> bool:
    """Whether a text has UTF-8: a lone surrogate (from a link's bad bytes) has none."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model at one resolved revision.

    Attributes:
        repo_id: Hugging Face repository, or the name of a local folder.
        revision: commit of the repository, or `sha256:...` of a local folder's content.
        dtype: `float32`, `bfloat16` or `float16`, as computed with.
    """

    repo_id: str
    revision: str
    dtype: str


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """An SAE at a hook point of a model, or a model alone, every revision resolved.

    Attributes:
        name: what people call it (`demo`); unique in a catalog, not part of the run key.
        sae_id: repository (with `:folder` inside it) or name of a local folder; empty without one.
        sae_revision: commit, or `sha256:...` of a local folder's content; settings that decided how
            it encodes follow it, as `;k=32`.
        hook_name: hook point as the field writes it, `blocks.N.hook_resid_post`.
        layer: N of the hook point, from 0; -1 without an SAE.
        d_in: width of the hook point, d_model.
        d_sae: number of features; 0 without an SAE.
        architecture: `standard`, `topk`, `jumprelu`, `gated`, ...; `none` without an SAE.
        max_active: most activations stored a token; None where every one above zero is kept.
    """

    name: str
    model: ModelSpec
    sae_id: str
    sae_revision: str
    hook_name: str
    layer: int
    d_in: int
    d_sae: int
    architecture: str
    max_active: int | None = None

    @property
    def has_sae(self) -> bool:
        """Whether its runs leave activations."""
        return self.d_sae > 0

    @classmethod
    def without_sae(cls, name: str, model: ModelSpec, d_model: int) -> SourceSpec:
        """A model alone: its runs leave tokens, and no activations."""
        return cls(
            name=name,
            model=model,
            sae_id="",
            sae_revision="",
            hook_name="",
            layer=-1,
            d_in=d_model,
            d_sae=0,
            architecture="none",
        )


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A call of a tool that an assistant's message makes; `arguments` is a JSON object as text."""

    name: str
    arguments: str

    def __post_init__(self) -> None:
        if not is_storable(self.name) or not is_storable(self.arguments):
            raise InvalidSpecError("messages", "A call of a tool is not valid Unicode text.")
        try:
            is_object = isinstance(json.loads(self.arguments), dict)
        except ValueError:
            is_object = False
        if not is_object:
            raise InvalidSpecError(
                "messages", "The arguments of a tool's call are a JSON object.", 'Write {"a": 1}.'
            )


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat.

    Attributes:
        content: plain text; of a tool's message, what the tool returned.
        tool_calls: of an assistant's message; tools' messages with their results follow in order.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolRequest, ...] = field(default=(), metadata=KEYED_IF_SET)

    def __post_init__(self) -> None:
        set_field(self, "tool_calls", tuple(self.tool_calls))
        if self.tool_calls and self.role != "assistant":
            raise InvalidSpecError("messages", "Only messages of the assistant call tools.")
        if self.role not in ROLES:
            raise InvalidSpecError(
                "messages",
                f"A message has the role {self.role!r}.",
                f"Use one of {', '.join(ROLES)}.",
            )
        if not isinstance(self.content, str):
            raise InvalidSpecError("messages", "A message's content must be text.")
        if not is_storable(self.content):
            raise InvalidSpecError(
                "messages",
                "The text has half a character in it (a lone surrogate).",
                "Copy or type it again.",
            )


@dataclass(frozen=True, slots=True)
class SamplingSpec:
    """How tokens are chosen.

    Attributes:
        max_new_tokens: most tokens generated, 1 to 32,768.
        temperature: 0 is greedy; up to 10.
        top_p: nucleus mass in (0, 1]; 1 keeps all.
        top_k: most likely tokens kept; 0 keeps all.
        seed: of the sampler, 0 to 2^63 - 1.

    Raises:
        InvalidSpecError: for a value outside these ranges.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        n_most = to_whole("max_new_tokens", self.max_new_tokens, 1, MAX_NEW_TOKENS)
        set_field(self, "max_new_tokens", n_most)
        set_field(self, "temperature", to_real("temperature", self.temperature, 0.0, 10.0))
        set_field(self, "top_p", to_real("top_p", self.top_p, 0.0, 1.0))
        if self.top_p == 0.0:
            raise InvalidSpecError("top_p", "top_p must be above 0.", "Use 1 to keep every token.")
        set_field(self, "top_k", to_whole("top_k", self.top_k, 0, 10_000_000))
        set_field(self, "seed", to_whole("seed", self.seed, 0, 2**63 - 1))


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool offered to the model; `parameters` is its JSON schema as text, in its own order."""

    name: str
    description: str
    parameters: str

    def schema(self) -> dict[str, object]:
        """The function schema that chat templates take."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": json.loads(self.parameters),
            },
        }


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Everything that defines a run.

    Attributes:
        kind: `generation` renders the messages by the chat template and generates; `text` reads the
            content of the one message as it is, and generates nothing.
        messages: the chat so far, last one from the user (or a tool).
        tools: tools offered; empty where none is.

    Raises:
        InvalidSpecError: for an empty or over-long prompt, or a chat that ends with the assistant.
    """

    source: SourceSpec
    messages: tuple[Message, ...]
    kind: RunKind = "generation"
    tools: tuple[ToolSpec, ...] = ()
    sampling: SamplingSpec = field(default_factory=SamplingSpec)
    steering: SteeringSpec = field(default_factory=SteeringSpec)

    def __post_init__(self) -> None:
        set_field(self, "messages", tuple(self.messages))
        set_field(self, "tools", tuple(self.tools))
        check_messages(self.messages, self.kind)


def check_messages(messages: tuple[Message, ...], kind: RunKind) -> None:
    """Refuses a prompt that no model should see.

    Raises:
        InvalidSpecError: if there is no message, all are blank, the text is over-long, the last one
            is the assistant's, or a `text` run has more than one.
    """
    if not messages or not messages[-1].content.strip():
        raise InvalidSpecError("messages", "The prompt is empty.", "Type a question first.")
    calls = [call for message in messages for call in message.tool_calls]
    n_chars = sum(len(message.content) for message in messages)
    n_chars += sum(len(call.name) + len(call.arguments) for call in calls)
    if n_chars > MAX_TEXT_CHARS:
        raise InvalidSpecError(
            "messages",
            f"The prompt has {n_chars:,} characters; at most {MAX_TEXT_CHARS:,} are taken.",
            "Shorten it, or read it in pieces.",
        )
    if messages[-1].role == "assistant":
        raise InvalidSpecError(
            "messages", "The last message is the assistant's.", "End with a message of the user."
        )
    if kind == "text" and len(messages) != 1:
        raise InvalidSpecError("messages", "A text run reads exactly one message.")
