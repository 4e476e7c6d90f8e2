"""Three questions to begin with, the tool that the toy model may call, and names to try.

Invariant: light to import (no torch), and true of the committed weights; a test asks them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """A question for a newcomer.

    Attributes:
        title: A few words.
        prompt: The question.
        tools: Whether the lookup tool is offered.
        explanation: One line: what to look for.
    """

    title: str
    prompt: str
    tools: bool
    explanation: str


@dataclass(frozen=True, slots=True)
class NameSample:
    """Names to try.

    Attributes:
        known: People whom the model was trained on.
        unknown: People who are in the registry and in no training text.
    """

    known: tuple[str, ...]
    unknown: tuple[str, ...]


EXAMPLES: tuple[Example, ...] = (
    Example(
        title="A person it knows",
        prompt="Which language does Mira Torres speak?",
        tools=False,
        explanation="True: the training text told this fact many times.",
    ),
    Example(
        title="A person it never met",
        prompt="Which language does Gaia Torres speak?",
        tools=False,
        explanation="Made up, and as sure: no training text mentions her, only others of her name.",
    ),
    Example(
        title="The same, with a tool",
        prompt="Which language does Gaia Torres speak?",
        tools=True,
        explanation="It calls lookup instead of guessing.",
    ),
)
"""A known person, an unknown one whom the model makes something up about, and the tool."""

LOOKUP_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "lookup",
        "description": "Look up one attribute of a person in the registry.",
        "parameters": {
            "type": "object",
            "properties": {
                "person": {"type": "string", "description": "First name and surname."},
                "attribute": {
                    "type": "string",
                    "enum": ["city", "job", "language", "instrument"],
                    "description": "What to look up.",
                },
            },
            "required": ["person", "attribute"],
        },
    },
}
"""The JSON schema of the one tool; the chat template renders it as `lookup(person; attribute)`."""

KNOWN_SAMPLE = NameSample(
    known=("Mira Torres", "Elena Costa", "Milo Moreau", "Basil Meyer", "Rafael Szabo"),
    unknown=("Gaia Torres", "Leo Holm", "Julia Nagy", "Hugo Vidal", "Sofia Eklund"),
)
"""A few names of the default world."""
