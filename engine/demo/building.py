"""Makes the embedded source from a seed: world, tokenizer, model, SAE, control SAE, card.

Invariant: the output folder is replaced whole at the very end, or left as it was.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from transformers import MistralForCausalLM, PreTrainedTokenizerFast

from engine.demo.card import write_card
from engine.demo.measure import (
    DEFAULT_N,
    Figure,
    held_out_texts,
    load_subject,
    measure_all,
)
from engine.demo.sae_figures import measure_sae, read_sae
from engine.demo.sae_training import SaeTrainingConfig, collect_tokens, save_sae, train_sae
from engine.demo.tokenizer import save_tokenizer
from engine.demo.training import OnStep, TrainingConfig, make_model, train_model
from engine.demo.world import World, make_world

Progress = Callable[[str], OnStep]
"""Begins a stage by its name; returns what is called after each of its steps."""

RECORD = "training.json"
"""Beside the weights: seed, sizes, CPU seconds, and the figure of the control SAE."""


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """What is built.

    Attributes:
        seed: Seed of everything.
        model: How the model is trained.
        sae: How both SAEs are trained.
        questions: Questions a figure of the card.
    """

    seed: int
    model: TrainingConfig = field(default_factory=TrainingConfig)
    sae: SaeTrainingConfig = field(default_factory=SaeTrainingConfig)
    questions: int = DEFAULT_N


def scale(config: BuildConfig, steps: int) -> BuildConfig:
    """Return a configuration with other model steps and the SAE's work in proportion.

    Args:
        config: The full configuration.
        steps: Optimizer steps of the model.

    Returns:
        The scaled configuration; never more SAE steps or tokens than in the full one.
    """
    share = min(1.0, steps / config.model.steps)
    sae = replace(
        config.sae,
        steps=max(1, round(config.sae.steps * share)),
        tokens=max(4 * config.sae.batch_size, round(config.sae.tokens * share)),
    )
    return replace(config, model=replace(config.model, steps=steps), sae=sae)


def build(out: Path, config: BuildConfig, progress: Progress) -> list[Figure]:
    """Train and measure everything, then replace the output folder.

    Args:
        out: The folder to replace; afterwards it holds `model`, `sae`, the card and the record.
        config: Seed and sizes.
        progress: Follows the stages.

    Returns:
        The figures on the card.
    """
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as name:
        fresh = Path(name) / out.name
        figures = _fill(fresh, config, progress)
        replace_folder(fresh, out)
    return figures


def check(folder: Path, questions: int = DEFAULT_N) -> list[Figure]:
    """Measure a finished folder; the control SAE's figure is read from the record.

    Args:
        folder: What `build` wrote.
        questions: Questions a figure.

    Returns:
        The figures on the card.
    """
    record = json.loads((folder / RECORD).read_text())
    world = make_world(record["seed"])
    figures = measure_all(folder / "model", folder / "sae", world, questions)
    return [*figures, _control(record["sae_fvu_random_model"], record["control_tokens"])]


def replace_folder(fresh: Path, out: Path) -> None:
    """Put a finished folder in the place of an older one on the same file system.

    Args:
        fresh: The finished folder.
        out: Its place; what stood there is removed after the exchange.
    """
    old = fresh.with_name(f"{out.name}.old")
    if out.exists():
        out.rename(old)
    try:
        fresh.rename(out)
    except BaseException:
        if old.exists() and not out.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _fill(folder: Path, config: BuildConfig, progress: Progress) -> list[Figure]:
    seed = config.seed
    world = make_world(seed)
    tokenizer = save_tokenizer(folder / "model")
    model = train_model(world, tokenizer, config.model, seed=seed, on_step=progress("model"))
    return _finish(folder, world, tokenizer, model, config, progress)


def _finish(
    folder: Path,
    world: World,
    tokenizer: PreTrainedTokenizerFast,
    model: MistralForCausalLM,
    config: BuildConfig,
    progress: Progress,
) -> list[Figure]:
    """Save a trained model, train and save its SAE, measure both, and write record and card."""
    seed, model_dir, sae_dir = config.seed, folder / "model", folder / "sae"
    model.save_pretrained(model_dir)
    n_tokens = config.sae.tokens
    residuals = collect_tokens(model, tokenizer, world, seed=seed + 1, n_tokens=n_tokens)
    save_sae(train_sae(residuals, config.sae, seed=seed, on_step=progress("SAE")), sae_dir)

    blank = make_model(tokenizer, seed + 1)
    residuals = collect_tokens(blank, tokenizer, world, seed=seed + 1, n_tokens=n_tokens)
    with tempfile.TemporaryDirectory() as control_dir:
        control = train_sae(residuals, config.sae, seed=seed, on_step=progress("control SAE"))
        save_sae(control, Path(control_dir))
        texts = held_out_texts(load_subject(model_dir, world), 2 * config.questions)
        blank_figures = measure_sae(read_sae(Path(control_dir)), blank, tokenizer, texts)

    record = {
        "seed": seed,
        "model": asdict(config.model),
        "sae": asdict(config.sae),
        "vocabulary": len(tokenizer),
        "parameters": sum(p.numel() for p in model.parameters()),
        "cpu_s": round(time.process_time()),
        "sae_fvu_random_model": blank_figures.fvu,
        "control_tokens": blank_figures.n_tokens,
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)
    figures = check(folder, config.questions)
    write_card(folder / "README.md", record, figures)
    return figures


def _control(fvu: float, n_tokens: int) -> Figure:
    meaning = "control SAE, trained the same way on a model with random weights: FVU"
    return Figure("sae_fvu_random_model", fvu, n_tokens, meaning)
