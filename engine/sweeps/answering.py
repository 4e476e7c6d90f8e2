"""Answers to many prompts under one steering, in parts short enough to share the engine.

Invariant: the queue of the engine stands still for one part at a time; runs of people come between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from engine.asking import Asker
from store.specs import Message, SteeringSpec
from store.steering_records import VectorValues
from store.vectors import VectorRepository

if TYPE_CHECKING:
    from engine.batches import BatchAnswer, BatchReading
    from engine.resident import ResidentSource
    from engine.steering_operators import ReadySteering

T = TypeVar("T")
Chat = tuple[Message, ...]
PART = 192
"""Prompts of one part."""
_FEW = 16


@dataclass(frozen=True, slots=True)
class Answering:
    """How prompts of one source are answered and read.

    Attributes:
        is_cancelled: asked between the parts, and within them.
    """

    asker: Asker
    vectors: VectorRepository
    source: str
    max_new_tokens: int
    is_cancelled: Callable[[], bool] = lambda: False

    def lend(self, do: Callable[[ResidentSource], T]) -> T:
        """What `do` returns of the loaded source, on the worker's thread."""
        return self.asker.lend(self.source, do, self.is_cancelled)

    def resolve(self, steering: SteeringSpec) -> SteeringSpec:
        """The steering with every strength in raw units."""
        if not steering.interventions:
            return steering
        return self.asker.resolve_steering(self.source, steering, self.is_cancelled)

    def values_of(self, steering: SteeringSpec) -> dict[str, VectorValues]:
        """The numbers of every vector that a steering names."""
        named = [item.vector_id for item in steering.interventions]
        named += [item.condition.vector_id for item in steering.interventions if item.condition]
        return {name: self.vectors.get_values(name) for name in set(named) if name is not None}

    def lengths(self, steering: SteeringSpec) -> list[tuple[int, float]]:
        """Layer of each intervention, and the length of what it adds; 0 where that varies.

        Args:
            steering: as resolved.
        """
        vectors = self.values_of(steering)

        def measure(resident: ResidentSource) -> list[tuple[int, float]]:
            ready = ready_steering(resident, steering, vectors)
            found = {}
            for layer in ready.layers if ready else ():
                for operator in layer.operators:
                    pushed = operator.pushed
                    found[operator.number] = (
                        operator.layer,
                        0.0 if pushed is None else float(pushed.float().norm()),
                    )
            return [found[number] for number in sorted(found)]

        return self.lend(measure)

    def render(self, chats: Sequence[Chat]) -> tuple[tuple[int, ...], ...]:
        """Token ids of chats, each ready for its answer."""

        def render(resident: ResidentSource) -> tuple[tuple[int, ...], ...]:
            from engine.batches import render_prompts

            return render_prompts(resident, chats)

        return self.lend(render)

    def answer(self, chats: Sequence[Chat], steering: SteeringSpec) -> tuple[BatchAnswer, ...]:
        """Greedy answers, one a chat; steering as resolved."""
        vectors = self.values_of(steering)
        prompts = self.render(chats)

        def answer(resident: ResidentSource, start: int) -> tuple[BatchAnswer, ...]:
            from engine.batches import generate_batch

            return generate_batch(
                resident,
                prompts[start : start + PART],
                self.max_new_tokens,
                ready_steering(resident, steering, vectors),
                max_rows=PART,
                is_cancelled=self.is_cancelled,
            )

        return self._in_parts(answer, len(prompts))

    def read(
        self,
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
        steering: SteeringSpec,
        keep: Callable[[BatchReading, int], T],
        keep_logits: bool = False,
        part: int = PART,
    ) -> tuple[T, ...]:
        """What is kept of readings of prompts with given answers, under a steering.

        Args:
            prompts, answers: token ids, one of each a sequence.
            steering: as resolved; it takes the answer's tokens for generated ones.
            keep: gets a reading and its place, on the worker's thread; what it returns is kept.
            keep_logits: whether readings have them: [tokens, vocabulary].
            part: sequences at once.
        """
        vectors = self.values_of(steering)
        sequences = [(*left, *right) for left, right in zip(prompts, answers, strict=True)]
        lengths = [len(prompt) for prompt in prompts]

        def read(resident: ResidentSource, start: int) -> tuple[T, ...]:
            from engine.batches import read_batch

            readings = read_batch(
                resident,
                sequences[start : start + part],
                lengths[start : start + part],
                ready_steering(resident, steering, vectors),
                keep_logits=keep_logits,
                max_rows=part,
            )
            return tuple(keep(reading, start + n) for n, reading in enumerate(readings))

        return self._in_parts(read, len(sequences), part)

    def target_logprobs(
        self, prompts: Sequence[Sequence[int]], target: Sequence[int], steering: SteeringSpec
    ) -> npt.NDArray[np.float64]:
        """Log probability of a target, as the answer begins with it, after each prompt."""

        def keep(reading: BatchReading, place: int) -> float:
            return float(reading.logprobs[len(prompts[place]) - 1 :].sum())

        found = self.read(prompts, [target] * len(prompts), steering, keep)
        return np.asarray(found, dtype=np.float64)

    def divergence(
        self,
        prompts: tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]],
        answers: Sequence[Sequence[int]],
        steering: SteeringSpec,
    ) -> npt.NDArray[np.float64]:
        """KL divergence of the steered from the plain model over given answers, nats a token.

        Args:
            prompts: for the plain model, and for the steered one.
            answers: token ids that follow both.
            steering: as resolved.
        """
        vectors = self.values_of(steering)
        plain, other = prompts

        def diverge(resident: ResidentSource, start: int) -> tuple[float, ...]:
            from engine.batches import read_batch

            ready = ready_steering(resident, steering, vectors)
            found = []
            for place in range(start, min(start + _FEW, len(answers))):
                logprobs = []
                for prompt, under in ((plain[place], None), (other[place], ready)):
                    [reading] = read_batch(
                        resident,
                        [(*prompt, *answers[place])],
                        [len(prompt)],
                        under,
                        keep_logits=True,
                    )
                    if reading.logits is None:
                        raise ValueError("logits were asked for")
                    logprobs.append(reading.logits[len(prompt) - 1 : -1].float().log_softmax(-1))
                before, after = logprobs
                found.append(float((before.exp() * (before - after)).sum(-1).mean()))
            return tuple(found)

        return np.asarray(self._in_parts(diverge, len(answers), _FEW), dtype=np.float64)

    def _in_parts(
        self, do: Callable[[ResidentSource, int], tuple[T, ...]], n: int, part: int = PART
    ) -> tuple[T, ...]:
        found: list[T] = []
        for start in range(0, n, part):
            found += self.lend(lambda resident, start=start: do(resident, start))  # type: ignore[misc]
        return tuple(found)


def ready_steering(
    resident: ResidentSource, steering: SteeringSpec, vectors: Mapping[str, VectorValues]
) -> ReadySteering | None:
    """Operators for a resolved steering; None for none."""
    from engine.steering_plan import make_ready

    if not steering.interventions:
        return None
    return make_ready(resident.sae, resident.source.hook, steering, vectors)


def to_chats(prompts: Sequence[str], instruction: str = "") -> tuple[Chat, ...]:
    """Prompts as chats of one question, after an instruction if there is one."""
    system = (Message("system", instruction),) if instruction else ()
    return tuple((*system, Message("user", prompt)) for prompt in prompts)
