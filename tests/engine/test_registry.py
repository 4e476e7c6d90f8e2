"""The registry of published SAEs: read without sae-lens, and converted by it to one layout."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import engine.registry
from engine.definitions import SourceDefinition
from engine.errors import (
    GenerationCancelled,
    UnknownSourceError,
    UnsupportedError,
    WeightsMissingError,
)
from engine.registry import get_registered, list_releases, resolve_location
from engine.sae_conversion import convert_sae, is_converted
from engine.source_folders import NotConvertedError, SourceFinder
from engine.weights.caches import Caches, converted_folder
from tests.engine.checkpoints import D_MODEL, D_SAE, save_sae

LLAMA = "sae-lens:llama_scope_lxr_8x/l1r_8x"
GPT2 = "sae-lens:gpt2-small-res-jb/blocks.1.hook_resid_pre"
COMMIT = "c" * 40
FACTOR = 39.76699026129213
"""Of this SAE in the registry: what its inputs are multiplied by."""


def _cached(cache: Path, location: str) -> Path:
    """The folder of an entry's files in a cache, made together with its reference."""
    entry = get_registered(location)
    repository = cache / f"models--{entry.repo_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(COMMIT)
    folder = repository / "snapshots" / COMMIT / entry.inside
    folder.mkdir(parents=True)
    return folder


def _save_llama_scope(folder: Path) -> dict[str, torch.Tensor]:
    """An SAE as Llama Scope publishes them; returns its tensors."""
    generator = torch.Generator().manual_seed(3)
    tensors = {
        "encoder.weight": torch.randn(D_SAE, D_MODEL, generator=generator),
        "encoder.bias": torch.randn(D_SAE, generator=generator) * 0.1,
        "decoder.weight": torch.randn(D_MODEL, D_SAE, generator=generator),
        "decoder.bias": torch.randn(D_MODEL, generator=generator) * 0.1,
    }
    (folder / "checkpoints").mkdir()
    save_file(tensors, folder / "checkpoints" / "final.safetensors")
    config = {
        "d_model": D_MODEL,
        "d_sae": D_SAE,
        "jump_relu_threshold": 0.3,
        "hook_point_in": "blocks.1.hook_resid_post",
        "dataset_average_activation_norm": {"in": D_MODEL**0.5 / FACTOR, "out": 1.0},
    }
    (folder / "hyperparams.json").write_text(json.dumps(config))
    return tensors


def test_an_entry_names_repository_folder_and_what_it_needs() -> None:
    entry = get_registered(LLAMA)
    assert entry.location == "fnlp/Llama3_1-8B-Base-LXR-8x:Llama3_1-8B-Base-L1R-8x"
    assert (entry.needed, entry.needs_conversion) == ("hyperparams.json", True)
    assert resolve_location(LLAMA) == entry.location
    assert resolve_location("org/name:folder") == "org/name:folder"


def test_an_sae_in_saelens_layout_is_read_where_it_lies() -> None:
    entry = get_registered("sae-lens:gemma-2-2b-res-matryoshka-dc/blocks.12.hook_resid_post")
    assert not entry.needs_conversion
    assert entry.inside == "standard/blocks.12.hook_resid_post"


def test_an_sae_on_centred_activations_is_converted_though_its_layout_is_known() -> None:
    entry = get_registered(GPT2)
    assert entry.needs_conversion
    assert entry.is_centred


def test_one_release_alone_reads_as_it_does_among_all() -> None:
    everything = engine.registry._registry()
    assert len(everything) > 100
    for release in [*everything][::9]:
        assert engine.registry._find_release(release) == everything[release]


def test_unknown_names_are_told_with_those_that_are_alike() -> None:
    with pytest.raises(UnknownSourceError) as caught:
        get_registered("sae-lens:llama_scope_lxr_9x/l1r_8x")
    assert "llama_scope_lxr_8x" in caught.value.hint
    with pytest.raises(UnknownSourceError) as caught:
        get_registered("sae-lens:llama_scope_lxr_8x/l99r_8x")
    assert "l9r_8x" in caught.value.hint


@pytest.mark.parametrize(
    "location",
    [
        "sae-lens:goodfire-llama-3.1-8b-instruct/layer_19",
        "sae-lens:gpt2-small-resid-post-v5-32k/blocks.0.hook_resid_post",
    ],
)
def test_pickles_are_refused(location: str) -> None:
    with pytest.raises(UnsupportedError, match="pickle"):
        get_registered(location)


