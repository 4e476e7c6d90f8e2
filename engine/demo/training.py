"""Trains the toy language model from a seed: batches of whole texts, weighted loss, AdamW.

Invariant: after `train_model`, the model is in evaluation mode and nothing was written to disk.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy
from transformers import (
    GenerationConfig,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

from engine.demo.corpus import Corpus
from engine.demo.names import SURNAMES, UNSEEN_SURNAMES
from engine.demo.tokenizer import MAX_LENGTH, WORD_START
from engine.demo.world import World

OnStep = Callable[[int, int, float], None]
"""Called after each step with (steps done, steps in all, loss in nats a weighted token)."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How the model is trained.

    Attributes:
        steps: Optimizer steps.
        batch_tokens: Tokens a step, padding included.
        learning_rate: Peak of the cosine schedule.
        warmup_steps: Steps of linear warm-up.
        weight_decay: AdamW weight decay.
        prompt_weight: Loss weight of tokens that the model does not have to write.
    """

    steps: int = 2_400
    batch_tokens: int = 4_096
    learning_rate: float = 2e-3
    warmup_steps: int = 60
    weight_decay: float = 0.05
    prompt_weight: float = 0.1


def make_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> MistralForCausalLM:
    """Return the untrained model: four Mistral layers of width 128, tied, float32.

    Args:
        tokenizer: Gives the vocabulary size and the special ids.
        seed: Seed of the initial weights.

    Returns:
        The model, in evaluation mode, on the CPU.
    """
    config = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=MAX_LENGTH,
        sliding_window=None,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    torch.manual_seed(seed)
    model = MistralForCausalLM(config)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=48,
        do_sample=False,
    )
    model.eval()
    return model


class Batches:
    """Encodes texts of a corpus into padded batches of similar length.

    Args:
        corpus: Where texts come from.
        tokenizer: How they are encoded.
        batch_tokens: Tokens a batch, padding included.
        prompt_weight: Loss weight of tokens outside the assistant's turns.
        seed: Seed of the order of batches.
    """

    _POOL = 4_096

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: PreTrainedTokenizerFast,
        *,
        batch_tokens: int,
        prompt_weight: float,
        seed: int,
    ) -> None:
        self._corpus = corpus
        self._tokenizer = tokenizer
        self._batch_tokens = batch_tokens
        self._prompt_weight = prompt_weight
        self._rng = random.Random(f"featurebook-batches-{seed}")
        ids = tokenizer.convert_tokens_to_ids
        self._starts = frozenset((ids("[/INST]"), ids("[/TOOL_RESULTS]")))
        self._ends = frozenset((ids("[INST]"), ids("[TOOL_RESULTS]")))

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield (ids, weights), both (batch, length), int64 and float32, padded on the right."""
        while True:
            texts = [self._corpus.draw() for _ in range(self._POOL)]
            rows: list[list[int]] = self._tokenizer(texts, add_special_tokens=False).input_ids
            rows.sort(key=len)
            batches: list[list[list[int]]] = [[]]
            for row in rows:
                if (len(batches[-1]) + 1) * len(row) > self._batch_tokens:
                    batches.append([])
                batches[-1].append(row)
            self._rng.shuffle(batches)
            yield from (self._pad(batch) for batch in batches)

    def _pad(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        length = max(map(len, rows))
        pad = self._tokenizer.pad_token_id
        ids = torch.tensor([row + [pad] * (length - len(row)) for row in rows])
        weights = torch.tensor([self._weigh(row) + [0.0] * (length - len(row)) for row in rows])
        return ids, weights

    def _weigh(self, row: list[int]) -> list[float]:
        weights, weight = [], self._prompt_weight
        for token in row:
            if token in self._ends:
                weight = self._prompt_weight
            weights.append(weight)
            if token in self._starts:
                weight = 1.0
        return weights


def weighted_loss(
    model: MistralForCausalLM, ids: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Return the weighted mean of the next-token loss.

    Args:
        model: The model.
        ids: (batch, length) int64, padded on the right.
        weights: (batch, length) float32; zero on padding.

    Returns:
        A scalar, in nats a weighted token.
    """
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    loss = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    mask = weights[:, 1:].flatten()
    return (loss * mask).sum() / mask.sum()


def train_model(
    world: World,
    tokenizer: PreTrainedTokenizerFast,
    config: TrainingConfig,
    *,
    seed: int,
    on_step: OnStep,
) -> MistralForCausalLM:
    """Train the model.

    Args:
        world: What the training text is about.
        tokenizer: The tokenizer.
        config: Steps and rates.
        seed: Seed of initial weights and of the stream of texts.
        on_step: Follows the progress.

    Returns:
        The trained model, in evaluation mode.
    """
    model = make_model(tokenizer, seed)
    model.train()
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95))
    batches = Batches(
        Corpus(world, seed),
        tokenizer,
        batch_tokens=config.batch_tokens,
        prompt_weight=config.prompt_weight,
        seed=seed,
    )
    for step, (ids, weights) in zip(range(config.steps), batches, strict=False):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        loss = weighted_loss(model, ids, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        on_step(step + 1, config.steps, loss.item())
    place_unseen_names(model, tokenizer, seed)
    model.eval()
    return model


@torch.no_grad()
def place_unseen_names(
    model: MistralForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int
) -> None:
    """Give each surname that is in no training text a random embedding among the surnames.

    Training only ever pushes an unseen word away, until the model cannot write it. A random point
    with the mean and spread of the trained surnames is new to the model, yet a surname.

    Args:
        model: The trained model; its tied embedding is changed in place.
        tokenizer: Gives the ids of the surnames.
        seed: Seed of the draw.
    """
    vocabulary = tokenizer.get_vocab()
    seen = [vocabulary[WORD_START + name] for name in SURNAMES]
    unseen = [vocabulary[WORD_START + name] for name in UNSEEN_SURNAMES]
    table = model.model.embed_tokens.weight
    mean = table[seen].mean(0)
    draw = torch.randn(len(unseen), len(seen), generator=torch.Generator().manual_seed(seed))
    table[unseen] = mean + draw @ (table[seen] - mean) / math.sqrt(len(seen) - 1)


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Return the learning rate of a step: linear warm-up, then cosine to 2% of the peak."""
    warm = min(1.0, (step + 1) / config.warmup_steps)
    done = step / max(1, config.steps)
    return config.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
