"""Many prompts at once: answers, and what the model says of given texts, steered or not.

Shorter sequences are padded on their left, and told apart by mask and position, so that every row
is computed as if it were alone. Nothing here is stored: it is for experiments of thousands of short
answers, whose few telling ones are then asked as ordinary runs.

Invariant: a row's numbers are those of the sequence alone, to rounding; a gate is each row's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from engine.errors import GenerationCancelled, PromptTooLongError, UnsupportedError
from engine.padded_batch import PaddedBatch
from engine.prompting import tokenise
from engine.resident import ResidentSource
from engine.steering_operators import ReadySteering
from engine.token_text import token_texts
from store.specs import Message, RunSpec

MOST_ROWS = 32


@dataclass(frozen=True, slots=True, eq=False)
class BatchAnswer:
    """One greedy answer.

    Attributes:
        token_ids: generated, an end token included.
        text: of them, without the end token.
        logprobs: natural, of each generated token under the model as it was steered.
        finish_reason: `stop` or `length`.
        gates: of each intervention, whether its gate opened; None where it has none.
        residual: [n, d_in] on the CPU, of all tokens but the last generated one, as the SAE's hook
            point had them after steering; None unless it was asked for.
    """

    token_ids: tuple[int, ...]
    text: str
    logprobs: tuple[float, ...]
    finish_reason: str
    gates: tuple[bool | None, ...]
    residual: torch.Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class BatchReading:
    """What the model says of one given sequence of n tokens.

    Attributes:
        logprobs: float32 [n - 1], natural, of tokens 1 to n - 1.
        logits: float32 [n, vocab], or None unless they were asked for.
        residual: [n, d_in], or None unless it was asked for.
    """

    logprobs: torch.Tensor
    logits: torch.Tensor | None
    residual: torch.Tensor | None


def render_prompts(
    resident: ResidentSource, chats: Sequence[Sequence[Message]], with_tools: bool = False
) -> tuple[tuple[int, ...], ...]:
    """Token ids of each chat, as its ordinary run would begin.

    Raises:
        RequestError: if the chat template refuses the messages.
        UnsupportedError: for a chat or tools where there is no template.
    """
    tools = resident.source.tools if with_tools else ()
    return tuple(
        tokenise(
            resident.language.tokenizer, RunSpec(resident.source.spec, tuple(chat), tools=tools)
        ).token_ids
        for chat in chats
    )


@torch.inference_mode()
def generate_batch(
    resident: ResidentSource,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    steering: ReadySteering | None = None,
    keep_residual: bool = False,
    max_rows: int = MOST_ROWS,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> tuple[BatchAnswer, ...]:
    """Greedy answers to prompts, in their order.

    Args:
        resident: the source.
        prompts: ids of each, at least one.
        max_new_tokens: most tokens of an answer.
        steering: made ready for this source; None is unsteered.
        keep_residual: whether to keep residual rows.
        max_rows: prompts computed at a time.
        is_cancelled: asked before every forward pass.

    Raises:
        PromptTooLongError: if a prompt leaves no room for an answer.
        UnsupportedError: if the model computes values that are no numbers.
        GenerationCancelled: if is_cancelled said so.
    """
    n_context = resident.source.n_context
    for prompt in prompts:
        if not 0 < len(prompt) <= n_context - max_new_tokens:
            raise PromptTooLongError(len(prompt), n_context - max_new_tokens)
    answers: dict[int, BatchAnswer] = {}
    for chosen in _groups([len(prompt) for prompt in prompts], max_rows):
        group = [tuple(prompts[index]) for index in chosen]
        n_prompts = [len(ids) for ids in group]
        batch = PaddedBatch(resident, group, n_prompts, steering, keep_residual)
        found = _answers(resident, batch, max_new_tokens, is_cancelled)
        answers |= dict(zip(chosen, found, strict=True))
    return tuple(answers[index] for index in range(len(prompts)))


@torch.inference_mode()
def read_batch(
    resident: ResidentSource,
    sequences: Sequence[Sequence[int]],
    n_prompts: Sequence[int] | None = None,
    steering: ReadySteering | None = None,
    keep_logits: bool = False,
    keep_residual: bool = False,
    max_rows: int = MOST_ROWS,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> tuple[BatchReading, ...]:
    """What the model says of given sequences, in their order; nothing is generated.

    Args:
        resident: the source.
        sequences: ids of each, at least one.
        n_prompts: of each, how many of its tokens are the prompt's, where steering asks for that;
            None takes all of them.
        steering: made ready for this source; None is unsteered.
        keep_logits, keep_residual: whether to keep these; on the CPU.
        max_rows: sequences computed at a time.
        is_cancelled: asked before every forward pass.

    Raises:
        PromptTooLongError: if a sequence is empty, or longer than the model reads.
        UnsupportedError: if the model computes values that are no numbers.
        GenerationCancelled: if is_cancelled said so.
    """
    n_context = resident.source.n_context
    for ids in sequences:
        if not 0 < len(ids) <= n_context:
            raise PromptTooLongError(len(ids), n_context)
    counts = [len(ids) for ids in sequences] if n_prompts is None else list(n_prompts)
    readings: dict[int, BatchReading] = {}
    for chosen in _groups([len(ids) for ids in sequences], max_rows):
        if is_cancelled():
            raise GenerationCancelled
        group = [tuple(sequences[index]) for index in chosen]
        of_prompts = [counts[index] for index in chosen]
        batch = PaddedBatch(resident, group, of_prompts, steering, keep_residual)
        readings |= dict(zip(chosen, _readings(batch, keep_logits), strict=True))
    return tuple(readings[index] for index in range(len(sequences)))


def _groups(lengths: Sequence[int], max_rows: int) -> list[list[int]]:
    """Indices in groups of about equal length, so that little is padding."""
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    return [order[start : start + max_rows] for start in range(0, len(order), max_rows)]


def _answers(
    resident: ResidentSource,
    batch: PaddedBatch,
    max_new_tokens: int,
    is_cancelled: Callable[[], bool],
) -> list[BatchAnswer]:
    end_ids = torch.tensor(sorted(resident.language.end_ids), device=batch.ids.device)
    with batch.attached() as recording:
        cache = DynamicCache(config=resident.language.model.config)
        logits = batch.forward(batch.ids, 0, cache, is_last_only=True)[:, -1]
        chosen, logprobs = [], []
        is_over = torch.zeros(len(batch.group), dtype=torch.bool, device=batch.ids.device)
        for step in range(max_new_tokens):
            token = logits.argmax(dim=-1)
            chosen.append(token)
            logprobs.append(logits.log_softmax(dim=-1).gather(-1, token[:, None])[:, 0])
            is_over |= torch.isin(token, end_ids)
            if step == max_new_tokens - 1 or bool(is_over.all()):
                break
            if is_cancelled():
                raise GenerationCancelled
            batch.extend()
            column = batch.width + step
            logits = batch.forward(token[:, None], column, cache, is_last_only=True)[:, -1]
    tokens = torch.stack(chosen, dim=1).tolist()
    table = torch.stack(logprobs, dim=1)
    if table.isnan().any():
        raise _no_numbers()
    values = table.tolist()
    residual = None if recording is None else recording.cpu()
    return [
        _answer(resident, batch, row, tokens[row], values[row], residual)
        for row in range(len(tokens))
    ]


def _answer(
    resident: ResidentSource,
    batch: PaddedBatch,
    row: int,
    token_ids: list[int],
    logprobs: list[float],
    residual: torch.Tensor | None,
) -> BatchAnswer:
    """What the row generated up to its own end."""
    language = resident.language
    ends = [n for n, token_id in enumerate(token_ids) if token_id in language.end_ids]
    n_tokens = ends[0] + 1 if ends else len(token_ids)
    own = token_ids[:n_tokens]
    # in context: some tokenizers write a token otherwise where a text begins
    pieces = token_texts(language.tokenizer, [*batch.group[row], *own])[-n_tokens:]
    shown = zip(pieces, own, strict=True)
    text = "".join(piece for piece, token_id in shown if token_id not in language.end_ids)
    first, end = batch.paddings[row], batch.width + n_tokens - 1
    return BatchAnswer(
        token_ids=tuple(own),
        text=text.strip(),
        logprobs=tuple(logprobs[:n_tokens]),
        finish_reason="stop" if ends else "length",
        gates=batch.gates(row),
        residual=None if residual is None else residual[row, first:end],
    )


def _readings(batch: PaddedBatch, keep_logits: bool) -> list[BatchReading]:
    with batch.attached() as recording:
        logits = batch.forward(batch.ids, 0, None, is_last_only=False)
    residual = None if recording is None else recording.cpu()
    found = []
    for row, padding in enumerate(batch.paddings):
        own, ids = logits[row, padding:], batch.ids[row, padding:]
        logprobs = own[:-1].log_softmax(dim=-1).gather(-1, ids[1:, None])[:, 0]
        if logprobs.isnan().any():
            raise _no_numbers()
        found.append(
            BatchReading(
                logprobs.cpu(),
                own.cpu() if keep_logits else None,
                None if residual is None else residual[row, padding:],
            )
        )
    return found


def _no_numbers() -> UnsupportedError:
    return UnsupportedError(
        "The model computed values that are no finite numbers.",
        "Lower the strength, or set MODEL_DTYPE to bfloat16 or float32.",
    )
