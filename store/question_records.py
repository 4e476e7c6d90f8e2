"""Question sets as records: what is asked, what is true, and which run answered.

Invariant: a question is frozen and storable; what a set does not know of a question is None, never
a guess. Nothing here reads or writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from store.coercion import set_field
from store.errors import InvalidSpecError
from store.specs import MAX_TEXT_CHARS, is_storable

ToolUse = Literal["on", "off", "both"]
SetOrigin = Literal["world", "scenarios", "import"]
TOOL_USES: tuple[str, ...] = get_args(ToolUse)


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a set.

    Attributes:
        gold: what is true, as text; None where nobody has said.
        aliases: other ways of writing the gold answer.
        group: what must stay together when runs are divided, such as the person asked about.
        tools: whether it is meant to be asked with tools, without, or both.
        needs_tool: only a tool can know the answer: whoever asserts one without has made it up.
        slice: part of the set that is measured apart, such as `hard`.
        kind: what sort of subject it is about, such as `known` or `unknown`.
        topic: what is asked of it, such as `city`. template: sentence that it was made from.

    Raises:
        InvalidSpecError: for a blank question, or text that cannot be stored.
    """

    question: str
    gold: str | None = None
    aliases: tuple[str, ...] = ()
    group: str = ""
    tools: ToolUse = "both"
    needs_tool: bool = False
    slice: str | None = None
    kind: str | None = None
    topic: str | None = None
    template: str | None = None

    def __post_init__(self) -> None:
        set_field(self, "aliases", tuple(self.aliases))
        if not self.question.strip():
            raise InvalidSpecError("question", "A question is empty.", "Leave out blank rows.")
        if self.tools not in TOOL_USES:
            raise InvalidSpecError(
                "tools",
                f"A question cannot have tools {str(self.tools)[:40]!r}.",
                f"Use one of {', '.join(TOOL_USES)}.",
            )
        texts = [self.question, self.gold, self.group, self.slice, self.kind, self.topic]
        if not all(is_storable(text or "") for text in (*texts, self.template, *self.aliases)):
            raise InvalidSpecError(
                "question", "A question is not valid Unicode text.", "Copy or type it again."
            )
        if len(self.question) > MAX_TEXT_CHARS:
            raise InvalidSpecError(
                "question",
                f"A question has more than {MAX_TEXT_CHARS:,} characters.",
                "Shorten it.",
            )


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """A named set of questions, which never change.

    Attributes:
        set_id: digest of name and questions.
        origin: made from a toy world, of scenarios, or imported.
        world_seed: of the toy world that knows what is true; None for any other set.
    """

    set_id: str
    name: str
    title: str
    origin: SetOrigin
    world_seed: int | None
    n_questions: int
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AnswerLink:
    """Which run answers which question of a set; `tools` is whether they were offered."""

    question_no: int
    tools: bool
    run_key: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a question of a set, as far as lists and judges need it."""

    question_no: int
    tools: bool
    run_key: str
    source_id: str
    response: str
