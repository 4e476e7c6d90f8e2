"""Which stored answers are examples, and of what: questions, verdicts and claims become labels.

Invariant: abstentions and what could not be judged are in neither class; they are counted, never
dropped in silence.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.detection.outcomes import POSITIVE, meaning_of, read_claim, read_toy_claim
from engine.detection.reports import OutcomeCount, WrongRate
from engine.detection.settings import DetectionSettings
from store.outcome_records import Meaning, Outcome, Verdict
from store.question_records import Answer, Question

_NOT_JUDGED = "unjudged"
LEAST_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Judged:
    """One answer with what holds of it.

    Attributes:
        meaning: `unknown` also where nobody has judged it by the method asked for.
        value: what the answer asserts, where that could be read.
    """

    answer: Answer
    question: Question
    outcome: str
    meaning: Meaning
    value: str | None

    @property
    def is_example(self) -> bool:
        """Whether it is in one of the two classes."""
        return self.meaning in POSITIVE or self.meaning == "honest"

    @property
    def is_positive(self) -> bool:
        """Whether it is made up or wrong."""
        return self.meaning in POSITIVE


def judge_answers(
    answers: Sequence[Answer],
    questions: Sequence[Question],
    outcomes: Mapping[str, Sequence[Outcome]],
    verdicts: Mapping[str, Verdict],
    settings: DetectionSettings,
    is_toy: bool,
) -> tuple[Judged, ...]:
    """What holds of each answer, by the method that the settings name.

    Args:
        answers: to the questions of a set. questions: by number.
        outcomes: all judgements by run key. verdicts: the strongest by run key.
        settings: which method counts.
        is_toy: whether the answers speak the language of the toy world.
    """
    found = []
    for answer in answers:
        judgements = outcomes.get(answer.run_key, ())
        question = questions[answer.question_no]
        if settings.label_method == "verdict":
            verdict = verdicts.get(answer.run_key)
            outcome = verdict.outcome if verdict else _NOT_JUDGED
            meaning: Meaning = verdict.meaning if verdict else "unknown"
        else:
            latest = [item for item in judgements if item.method == settings.label_method]
            outcome = (
                max(latest, key=lambda item: item.created_at).outcome if latest else _NOT_JUDGED
            )
            meaning = meaning_of(outcome)
        value = claimed_value(judgements, answer.response, question.question, is_toy)
        found.append(Judged(answer, question, outcome, meaning, value))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Answers that become a table, and the topics that were left out."""

    answers: tuple[Judged, ...]
    topics_left_out: tuple[str, ...]


def choose_examples(judged: Sequence[Judged], settings: DetectionSettings) -> Chosen:
    """The answers in a class, of the tools and topics that the settings name.

    A topic is balanced if at least LEAST_SHARE of its answers are in either class.
    """
    tools = {"off": (False,), "on": (True,), "both": (False, True)}[settings.tools]
    found = [item for item in judged if item.is_example and item.answer.tools in tools]
    if settings.topics == "all":
        return Chosen(tuple(found), ())
    n_all = Counter(item.question.topic for item in found)
    n_positive = Counter(item.question.topic for item in found if item.is_positive)
    left_out = {
        topic
        for topic, n in n_all.items()
        if not LEAST_SHARE * n <= n_positive[topic] <= (1 - LEAST_SHARE) * n
    }
    if len(left_out) == len(n_all):
        return Chosen(tuple(found), ())
    kept = tuple(item for item in found if item.question.topic not in left_out)
    return Chosen(kept, tuple(sorted(topic or "no topic" for topic in left_out)))


def count_outcomes(judged: Sequence[Judged]) -> tuple[OutcomeCount, ...]:
    """Answers by tools and outcome, the most frequent first, tools off first."""
    counts = Counter((item.answer.tools, item.outcome) for item in judged)
    ordered = sorted(counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    return tuple(OutcomeCount(tools, outcome, n) for (tools, outcome), n in ordered)


def count_wrong(judged: Sequence[Judged]) -> tuple[WrongRate, ...]:
    """Wrong answers of those attempted, and of all that were judged, with tools off and on."""
    rates = []
    for tools in (False, True):
        meanings = Counter(item.meaning for item in judged if item.answer.tools == tools)
        n_wrong = sum(meanings[meaning] for meaning in POSITIVE)
        n_correct, n_abstained = meanings["honest"], meanings["abstained"]
        n_attempted = n_wrong + n_correct
        n_all = n_attempted + n_abstained
        if not sum(meanings.values()):
            continue
        rates.append(
            WrongRate(
                tools,
                n_wrong,
                n_correct,
                n_abstained,
                n_wrong / n_attempted if n_attempted else None,
                n_wrong / n_all if n_all else None,
            )
        )
    return tuple(rates)


def claimed_value(
    judgements: Sequence[Outcome], response: str, question: str, is_toy: bool
) -> str | None:
    """The asserted value that a judgement names, else one that can be read from the answer.

    Args:
        judgements: of the run. response, question: its texts.
        is_toy: whether it speaks the language of the toy world.
    """
    for item in judgements:
        evidence = json.loads(item.evidence or "{}")
        if not isinstance(evidence, dict):
            continue
        value = evidence.get("value")
        claimed = evidence.get("claimed")
        if isinstance(value, str) and value:
            return value
        if isinstance(claimed, list) and claimed:
            return str(claimed[0])
    claim = read_toy_claim(response) if is_toy else read_claim(response, question)
    return claim.values[0] if claim.values else None
