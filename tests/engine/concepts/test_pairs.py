"""Pairs as people type them and as files hold them; what is refused, and with which words."""

from __future__ import annotations

import pytest

from engine.concepts.library_files import CONCEPTS, library_pairs, library_prompts
from engine.concepts.pairs import (
    MAX_FILE_BYTES,
    MIN_PAIRS,
    Pair,
    PairsError,
    PairSet,
    pair_digest,
    read_pair_rows,
    read_pair_toml,
)
from engine.concepts.toy import TOY_CONCEPTS, toy_pairs
from engine.demo.world import make_world
from engine.sweeps.text_metrics import split_words


@pytest.mark.parametrize(
    "text",
    [
        "so glad | fine\noh joy | well",
        "so glad\tfine\n\n# a note\noh joy\twell\n",
        '{"positive": "so glad", "negative": "fine"}\n{"positive": "oh joy", "negative": "well"}',
        '[["so glad", "fine"], {"positive": "oh joy", "negative": "well"}]',
        "\ufeffso glad | fine\r\noh joy | well\r\n".encode(),
    ],
)
def test_pairs_are_read_however_they_are_written(text: str | bytes) -> None:
    assert read_pair_rows(text) == (Pair("so glad", "fine"), Pair("oh joy", "well"))


def test_a_toml_file_says_everything_itself() -> None:
    content = """
    name = "glad"
    templates = ["{text}", "He said: {text}"]
    form = "chat"
    reading = "last"
    lexicon = ["glad"]
    [[pairs]]
    positive = "so glad"
    negative = "fine"
    """
    pairs = read_pair_toml(content)
    assert pairs == PairSet(
        "glad",
        (Pair("so glad", "fine"),),
        ("{text}", "He said: {text}"),
        "chat",
        "last",
        ("glad",),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("only one side", "Line 1 is no pair"),
        ("a | b\na | b | c", "Line 2 is no pair"),
        ('{"positive": "a"}', "Pair 1 is no pair"),
        ('{"positive": "a", "negative": 3}', "Pair 1 is no pair"),
        ('{"positive": ', "no JSON"),
        ("[1, 2]", "Pair 1 is no pair"),
        ("[" * 100_000, "no JSON"),
        (b"\xff\xfe\x00bad", "UTF-8"),
        (b"a | b\n" * (MAX_FILE_BYTES // 6 + 1), "at most"),
    ],
)
def test_what_is_no_pair_is_refused_by_its_place(text: str | bytes, message: str) -> None:
    with pytest.raises(PairsError, match=message) as caught:
        read_pair_rows(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairs": ()}, "no pairs"),
        ({"pairs": (Pair("a", " "),)}, "Pair 1 has a blank"),
        ({"templates": ("no hole",)}, "must hold"),
        ({"templates": ()}, "templates"),
        ({"form": "verse"}, "text or chat"),
    ],
)
def test_a_set_that_cannot_be_read_is_refused(changes: dict[str, object], message: str) -> None:
    values: dict[str, object] = {"name": "x", "pairs": (Pair("a", "b"),), **changes}
    with pytest.raises(PairsError, match=message):
        PairSet(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["name = ", "colour = 1", "pairs = 3", '[[pairs]]\npositive = "a"', "templates = [1]"]
)
def test_a_toml_file_that_is_wrong_is_refused(text: str) -> None:
    with pytest.raises(PairsError):
        read_pair_toml(text)


def test_twenty_pairs_make_a_vector_and_nineteen_do_not() -> None:
    pairs = tuple(Pair(f"glad {n}", f"fine {n}") for n in range(MIN_PAIRS))
    PairSet("x", pairs).check_size()
    with pytest.raises(PairsError, match="at least 20"):
        PairSet("x", pairs[1:]).check_size()


def test_the_digest_is_of_what_decides_the_vectors() -> None:
    plain = PairSet("x", (Pair("a", "b"),))
    assert pair_digest(plain) == pair_digest(PairSet("another name", plain.pairs))
    assert pair_digest(plain) != pair_digest(PairSet("x", plain.pairs, ("say {text}",)))
    assert pair_digest(plain) != pair_digest(PairSet("x", plain.pairs, reading="last"))


@pytest.mark.parametrize("name", CONCEPTS)
def test_every_concept_of_the_library_can_make_a_vector(name: str) -> None:
    pairs = library_pairs(name)
    pairs.check_size()
    assert len(pairs.templates) >= 3
    assert len({pair.positive for pair in pairs.pairs}) == len(pairs.pairs)
    assert len({pair.negative for pair in pairs.pairs}) == len(pairs.pairs)
    assert not any(pair.positive == pair.negative for pair in pairs.pairs)
    assert len(pairs.lexicon) >= 10
    assert pairs.lexicon == tuple(word.lower() for word in pairs.lexicon)


def test_brief_texts_are_shorter_than_neutral_ones_and_verbose_ones_longer() -> None:
    for name, is_shorter in (("brief", True), ("verbose", False)):
        for pair in library_pairs(name).pairs:
            shorter = len(split_words(pair.positive)) < len(split_words(pair.negative))
            assert shorter == is_shorter, pair


def test_the_librarys_prompts_are_enough_for_two_halves() -> None:
    asked = library_prompts()
    assert len(asked.prompts) >= 20
    assert len(asked.neutral) >= 10
    assert len(asked.facts) >= 10


@pytest.mark.parametrize("name", TOY_CONCEPTS)
def test_a_toys_pairs_differ_in_the_concept_alone(name: str) -> None:
    world = make_world()
    pairs = toy_pairs(world, name)
    pairs.check_size()
    assert pairs == toy_pairs(world, name)
    names = {person.name for person in (*world.known, *world.unknown)}
    for pair in pairs.pairs:
        left = next(person for person in names if person in pair.positive)
        right = next(person for person in names if person in pair.negative)
        if name in ("known", "unknown"):
            assert pair.positive.replace(left, "") == pair.negative.replace(right, "")
            known = {person.name for person in world.known}
            assert (left in known) == (name == "known")
            assert (right in known) == (name == "unknown")
        else:
            assert left == right
