"""The toy world: the same from a seed, and its kinds of people apart."""

from __future__ import annotations

import subprocess
import sys

from engine.demo import names
from engine.demo.world import (
    ATTRIBUTES,
    NO_RECORD,
    TAUGHT,
    UNTAUGHT,
    World,
    make_world,
    swapped_people,
    unseen_surname_people,
)


def test_same_seed_gives_the_same_world(world: World) -> None:
    assert make_world(world.seed) == world


def test_another_seed_gives_another_world(world: World) -> None:
    other = make_world(world.seed + 1)
    assert other.known != world.known
    assert other.typical != world.typical


def test_known_obscure_and_unknown_people_are_disjoint(world: World) -> None:
    groups = [set(world.known), set(world.obscure), set(world.unknown)]
    assert sum(map(len, groups)) == len(set.union(*groups)) == len(world.facts)
    assert len(world.known) == 600
    assert len(world.unknown) >= 500


def test_known_and_unknown_people_share_their_names(world: World) -> None:
    assert {p.last for p in world.unknown} == {p.last for p in world.known}
    assert {p.first for p in world.unknown} == {p.first for p in world.known}


def test_no_word_stands_in_two_lists() -> None:
    lists = [
        names.FIRST_NAMES,
        names.SURNAMES,
        names.UNSEEN_SURNAMES,
        names.CITIES,
        names.JOBS,
        names.LANGUAGES,
        names.INSTRUMENTS,
    ]
    words = [word.lower() for words in lists for word in words]
    assert len(words) == len(set(words))


def test_one_attribute_of_each_kind_is_taught_and_one_is_not() -> None:
    assert {a.hard for a in TAUGHT} == {a.hard for a in UNTAUGHT} == {True, False}


def test_surname_predicts_hard_attributes_of_known_people_only(world: World) -> None:
    for attribute in ATTRIBUTES:
        if not attribute.hard:
            assert attribute.key not in world.typical
            continue
        typical = world.typical[attribute.key]
        known = [world.truth(p, attribute.key) == typical[p.last] for p in world.known]
        assert 0.85 < sum(known) / len(known) < 0.96
        assert not any(world.truth(p, attribute.key) == typical[p.last] for p in world.unknown)


def test_registry_answers_every_listed_person_and_no_other(world: World) -> None:
    person = world.unknown[0]
    assert world.registry(f" {person.name} ", "city") == world.truth(person, "city")
    assert world.registry(person.name, "shoe size") == NO_RECORD
    for stranger in (*swapped_people(world)[:5], *unseen_surname_people()[:5]):
        assert world.registry(stranger.name, "city") == NO_RECORD


def test_importing_the_light_modules_takes_no_torch() -> None:
    code = (
        "import sys, engine.demo, engine.demo.examples, engine.demo.world, engine.demo.language, "
        "engine.demo.corpus; heavy = {'torch', 'transformers', 'sae_lens', 'numpy'}; "
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
