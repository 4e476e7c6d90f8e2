"""Question templates: sentence frames times ways of naming an attribute, some frames held out.

Three kinds of frame take three kinds of filling: a noun ("city"), a direct question ("where does
Anna Berg live"), an embedded one ("where Anna Berg lives"). The held-out frames are in no training
text, with any attribute.

Invariant: every word of a held-out frame also stands in some training frame.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from engine.demo.world import ATTRIBUTES, Attribute, Person

Style = Literal["noun", "verb"]
Kind = Literal["noun", "direct", "embedded", "about"]


@dataclass(frozen=True, slots=True)
class Frame:
    """A sentence with holes.

    Attributes:
        text: The sentence; `{p}` is the person, `{n}` the noun, `{c}` the clause.
        kind: What fills it.
        held_out: Whether it is kept out of all training text.
    """

    text: str
    kind: Kind
    held_out: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """One question as a person types it.

    Attributes:
        person: Who is asked about.
        attribute: Key of the attribute.
        text: The question.
        style: Whether it was asked with a noun or a verb; the answer follows it.
        held_out: Whether its frame is held out.
    """

    person: Person
    attribute: str
    text: str
    style: Style
    held_out: bool


NOUNS: dict[str, tuple[str, ...]] = {
    "city": ("city", "home", "home town", "town", "place of residence"),
    "job": ("job", "profession", "occupation", "trade", "line of work"),
    "language": ("language", "native language", "mother tongue", "first language", "tongue"),
    "instrument": (
        "instrument",
        "musical instrument",
        "instrument of choice",
        "favourite instrument",
    ),
}

DIRECT: dict[str, tuple[str, ...]] = {
    "city": (
        "where does {p} live",
        "which city does {p} live in",
        "in which city does {p} live",
        "what town does {p} live in",
        "where is the home of {p}",
        "which city is home to {p}",
    ),
    "job": (
        "what does {p} do",
        "what does {p} do for a living",
        "what does {p} work as",
        "how does {p} earn a living",
        "what kind of work does {p} do",
        "which job does {p} have",
    ),
    "language": (
        "which language does {p} speak",
        "what language does {p} speak",
        "what does {p} speak",
        "what does {p} speak at home",
        "in which language does {p} speak",
    ),
    "instrument": (
        "which instrument does {p} play",
        "what instrument does {p} play",
        "what does {p} play",
        "what kind of instrument does {p} play",
        "which musical instrument does {p} play",
    ),
}

EMBEDDED: dict[str, tuple[str, ...]] = {
    "city": ("where {p} lives", "which city {p} lives in", "what town {p} lives in"),
    "job": ("what {p} does", "what {p} does for a living", "what {p} works as"),
    "language": ("which language {p} speaks", "what language {p} speaks", "what {p} speaks"),
    "instrument": ("which instrument {p} plays", "what instrument {p} plays", "what {p} plays"),
}

FRAMES: tuple[Frame, ...] = (
    Frame("What is {p}'s {n}?", "noun"),
    Frame("What's {p}'s {n}?", "noun"),
    Frame("What is the {n} of {p}?", "noun"),
    Frame("Tell me {p}'s {n}.", "noun"),
    Frame("Tell me the {n} of {p}.", "noun"),
    Frame("Tell me about the {n} of {p}.", "noun"),
    Frame("Do you know the {n} of {p}?", "noun"),
    Frame("Do you know {p}'s {n}?", "noun"),
    Frame("Give me the {n} of {p}, please.", "noun"),
    Frame("{p}'s {n}?", "noun"),
    Frame("{p}: {n}?", "noun"),
    Frame("What {n} does {p} have?", "noun"),
    Frame("I want to know the {n} of {p}.", "noun"),
    Frame("I would like to know {p}'s {n}.", "noun"),
    Frame("Please name the {n} of {p}.", "noun"),
    Frame("Can you tell me the {n} of {p}?", "noun"),
    Frame("Could you give me {p}'s {n}?", "noun"),
    Frame("About {p}, what is the {n}?", "noun"),
    Frame("I have a question about {p}: what is the {n}?", "noun"),
    Frame("For {p}, name the {n}.", "noun"),
    Frame("I would like you to name {p}'s {n}.", "noun"),
    Frame("{c}?", "direct"),
    Frame("{c}?", "direct"),
    Frame("{c}?", "direct"),
    Frame("Please tell me, {c}?", "direct"),
    Frame("I have a question: {c}?", "direct"),
    Frame("Hello, {c}?", "direct"),
    Frame("Do you know this: {c}?", "direct"),
    Frame("So {c}?", "direct"),
    Frame("Tell me {c}.", "embedded"),
    Frame("Do you know {c}?", "embedded"),
    Frame("Can you tell me {c}?", "embedded"),
    Frame("I would like to know {c}.", "embedded"),
    Frame("I wonder {c}.", "embedded"),
    Frame("Could you say {c}?", "embedded"),
    Frame("Please say {c}.", "embedded"),
    Frame("I want to know {c}, please.", "embedded"),
    Frame("I would like you to tell me the {n} of {p}.", "noun", held_out=True),
    Frame("Can you name {p}'s {n}?", "noun", held_out=True),
    Frame("{p}: what is the {n}?", "noun", held_out=True),
    Frame("Please give me {p}'s {n}.", "noun", held_out=True),
    Frame("Hello, I have a question: {c}?", "direct", held_out=True),
    Frame("Could you please tell me {c}?", "embedded", held_out=True),
    Frame("I want you to say {c}.", "embedded", held_out=True),
)
"""All frames; a bare direct question stands three times because people type it most."""

ABOUT_FRAMES: tuple[str, ...] = (
    "Who is {p}?",
    "Tell me about {p}.",
    "Who's {p}?",
    "Do you know {p}?",
    "What do you know about {p}?",
    "Do you know who {p} is?",
)
"""Open questions about a person; they are answered with the job."""

FOLLOW_UP_NOUN: tuple[str, ...] = (
    "And the {n}?",
    "And their {n}?",
    "What about the {n}?",
    "What is their {n}?",
    "And what is their {n}?",
    "What about their {n}?",
)
"""Second questions about the person of the turn before."""

FOLLOW_UP_PERSON: tuple[str, ...] = ("And {p}?", "What about {p}?", "And what about {p}?")
"""Second questions with the attribute of the turn before."""

TRAIN_FRAMES: tuple[Frame, ...] = tuple(frame for frame in FRAMES if not frame.held_out)
HELD_OUT_FRAMES: tuple[Frame, ...] = tuple(frame for frame in FRAMES if frame.held_out)


def capitalise(text: str) -> str:
    """Return the text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def fill(frame: Frame, filling: str, person: Person, attribute: str) -> Question:
    """Fill a frame.

    Args:
        frame: A noun, direct or embedded frame.
        filling: A noun of `NOUNS`, or a clause of `DIRECT` or `EMBEDDED`.
        person: Who is asked about.
        attribute: Key of the attribute.

    Returns:
        The question, with its first letter in upper case.
    """
    clause = filling.replace("{p}", person.name)
    text = frame.text.replace("{p}", person.name).replace("{n}", filling).replace("{c}", clause)
    style: Style = "noun" if frame.kind == "noun" else "verb"
    return Question(person, attribute, capitalise(text), style, frame.held_out)


