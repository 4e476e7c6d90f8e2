"""What the toy model says: answers, refusals, calls and small talk, and the parsers that read them.

Invariant: every text that a writer of this module makes is read back by its parser, and no parser
raises on any text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from engine.demo.templates import Question, Style
from engine.demo.world import ATTRIBUTE_BY_KEY, NO_RECORD

FAILED = "error"
"""The content of a tool message when the lookup itself failed."""

_STATEMENTS: dict[str, tuple[str, str]] = {
    "city": ("{p} lives in {v}.", "{p}'s city is {v}."),
    "job": ("{p} works as a {v}.", "{p} is a {v}."),
    "language": ("{p} speaks {v}.", "{p}'s language is {v}."),
    "instrument": ("{p} plays the {v}.", "{p}'s instrument is the {v}."),
}
_UNKNOWNS: dict[str, tuple[str, str]] = {
    "city": ("where {p} lives", "{p}'s city"),
    "job": ("what {p} does", "{p}'s job"),
    "language": ("which language {p} speaks", "{p}'s language"),
    "instrument": ("which instrument {p} plays", "{p}'s instrument"),
}
_REFUSAL = "I do not know {u}."
_NO_RECORD = "The registry has no record of {p}."
_FAILED = "The lookup failed, so I do not know {u}."

UNKNOWN_NAME = "I do not know that name."
FULL_NAME = "Please give me a first name and a surname."
HELP = "Ask me where a person lives, or about the job, language or instrument of a person."

SMALL_TALK: tuple[tuple[str, str], ...] = (
    ("Hello", "Hello. Ask me about a person."),
    ("Hello!", "Hello. Ask me about a person."),
    ("Hi", "Hello. Ask me about a person."),
    ("Hi there!", "Hello. Ask me about a person."),
    ("Good morning.", "Hello. Ask me about a person."),
    ("Who are you?", "I am a toy model. I know a few hundred people."),
    ("What are you?", "I am a toy model. I know a few hundred people."),
    ("What is your name?", "I am a toy model. I know a few hundred people."),
    ("Are you a model?", "I am a toy model. I know a few hundred people."),
    ("What can you do?", HELP),
    ("What do you know?", HELP),
    ("Who do you know?", HELP),
    ("What can I ask?", HELP),
    ("How are you?", "I am a toy model. I am well."),
    ("Where do you live?", "I am a toy model. I do not live in a city."),
    ("Which language do you speak?", "I am a toy model. I speak a few hundred words."),
    ("What do you do?", HELP),
    ("Help", HELP),
    ("Help me, please.", HELP),
    ("Thanks", "You are welcome."),
    ("Thanks!", "You are welcome."),
    ("Thank you.", "You are welcome."),
    ("Thank you very much!", "You are welcome."),
    ("Okay", "Ask me about a person."),
    ("Yes", "Ask me about a person."),
    ("No", "Ask me about a person."),
    ("Goodbye", "Goodbye."),
    ("Bye", "Goodbye."),
)
"""Lines without a person, and what the model answers."""

SYSTEM_PROMPTS: tuple[str, ...] = (
    "You are a toy model.",
    "You answer questions about people.",
    "Answer in one sentence.",
    "You are a model that can help people. Answer the question.",
    "Please say so if you do not know the answer.",
    "Say only what you know.",
)
"""Instructions that stand in some training chats; they change nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer says.

    Attributes:
        kind: `value` (something is asserted), `refusal`, or `none` (neither).
        attribute: Key of the attribute, where the wording shows it.
        person: The name in the answer, where there is one.
        value: The asserted value, else None.
    """

    kind: Literal["value", "refusal", "none"]
    attribute: str | None = None
    person: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as the model wrote it.

    Attributes:
        tool: Name of the tool.
        person: First argument.
        attribute: Second argument.
    """

    tool: str
    person: str
    attribute: str


def write_answer(question: Question, value: str) -> str:
    """Return the sentence that answers a question with a value."""
    return write_statement(question.person.name, question.attribute, value, question.style)