def test_releases_are_listed_for_a_model_and_only_those_on_the_residual_stream() -> None:
    names = {item.release for item in list_releases("gemma-2-2b")}
    assert {"gemma-scope-2b-pt-res-canonical", "gemma-2-2b-res-matryoshka-dc"} <= names
    assert not {name for name in names if "mlp" in name or "att" in name or "transcoder" in name}
    assert len(list_releases()) > len(names)
    assert all(item.sae_ids for item in list_releases())


def test_reading_the_registry_imports_neither_sae_lens_nor_torch() -> None:
    program = (
        "import sys; from engine.registry import list_releases; list_releases('gpt2');"
        "print({'torch', 'sae_lens', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "set()", done.stderr


def _definition(model: Path, sae: str) -> SourceDefinition:
    return SourceDefinition("llama", "Llama", str(model), sae)


@pytest.mark.slow
def test_llama_scope_is_converted_once_and_gives_the_features_of_its_formula(
    checkpoints: Path, tmp_path: Path
) -> None:
    caches = Caches(tmp_path / "models cache ü", tmp_path / "shared")
    tensors = _save_llama_scope(_cached(caches.shared, LLAMA))
    finder = SourceFinder(caches)
    definition = _definition(checkpoints / "llama", LLAMA)
    with pytest.raises(NotConvertedError) as caught:
        finder.find(definition)
    finder.convert(caught.value, lambda: False)
    found = finder.find(definition).sae
    assert found is not None
    assert (found.config.architecture, found.config.d_sae) == ("jumprelu", D_SAE)
    assert (found.hook.layer, found.located.name) == (1, LLAMA)

    from engine.sae import encode
    from engine.sae_loading import load_sae

    x = torch.randn(7, D_MODEL, generator=torch.Generator().manual_seed(5)) * 3
    sae = load_sae(found.located.folder, found.config, torch.float32, torch.device("cpu"))
    code = encode(sae, x)
    dense = torch.zeros(7, D_SAE)
    dense[code.row, code.feature] = code.value
    # inputs are scaled to the norm that it was trained with, and so is the threshold
    inner = x * FACTOR @ tensors["encoder.weight"].T + tensors["encoder.bias"]
    assert torch.allclose(dense, inner * (inner > 0.3 * FACTOR), rtol=1e-4, atol=1e-3)
    assert 0 < len(code.value) < 7 * D_SAE
    # files stay converted when the download is cleared
    for path in sorted(caches.shared.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert finder.find(definition).sae is not None


@pytest.mark.slow
def test_centring_is_folded_in_exactly(tmp_path: Path) -> None:
    folder = _cached(tmp_path / "cache", GPT2)
    save_sae(folder, hook_name="blocks.1.hook_resid_pre")
    made = tmp_path / "made"
    convert_sae(get_registered(GPT2), folder, COMMIT, made)
    assert is_converted(made, COMMIT)
    assert is_converted(made, None)
    assert not is_converted(made, "d" * 40)
    before = load_file(folder / "sae_weights.safetensors")
    after = load_file(made / "sae_weights.safetensors")
    x = torch.randn(9, D_MODEL, generator=torch.Generator().manual_seed(1)) + 4.0
    centred = x - x.mean(dim=-1, keepdim=True)
    wanted = torch.relu((centred - before["b_dec"]) @ before["W_enc"] + before["b_enc"])
    found = torch.relu((x - after["b_dec"]) @ after["W_enc"] + after["b_enc"])
    assert torch.allclose(found, wanted, atol=1e-4)
    assert torch.equal(before["W_dec"], after["W_dec"])
    assert "center_writing_weights" not in (made / "cfg.json").read_text()


def test_a_conversion_that_fails_or_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    folder, made = _cached(tmp_path / "cache", LLAMA), tmp_path / "made" / "sae"
    entry = get_registered(LLAMA)
    with pytest.raises(GenerationCancelled):
        convert_sae(entry, folder, COMMIT, made, lambda: True)
    with pytest.raises(UnsupportedError, match="could not be converted") as caught:
        convert_sae(replace(entry, sae_id="absent"), folder, COMMIT, made)
    assert "absent" in caught.value.message
    assert caught.value.hint
    assert list(made.parent.iterdir()) == []


def test_what_is_not_downloaded_says_how_to_get_it(checkpoints: Path, tmp_path: Path) -> None:
    finder = SourceFinder(Caches(tmp_path / "cache", tmp_path / "shared"))
    with pytest.raises(WeightsMissingError) as caught:
        finder.find(_definition(checkpoints / "llama", LLAMA))
    assert "weights.py download llama" in caught.value.hint
    assert not converted_folder(finder.caches, "llama_scope_lxr_8x", "l1r_8x").exists()
