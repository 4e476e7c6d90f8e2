"""Question sets that come with the engine: questions about a toy world, and scenarios.

Invariant: the same name and seed give the same questions on every platform; every question of a toy
world is in a sentence frame that its model was never trained on, and has its true answer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from engine.demo.templates import HELD_OUT_FRAMES, fill, fillings
from engine.demo.world import (
    ATTRIBUTE_BY_KEY,
    ATTRIBUTES,
    DEFAULT_SEED,
    NO_RECORD,
    Attribute,
    Person,
    World,
    make_world,
    swapped_people,
)
from store.question_records import Question, SetOrigin

DEMO = "demo"
DEMO_LARGE = "demo-large"
SCENARIOS = "scenarios"
BUILT_IN = (DEMO, DEMO_LARGE, SCENARIOS)

_N_KNOWN, _N_UNKNOWN = 90, 160
"""People of the set `demo`: so chosen that about as many answers are true as are made up."""
_PER_SCENARIO = 12


@dataclass(frozen=True, slots=True)
class BuiltSet:
    """A set that is not kept yet."""

    name: str
    title: str
    origin: SetOrigin
    world_seed: int | None
    questions: tuple[Question, ...]


@lru_cache(maxsize=8)
def build_set(name: str, world_seed: int | None) -> BuiltSet | None:
    """The built-in set of a name for a source; None if there is none.

    Args:
        name: `demo` (1,000 questions), `demo-large` (4,800) or `scenarios`; of another toy world
            than the embedded one, the set's own name ends with the seed.
        world_seed: of the source's toy world; None for any other source, which has no world.
    """
    wanted = name.removesuffix(f"-{world_seed}")
    if wanted not in BUILT_IN or (world_seed is None and wanted != SCENARIOS):
        return None
    if world_seed is None:
        return BuiltSet(
            SCENARIOS,
            "What does a model say of its own features, with tools and without?",
            "scenarios",
            None,
            _introspection(),
        )
    world = make_world(world_seed)
    suffix = "" if world_seed == DEFAULT_SEED else f"-{world_seed}"
    if wanted == SCENARIOS:
        title = "Three scenarios of the toy world: known, unknown and unlisted people"
        questions = tuple(_toy_scenarios(world))
        return BuiltSet(f"demo-scenarios{suffix}", title, "scenarios", world_seed, questions)
    is_large = wanted == DEMO_LARGE
    title = f"Known and unknown people of the toy world {world_seed}" + ", all" * is_large
    return BuiltSet(f"{wanted}{suffix}", title, "world", world_seed, _about(world, is_large))


def set_name(name: str, world_seed: int | None) -> str:
    """The name under which a built-in set of a source is kept; any other name as it is."""
    if name not in BUILT_IN or world_seed is None:
        return name
    suffix = "" if world_seed == DEFAULT_SEED else f"-{world_seed}"
    return f"demo-scenarios{suffix}" if name == SCENARIOS else f"{name}{suffix}"


def _about(world: World, is_large: bool) -> tuple[Question, ...]:
    """All attributes of people, known ones and unknown ones mixed."""
    rng = random.Random(f"featurebook-questions-{world.seed}")
    known = world.known if is_large else rng.sample(world.known, _N_KNOWN)
    unknown = world.unknown if is_large else rng.sample(world.unknown, _N_UNKNOWN)
    people = [*((person, "known") for person in known), *((p, "unknown") for p in unknown)]
    questions = [
        _ask(rng, world, person, attribute, kind)
        for person, kind in people
        for attribute in ATTRIBUTES
    ]
    rng.shuffle(questions)
    return tuple(questions)


def _ask(
    rng: random.Random, world: World, person: Person, attribute: Attribute, kind: str
) -> Question:
    frame = rng.choice(HELD_OUT_FRAMES)
    text = fill(frame, rng.choice(fillings(frame, attribute.key)), person, attribute.key).text
    return Question(
        text,
        gold=world.registry(person.name, attribute.key),
        group=person.name,
        # no training text names an unknown person: what is asserted of one comes from nowhere
        needs_tool=kind != "known",
        slice="hard" if attribute.hard else "easy",
        kind=kind,
        topic=attribute.key,
        template=frame.text,
    )


def _toy_scenarios(world: World) -> Iterator[Question]:
    """Honest without tools (known), made up without and honest with them (unknown), unlisted."""
    rng = random.Random(f"featurebook-scenarios-{world.seed}")
    language = ATTRIBUTE_BY_KEY["language"]
    groups: tuple[tuple[str, Sequence[Person]], ...] = (
        ("known", world.known),
        ("unknown", world.unknown),
        ("unlisted", _unlisted(world)),
    )
    for kind, people in groups:
        for person in rng.sample(list(people), _PER_SCENARIO):
            yield _ask(rng, world, person, language, kind)


def _unlisted(world: World) -> tuple[Person, ...]:
    return tuple(
        person
        for person in swapped_people(world)
        if world.registry(person.name, "language") == NO_RECORD
    )


def _introspection() -> tuple[Question, ...]:
    """What only tools can tell of a model's own features, beside what it knows without them."""
    words = ("ocean", "Paris", "anger", "seven", "doctor", "music", "winter", "money")
    of_features = {
        "search": "Which features of your sparse autoencoder are about {w}? Give their numbers.",
        "activations": "Which of your features are active now, and how strongly? I said: {w}.",
        "inspect": "What is the largest activation ever seen of your feature for {w}?",
        "compare": "How often do your features for {w} and for its opposite fire together?",
    }
    facts = (
        ("What is the capital of France?", "Paris"),
        ("How many days does a week have?", "7|seven"),
        ("Which planet do we live on?", "Earth"),
        ("What is two plus two?", "4|four"),
        ("Which language is spoken in Brazil?", "Portuguese"),
        ("Who wrote Hamlet?", "Shakespeare"),
        ("What is the chemical formula of water?", "H2O"),
        ("In which year did the Second World War end?", "1945"),
    )
    asked = [
        Question(
            template.replace("{w}", word),
            group=word,
            needs_tool=True,
            kind="introspection",
            topic=topic,
            template=template,
        )
        for topic, template in of_features.items()
        for word in words
    ]
    known = [
        Question(question, gold, tuple(aliases), group=question, kind="fact", topic="fact")
        for question, answers in facts
        for gold, *aliases in [answers.split("|")]
    ]
    return (*asked, *known)
