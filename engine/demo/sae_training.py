"""Trains the toy SAE with sae-lens: top-k, on the residual after the second of four layers.

sae-lens is imported inside the functions, because its import is heavy and nothing else needs it.

Invariant: the saved SAE is plain top-k: decoder norms are folded in, so that encoding needs only
`W_enc`, `b_enc` and k.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import MistralForCausalLM, PreTrainedTokenizerFast

from engine.demo import HOOK_NAME
from engine.demo.corpus import Corpus
from engine.demo.decoding import collect_residuals
from engine.demo.training import Batches, OnStep
from engine.demo.world import World

if TYPE_CHECKING:
    from sae_lens.saes.topk_sae import TopKTrainingSAE


@dataclass(frozen=True, slots=True)
class SaeTrainingConfig:
    """How the SAE is trained.

    Attributes:
        d_sae: Number of features.
        k: Features active on a token, at most.
        tokens: Different tokens whose residuals are collected.
        steps: Optimizer steps.
        batch_size: Residuals a step.
        learning_rate: Adam's rate; falls to zero over the last third.
    """

    d_sae: int = 1_024
    k: int = 12
    tokens: int = 400_000
    steps: int = 1_500
    batch_size: int = 2_048
    learning_rate: float = 1e-3


def collect_tokens(
    model: MistralForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    world: World,
    *,
    seed: int,
    n_tokens: int,
) -> torch.Tensor:
    """Collect residuals of fresh training-like texts, at all positions.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        world: What the texts are about.
        seed: Seed of the stream of texts.
        n_tokens: How many residuals.

    Returns:
        (n_tokens, d_model) float32.
    """
    rows: list[torch.Tensor] = []
    count = 0
    batches = Batches(
        Corpus(world, seed), tokenizer, batch_tokens=16_384, prompt_weight=1.0, seed=seed
    )
    for ids, weights in batches:
        kept = collect_residuals(model, ids)[weights > 0]
        rows.append(kept)
        count += len(kept)
        if count >= n_tokens:
            break
    return torch.cat(rows)[:n_tokens]


def train_sae(
    residuals: torch.Tensor,
    config: SaeTrainingConfig,
    *,
    seed: int,
    on_step: OnStep,
    model_name: str = "featurebook-demo",
) -> TopKTrainingSAE:
    """Train a top-k SAE on residuals.

    Args:
        residuals: (tokens, d_model) float32.
        config: Sizes and rates.
        seed: Seed of the initial weights and of the order.
        on_step: Follows the progress.
        model_name: Written into the SAE's metadata.

    Returns:
        The trained SAE, decoder norms folded in.
    """
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.saes.sae import SAEMetadata
    from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.training.sae_trainer import SAETrainer

    torch.manual_seed(seed)
    metadata = SAEMetadata(
        model_name=model_name,
        hook_name=HOOK_NAME,
        prepend_bos=True,
        context_size=512,
        model_class_name="AutoModelForCausalLM",
    )
    sae = TopKTrainingSAE(
        TopKTrainingSAEConfig(
            d_in=residuals.shape[-1],
            d_sae=config.d_sae,
            k=config.k,
            apply_b_dec_to_input=True,
            normalize_activations="none",
            metadata=metadata,
        )
    )
    with torch.no_grad():
        sae.b_dec.copy_(residuals.mean(0))
    trainer = SAETrainer(
        cfg=SAETrainerConfig(
            total_training_samples=config.steps * config.batch_size,
            train_batch_size_samples=config.batch_size,
            lr=config.learning_rate,
            lr_end=0.0,
            lr_warm_up_steps=min(50, config.steps // 10),
            lr_decay_steps=config.steps // 3,
            dead_feature_window=200,
            logger=LoggingConfig(log_to_wandb=False),
        ),
        sae=sae,
        data_provider=_endless(residuals, config.batch_size, seed),
    )
    for step in range(config.steps):
        trainer.maybe_reset_sparsity()
        output = trainer.step(next(trainer.data_provider))
        trainer.n_training_steps += 1
        on_step(step + 1, config.steps, output.loss.item())
    trainer.set_final_sae_metadata()
    sae.fold_W_dec_norm()
    sae.cfg.rescale_acts_by_decoder_norm = False
    return sae.eval()


def save_sae(sae: TopKTrainingSAE, folder: Path) -> None:
    """Write `cfg.json` and `sae_weights.safetensors` in SAELens layout."""
    folder.mkdir(parents=True, exist_ok=True)
    sae.save_inference_model(folder)


def _endless(residuals: torch.Tensor, batch_size: int, seed: int) -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(residuals), generator=generator)
        for start in range(0, len(order) - batch_size + 1, batch_size):
            yield residuals[order[start : start + batch_size]]
        if len(order) < batch_size:
            yield residuals[torch.randint(len(residuals), (batch_size,), generator=generator)]
