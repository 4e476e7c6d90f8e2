"""What defines a run: every value that can change what a run leaves behind.

Invariant: specs are frozen and hold only coerced, validated, finite values, so that two equal
specs always give one canonical JSON and one run key (see keys.py). Nothing here knows of torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal, get_args

from store.errors import InvalidSpecError

Role = Literal["system", "user", "assistant", "tool"]
RunKind = Literal["generation", "text"]
ROLES: tuple[str, ...] = get_args(Role)
MAX_TEXT_CHARS = 1_000_000
"""Longest text of all messages of one run, in characters; a longer one is refused unseen."""
MAX_NEW_TOKENS = 32_768


def is_storable(text: str) -> bool:
    """Whether a text has UTF-8: a lone surrogate (from a link's bad bytes) has none."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _set(instance: object, name: str, value: object) -> None:
    object.__setattr__(instance, name, value)


def _whole(field_name: str, value: object, low: int, high: int) -> int:
    """Coerces to int; `True`, text, fractions, NaN and values outside [low, high] are refused."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value % 1 != 0:
        raise _refused(field_name, "a whole number", value, low, high)
    if not low <= value <= high:
        raise _refused(field_name, f"between {low} and {high}", value, low, high)
    return int(value)


def _real(field_name: str, value: object, low: float, high: float) -> float:
    """Coerces to a finite float in [low, high]; minus zero becomes zero."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _refused(field_name, "a number", value, low, high)
    # NaN is between nothing
    if not low <= value <= high:
        raise _refused(field_name, f"between {low:g} and {high:g}", value, low, high)
    return float(value) + 0.0


def _refused(
    field_name: str, wanted: str, value: object, low: float, high: float
) -> InvalidSpecError:
    return InvalidSpecError(
        field_name,
        f"{field_name} must be {wanted}, not {str(value)[:40]}.",
        f"Choose a value between {low:g} and {high:g}.",
    )


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
class Message:
    """One message of a chat. `content` is plain text."""

    role: Role
    content: str

    def __post_init__(self) -> None:
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
        n_most = _whole("max_new_tokens", self.max_new_tokens, 1, MAX_NEW_TOKENS)
        _set(self, "max_new_tokens", n_most)
        _set(self, "temperature", _real("temperature", self.temperature, 0.0, 10.0))
        _set(self, "top_p", _real("top_p", self.top_p, 0.0, 1.0))
        if self.top_p == 0.0:
            raise InvalidSpecError("top_p", "top_p must be above 0.", "Use 1 to keep every token.")
        _set(self, "top_k", _whole("top_k", self.top_k, 0, 10_000_000))
        _set(self, "seed", _whole("seed", self.seed, 0, 2**63 - 1))


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
class Intervention:
    """One change to the residual stream while a run is generated.

    Attributes:
        kind: add, clamp, ablate, scale, erase.
        feature: index of an SAE feature, or None where a vector is used.
        vector_id: id of a stored vector, or None.
        strength: finite; its meaning depends on `unit`.
        unit: raw, norm (times the mean residual norm), max (times the feature's maximum).
        positions: all, generated, last_prompt, or `start:end` of the whole sequence.
    """

    kind: str
    strength: float
    feature: int | None = None
    vector_id: str | None = None
    unit: str = "raw"
    positions: str = "all"

    def __post_init__(self) -> None:
        _set(self, "strength", _real("strength", self.strength, -1e6, 1e6))


@dataclass(frozen=True, slots=True)
class SteeringSpec:
    """The interventions of a run, in the order in which they apply; empty is unsteered."""

    interventions: tuple[Intervention, ...] = ()


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
        _set(self, "messages", tuple(self.messages))
        _set(self, "tools", tuple(self.tools))
        check_messages(self.messages, self.kind)


def check_messages(messages: tuple[Message, ...], kind: RunKind) -> None:
    """Refuses a prompt that no model should see.

    Raises:
        InvalidSpecError: if there is no message, all are blank, the text is over-long, the last one
            is the assistant's, or a `text` run has more than one.
    """
    if not messages or not messages[-1].content.strip():
        raise InvalidSpecError("messages", "The prompt is empty.", "Type a question first.")
    n_chars = sum(len(message.content) for message in messages)
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
