"""What is chosen of a repository: no second copy, no pickle, no path outside, no hundred SAEs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import EngineError, RepositoryError, RequestError, UnsupportedError
from engine.weights.caches import Caches
from engine.weights.hub import Hub
from engine.weights.parts import Component
from engine.weights.plan import plan_download
from engine.weights.selection import select_files
from tests.hub.loopback import serve
from tests.hub.repositories import write_sae, write_sharded_model

INDEX = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})
TEXTS = ["config.json", "tokenizer.json", "tokenizer_config.json"]


def _select(
    component: Component, paths: list[str], inside: str = "", index: str = INDEX
) -> list[str]:
    return list(select_files(component, "org/r", inside, paths, lambda path: index.encode()))


@pytest.mark.parametrize(
    ("extra", "chosen"),
    [
        (["model.safetensors", "pytorch_model.bin", "flax_model.msgpack"], ["model.safetensors"]),
        (["a.safetensors", "consolidated.safetensors"], ["a.safetensors"]),
        (["model.safetensors", "onnx/model.onnx", "onnx/config.json"], ["model.safetensors"]),
        (
            ["model.safetensors", "original/params.json", "runs/x/model.safetensors"],
            ["model.safetensors"],
        ),
        (
            ["model.safetensors", "additional_chat_templates/tools.jinja", "chat_template.jinja"],
            [
                "additional_chat_templates/tools.jinja",
                "chat_template.jinja",
                "model.safetensors",
            ],
        ),
        (
            ["model.safetensors", "tekken.json", "modeling_x.py", "model.gguf", "tf_model.h5"],
            ["model.safetensors", "tekken.json"],
        ),
        (
            [
                "model.safetensors.index.json",
                "model-1.safetensors",
                "model-2.safetensors",
                "model-3.safetensors",
            ],
            ["model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"],
        ),
    ],
)
def test_of_a_model_the_weights_are_chosen_once_and_with_its_tokenizer(
    extra: list[str], chosen: list[str]
) -> None:
    assert _select("model", [*TEXTS, *extra]) == sorted([*TEXTS, *chosen])


def test_a_tokenizer_alone_has_no_weights() -> None:
    assert _select("tokenizer", [*TEXTS, "model.safetensors", "merges.txt"]) == sorted(
        [*TEXTS, "merges.txt"]
    )


@pytest.mark.parametrize(
    "only",
    [["pytorch_model.bin"], ["consolidated.00.pth"], ["consolidated.safetensors"], ["x.pt"]],
)
def test_weights_only_as_pickles_or_in_another_layout_are_refused(only: list[str]) -> None:
    for component in ("model", "sae"):
        with pytest.raises(UnsupportedError, match=r"offers no safetensors .* nothing is fetched"):
            _select(component, [*TEXTS, *only])


def test_a_repository_without_weights_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="has no weights"):
        _select("model", TEXTS)


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": 3}', "{}"])
def test_an_index_that_cannot_be_read_is_refused(content: str) -> None:
    with pytest.raises(UnsupportedError, match="cannot be read"):
        _select("model", ["model.safetensors.index.json"], index=content)


def test_an_index_that_names_a_pickle_is_refused() -> None:
    index = json.dumps({"weight_map": {"a": "pytorch_model.bin"}})
    with pytest.raises(UnsupportedError, match="no safetensors file"):
        _select("model", ["model.safetensors.index.json", "pytorch_model.bin"], index=index)


def test_a_repository_that_lists_a_file_outside_of_itself_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="lists a file outside"):
        _select("model", ["../evil.safetensors", "model.safetensors"])


SAES = [
    "blocks.3.hook_resid_post/cfg.json",
    "blocks.3.hook_resid_post/sae_weights.safetensors",
    "blocks.3.hook_resid_post/sparsity.safetensors",
    "blocks.30.hook_resid_post/cfg.json",
    "blocks.30.hook_resid_post/sae_weights.safetensors",
    "README.md",
]


def test_of_many_saes_only_the_named_one_is_chosen() -> None:
    assert _select("sae", SAES, "blocks.3.hook_resid_post") == SAES[:3]


def test_an_sae_that_is_not_named_among_many_is_refused_with_their_names() -> None:
    with pytest.raises(RepositoryError, match=r"holds 2 SAEs: blocks\.3.*blocks\.30") as caught:
        _select("sae", SAES)
    assert caught.value.hint == "Name one of them, such as org/r:blocks.3.hook_resid_post"


def test_the_only_sae_of_a_repository_need_not_be_named() -> None:
    assert _select("sae", [*SAES[:3], "README.md"]) == SAES[:3]
    root = ["config.json", "model.safetensors", "README.md"]
    assert _select("sae", root) == sorted(root)


def test_a_folder_or_file_inside_is_taken_as_named() -> None:
    arrays = ["layer_1/a/params.npz", "layer_1/b/params.npz"]
    assert _select("sae", arrays, "layer_1/b") == ["layer_1/b/params.npz"]
    assert _select("sae", arrays, "layer_1/b/params.npz") == ["layer_1/b/params.npz"]
    nested = ["L0/hyperparams.json", "L0/checkpoints/final.safetensors", "L1/hyperparams.json"]
    assert _select("sae", nested, "L0") == sorted(nested[:2])


def test_a_folder_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(RepositoryError, match=r"has no folder 'blocks\.4'") as caught:
        _select("sae", SAES, "blocks.4")
    assert "blocks.3.hook_resid_post" in caught.value.hint


def test_a_plan_is_pinned_to_a_commit_and_tells_sizes_checksums_and_room(tmp_path: Path) -> None:
    shards = write_sharded_model(tmp_path / "model")
    write_sae(tmp_path / "saes" / "blocks.1.hook_resid_post")
    caches = Caches(tmp_path / "cache", tmp_path / "shared")
    with serve({"org/model": tmp_path / "model", "org/saes": tmp_path / "saes"}) as served:
        hub = Hub(endpoint=served.endpoint, timeout_s=2.0)
        plan = plan_download("org/model", None, caches, hub, "model")
        sae = plan_download("org/saes:blocks.1.hook_resid_post", None, caches, hub, "sae")
        pinned = plan_download("org/model", plan.commit, caches, hub, "model")
    assert len(plan.commit) == 40
    assert pinned.files == plan.files
    sizes = {file.path: file.size_bytes for file in plan.files}
    assert sizes == {path: (tmp_path / "model" / path).stat().st_size for path in sizes}
    assert all(file.sha256 for file in plan.files if file.path in shards)
    assert all(file.git_oid for file in plan.files)
    assert plan.missing_bytes == plan.total_bytes == sum(sizes.values())
    assert plan.free_bytes > 0
    assert plan.fits
    assert {file.path for file in sae.files} == {
        "blocks.1.hook_resid_post/cfg.json",
        "blocks.1.hook_resid_post/sae_weights.safetensors",
    }
    assert not caches.project.exists()


def test_a_folder_of_this_machine_has_no_plan(tmp_path: Path) -> None:
    caches = Caches(tmp_path / "cache", tmp_path / "shared")
    with pytest.raises(RequestError, match="no repository"):
        plan_download(str(tmp_path), None, caches, Hub(is_offline=True), "model")
    with pytest.raises(EngineError, match="neither a folder nor a repository"):
        plan_download("no repository", None, caches, Hub(is_offline=True), "model")
