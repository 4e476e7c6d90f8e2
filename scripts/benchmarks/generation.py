"""What capture costs: our generation with capture and encoding against plain `model.generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from engine.catalog import Catalog
from engine.generation import generate
from engine.resident import ResidentSource, load_source
from engine.sae import encode
from engine.settings import EngineSettings
from scripts.benchmarks.checkpoints import GPT2_FEATURES, save_random_gpt2_small, save_random_sae
from scripts.benchmarks.figures import Comparison, alternate, to_side
from store.specs import SamplingSpec

AIM_RATIO = 0.85


def measure_generation(
    work_dir: Path, repeats: int, n_new: int, device: str
) -> tuple[Comparison, ...]:
    """Tokens a second with and without capture, on the demo and on a random GPT-2 small.

    Args:
        work_dir: where the random checkpoint is kept.
        repeats: measured rounds, after one that warms up.
        n_new: tokens generated a round.
        device: such as `cpu` or `cuda`.
    """
    gpt2, sae = random_gpt2(work_dir)
    sources = {
        "demo (toy)": EngineSettings(device=device, _env_file=None),
        f"GPT-2 small, random, {GPT2_FEATURES:,} features": EngineSettings(
            mistral_model=str(gpt2), sae_path=str(sae), device=device, _env_file=None
        ),
    }
    return tuple(
        _compare(name, load_source(Catalog(settings).resolve(None), device), repeats, n_new)
        for name, settings in sources.items()
    )


def random_gpt2(work_dir: Path) -> tuple[Path, Path]:
    """Folders of a random GPT-2 small and an SAE on its layer 6; made if they are not there."""
    model, sae = work_dir / "gpt2-small", work_dir / "gpt2-small-sae"
    if not (model / "tokenizer.json").is_file():
        save_random_gpt2_small(model)
        save_random_sae(sae, 768, GPT2_FEATURES, 32, "blocks.6.hook_resid_post")
    return model, sae


def _compare(name: str, resident: ResidentSource, repeats: int, n_new: int) -> Comparison:
    model, device, sae = resident.language.model, resident.language.device, resident.sae
    generate_ids: Any = model.generate
    prompt = tuple(range(5, 37))
    sampling = SamplingSpec(max_new_tokens=n_new)

    def plain() -> None:
        with torch.inference_mode():
            generate_ids(
                torch.tensor([prompt], device=device),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.int64, device=device),
                max_new_tokens=n_new,
                min_new_tokens=n_new,
                do_sample=False,
                pad_token_id=0,
            )

    def captured() -> None:
        result = generate(
            model,
            resident.source.hook,
            prompt,
            sampling,
            frozenset(),
            resident.source.n_context,
            lambda _step: None,
            lambda: False,
        )
        with torch.inference_mode():
            if sae is not None and result.residual is not None:
                encode(sae, result.residual)

    plain_s, captured_s = alternate([plain, captured], repeats)
    sides = (
        to_side("model.generate", [n_new / s for s in plain_s], "tokens/s"),
        to_side("with capture and encoding", [n_new / s for s in captured_s], "tokens/s"),
    )
    ratio = sides[1].median / sides[0].median
    return Comparison(
        title=f"Generation, {name}, {n_new} tokens, {device}, float32",
        sides=sides,
        ratio=ratio,
        ratio_of="with capture / plain",
        aim=f"at least {AIM_RATIO}",
        is_reached=ratio >= AIM_RATIO,
    )
