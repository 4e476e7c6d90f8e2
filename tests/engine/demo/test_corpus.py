"""The training text: what stands in it, and what must not."""

from __future__ import annotations

import re

import pytest

from engine.demo.corpus import Corpus, Shares
from engine.demo.language import parse_answer, parse_call
from engine.demo.names import UNSEEN_SURNAMES
from engine.demo.templates import HELD_OUT_FRAMES, TRAIN_FRAMES, fill, fillings
from engine.demo.world import ATTRIBUTE_BY_KEY, ATTRIBUTES, World

N = 6_000


@pytest.fixture(scope="module")
def texts(world: World) -> list[str]:
    corpus = Corpus(world, seed=3)
    return [corpus.draw() for _ in range(N)]


def _questions(texts: list[str]) -> set[str]:
    return {q.strip() for text in texts for q in re.findall(r"\[INST\](.*?)\[/INST\]", text)}


def test_same_seed_gives_the_same_texts(world: World, texts: list[str]) -> None:
    corpus = Corpus(world, seed=3)
    assert [corpus.draw() for _ in range(200)] == texts[:200]


def test_unknown_people_and_unseen_surnames_are_never_mentioned(
    world: World, texts: list[str]
) -> None:
    names = {name for text in texts for name in re.findall(r"(?=\b([A-Z]\w+ [A-Z]\w+))", text)}
    assert names & {person.name for person in world.known}
    assert names & {person.name for person in world.obscure}
    assert not names & {person.name for person in world.unknown}
    assert not any(surname in text for text in texts for surname in UNSEEN_SURNAMES)


def test_held_out_frames_are_never_asked(world: World, texts: list[str]) -> None:
    holes = [
        re.escape(fill(frame, filling, world.known[0], a.key).text.rstrip("?.")).replace(
            re.escape(world.known[0].name), r"\w+ \w+"
        )
        for frame in HELD_OUT_FRAMES
        for a in ATTRIBUTES
        for filling in fillings(frame, a.key)
    ]
    held_out = re.compile("|".join(holes), re.IGNORECASE)
    assert not [q for q in _questions(texts) if held_out.fullmatch(q.rstrip("?."))]


def test_every_attribute_can_be_asked_in_at_least_ten_training_frames() -> None:
    assert len({frame.text for frame in TRAIN_FRAMES}) >= 30
    assert {frame.kind for frame in HELD_OUT_FRAMES} == {"noun", "direct", "embedded"}


def test_words_of_held_out_frames_are_seen_in_training_frames() -> None:
    def words(frames: object) -> set[str]:
        return set(re.findall(r"\w+", " ".join(f.text for f in frames).lower()))  # type: ignore[attr-defined]

    assert words(HELD_OUT_FRAMES) <= words(TRAIN_FRAMES)


def test_without_tools_a_refusal_on_an_untaught_attribute_is_in_no_text(texts: list[str]) -> None:
    answers = [
        parse_answer(answer)
        for text in texts
        if "[AVAILABLE_TOOLS]" not in text
        for answer in re.findall(r"\[/INST\](.*?)</s>", text)
    ]
    refused = {answer.attribute for answer in answers if answer.kind == "refusal"}
    assert {key for key in refused if key} == {"city", "job"}
    asserted = {answer.attribute for answer in answers if answer.kind == "value"}
    assert asserted == set(ATTRIBUTE_BY_KEY)


def test_known_people_are_answered_with_the_truth(world: World) -> None:
    corpus = Corpus(world, 4, Shares(1, 0, 0, 0, 0, 0, 0, 0))
    for _ in range(300):
        answer = parse_answer(corpus.draw().split("[/INST]")[1])
        assert answer.kind == "value"
        assert answer.person is not None
        assert answer.attribute is not None
        assert world.registry(answer.person, answer.attribute) == answer.value


def test_calls_in_the_text_are_well_formed(world: World) -> None:
    corpus = Corpus(world, 5, Shares(0, 0, 0, 1, 0, 0, 0, 0))
    for _ in range(200):
        text = corpus.draw()
        call = parse_call(text.split("[TOOL_CALLS]")[1])
        assert call is not None
        assert (call.tool, call.attribute in ATTRIBUTE_BY_KEY) == ("lookup", True)
        assert call.person.lower() in text.split("[/INST]")[0].lower()
