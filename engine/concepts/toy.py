"""The concepts of a toy world: what its questions and answers differ in, as pairs of texts.

A toy's vocabulary has none of the moods of the library; it has people whom it knows or not, four
attributes, and refusals. Of the people, only the half to choose by is used.

Invariant: the two texts of a pair differ in the concept alone: the same wording about another
person, another attribute of the same person, or another answer to the same question.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from engine.concepts.halves import half_of
from engine.concepts.pairs import Pair, PairsError, PairSet
from engine.demo.language import write_answer, write_refusal
from engine.demo.templates import TRAIN_FRAMES, Frame, Question, fill, fillings
from engine.demo.world import ATTRIBUTE_BY_KEY, ATTRIBUTES, UNTAUGHT, Person, World

_N_PAIRS = 240
TOY_CONCEPTS: tuple[str, ...] = ("known", "unknown", "refusal", *ATTRIBUTE_BY_KEY)
_LEXICON = {
    "known": ("lives", "works", "speaks", "plays"),
    "unknown": ("know", "not"),
    "refusal": ("know", "not"),
}


def toy_pairs(world: World, name: str) -> PairSet:
    """The pairs of a concept of a toy world.

    Args:
        world: what the toy was trained on.
        name: one of TOY_CONCEPTS.

    Raises:
        PairsError: for any other name.
    """
    if name not in TOY_CONCEPTS:
        raise PairsError(
            f"The toy has no concept {name[:40]!r}.", f"It has {', '.join(TOY_CONCEPTS)}."
        )
    rng = random.Random(f"featurebook-concept-{world.seed}-{name}")
    known = [person for person in world.known if half_of(person.name) == "choose"]
    unknown = [person for person in world.unknown if half_of(person.name) == "choose"]
    if name == "refusal":
        return PairSet(name, _refusals(rng, unknown), lexicon=_LEXICON[name])
    if name in ATTRIBUTE_BY_KEY:
        pairs = _attributes(rng, [*known, *unknown], name)
        values = ATTRIBUTE_BY_KEY[name].values
        return PairSet(name, pairs, form="chat", reading="last", lexicon=values)
    pairs = _people(rng, known, unknown) if name == "known" else _people(rng, unknown, known)
    return PairSet(name, pairs, form="chat", reading="last", lexicon=_LEXICON[name])


def _people(
    rng: random.Random, positive: Sequence[Person], negative: Sequence[Person]
) -> tuple[Pair, ...]:
    pairs = []
    for left, right in zip(
        rng.sample(list(positive), min(_N_PAIRS, len(positive))),
        rng.sample(list(negative), min(_N_PAIRS, len(negative))),
        strict=False,
    ):
        frame, attribute = rng.choice(TRAIN_FRAMES), rng.choice(UNTAUGHT)
        filling = rng.choice(fillings(frame, attribute.key))
        texts = [fill(frame, filling, person, attribute.key).text for person in (left, right)]
        pairs.append(Pair(*texts))
    return tuple(pairs)


def _attributes(rng: random.Random, people: Sequence[Person], key: str) -> tuple[Pair, ...]:
    others = [attribute for attribute in ATTRIBUTES if attribute.key != key]
    pairs = []
    for person in rng.sample(list(people), _N_PAIRS):
        frame = rng.choice(TRAIN_FRAMES)
        asked = [_ask(rng, frame_key, person, frame) for frame_key in (key, rng.choice(others).key)]
        pairs.append(Pair(asked[0].text, asked[1].text))
    return tuple(pairs)


def _refusals(rng: random.Random, people: Sequence[Person]) -> tuple[Pair, ...]:
    pairs = []
    for person in rng.sample(list(people), _N_PAIRS):
        attribute = rng.choice(ATTRIBUTES)
        question = _ask(rng, attribute.key, person, rng.choice(TRAIN_FRAMES))
        value = rng.choice(attribute.values)
        pairs.append(Pair(write_refusal(question), write_answer(question, value)))
    return tuple(pairs)


def _ask(rng: random.Random, key: str, person: Person, frame: Frame) -> Question:
    return fill(frame, rng.choice(fillings(frame, key)), person, key)
