"""The catalog: what is there resolves to one revision; what is not says what helps."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from engine.catalog import Catalog
from engine.errors import (
    EngineError,
    SourceMismatchError,
    UnknownSourceError,
    UnsupportedError,
    WeightsMissingError,
)
from engine.hook_names import HookPoint, parse_hook_name
from engine.settings import EngineSettings
from engine.weights.fingerprint import FingerprintCache
from store.specs import SourceSpec
from tests.engine.checkpoints import D_MODEL, D_SAE, save_sae


def _catalog(tmp_path: Path, model: Path | str | None, sae: Path | str | None) -> Catalog:
    return Catalog(
        EngineSettings(
            mistral_model=None if model is None else str(model),
            sae_path=None if sae is None else str(sae),
            model_cache_dir=tmp_path / "models_cache",
            _env_file=None,
        )
    )


@pytest.fixture
def model(checkpoints: Path, tmp_path: Path) -> Path:
    """A copy of the tiny Llama that a test may break."""
    return Path(shutil.copytree(checkpoints / "llama", tmp_path / "llama"))


def test_the_demo_comes_first_and_is_whole(tmp_path: Path) -> None:
    first = _catalog(tmp_path, None, None).sources()[0]
    assert (first.name, first.is_toy, first.problem) == ("demo", True, None)
    assert len(first.examples) == 3


def test_a_custom_source_becomes_the_default(checkpoints: Path, tmp_path: Path) -> None:
    catalog = _catalog(tmp_path, checkpoints / "llama", checkpoints / "sae-topk")
    assert catalog.default_name == "custom"
    assert [source.name for source in catalog.sources()][:2] == ["custom", "demo"]
    spec = catalog.resolve(None).spec
    assert (spec.model.repo_id, spec.sae_id, spec.layer) == ("llama", "sae-topk", 1)


def test_an_unknown_source_names_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(UnknownSourceError) as caught:
        _catalog(tmp_path, None, None).resolve("nope")
    assert "demo" in caught.value.hint


def test_the_revision_of_a_folder_follows_its_content(model: Path, tmp_path: Path) -> None:
    sae = tmp_path / "sae"
    save_sae(sae)
    catalog = _catalog(tmp_path, model, sae)
    first = catalog.resolve("custom").spec
    assert catalog.resolve("custom").spec == first
    weights = sae / "sae_weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    os.utime(weights, ns=(1, 1))
    second = catalog.resolve("custom").spec
    assert second.sae_revision != first.sae_revision
    assert second.model == first.model
    (model / "tokenizer_config.json").write_text("{}")
    assert catalog.resolve("custom").spec.model.revision != first.model.revision


def test_describing_a_source_never_reads_its_weights(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = _catalog(tmp_path, checkpoints / "llama", checkpoints / "sae-topk")

    def read(self: FingerprintCache, folder: Path) -> str:
        raise AssertionError(f"{folder} was read whole")

    monkeypatch.setattr(FingerprintCache, "fingerprint", read)
    first = catalog.sources()[0]
    assert (first.name, first.problem, first.d_sae) == ("custom", None, D_SAE)


def test_copies_of_a_folder_have_one_revision(checkpoints: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(checkpoints / "sae-topk", tmp_path / "elsewhere" / "sae-topk")
    here = _catalog(tmp_path, checkpoints / "llama", checkpoints / "sae-topk")
    there = _catalog(tmp_path, checkpoints / "llama", moved)
    assert here.resolve("custom").spec == there.resolve("custom").spec


def test_a_snapshot_in_a_cache_resolves_to_its_commit(checkpoints: Path, tmp_path: Path) -> None:
    commit = "a" * 40
    for repo, folder in (("org/model", "llama"), ("org/sae", "sae-topk")):
        cached = tmp_path / "models_cache" / f"models--{repo.replace('/', '--')}"
        inside = "blocks.1.hook_resid_post" if repo == "org/sae" else ""
        shutil.copytree(checkpoints / folder, cached / "snapshots" / commit / inside)
        (cached / "refs").mkdir()
        (cached / "refs" / "main").write_text(commit)
    spec = _catalog(tmp_path, "org/model", "org/sae").resolve("custom").spec
    assert (spec.model.repo_id, spec.model.revision) == ("org/model", commit)
    assert (spec.sae_id, spec.sae_revision) == ("org/sae:blocks.1.hook_resid_post", commit)


def test_a_repository_that_is_not_here_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError) as caught:
        _catalog(tmp_path, "org/absent", "org/sae").resolve("custom")
    assert "scripts/weights.py download custom" in caught.value.hint


def _without_weights(model: Path, _sae: Path) -> None:
    (model / "model.safetensors").unlink()


def _pickled(model: Path, _sae: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


def _missing_shard(model: Path, _sae: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))


def _narrow_sae(_model: Path, sae: Path) -> None:
    save_sae(sae, d_in=16)


def _high_hook(_model: Path, sae: Path) -> None:
    save_sae(sae, hook_name="blocks.3.hook_resid_post")


def _odd_hook(_model: Path, sae: Path) -> None:
    save_sae(sae, hook_name="blocks.1.hook_mlp_out")


def _two_saes(_model: Path, sae: Path) -> None:
    save_sae(sae / "a")
    save_sae(sae / "b")
    (sae / "cfg.json").unlink()


def _broken_config(model: Path, _sae: Path) -> None:
    (model / "config.json").write_text("{")


@pytest.mark.parametrize(
    ("break_it", "error", "says"),
    [
        (_without_weights, WeightsMissingError, r"no model\.safetensors"),
        (_pickled, WeightsMissingError, r"no model\.safetensors"),
        (_missing_shard, WeightsMissingError, "lacks 1 of 1"),
        (_narrow_sae, SourceMismatchError, "reads 16 dimensions"),
        (_high_hook, SourceMismatchError, "beyond the model's last layer"),
        (_odd_hook, UnsupportedError, "hook_mlp_out"),
        (_two_saes, WeightsMissingError, "2 folders"),
        (_broken_config, WeightsMissingError, "cannot be read"),
    ],
)
def test_a_source_that_cannot_run_says_why(
    model: Path, tmp_path: Path, break_it: object, error: type[EngineError], says: str
) -> None:
    sae = tmp_path / "sae"
    save_sae(sae)
    assert callable(break_it)
    break_it(model, sae)
    catalog = _catalog(tmp_path, model, sae)
    with pytest.raises(error, match=says) as caught:
        catalog.resolve("custom")
    assert caught.value.hint
    assert str(tmp_path) not in str(caught.value)
    problem = next(s.problem for s in catalog.sources() if s.name == "custom")
    assert problem is not None
    assert caught.value.message in problem


def test_a_model_without_an_sae_is_a_source_without_features(
    checkpoints: Path, tmp_path: Path
) -> None:
    catalog = _catalog(tmp_path, checkpoints / "llama", None)
    info = catalog.info("custom")
    assert (info.has_sae, info.is_ready, info.d_sae, info.hook_name) == (False, True, None, None)
    resolved = catalog.resolve("custom")
    assert (resolved.sae_dir, resolved.hook, resolved.sae_config) == (None, None, None)
    assert not resolved.spec.has_sae
    assert resolved.spec == SourceSpec.without_sae("custom", resolved.spec.model, D_MODEL)


def test_an_sae_without_a_model_says_which_setting_is_missing(
    checkpoints: Path, tmp_path: Path
) -> None:
    catalog = _catalog(tmp_path, None, checkpoints / "sae-topk")
    with pytest.raises(WeightsMissingError, match="MISTRAL_MODEL is not"):
        catalog.resolve(None)
    assert catalog.resolve("demo").spec.name == "demo"


@pytest.mark.parametrize(
    ("name", "point"),
    [
        ("blocks.30.hook_resid_post", HookPoint(30, "resid_post")),
        ("blocks.0.hook_resid_pre", HookPoint(0, "resid_pre")),
        ("model.layers.12", HookPoint(12, "resid_post")),
        ("model.language_model.layers.12", HookPoint(12, "resid_post")),
        ("transformer.h.3", HookPoint(3, "resid_post")),
    ],
)
def test_hook_names_of_both_kinds_are_read(name: str, point: HookPoint) -> None:
    assert parse_hook_name(name) == point


@pytest.mark.parametrize(
    "name", ["", "blocks.x.hook_resid_post", "blocks.1.hook_resid_mid", "model.layers.-1"]
)
def test_other_hook_names_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedError):
        parse_hook_name(name)
