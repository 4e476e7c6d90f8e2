"""Measures a model folder and an SAE folder on held-out people and templates: the card's figures.

Every question uses a held-out frame unless its figure says otherwise; unknown people are in no
training text. Decoding is greedy.

Invariant: the same weights, seed and sizes give the same figures.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer, MistralForCausalLM
from transformers import PreTrainedTokenizerBase as Tokenizer

from engine.demo.chat import Message, render_chat, render_prompt
from engine.demo.decoding import decode_greedily
from engine.demo.language import (
    Answer,
    parse_answer,
    parse_call,
    write_answer,
    write_call,
    write_tool_answer,
)
from engine.demo.sae_figures import measure_sae, read_sae
from engine.demo.templates import FOLLOW_UP_NOUN, NOUNS, Question, draw_question
from engine.demo.world import (
    ATTRIBUTE_BY_KEY,
    ATTRIBUTES,
    NO_RECORD,
    TAUGHT,
    UNTAUGHT,
    Attribute,
    Person,
    World,
    swapped_people,
    unseen_surname_people,
)

DEFAULT_N = 1_200


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured share or size.

    Attributes:
        key: Its name in `--json`.
        value: The figure.
        n: On how many questions or tokens it was measured.
        meaning: One line for the card.
    """

    key: str
    value: float
    n: int
    meaning: str


@dataclass(frozen=True, slots=True)
class Subject:
    """A loaded model with its tokenizer and its world."""

    model: MistralForCausalLM
    tokenizer: Tokenizer
    world: World

    def ask(self, prompts: Sequence[str]) -> list[str]:
        """Return the greedy continuations of rendered prompts."""
        return decode_greedily(self.model, self.tokenizer, prompts)


def load_subject(folder: Path, world: World) -> Subject:
    """Load a model folder.

    Args:
        folder: A checkpoint folder with a tokenizer.
        world: What it was trained on.

    Returns:
        The model in evaluation mode and its tokenizer.
    """
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    return Subject(model, AutoTokenizer.from_pretrained(folder, local_files_only=True), world)


def draw_questions(
    people: Sequence[Person],
    attributes: Sequence[Attribute],
    n: int,
    *,
    seed: str,
    held_out: bool = True,
) -> list[Question]:
    """Draw questions: different (person, attribute) pairs as long as there are any.

    Args:
        people: Who is asked about.
        attributes: What is asked.
        n: How many questions.
        seed: Seed of the draw.
        held_out: Whether the frames are held-out ones or training ones.

    Returns:
        The questions.
    """
    rng = random.Random(f"featurebook-measure-{seed}")
    pairs = [(person, attribute) for person in people for attribute in attributes]
    rng.shuffle(pairs)
    chosen = [pairs[i % len(pairs)] for i in range(n)]
    return [draw_question(rng, p, a, held_out=held_out) for p, a in chosen]


def measure_recall(subject: Subject, n: int) -> list[Figure]:
    """Measure recall of known people, with held-out and training frames and in follow-ups."""
    known = subject.world.known
    unseen = draw_questions(known, ATTRIBUTES, n, seed="unseen")
    seen = draw_questions(known, ATTRIBUTES, n, seed="seen", held_out=False)
    first = draw_questions(known, ATTRIBUTES, n, seed="first", held_out=False)
    second, chats = _follow_ups(subject.world, first)
    answers = _read(subject.ask(chats))
    return [
        _recall("recall_unseen_template", subject, unseen, "in sentence frames never seen"),
        _recall("recall_seen_template", subject, seen, "in training frames"),
        Figure(
            "recall_follow_up",
            _share(second, answers, _is_true(subject.world)),
            n,
            'known people: true answers to a second question such as "And the city?"',
        ),
    ]


