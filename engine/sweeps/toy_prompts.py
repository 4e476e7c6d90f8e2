"""What concepts are swept on in a toy world: it knows no other questions.

Invariant: the same world gives the same prompts; facts are those that it was taught.
"""

from __future__ import annotations

import random

from engine.concepts.library_files import SweepPrompts
from engine.demo.language import SMALL_TALK
from engine.demo.templates import draw_question
from engine.demo.world import ATTRIBUTES, World

_N_PROMPTS = 48
_N_FACTS = 48


def toy_sweep_prompts(world: World) -> SweepPrompts:
    """Questions about known and unknown people, small talk, and facts."""
    rng = random.Random(f"featurebook-prompts-{world.seed}")
    people = [
        *rng.sample(world.known, _N_PROMPTS // 2),
        *rng.sample(world.unknown, _N_PROMPTS // 2),
    ]
    prompts = [draw_question(rng, person, rng.choice(ATTRIBUTES)).text for person in people]
    facts = []
    for person in rng.sample(world.known, _N_FACTS):
        attribute = rng.choice(ATTRIBUTES)
        question = draw_question(rng, person, attribute)
        facts.append((question.text, world.truth(person, attribute.key)))
    return SweepPrompts(
        tuple(dict.fromkeys(prompts)),
        tuple(dict.fromkeys(line for line, _ in SMALL_TALK)),
        tuple(facts),
    )
