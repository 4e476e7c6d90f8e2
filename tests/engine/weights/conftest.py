"""Caches in a folder with a blank and letters beyond ASCII, and tiny repositories for them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from engine.definitions import SourceDefinition
from engine.weights.caches import Caches, repo_folder
from engine.weights.checksums import ChecksumStore
from tests.engine.weights.downloads import REPO, Bench
from tests.hub.loopback import serve
from tests.hub.repositories import write_sharded_model

COMMIT = "0123456789" * 4
OTHER_COMMIT = "abcdef0123" * 4
MODEL, SAE = "org/model", "org/sae"
HOOK = "blocks.1.hook_resid_post"
Files = Mapping[str, bytes]


@pytest.fixture
def caches(tmp_path: Path) -> Caches:
    """A project cache and a global one; neither folder exists yet."""
    return Caches(tmp_path / "projet à moi" / "models_cache", tmp_path / "hugging face" / "hub")


@pytest.fixture
def checksums(caches: Caches) -> ChecksumStore:
    return ChecksumStore(caches.records)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A hub with a model in three shards, given up after a short silence."""
    write_sharded_model(tmp_path / "model")
    with serve({REPO: tmp_path / "model"}) as hub:
        yield Bench(hub, tmp_path, timeout_s=0.6)


def make_definition(
    model: str | None = MODEL,
    sae: str | None = SAE,
    name: str = "mine",
    model_revision: str | None = None,
) -> SourceDefinition:
    """A source of the two repositories, or of what is named."""
    return SourceDefinition(
        name=name,
        title=name,
        model=model,
        sae=sae,
        model_revision=model_revision,
        origin="user",
    )


def shard(seed: int = 0, n_numbers: int = 64) -> bytes:
    """A safetensors file of one tensor."""
    numbers = np.random.default_rng(seed).standard_normal(n_numbers).astype(np.float32)
    return bytes(save({f"w{seed}": numbers}))


def model_files(n_shards: int = 3) -> dict[str, bytes]:
    """A model with its index, or with one file, and a tokenizer."""
    files = {
        "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
        "generation_config.json": b"{}",
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer_config.json": b'{"bos_token": "<s>"}',
        "chat_template.jinja": b"{{ messages }}",
        "README.md": b"# a model",
    }
    if n_shards == 1:
        return files | {"model.safetensors": shard()}
    names = [f"model-{n:05}-of-{n_shards:05}.safetensors" for n in range(1, n_shards + 1)]
    index = {"weight_map": {f"w{n}": name for n, name in enumerate(names)}}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    return files | {name: shard(n) for n, name in enumerate(names)}


def sae_repository_files(inside: str = HOOK) -> dict[str, bytes]:
    """An SAE in SAELens layout in a folder of its repository."""
    return {
        "README.md": b"# an SAE",
        f"{inside}/cfg.json": b'{"d_in": 8, "d_sae": 16}',
        f"{inside}/sae_weights.safetensors": shard(7),
    }


def write_files(folder: Path, files: Files) -> Path:
    """Plain files in a folder."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def save_repository(
    cache: Path, repo_id: str, files: Files, commit: str = COMMIT, ref: str | None = "main"
) -> Path:
    """A repository in a cache, as the hub client leaves it; returns its snapshot."""
    repository = repo_folder(cache, repo_id)
    snapshot = repository / "snapshots" / commit
    for path, content in files.items():
        blob = repository / "blobs" / hashlib.sha256(content).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link = snapshot / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    if ref is not None:
        (repository / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (repository / "refs" / ref).write_text(commit)
    return snapshot


def save_source(cache: Path) -> None:
    """Both repositories of the source, whole."""
    save_repository(cache, MODEL, model_files())
    save_repository(cache, SAE, sae_repository_files())


def link_to_shared(caches: Caches, repo_id: str) -> Path:
    """A link in the project's cache to the global one's repository, there or not."""
    link = repo_folder(caches.project, repo_id)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(repo_folder(caches.shared, repo_id))
    return link