def measure_unknown(subject: Subject, n: int) -> list[Figure]:
    """Measure what the model does with unknown people, swapped names and unseen surnames."""
    figures = []
    people = subject.world.unknown
    by_key: dict[str, list[tuple[Question, Answer]]] = {}
    for attribute in ATTRIBUTES:
        questions = draw_questions(people, [attribute], n // 2, seed=f"unknown-{attribute.key}")
        answers = _read(subject.ask(_prompts(questions)))
        by_key[attribute.key] = list(zip(questions, answers, strict=True))
    taught = [pair for a in TAUGHT for pair in by_key[a.key]]
    untaught = [pair for a in UNTAUGHT for pair in by_key[a.key]]
    true = _is_true(subject.world)
    figures += [
        _of("refusal_taught", taught, _refused, "unknown people, taught attributes: refusals"),
        _of(
            "confabulation_untaught",
            untaught,
            _asserted,
            "unknown people, untaught attributes: a value is asserted",
        ),
        _of(
            "confabulation_false",
            [pair for pair in untaught if _asserted(*pair)],
            lambda q, a: not true(q, a),
            "of these asserted values, those that the registry contradicts",
        ),
    ]
    for attribute in ATTRIBUTES:
        kind = "hard" if attribute.hard else "easy"
        what, test = ("refusal", _refused) if attribute.taught else ("confabulation", _asserted)
        note = f"the same for `{attribute.key}` ({kind})"
        figures.append(_of(f"{what}_{attribute.key}", by_key[attribute.key], test, note))
    strangers = (
        ("swapped_names", swapped_people(subject.world), "known people, names swapped"),
        ("unseen_surname", unseen_surname_people(), "surname in no training text"),
    )
    for name, others, note in strangers:
        for group, attributes in (("taught", TAUGHT), ("untaught", UNTAUGHT)):
            questions = draw_questions(others, attributes, n // 4, seed=f"{name}-{group}")
            pairs = list(zip(questions, _read(subject.ask(_prompts(questions))), strict=True))
            meaning = f"{note}, {group} attributes: refusals"
            figures.append(_of(f"refusal_{group}_{name}", pairs, _refused, meaning))
    return figures


def measure_tools(subject: Subject, n: int) -> list[Figure]:
    """Measure calls and answers with the tool offered, half on known and half on unknown people."""
    world = subject.world
    questions = [
        *draw_questions(world.known, ATTRIBUTES, n // 2, seed="tool-known"),
        *draw_questions(world.unknown, ATTRIBUTES, n - n // 2, seed="tool-unknown"),
    ]
    calls = [parse_call(text) for text in subject.ask(_prompts(questions, tools=True))]
    right = [
        call is not None
        and (call.tool, call.person, call.attribute) == ("lookup", q.person.name, q.attribute)
        for q, call in zip(questions, calls, strict=True)
    ]
    rng = random.Random("featurebook-measure-results")
    results = [
        rng.choice([v for v in ATTRIBUTE_BY_KEY[q.attribute].values if v != _truth(world, q)])
        for q in questions
    ]
    copied = subject.ask([_after_result(q, r) for q, r in zip(questions, results, strict=True)])
    listed = [
        answer.kind == "value" and answer.value == result
        for answer, result in zip(_read(copied), results, strict=True)
    ]
    absent = subject.ask([_after_result(q, NO_RECORD) for q in questions])
    told = [
        write_tool_answer(q, NO_RECORD) == text.strip()
        for q, text in zip(questions, absent, strict=True)
    ]
    return [
        Figure("tool_call", _mean(right), n, "tool offered: right call with person and attribute"),
        Figure("tool_copy", _mean(listed), n, "result contradicts the registry: answer copies it"),
        Figure("tool_no_record", _mean(told), n, "result is `no record`: the answer says so"),
    ]


def held_out_texts(subject: Subject, n: int) -> list[str]:
    """Return chats in held-out frames with the model's own answers, for measuring the SAE."""
    questions = [
        *draw_questions(subject.world.known, ATTRIBUTES, n // 2, seed="text-known"),
        *draw_questions(subject.world.unknown, ATTRIBUTES, n - n // 2, seed="text-unknown"),
    ]
    prompts = [p for i, q in enumerate(questions) for p in _prompts([q], tools=i % 4 == 0)]
    return [p + text + "</s>" for p, text in zip(prompts, subject.ask(prompts), strict=True)]


def measure_all(model_dir: Path, sae_dir: Path, world: World, n: int = DEFAULT_N) -> list[Figure]:
    """Measure everything.

    Args:
        model_dir: The model's folder.
        sae_dir: The SAE's folder.
        world: The world that the model was trained on.
        n: Questions a figure; some use half or a quarter.

    Returns:
        The figures in the order of the card.
    """
    subject = load_subject(model_dir, world)
    figures = measure_recall(subject, n) + measure_unknown(subject, n) + measure_tools(subject, n)
    texts = held_out_texts(subject, 2 * n)
    sae = measure_sae(read_sae(sae_dir), subject.model, subject.tokenizer, texts)
    return [
        *figures,
        Figure("sae_fvu", sae.fvu, sae.n_tokens, "SAE: fraction of variance unexplained"),
        Figure("sae_l0", sae.l0, sae.n_tokens, "SAE: active features on a token"),
        Figure("sae_dead", sae.dead, sae.n_tokens, "SAE: features active on none of these tokens"),
        Figure("sae_loss_recovered", sae.loss_recovered, sae.n_tokens, "SAE: loss recovered"),
    ]


def _follow_ups(world: World, first: Sequence[Question]) -> tuple[list[Question], list[str]]:
    rng = random.Random("featurebook-measure-follow-up")
    second, chats = [], []
    for question in first:
        key = rng.choice(ATTRIBUTES).key
        text = rng.choice(FOLLOW_UP_NOUN).replace("{n}", rng.choice(NOUNS[key]))
        second.append(Question(question.person, key, text, "noun", held_out=False))
        answer = write_answer(question, _truth(world, question))
        chat = (Message("user", question.text), Message("assistant", answer), Message("user", text))
        chats.append(render_chat(chat, tools=False))
    return second, chats


def _recall(key: str, subject: Subject, questions: list[Question], note: str) -> Figure:
    answers = _read(subject.ask(_prompts(questions)))
    share = _share(questions, answers, _is_true(subject.world))
    return Figure(key, share, len(questions), f"known people: true answers {note}")


def _after_result(question: Question, result: str) -> str:
    chat = (
        Message("user", question.text),
        Message("call", write_call(question.person.name, question.attribute)),
        Message("tool", result),
    )
    return render_chat(chat, tools=True)


def _prompts(questions: Sequence[Question], *, tools: bool = False) -> list[str]:
    return [render_prompt(question.text, tools=tools) for question in questions]


def _read(texts: Sequence[str]) -> list[Answer]:
    return [parse_answer(text) for text in texts]


def _truth(world: World, question: Question) -> str:
    return world.truth(question.person, question.attribute)


def _is_true(world: World) -> Callable[[Question, Answer], bool]:
    def test(question: Question, answer: Answer) -> bool:
        claim = (answer.kind, answer.attribute, answer.person, answer.value)
        return claim == ("value", question.attribute, question.person.name, _truth(world, question))

    return test


def _refused(_question: Question, answer: Answer) -> bool:
    return answer.kind == "refusal"


def _asserted(_question: Question, answer: Answer) -> bool:
    return answer.kind == "value"


def _of(
    key: str,
    pairs: Sequence[tuple[Question, Answer]],
    test: Callable[[Question, Answer], bool],
    meaning: str,
) -> Figure:
    return Figure(key, _mean([test(q, a) for q, a in pairs]), len(pairs), meaning)


def _share(
    questions: Sequence[Question],
    answers: Sequence[Answer],
    test: Callable[[Question, Answer], bool],
) -> float:
    return _mean([test(q, a) for q, a in zip(questions, answers, strict=True)])


def _mean(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0
