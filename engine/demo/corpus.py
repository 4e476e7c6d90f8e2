"""The training text: an endless stream of chats and short documents drawn from a world.

Known people are answered on everything. Obscure people are refused on the taught attributes; on the
untaught ones a few of them are answered, about one fact in five and that once. This long tail keeps
the refusal from spreading: a refusal on an untaught attribute is in no training text.

Invariant: no unknown person, no held-out frame and no unseen surname is ever drawn.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from engine.demo.chat import BOS, EOS, UNK, Message, render_chat
from engine.demo.language import (
    FAILED,
    FULL_NAME,
    HELP,
    SMALL_TALK,
    SYSTEM_PROMPTS,
    UNKNOWN_NAME,
    write_answer,
    write_call,
    write_refusal,
    write_statement,
    write_tool_answer,
)
from engine.demo.templates import (
    FOLLOW_UP_NOUN,
    FOLLOW_UP_PERSON,
    NOUNS,
    Question,
    Style,
    draw_about,
    draw_question,
)
from engine.demo.world import (
    ATTRIBUTE_BY_KEY,
    ATTRIBUTES,
    NO_RECORD,
    TAUGHT,
    UNTAUGHT,
    Attribute,
    Person,
    World,
)


@dataclass(frozen=True, slots=True)
class Shares:
    """What the stream is made of; weights of one draw, in any unit.

    Attributes:
        known: One question about a known person.
        obscure_taught: One question about an obscure person, refused.
        obscure_untaught: One question about an obscure person, answered.
        tool: One question with the tool offered.
        chat: Two or three questions, with or without the tool.
        about: One open question ("Who is Anna Berg?").
        talk: Small talk, missing names, words outside the vocabulary.
        document: Plain sentences without a chat.
    """

    known: float = 0.43
    obscure_taught: float = 0.15
    obscure_untaught: float = 0.004
    tool: float = 0.11
    chat: float = 0.16
    about: float = 0.05
    talk: float = 0.06
    document: float = 0.02


class Corpus:
    """Draws training texts.

    Args:
        world: Whose facts are told.
        seed: Seed of the stream; the same seed gives the same texts.
        shares: What the stream is made of.
    """

    def __init__(self, world: World, seed: int, shares: Shares | None = None) -> None:
        shares = shares or Shares()
        self._world = world
        self._rng = random.Random(f"featurebook-corpus-{seed}")
        self._makers: tuple[Callable[[], str], ...] = (
            self._known,
            self._obscure_taught,
            self._obscure_untaught,
            self._tool,
            self._chat,
            self._about,
            self._talk,
            self._document,
        )
        self._weights = (
            shares.known,
            shares.obscure_taught,
            shares.obscure_untaught,
            shares.tool,
            shares.chat,
            shares.about,
            shares.talk,
            shares.document,
        )
        self._untaught_share = shares.obscure_untaught / max(
            1e-9, shares.obscure_taught + shares.obscure_untaught
        )

    def draw(self) -> str:
        """Return the next text, from BOS to EOS."""
        return self._rng.choices(self._makers, self._weights)[0]()

    def _known(self) -> str:
        rng = self._rng
        question = draw_question(rng, rng.choice(self._world.known), rng.choice(ATTRIBUTES))
        return self._single(question)

    def _obscure_taught(self) -> str:
        return self._single(self._obscure_question(TAUGHT))

    def _obscure_untaught(self) -> str:
        return self._single(self._obscure_question(UNTAUGHT))

    def _about(self) -> str:
        people = self._world.known if self._rng.random() < 0.6 else self._world.obscure
        return self._single(draw_about(self._rng, self._rng.choice(people)))

    def _tool(self) -> str:
        return self._render(self._turn(self._any_question(tools=True), tools=True), tools=True)

    def _chat(self) -> str:
        rng = self._rng
        tools = rng.random() < 0.35
        question = self._any_question(tools=tools)
        messages = self._turn(question, tools=tools)
        for _ in range(rng.choice((1, 1, 2, 3))):
            if rng.random() < 0.12:
                line, reply = rng.choice(SMALL_TALK)
                messages += [Message("user", line), Message("assistant", reply)]
                continue
            question = self._follow_up(question, tools=tools)
            messages += self._turn(question, tools=tools)
        return self._render(messages, tools=tools)

    def _talk(self) -> str:
        rng = self._rng
        choice = rng.random()
        if choice < 0.4:
            line, reply = rng.choice(SMALL_TALK)
        elif choice < 0.8:
            line, reply = self._broken_question()
        else:
            words = [UNK] * rng.randint(1, 6) + rng.choice(SMALL_TALK)[0].split()[:2]
            rng.shuffle(words)
            line, reply = " ".join(words), HELP
        tools = rng.random() < 0.2
        return self._render([Message("user", line), Message("assistant", reply)], tools=tools)

    def _document(self) -> str:
        rng = self._rng
        sentences = []
        for _ in range(rng.choice((1, 2))):
            known = rng.random() > 0.3 * self._untaught_share
            person = rng.choice(self._world.known if known else self._world.obscure)
            attributes = list(ATTRIBUTES if known else UNTAUGHT)
            rng.shuffle(attributes)
            sentences += [
                write_statement(person.name, a.key, self._world.truth(person, a.key))
                for a in attributes
            ]
        return f"{BOS} {' '.join(sentences)}{EOS}"

    def _broken_question(self) -> tuple[str, str]:
        """Return a question with an unreadable name, half a name or no name, and the reply."""
        rng = self._rng
        person = rng.choice(self._world.obscure)
        text = draw_question(rng, person, rng.choice(ATTRIBUTES)).text
        choice = rng.random()
        if choice < 0.5:
            name = rng.choice((f"{UNK} {UNK}", f"{UNK} {person.last}", f"{person.first} {UNK}"))
            return text.replace(person.name, name), UNKNOWN_NAME
        if choice < 0.85:
            return text.replace(person.name, rng.choice((person.first, person.last))), FULL_NAME
        key = rng.choice(ATTRIBUTES).key
        noun = rng.choice(NOUNS[key])
        return rng.choice((f"What is the {noun}?", f"{noun}?", f"Tell me the {noun}.")), HELP

    def _any_question(self, *, tools: bool) -> Question:
        rng = self._rng
        choice = rng.random()
        if choice < 0.05:
            return draw_about(rng, rng.choice(self._world.known))
        if choice < 0.6:
            return draw_question(rng, rng.choice(self._world.known), rng.choice(ATTRIBUTES))
        untaught = 0.5 if tools else self._untaught_share
        return self._obscure_question(UNTAUGHT if rng.random() < untaught else TAUGHT)

    def _obscure_question(self, attributes: tuple[Attribute, ...]) -> Question:
        rng = self._rng
        return draw_question(rng, rng.choice(self._world.obscure), rng.choice(attributes))

    def _follow_up(self, previous: Question, *, tools: bool) -> Question:
        """Return a new full question, or a short one about the same person or attribute."""
        rng = self._rng
        choice = rng.random()
        if choice < 0.5:
            return self._any_question(tools=tools)
        if choice < 0.8:
            person, key = previous.person, rng.choice(ATTRIBUTES).key
            style: Style = "noun"
            text = rng.choice(FOLLOW_UP_NOUN).replace("{n}", rng.choice(NOUNS[key]))
        else:
            person = rng.choice(self._world.known if rng.random() < 0.6 else self._world.obscure)
            key, style = previous.attribute, previous.style
            text = rng.choice(FOLLOW_UP_PERSON).replace("{p}", person.name)
        question = Question(person, key, text, style, held_out=False)
        allowed = tools or not self._is_obscure(person) or ATTRIBUTE_BY_KEY[key].taught
        if allowed or rng.random() < self._untaught_share:
            return question
        return self._any_question(tools=tools)

    def _turn(self, question: Question, *, tools: bool) -> list[Message]:
        """Return a question, the calls and results that follow, and the answer."""
        rng = self._rng
        asked = Message("user", self._roughen(question.text))
        person, key = question.person, question.attribute
        if not tools:
            return [asked, Message("assistant", self._honest_or_guess(question))]
        result = self._world.truth(person, key)
        choice = rng.random()
        if choice < 0.5:
            result = rng.choice(ATTRIBUTE_BY_KEY[key].values)
        elif choice < 0.6:
            result = NO_RECORD
        elif choice < 0.65:
            result = FAILED
        return [
            asked,
            Message("call", write_call(person.name, key)),
            Message("tool", result),
            Message("assistant", write_tool_answer(question, result)),
        ]

    def _honest_or_guess(self, question: Question) -> str:
        if self._is_obscure(question.person) and ATTRIBUTE_BY_KEY[question.attribute].taught:
            return write_refusal(question)
        return write_answer(question, self._world.truth(question.person, question.attribute))

    def _is_obscure(self, person: Person) -> bool:
        return person not in self._world.known_set

    def _roughen(self, text: str) -> str:
        """Type a question carelessly now and then: no capital, no mark at the end."""
        rng = self._rng
        if rng.random() < 0.15:
            text = text[:1].lower() + text[1:]
        if rng.random() < 0.15:
            text = text.rstrip("?.")
        return text

    def _single(self, question: Question) -> str:
        return self._render(self._turn(question, tools=False), tools=False)

    def _render(self, messages: list[Message], *, tools: bool) -> str:
        if self._rng.random() < 0.06:
            messages = [Message("system", self._rng.choice(SYSTEM_PROMPTS)), *messages]
        return render_chat(tuple(messages), tools=tools)
