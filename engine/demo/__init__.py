"""The embedded source: a toy world, a toy model that half knows it, and an SAE on its middle layer.

Invariant: importing this package (and `world`, `language`, `examples`) never imports torch.
"""

from pathlib import Path

WEIGHTS_DIR = Path(__file__).parent / "weights"
"""Everything that `scripts/train_demo.py` writes: the model, the SAE and the model card."""

MODEL_DIR = WEIGHTS_DIR / "model"
"""A Hugging Face checkpoint folder: config, safetensors, tokenizer, chat template."""

SAE_DIR = WEIGHTS_DIR / "sae"
"""A SAELens folder: `cfg.json` and `sae_weights.safetensors`."""

LAYER = 1
"""Index of the decoder layer whose output the SAE reads (the second of four)."""

HOOK_NAME = f"blocks.{LAYER}.hook_resid_post"
"""The hook point of the SAE: the residual stream after decoder layer `LAYER`."""

__all__ = ["HOOK_NAME", "LAYER", "MODEL_DIR", "SAE_DIR", "WEIGHTS_DIR"]
