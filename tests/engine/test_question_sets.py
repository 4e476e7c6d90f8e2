"""Built-in question sets: true, held out, the same everywhere; of each toy world its own."""

from __future__ import annotations

from collections import Counter

import pytest

from engine.demo.templates import HELD_OUT_FRAMES, TRAIN_FRAMES
from engine.demo.world import make_world
from engine.question_sets import BUILT_IN, DEMO, DEMO_LARGE, SCENARIOS, build_set, set_name


@pytest.mark.parametrize(("name", "number"), [(DEMO, 1_000), (DEMO_LARGE, 4_800)])
def test_questions_about_a_world_are_true_of_it_and_held_out(name: str, number: int) -> None:
    world = make_world(17)
    built = build_set(name, 17)
    assert built is not None
    assert len({question.question for question in built.questions}) == number
    held_out = {frame.text for frame in HELD_OUT_FRAMES}
    known = {person.name for person in world.known}
    for question in built.questions:
        assert question.gold == world.registry(question.group, question.topic or "")
        assert question.template in held_out
        assert question.needs_tool == (question.group not in known) == (question.kind == "unknown")
        assert question.slice == ("hard" if question.topic in ("city", "language") else "easy")
    assert held_out.isdisjoint(frame.text for frame in TRAIN_FRAMES)


def test_each_person_is_asked_about_whole() -> None:
    built = build_set(DEMO, 17)
    assert built is not None
    assert set(Counter(question.group for question in built.questions).values()) == {4}


def test_the_same_seed_gives_the_same_questions_and_another_others() -> None:
    one, again, other = (build_set(DEMO, seed) for seed in (17, 17, 18))
    assert one is not None
    assert other is not None
    assert one == again
    assert (one.name, other.name) == ("demo", "demo-18")
    assert one.questions != other.questions


def test_the_scenarios_of_a_toy_are_known_unknown_and_unlisted_people() -> None:
    built = build_set(SCENARIOS, 17)
    assert built is not None
    assert Counter(question.kind for question in built.questions) == {
        "known": 12,
        "unknown": 12,
        "unlisted": 12,
    }
    assert {q.gold for q in built.questions if q.kind == "unlisted"} == {"no record"}


def test_the_scenarios_of_any_other_model_are_about_its_features() -> None:
    built = build_set(SCENARIOS, None)
    assert built is not None
    assert built.name == SCENARIOS
    assert {question.needs_tool for question in built.questions} == {True, False}


@pytest.mark.parametrize("name", [DEMO, DEMO_LARGE, "other", ""])
def test_a_source_without_a_world_has_no_questions_about_one(name: str) -> None:
    assert build_set(name, None) is None


@pytest.mark.parametrize("seed", [17, 18])
def test_a_set_is_kept_under_the_name_that_it_is_looked_for(seed: int) -> None:
    for name in BUILT_IN:
        built = build_set(name, seed)
        assert built is not None
        assert set_name(name, seed) == built.name
    assert set_name("mine", seed) == "mine"
    assert set_name(DEMO, None) == DEMO
