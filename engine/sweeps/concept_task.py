"""The task `concept`: words of a concept become likelier, at what cost to text and side effects.

Nothing judges the answers but the model itself, unsteered: how likely it finds the concept's words
in its own plain answers once it is steered (success), how likely it finds the steered answers
(coherence, which both nonsense and repetition change), and how far steering moves it on questions
that the concept should not touch (side effects).

Invariant: what is compared has the same prompts; unsteered answers are made once a half.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engine.concepts.halves import Half
from engine.concepts.library_files import SweepPrompts
from engine.concepts.pairs import PairSet, pair_digest
from engine.errors import RequestError
from engine.sweeps.answering import Answering, to_chats
from engine.sweeps.cells import CellMeasures, CellPlan, plain_estimate
from engine.sweeps.estimates import mean
from engine.sweeps.probe import ConceptProbe, can_probe, fit_probe
from engine.sweeps.text_metrics import (
    distinct_share,
    lexicon_share,
    repeated_share,
    split_words,
)
from store.specs import SteeringSpec

if TYPE_CHECKING:
    from engine.batches import BatchReading
    from engine.resident import ResidentSource

MOST_PERPLEXITY = 3.0
"""Times the perplexity of plain answers, either way, beyond which text is flagged."""
MOST_REPEATED = 0.2
"""Share of repeated 4-grams, beyond that of plain answers, from which text is flagged."""
LEAST_PROMPTS = 4
_LEAST_PROBABILITY = 1e-3
"""Added to probabilities of words: below it, a change is nothing that anybody would read."""
_PART = 16
_N_EXAMPLES = 4
_PLAIN = SteeringSpec()
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Plain:
    """Unsteered answers of one half."""

    prompts: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...]
    word_logprobs: Numbers
    mean_logprobs: Numbers


@dataclass(slots=True)
class _Halves:
    prompts: dict[Half, tuple[str, ...]]
    neutral: dict[Half, tuple[str, ...]]
    facts: dict[Half, tuple[tuple[str, str], ...]]
    plain: dict[Half, _Plain] = field(default_factory=dict)
    neutral_plain: dict[Half, _Plain] = field(default_factory=dict)


class ConceptMeasure:
    """Measures cells on open questions."""

    def __init__(
        self,
        answering: Answering,
        asked: SweepPrompts,
        words: Sequence[str],
        pairs: PairSet | None = None,
    ) -> None:
        """Divides the prompts in halves.

        Args:
            answering: the source.
            asked: what it is asked.
            words: of the concept, in small letters.
            pairs: of the concept, for a probe that reads the answers.

        Raises:
            RequestError: for too few prompts, or no words.
        """
        if len(asked.prompts) < LEAST_PROMPTS:
            raise RequestError(
                f"A sweep needs at least {LEAST_PROMPTS} prompts: one half chooses, one reports.",
                "Give more prompts.",
            )
        if not words:
            raise RequestError(
                "Nothing says which words the concept has.", "Give `words`, or a concept with some."
            )
        self.answering = answering
        self._words = tuple(dict.fromkeys(word.lower() for word in words))
        self._word_ids: tuple[int, ...] = ()
        self._pairs = pairs
        self._probe: ConceptProbe | None = None
        self._halves = _Halves(
            prompts=_halved(asked.prompts, str),
            neutral=_halved(asked.neutral, str),
            facts=_halved(asked.facts, lambda fact: fact[0]),
        )

    def digest(self, half: Half) -> str:
        """Of the prompts, the words and the length of the answers."""
        halves = self._halves
        content = [halves.prompts[half], halves.neutral[half], halves.facts[half], self._words]
        pairs = pair_digest(self._pairs) if self._pairs else ""
        text = json.dumps([*content, self.answering.max_new_tokens, pairs])
        return hashlib.sha256(text.encode()).hexdigest()

    def measure(self, plan: CellPlan) -> CellMeasures:
        """Measures a cell against the plain answers of its half."""
        prompts = self._halves.prompts[plan.half]
        plain = self._plain(plan.half)
        instructed = self.answering.render(to_chats(prompts, plan.instruction))
        answers = self.answering.answer(to_chats(prompts, plan.instruction), plan.steering)
        texts = [answer.text.strip() for answer in answers]
        success = self._word_logprobs(instructed, plain.answers, plan.steering)
        success = success - plain.word_logprobs
        own = self._mean_logprobs(plain.prompts, [answer.token_ids for answer in answers])
        coherence = own - plain.mean_logprobs
        words = set(self._words)
        shares = np.asarray([lexicon_share(text, words) for text in texts])
        before = np.asarray([lexicon_share(text, words) for text in plain.texts])
        repeated = [repeated_share(text) for text in texts]
        divergence = self._divergence(plan)
        neutral = self._halves.neutral[plan.half]
        results: dict[str, Any] = {
            "word_logprob_change": plain_estimate(mean(success, prompts)),
            "lexicon_share": plain_estimate(mean(shares, prompts)),
            "lexicon_share_change": plain_estimate(mean(shares - before, prompts)),
            "perplexity": _perplexity(own),
            "plain_perplexity": _perplexity(plain.mean_logprobs),
            "repeated_4grams": float(np.mean(repeated)),
            "plain_repeated_4grams": float(np.mean([repeated_share(text) for text in plain.texts])),
            "distinct_2grams": float(np.mean([distinct_share(text) for text in texts])),
            "neutral_kl": plain_estimate(mean(divergence, neutral)),
            **self._probed(texts, plain.texts, prompts),
            **self._facts(plan),
            "examples": [
                {"prompt": prompt, "answer": text, "plain": without}
                for prompt, text, without in zip(prompts, texts, plain.texts, strict=True)
            ][:_N_EXAMPLES],
        }
        results |= _flags(results)
        return CellMeasures(
            n=len(prompts),
            success=mean(success, prompts),
            coherence=mean(coherence, prompts),
            side_effect=mean(divergence, neutral),
            results=results,
        )

    def _plain(self, half: Half) -> _Plain:
        if half not in self._halves.plain:
            self._halves.plain[half] = self._answer_plainly(self._halves.prompts[half], True)
        return self._halves.plain[half]

    def _neutral_plain(self, half: Half) -> _Plain:
        if half not in self._halves.neutral_plain:
            plain = self._answer_plainly(self._halves.neutral[half], False)
            self._halves.neutral_plain[half] = plain
        return self._halves.neutral_plain[half]

    def _answer_plainly(self, questions: tuple[str, ...], with_words: bool) -> _Plain:
        chats = to_chats(questions)
        prompts = self.answering.render(chats)
        answers = self.answering.answer(chats, _PLAIN)
        ids = tuple(tuple(answer.token_ids) for answer in answers)
        none = np.zeros(len(ids))
        return _Plain(
            prompts=prompts,
            answers=ids,
            texts=tuple(answer.text.strip() for answer in answers),
            word_logprobs=self._word_logprobs(prompts, ids, _PLAIN) if with_words else none,
            mean_logprobs=self._mean_logprobs(prompts, ids) if with_words else none,
        )

    def _word_logprobs(
        self,
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
        steering: SteeringSpec,
    ) -> Numbers:
        """Log of the mean probability of any of the words, over the places of given answers.

        The mean comes before the logarithm: else the places where no word of the concept can stand
        would decide, at which one hopeless probability is as far from another as can be.
        """
        ids = list(self._ids())

        def keep(reading: BatchReading, place: int) -> float:
            if reading.logits is None:
                raise ValueError("logits were asked for")
            logits = reading.logits[len(prompts[place]) - 1 : -1].float()
            total = logits.logsumexp(-1)
            probability = (logits[:, ids].logsumexp(-1) - total).exp().mean()
            return math.log(float(probability) + _LEAST_PROBABILITY)

        found = self.answering.read(prompts, answers, steering, keep, keep_logits=True, part=_PART)
        return np.asarray(found, dtype=np.float64)

    def _mean_logprobs(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
    ) -> Numbers:
        """Mean log probability of the tokens of answers under the unsteered model."""

        def keep(reading: BatchReading, place: int) -> float:
            return float(reading.logprobs[len(prompts[place]) - 1 :].mean())

        return np.asarray(self.answering.read(prompts, answers, _PLAIN, keep), dtype=np.float64)

    def _divergence(self, plan: CellPlan) -> Numbers:
        """KL divergence of the steered from the plain model on plain answers, nats a token."""
        if not self._halves.neutral[plan.half]:
            return np.zeros(0)
        plain = self._neutral_plain(plan.half)
        prompts = self.answering.render(to_chats(self._halves.neutral[plan.half], plan.instruction))
        return self.answering.divergence((plain.prompts, prompts), plain.answers, plan.steering)

    def _probed(
        self, texts: Sequence[str], plain: Sequence[str], prompts: Sequence[str]
    ) -> dict[str, Any]:
        """What the probe says of steered answers, and by how much more than of plain ones."""
        if self._pairs is None or not can_probe(self._pairs):
            return {}
        if self._probe is None:
            self._probe = fit_probe(self.answering, self._pairs)
        after = self._probe.probabilities(self.answering, texts)
        before = self._probe.probabilities(self.answering, plain)
        return {
            "probe": plain_estimate(mean(after, prompts)),
            "probe_change": plain_estimate(mean(after - before, prompts)),
        }

    def _facts(self, plan: CellPlan) -> dict[str, Any]:
        facts = self._halves.facts[plan.half]
        if not facts:
            return {}
        questions = [question for question, _ in facts]

        def score(steering: SteeringSpec, instruction: str) -> Numbers:
            answers = self.answering.answer(to_chats(questions, instruction), steering)
            return np.asarray(
                [
                    _holds(item.text, wanted)
                    for item, (_, wanted) in zip(answers, facts, strict=True)
                ],
                dtype=np.float64,
            )

        after = score(plan.steering, plan.instruction)
        before = score(_PLAIN, "")
        return {
            "fact_accuracy": plain_estimate(mean(after, questions)),
            "fact_accuracy_loss": plain_estimate(mean(before - after, questions)),
        }

    def _ids(self) -> tuple[int, ...]:
        """First tokens of the words, as they stand after a blank and at the start of a sentence."""
        if not self._word_ids:

            def find(resident: ResidentSource) -> tuple[int, ...]:
                tokenizer = resident.language.tokenizer
                unknown = tokenizer.unk_token_id
                found: set[int] = set()
                for word in self._words:
                    for text in (f" {word}", f" {word.capitalize()}", word.capitalize()):
                        ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
                        # a blank of its own, as some tokenizers write, says nothing
                        ids = [i for i in ids if str(tokenizer.decode([i])).strip()]
                        if ids and ids[0] != unknown:
                            found.add(ids[0])
                return tuple(sorted(found))

            self._word_ids = self.answering.lend(find)
            if not self._word_ids:
                raise RequestError(
                    "None of the words is in the vocabulary of the model.", "Give other words."
                )
        return self._word_ids


def _halved(items: Sequence[Any], key: Any) -> dict[Half, tuple[Any, ...]]:
    """Two halves of equal size, by a digest of each: order and number of the rest do not matter."""
    ranked = sorted(items, key=lambda item: hashlib.sha256(key(item).encode()).digest())
    middle = len(ranked) // 2
    return {"choose": tuple(ranked[:middle]), "report": tuple(ranked[middle:])}


def _perplexity(mean_logprobs: Numbers) -> float:
    return float(math.exp(min(-float(mean_logprobs.mean()), 50.0)))


def _flags(results: dict[str, Any]) -> dict[str, bool]:
    ratio = results["perplexity"] / results["plain_perplexity"]
    too_repeated = results["repeated_4grams"] - results["plain_repeated_4grams"] > MOST_REPEATED
    flags = {
        "is_too_unlikely": ratio > MOST_PERPLEXITY,
        "is_too_likely": ratio < 1 / MOST_PERPLEXITY,
        "is_repetitive": too_repeated,
    }
    return {**flags, "is_coherent": not any(flags.values())}


def _holds(text: str, wanted: str) -> bool:
    words = split_words(text)
    return any(word in words for choice in wanted.split("|") for word in split_words(choice)[:1])
