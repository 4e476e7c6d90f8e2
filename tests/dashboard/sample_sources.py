"""Sources in every state of their files, a plan and a progress, for fakes and for what is pure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engine.api import (
    Component,
    ComponentStatus,
    DownloadPlan,
    PlannedFile,
    SourceInfo,
    SourceWeights,
    TransferProgress,
)
from engine.catalog import SourceExample

GB = 1_000_000_000
CACHE = Path("/data/models_cache")
COMMIT = "95a6d26c4bfb886c58daf9d3f7332c857cb27b16"
DEMO = SourceInfo(
    name="demo",
    title="A source for tests",
    model_id="fake/model",
    sae_id="fake/sae",
    hook_name="blocks.1.hook_resid_post",
    d_in=8,
    d_sae=512,
    tool_names=("lookup",),
    is_toy=True,
    examples=(
        SourceExample("First example", "Who plays the harp?", False, "It is answered."),
        SourceExample("Second example", "Who plays, with a tool?", True, "It calls the tool."),
    ),
    problem=None,
    origin="builtin",
    layer=1,
    n_layers=2,
    dtype="float32",
    model_revision="0" * 40,
    is_gated=False,
    license="MIT",
    size_bytes=3_100_000,
)
BIG = replace(
    DEMO,
    name="mistral-small-24b",
    title="Mistral Small 3.2 24B, SAE at layer 30",
    model_id="mistralai/Mistral-Small-3.2-24B-Instruct-2506",
    sae_id="Codcordance/Mistral-Small-3.2-24B-Instruct-2506-SAE",
    hook_name="blocks.30.hook_resid_post",
    d_in=5120,
    d_sae=286_720,
    tool_names=(),
    is_toy=False,
    examples=(),
    problem="'mistralai/Mistral-Small-3.2-24B-Instruct-2506' is not on this machine.",
    layer=30,
    n_layers=40,
    dtype="bfloat16",
    model_revision=None,
    license="apache-2.0",
    size_bytes=53 * GB,
)
HALF = replace(
    BIG,
    name="gemma-2-2b",
    title="Gemma 2 2B, SAE at layer 12",
    model_id="google/gemma-2-2b-it",
    sae_id="google/gemma-scope-2b-pt-res",
    hook_name="blocks.12.hook_resid_post",
    d_in=2304,
    d_sae=16_384,
    problem="'google/gemma-2-2b-it' lacks 1 of 2 shards.",
    layer=12,
    n_layers=26,
    is_gated=True,
    license="gemma",
    size_bytes=5_500_000_000,
)
PLAIN = replace(
    BIG,
    name="phi-3-mini",
    title="Phi-3 mini 4k, without an SAE",
    model_id="microsoft/Phi-3-mini-4k-instruct",
    sae_id="",
    hook_name=None,
    d_in=3072,
    d_sae=None,
    problem=None,
    layer=None,
    n_layers=32,
    license="mit",
    size_bytes=7_600_000_000,
)
PLAN = DownloadPlan(
    repo_id=BIG.model_id,
    revision="main",
    commit=COMMIT,
    cache_dir=CACHE,
    files=(
        PlannedFile("config.json", 1_500, None, "a" * 40, True),
        PlannedFile("model-00001-of-00002.safetensors", 4 * GB, "b" * 64, None, False),
        PlannedFile("model-00002-of-00002.safetensors", 3 * GB, "c" * 64, None, False),
    ),
    free_bytes=100 * GB,
)
PROGRESS = TransferProgress(
    step="downloading",
    files_done=1,
    files_total=3,
    bytes_done=1_750_000_000,
    bytes_total=7 * GB,
    bytes_per_s=35_000_000.0,
    left_s=150.0,
    current="model-00001-of-00002.safetensors",
)


def whole(info: SourceInfo) -> SourceWeights:
    """All components of a source, verified, in the project's cache."""
    names: tuple[tuple[Component, str], ...] = (
        ("model", info.model_id),
        ("tokenizer", info.model_id),
        ("sae", info.sae_id),
    )
    return SourceWeights(
        info.name,
        tuple(
            ComponentStatus(
                component=component,
                location=location,
                state="local",
                check="verified",
                revision=COMMIT,
                size_bytes=size,
                folder=CACHE / f"models--{location.replace('/', '--')}",
            )
            for (component, location), size in zip(
                names, (4_500_000_000, 17_000_000, 600_000_000), strict=True
            )
            if component != "sae" or info.has_sae
        ),
        cache_dir=CACHE,
        free_bytes=123 * GB,
    )


def missing(info: SourceInfo) -> SourceWeights:
    """No component of a source."""
    present = whole(info)
    return replace(
        present,
        components=tuple(
            replace(
                item,
                state="missing",
                check="unverified",
                revision=None,
                size_bytes=0,
                folder=None,
                problem=f"{item.location!r} is not on this machine.",
                hint=f"Fetch it with: .venv/bin/python scripts/weights.py download {info.name}",
            )
            for item in present.components
        ),
    )


def partial(info: SourceInfo) -> SourceWeights:
    """A model that lacks a shard, a tokenizer behind a link, and an SAE behind a broken one."""
    model, tokenizer, sae = whole(info).components
    shard = "model-00002-of-00002.safetensors"
    return replace(
        whole(info),
        components=(
            replace(
                model,
                state="partial",
                check="unverified",
                missing=(shard,),
                problem=f"{model.location!r} lacks 1 of 2 shards: {shard}.",
                hint=f"Fetch the rest: .venv/bin/python scripts/weights.py download {info.name}",
            ),
            replace(tokenizer, state="linked", link_target=Path("/mnt/hub/models--gemma")),
            replace(
                sae,
                state="broken_link",
                check="unverified",
                size_bytes=0,
                folder=None,
                link_target=Path("/mnt/gone/models--sae"),
                problem="The link to the SAE leads to a folder that does not exist.",
                hint="Mend it with: .venv/bin/python scripts/weights.py link",
            ),
        ),
    )
