"""Prefill and decode with capture: one pass gives the text, its statistics and its residual rows.

Invariant: for n tokens there are exactly n residual rows, the last generated token's included, less
those that another run has computed; the statistics of a token are those of the distribution that
the model gave for its place, unwarped.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from transformers import (
    DynamicCache,
    LogitsProcessor,
    PreTrainedModel,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from engine.errors import (
    CaptureError,
    GenerationCancelled,
    PromptTooLongError,
    UnsupportedError,
)
from engine.hook_names import HookPoint
from engine.hooks import Recording, record
from engine.prefixes import Shared
from engine.steering_session import SteeringSession
from engine.steps import GenerationStep
from store.specs import SamplingSpec

LOGIT_BUDGET = 64 * 1024 * 1024
"""Most logits held at once while a prompt is read, in elements (256 MB in float32)."""
_LONGEST_CHUNK = 2048


@dataclass(frozen=True, slots=True)
class Generation:
    """All tokens of a run with what was captured of them.

    Attributes:
        token_ids: prompt, then generated, n in all.
        n_prompt: how many are the prompt's.
        steps: statistics of tokens 1 to n - 1; nothing predicts token 0.
        n_shared: of the first tokens, how many another run has computed.
        residual: [n - n_shared, d_in], of the tokens after those, at the hook point, in the model's
            dtype and on its device; None where nothing was to be captured.
        finish_reason: `stop`, `length`, or `read` where nothing was to be generated.
        cache: keys and values of all n tokens.
    """

    token_ids: tuple[int, ...]
    n_prompt: int
    steps: tuple[GenerationStep, ...]
    n_shared: int
    residual: torch.Tensor | None
    finish_reason: str
    cache: DynamicCache


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    hook: HookPoint | None,
    prompt_ids: tuple[int, ...],
    sampling: SamplingSpec | None,
    end_ids: frozenset[int],
    n_context: int,
    on_step: Callable[[GenerationStep], None],
    is_cancelled: Callable[[], bool],
    shared: Shared | None = None,
    steering: SteeringSession | None = None,
) -> Generation:
    """Reads the prompt, generates, and captures every token.

    Args:
        model: a causal language model in evaluation mode.
        hook: the site to capture; None captures nothing.
        prompt_ids: at least one id.
        sampling: how to choose tokens; None generates nothing (kind `text`).
        end_ids: tokens after which generation stops; the end token itself is kept.
        n_context: longest sequence that the model takes, in tokens.
        on_step: called with each generated token as soon as it is known.
        is_cancelled: asked before every forward pass.
        shared: the beginning of the prompt that another run has computed, and this one need not.
        steering: changes the residual on the way; what is captured is as it is after that.

    Raises:
        PromptTooLongError: if the prompt leaves no room in the context.
        CaptureError: if captured rows and tokens do not match.
        UnsupportedError: if the model computes values that are no numbers.
        GenerationCancelled: if is_cancelled said so.
    """
    n_room = n_context - len(prompt_ids)
    if n_room < (0 if sampling is None else 1):
        raise PromptTooLongError(len(prompt_ids), n_context)
    device = embedding_of(model).device
    ids = list(prompt_ids)
    finish_reason = "read"
    with (
        # attached first: what is recorded has been steered
        nullcontext() if steering is None else steering.attached(model),
        nullcontext() if hook is None else record(model, hook) as recording,
    ):
        cache = DynamicCache(config=model.config) if shared is None else shared.cache
        n_shared = 0 if shared is None else shared.n_tokens
        forward = _Forward(model, cache, steering)
        steps, logits = _prefill(forward, prompt_ids, n_shared, device, is_cancelled)
        if shared is not None:
            steps = [*shared.steps, *steps]
        if sampling is not None:
            choose = _Chooser(sampling, device)
            finish_reason = "length"
            for _ in range(min(sampling.max_new_tokens, n_room)):
                token_id = choose(logits)
                step = _statistics(logits[None], token_id[None], len(ids))[0]
                steps.append(step)
                ids.append(step.token_id)
                on_step(step)
                if is_cancelled():
                    raise GenerationCancelled
                # the last token goes through too: its residual row belongs to the run
                logits = forward(token_id.view(1, 1), len(ids) - 1)[0]
                if step.token_id in end_ids:
                    finish_reason = "stop"
                    break
    residual = None if recording is None else _captured(recording, len(ids) - n_shared)
    return Generation(
        token_ids=tuple(ids),
        n_prompt=len(prompt_ids),
        steps=tuple(steps),
        n_shared=n_shared,
        residual=residual,
        finish_reason=finish_reason,
        cache=cache,
    )


def _captured(recording: Recording, n_tokens: int) -> torch.Tensor:
    if recording.n_rows != n_tokens:
        raise CaptureError(
            f"{recording.n_rows} residual rows were captured for {n_tokens} tokens.",
            "Report this with the model's name: its cache replays or skips tokens.",
        )
    rows = recording.rows()
    if not torch.isfinite(rows).all():
        raise _no_numbers()
    return rows


def _no_numbers() -> UnsupportedError:
    return UnsupportedError(
        "The model computed values that are no finite numbers.",
        "Set MODEL_DTYPE to bfloat16 or float32: in float16 the values of some models overflow.",
    )


class _Forward:
    """Forward passes of one sequence, each told to its steering before."""

    def __init__(
        self, model: PreTrainedModel, cache: DynamicCache, steering: SteeringSession | None
    ) -> None:
        self.vocab_size = embedding_of(model).shape[0]
        self._model = model
        self._cache = cache
        self._steering = steering

    def __call__(self, ids: torch.Tensor, first: int) -> torch.Tensor:
        """Logits [tokens, vocab] in float32 of ids [1, tokens], the first of them at `first`."""
        if self._steering is not None:
            self._steering.begin(first)
        logits: torch.Tensor = self._model(
            input_ids=ids, past_key_values=self._cache, use_cache=True
        ).logits
        return logits[0].float()


def _prefill(
    forward: _Forward,
    prompt_ids: tuple[int, ...],
    n_shared: int,
    device: torch.device,
    is_cancelled: Callable[[], bool],
) -> tuple[list[GenerationStep], torch.Tensor]:
    """Statistics of the tokens after n_shared + 1, and the logits [vocab] after the last one.

    The first n_shared tokens are in the cache already.
    """
    ids = torch.tensor(prompt_ids, device=device)
    chunk = max(1, min(_LONGEST_CHUNK, LOGIT_BUDGET // forward.vocab_size))
    steps: list[GenerationStep] = []
    last: torch.Tensor | None = None
    for start in range(n_shared, len(prompt_ids), chunk):
        if is_cancelled():
            raise GenerationCancelled
        logits = forward(ids[None, start : start + chunk], start)
        predicting = logits[:-1] if last is None else torch.cat([last[None], logits[:-1]])
        first = start + 1 if last is None else start
        targets = ids[first : first + predicting.shape[0]]
        if targets.shape[0]:
            steps += _statistics(predicting, targets, first)
        last = logits[-1]
    if last is None:
        raise CaptureError("The prompt has no tokens.")
    return steps, last


def embedding_of(model: PreTrainedModel) -> torch.Tensor:
    """The input embedding [vocab, d_model]: it says where ids go and how many there are."""
    weight = model.get_input_embeddings().weight
    if not isinstance(weight, torch.Tensor):
        raise TypeError("the model's input embedding has no weight")
    return weight


def _statistics(
    logits: torch.Tensor, targets: torch.Tensor, first_position: int
) -> list[GenerationStep]:
    """Steps for targets [n] chosen from logits [n, vocab]; one transfer from the device."""
    logprobs = logits.log_softmax(dim=-1)
    chosen = logprobs.gather(-1, targets[:, None])
    ranks = (logprobs > chosen).sum(dim=-1)
    entropies = torch.special.entr(logprobs.exp()).sum(dim=-1)
    columns = torch.stack([chosen[:, 0].double(), ranks.double(), entropies.double()])
    if columns.isnan().any():
        raise _no_numbers()
    table = columns.tolist()
    return [
        GenerationStep(first_position + index, token_id, logprob, int(rank), entropy)
        for index, (token_id, logprob, rank, entropy) in enumerate(
            zip(targets.tolist(), *table, strict=True)
        )
    ]


class _Chooser:
    """Chooses tokens as a SamplingSpec says; equal seeds give equal choices on one device."""

    def __init__(self, sampling: SamplingSpec, device: torch.device) -> None:
        self._is_greedy = sampling.temperature == 0.0
        self._warpers: list[LogitsProcessor] = []
        # these warpers look at scores alone, never at the ids before them
        self._no_ids = torch.empty(1, 0, dtype=torch.int64, device=device)
        if self._is_greedy:
            return
        self._warpers.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_k:
            self._warpers.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1.0:
            self._warpers.append(TopPLogitsWarper(sampling.top_p))
        self._generator = torch.Generator(device=device).manual_seed(sampling.seed)

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """The chosen id, a tensor without dimensions, for logits [vocab]."""
        if self._is_greedy:
            return logits.argmax()
        warped: torch.Tensor = logits[None]
        for warper in self._warpers:
            warped = warper(self._no_ids, warped)
        return torch.multinomial(warped.softmax(dim=-1)[0], 1, generator=self._generator)[0]
