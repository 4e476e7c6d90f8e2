"""The questions of a toy world for sweeps, in two halves, and what answers to them are.

Invariant: people of one half are never in the other; the half to choose by is asked in training
frames, the half that is reported in held-out ones. Outcomes are exact: the world knows the truth.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.concepts.halves import Half, half_of
from engine.demo.language import parse_answer
from engine.demo.templates import Question, draw_question
from engine.demo.world import TAUGHT, UNTAUGHT, Attribute, Person, World

Outcome = Literal["t", "f", "r", "b"]
"""True value, false value, refusal, broken (neither a value nor a refusal)."""


@dataclass(frozen=True, slots=True)
class ToyQuestions:
    """Questions of one half.

    Attributes:
        unknown: about people in no training text, on attributes that it was never taught to
            refuse: what it asserts is made up.
        known: about people it was trained on, on the same attributes, so that nothing but the
            person tells the two apart.
    """

    half: Half
    unknown: tuple[Question, ...]
    known: tuple[Question, ...]


def draw_toy_questions(world: World, half: Half, n: int, part: str = "") -> ToyQuestions:
    """Questions of one half.

    Args:
        world: what the toy was trained on.
        half: whose people are asked about.
        n: questions of each kind; every person comes before any comes again, and every attribute
            of a person before any is asked in another frame.
        part: names another draw of the same people.
    """
    seed = f"featurebook-sweep-{world.seed}-{half}{part}"
    return ToyQuestions(
        half,
        _draw(random.Random(f"{seed}-unknown"), world.unknown, UNTAUGHT, half, n),
        _draw(random.Random(f"{seed}-known"), world.known, UNTAUGHT, half, n),
    )


def draw_obscure_questions(world: World, n: int) -> tuple[Question, ...]:
    """Questions about people of whom the training text said little, in training frames.

    They are in neither half: they only help to tell who is unknown.
    """
    rng = random.Random(f"featurebook-sweep-{world.seed}-obscure")
    people = rng.sample(world.obscure, min(n, len(world.obscure)))
    return tuple(draw_question(rng, person, rng.choice(UNTAUGHT)) for person in people)


def draw_taught_questions(
    world: World, half: Half, n: int
) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Questions on attributes that it was taught to refuse, about unknown and known people."""
    seed = f"featurebook-sweep-{world.seed}-{half}-taught"
    return (
        _draw(random.Random(f"{seed}-unknown"), world.unknown, TAUGHT, half, n),
        _draw(random.Random(f"{seed}-known"), world.known, TAUGHT, half, n),
    )


def judge(world: World, question: Question, answer: str) -> Outcome:
    """What an answer is, by the world."""
    parsed = parse_answer(answer)
    if parsed.kind == "refusal":
        return "r"
    if parsed.kind != "value":
        return "b"
    said = (parsed.attribute, parsed.person, parsed.value)
    truth = world.truth(question.person, question.attribute)
    return "t" if said == (question.attribute, question.person.name, truth) else "f"


def _draw(
    rng: random.Random,
    people: Sequence[Person],
    attributes: Sequence[Attribute],
    half: Half,
    n: int,
) -> tuple[Question, ...]:
    chosen = [person for person in people if half_of(person.name) == half]
    rng.shuffle(chosen)
    by_person = {person: rng.sample(list(attributes), len(attributes)) for person in chosen}
    n_rounds = -(-n // len(chosen))
    rounds = [(p, by_person[p][turn % len(attributes)]) for turn in range(n_rounds) for p in chosen]
    return tuple(
        draw_question(rng, person, attribute, held_out=half == "report")
        for person, attribute in rounds[:n]
    )