def fillings(frame: Frame, attribute: str) -> tuple[str, ...]:
    """Return everything that can fill a frame for an attribute."""
    table = {"noun": NOUNS, "direct": DIRECT, "embedded": EMBEDDED}[frame.kind]
    return table[attribute]


def draw_question(
    rng: random.Random, person: Person, attribute: Attribute, *, held_out: bool = False
) -> Question:
    """Draw one question about an attribute of a person.

    Args:
        rng: Source of chance.
        person: Who is asked about.
        attribute: What is asked.
        held_out: Draw from the held-out frames instead of the training frames.

    Returns:
        The question.
    """
    frame = rng.choice(HELD_OUT_FRAMES if held_out else TRAIN_FRAMES)
    return fill(frame, rng.choice(fillings(frame, attribute.key)), person, attribute.key)


def draw_about(rng: random.Random, person: Person) -> Question:
    """Draw an open question about a person ("Who is Anna Berg?"); its attribute is the job."""
    text = rng.choice(ABOUT_FRAMES).replace("{p}", person.name)
    return Question(person, "job", text, "verb", held_out=False)


def all_texts() -> tuple[str, ...]:
    """Return every frame and filling, for the vocabulary."""
    texts = [frame.text for frame in FRAMES]
    texts += [*ABOUT_FRAMES, *FOLLOW_UP_NOUN, *FOLLOW_UP_PERSON]
    for table in (NOUNS, DIRECT, EMBEDDED):
        for attribute in ATTRIBUTES:
            texts += table[attribute.key]
    return tuple(texts)
