"""Folders that look like published repositories: a model in shards, SAEs; small and real.

Invariant: every file is what its name says; equal arguments make equal bytes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

INDEX = "model.safetensors.index.json"


def shard_name(index: int, n_shards: int) -> str:
    """`model-00001-of-00003.safetensors` for 0 of 3."""
    return f"model-{index + 1:05}-of-{n_shards:05}.safetensors"


def write_sharded_model(folder: Path, n_shards: int = 3, shard_bytes: int = 60_000) -> list[str]:
    """A model's files, with the second copy that publishers add; returns the names of its shards.

    Nothing of it can be loaded: it is for what is done with files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(folder.name) + n_shards)
    weight_map = {}
    for index in range(n_shards):
        name = shard_name(index, n_shards)
        values = random.standard_normal(shard_bytes // 4, dtype=np.float32)
        save_file({f"layers.{index}.weight": values}, folder / name)
        weight_map[f"layers.{index}.weight"] = name
    index_content = {"metadata": {"total_size": n_shards * shard_bytes}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index_content), encoding="utf-8")
    _write_json(folder / "config.json", {"model_type": "llama", "hidden_size": 8})
    _write_json(folder / "tokenizer.json", {"version": "1.0"})
    _write_json(folder / "tokenizer_config.json", {})
    (folder / "README.md").write_text("# A model\n", encoding="utf-8")
    (folder / "consolidated.safetensors").write_bytes(b"\0" * 1000)
    (folder / "pytorch_model.bin").write_bytes(b"\0" * 1000)
    (folder / "original").mkdir(exist_ok=True)
    (folder / "original" / "consolidated.00.pth").write_bytes(b"\0" * 1000)
    return sorted(weight_map.values())


def write_sae(folder: Path, d_in: int = 8, d_sae: int = 16, seed: int = 0) -> None:
    """An SAE in SAELens layout."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    tensors = {
        "W_enc": random.standard_normal((d_in, d_sae), dtype=np.float32),
        "W_dec": random.standard_normal((d_sae, d_in), dtype=np.float32),
        "b_enc": np.zeros(d_sae, dtype=np.float32),
        "b_dec": np.zeros(d_in, dtype=np.float32),
    }
    save_file(tensors, folder / "sae_weights.safetensors")
    config = {
        "architecture": "standard",
        "d_in": d_in,
        "d_sae": d_sae,
        "dtype": "float32",
        "hook_name": "blocks.1.hook_resid_post",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
    }
    _write_json(folder / "cfg.json", config)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
