"""The library of concepts: sixteen manners of saying the same things, each beside the neutral one.

Invariant: line n of a concept's texts says what line n of the neutral texts says, so that the two
make a pair that differs in the manner alone.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from engine.concepts.pairs import Pair, PairSet

_FOLDER = Path(__file__).with_name("library")
_NEUTRAL = "neutral"
CONCEPTS: tuple[str, ...] = tuple(
    """
    happy sad angry fearful excited calm formal casual poetic technical pirate shakespeare
    enthusiastic pessimistic brief verbose
    """.split()
)


@cache
def library_pairs(name: str) -> PairSet:
    """The pairs of a concept of the library.

    Args:
        name: one of CONCEPTS.
    """
    content, neutral = _read(name), _read(_NEUTRAL)
    pairs = zip(content["texts"], neutral["texts"], strict=True)
    return PairSet(
        name=name,
        pairs=tuple(Pair(positive, negative) for positive, negative in pairs),
        templates=tuple(_read("templates")["templates"]),
        lexicon=tuple(content["lexicon"]),
    )


@dataclass(frozen=True, slots=True)
class SweepPrompts:
    """What a concept is swept on.

    Attributes:
        prompts: open questions; neutral: questions that no concept should change.
        facts: questions and what their answers hold, alternatives with `|` between them.
    """

    prompts: tuple[str, ...]
    neutral: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


def library_prompts() -> SweepPrompts:
    """The prompts for models that know English."""
    content = _read("prompts")
    facts = tuple((question, answer) for question, answer in content["facts"])
    return SweepPrompts(tuple(content["prompts"]), tuple(content["neutral"]), facts)


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    return content