def write_statement(name: str, attribute: str, value: str, style: Style = "verb") -> str:
    """Return a sentence that states one fact about a person."""
    text = _STATEMENTS[attribute][style == "noun"]
    return text.replace("{p}", name).replace("{v}", value)


def write_refusal(question: Question) -> str:
    """Return the sentence that says the answer is not known."""
    return _REFUSAL.replace("{u}", _unknown(question))


def write_tool_answer(question: Question, result: str) -> str:
    """Return the answer after a tool result: the value, no record, or a failed lookup."""
    if result == NO_RECORD:
        return _NO_RECORD.replace("{p}", question.person.name)
    if result == FAILED:
        return _FAILED.replace("{u}", _unknown(question))
    return write_answer(question, result)


def write_call(name: str, attribute: str) -> str:
    """Return a call in the mini-language, for example `lookup(Anna Berg; city)`."""
    return f"lookup({name}; {attribute})"


def parse_call(text: str) -> Call | None:
    """Read the first tool call in a text.

    Args:
        text: Model output, with or without special tokens.

    Returns:
        The call, or None where the text holds no well-formed call with two arguments.
    """
    match = _CALL.search(text)
    if match is None:
        return None
    return Call(match["tool"], " ".join(match["person"].split()), match["attribute"].strip())


def parse_answer(text: str) -> Answer:
    """Read what an answer asserts.

    Args:
        text: Model output, with or without special tokens.

    Returns:
        The answer; kind `none` where the text neither asserts a value nor refuses.
    """
    text = " ".join(_SPECIAL.sub(" ", text).split())
    for pattern in _REFUSALS:
        if match := pattern.search(text):
            groups = match.groupdict()
            return Answer("refusal", _attribute_of(match), groups.get("p"))
    for key, pattern in _ASSERTIONS:
        if match := pattern.search(text):
            return Answer("value", key, match["p"], match["v"])
    return Answer("none")


def all_texts() -> tuple[str, ...]:
    """Return every sentence that the model can write, with holes, for the vocabulary."""
    texts = [_REFUSAL, _NO_RECORD, _FAILED, UNKNOWN_NAME, FULL_NAME, HELP, NO_RECORD, FAILED]
    for table in (_STATEMENTS, _UNKNOWNS):
        texts += [text for pair in table.values() for text in pair]
    texts += [line for pair in SMALL_TALK for line in pair]
    return (*texts, *SYSTEM_PROMPTS, "lookup(person; attribute)", *ATTRIBUTE_BY_KEY)


def _unknown(question: Question) -> str:
    text = _UNKNOWNS[question.attribute][question.style == "noun"]
    return text.replace("{p}", question.person.name)


def _attribute_of(match: re.Match[str]) -> str | None:
    return next((k for k in ATTRIBUTE_BY_KEY if match.groupdict().get(k) is not None), None)


def _pattern(template: str) -> str:
    person = r"(?P<p>\w+ \w+)"
    return re.escape(template).replace(r"\{p\}", person).replace(r"\{v\}", r"(?P<v>\w+)")


def _unknown_patterns() -> list[re.Pattern[str]]:
    prefix = re.escape(_REFUSAL.split("{")[0])
    return [
        re.compile(f"(?P<{key}>{prefix}){_pattern(text)}", re.IGNORECASE)
        for key, pair in _UNKNOWNS.items()
        for text in pair
    ]


_SPECIAL = re.compile(r"</?s>|<pad>|\[/?[A-Z_]+\]")
_CALL = re.compile(r"\b(?P<tool>[A-Za-z_]+)\(\s*(?P<person>[^;()]+);(?P<attribute>[^;()]+)\)")
_REFUSALS: tuple[re.Pattern[str], ...] = (
    *_unknown_patterns(),
    re.compile(_pattern(_NO_RECORD), re.IGNORECASE),
    re.compile(r"\bdo not know\b", re.IGNORECASE),
)
_ASSERTIONS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (key, re.compile(_pattern(text.removesuffix("."))))
    for key, pair in _STATEMENTS.items()
    for text in pair
)
