"""What status says of each component in each state that files can be in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.registry import get_registered
from engine.weights.caches import Caches, converted_folder, repo_folder
from engine.weights.checksums import (
    ChecksumStore,
    folder_key,
    read_stamps,
    repository_key,
)
from engine.weights.fingerprint import FingerprintCache
from engine.weights.inventory import list_components, source_weights
from engine.weights.layout import SAE_CONFIGS
from engine.weights.locate import Locator
from engine.weights.parts import ComponentStatus
from engine.weights.snapshots import broken_link_hint
from tests.engine.weights.conftest import (
    COMMIT,
    HOOK,
    MODEL,
    OTHER_COMMIT,
    SAE,
    link_to_shared,
    make_definition,
    model_files,
    sae_repository_files,
    save_repository,
    save_source,
    shard,
    write_files,
)
from tests.source_files import ROOT

SHARDS = tuple(name for name in model_files() if name.startswith("model-"))
DOWNLOAD = "Fetch it with: .venv/bin/python scripts/weights.py download mine"


class Inventory:
    """Looks at one source again and again."""

    def __init__(self, caches: Caches, checksums: ChecksumStore) -> None:
        self.caches, self.checksums = caches, checksums

    def look(
        self,
        model: str | None = MODEL,
        sae: str | None = SAE,
        model_revision: str | None = None,
    ) -> dict[str, ComponentStatus]:
        definition = make_definition(model, sae, model_revision=model_revision)
        components = list_components(definition, self.caches, self.checksums)
        return {component.component: component for component in components}

    def states(self) -> list[str]:
        return [component.state for component in self.look().values()]


@pytest.fixture
def inventory(caches: Caches, checksums: ChecksumStore) -> Inventory:
    return Inventory(caches, checksums)


def test_nothing_is_here(inventory: Inventory) -> None:
    found = inventory.look()
    assert list(found) == ["model", "tokenizer", "sae"]
    assert inventory.states() == ["missing"] * 3
    for component in found.values():
        assert component.problem == f"{component.location!r} is not on this machine."
        assert component.hint == DOWNLOAD
        assert (component.folder, component.size_bytes, component.check) == (None, 0, "unverified")


def test_a_source_without_an_sae_has_two_components(inventory: Inventory) -> None:
    assert list(inventory.look(sae=None)) == ["model", "tokenizer"]


def test_a_source_without_a_model_says_so(inventory: Inventory) -> None:
    assert "names no model" in inventory.look(model=None)["model"].problem


def test_a_whole_source_is_local_linked_or_global(inventory: Inventory) -> None:
    caches = inventory.caches
    save_source(caches.shared)
    assert inventory.states() == ["global"] * 3
    link_to_shared(caches, MODEL)
    assert inventory.states() == ["linked", "linked", "global"]
    assert inventory.look()["model"].link_target == repo_folder(caches.shared, MODEL)
    save_repository(caches.project, SAE, sae_repository_files())
    sae = inventory.look()["sae"]
    assert (sae.state, sae.revision, sae.link_target) == ("local", COMMIT, None)
    assert sae.folder is not None
    assert sae.folder.name == HOOK
    assert sae.size_bytes == sum(
        len(content) for path, content in sae_repository_files().items() if "/" in path
    )


def test_sizes_count_each_components_own_files(inventory: Inventory) -> None:
    save_source(inventory.caches.project)
    found = inventory.look()
    files = model_files()
    of_tokenizer = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    total = sum(len(content) for path, content in files.items() if path != "README.md")
    assert found["tokenizer"].size_bytes == sum(len(files[name]) for name in of_tokenizer)
    assert found["model"].size_bytes == total - found["tokenizer"].size_bytes


@pytest.mark.parametrize("n_missing", [1, 2, 3])
def test_missing_shards_are_named(inventory: Inventory, n_missing: int) -> None:
    files = {name: data for name, data in model_files().items() if name not in SHARDS[:n_missing]}
    save_repository(inventory.caches.project, MODEL, files)
    model = inventory.look()["model"]
    assert (model.state, model.missing) == ("partial", SHARDS[:n_missing])
    assert SHARDS[0] in model.problem
    assert model.hint == DOWNLOAD
    assert inventory.look()["tokenizer"].is_usable


def test_links_whose_blob_is_gone_are_missing(inventory: Inventory) -> None:
    save_source(inventory.caches.project)
    found = inventory.look()
    assert found["model"].folder is not None
    assert found["sae"].folder is not None
    os.unlink(os.path.realpath(found["model"].folder / SHARDS[1]))
    os.unlink(os.path.realpath(found["model"].folder / "tokenizer.json"))
    os.unlink(os.path.realpath(found["sae"].folder / "sae_weights.safetensors"))
    found = inventory.look()
    assert found["model"].missing == (SHARDS[1],)
    assert found["tokenizer"].missing == ("tokenizer.json",)
    assert found["sae"].missing == (f"{HOOK}/sae_weights.safetensors",)
    assert inventory.states() == ["partial"] * 3


def test_an_index_whose_blob_is_gone_is_missing(inventory: Inventory) -> None:
    save_source(inventory.caches.project)
    folder = inventory.look()["model"].folder
    assert folder is not None
    os.unlink(os.path.realpath(folder / "model.safetensors.index.json"))
    assert inventory.look()["model"].missing == ("model.safetensors.index.json",)


@pytest.mark.parametrize("cut", [1, 100, 250])
def test_a_shard_that_is_cut_short_is_damaged(inventory: Inventory, cut: int) -> None:
    files = model_files()
    files[SHARDS[2]] = files[SHARDS[2]][:-cut]
    save_repository(inventory.caches.project, MODEL, files)
    model = inventory.look()["model"]
    assert (model.state, model.check, model.missing) == ("partial", "damaged", (SHARDS[2],))
    assert "cut short" in model.problem


def test_a_whole_copy_elsewhere_serves_and_the_broken_link_is_still_told(
    inventory: Inventory,
) -> None:
    link = repo_folder(inventory.caches.project, MODEL)
    link.parent.mkdir(parents=True)
    link.symlink_to("/nowhere/at/all")
    model = inventory.look()["model"]
    assert (model.state, model.link_target) == ("broken_link", Path("/nowhere/at/all"))
    assert model.hint == broken_link_hint(MODEL)
    save_source(inventory.caches.shared)
    model = inventory.look()["model"]
    assert (model.state, model.problem) == ("global", "")
    assert model.link_target == Path("/nowhere/at/all")


def test_a_download_that_was_cut_off_before_any_file_is_partial(inventory: Inventory) -> None:
    blobs = repo_folder(inventory.caches.project, MODEL) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "abc.incomplete").write_bytes(b"begun")
    assert inventory.states()[:2] == ["partial", "partial"]


@pytest.mark.parametrize("name", ["tekken.json", "tokenizer.model"])
def test_other_tokenizers_are_tokenizers(inventory: Inventory, name: str) -> None:
    files = {path: data for path, data in model_files().items() if "tokenizer" not in path}
    save_repository(inventory.caches.project, MODEL, files)
    tokenizer = inventory.look()["tokenizer"]
    assert (tokenizer.state, tokenizer.missing) == ("partial", ("tokenizer.json",))
    save_repository(inventory.caches.project, MODEL, {name: b"{}"})
    assert inventory.look()["tokenizer"].is_usable


def test_half_of_a_tokenizer_in_two_files_is_partial(inventory: Inventory) -> None:
    files = {path: data for path, data in model_files().items() if "tokenizer" not in path}
    save_repository(inventory.caches.project, MODEL, files | {"vocab.json": b"{}"})
    assert inventory.look()["tokenizer"].missing == ("merges.txt",)
    save_repository(inventory.caches.project, MODEL, {"merges.txt": b""})
    assert inventory.look()["tokenizer"].is_usable


def test_only_pickles_are_refused(inventory: Inventory) -> None:
    files = {"config.json": b"{}", "tokenizer.json": b"{}", "pytorch_model.bin": b"\x80"}
    save_repository(inventory.caches.project, MODEL, files)
    save_repository(inventory.caches.project, SAE, {"cfg.json": b"{}", "sae.pt": b"\x80"})
    found = inventory.look()
    assert "only as pickles" in found["model"].problem
    assert "never loaded" in found["model"].hint
    assert found["sae"].missing == ("sae_weights.safetensors",)
    save_repository(inventory.caches.project, "org/pickles", {"a/sae.pt": b"\x80"})
    assert not inventory.look(sae="org/pickles:a")["sae"].is_usable


@pytest.mark.parametrize("config", ["cfg.json", "config.json"])
@pytest.mark.parametrize("weights", ["sae_weights.safetensors", "model.safetensors"])
def test_every_layout_of_an_sae_is_found(inventory: Inventory, config: str, weights: str) -> None:
    save_repository(inventory.caches.project, SAE, {config: b"{}", weights: shard()})
    sae = inventory.look()["sae"]
    assert (sae.state, sae.problem) == ("local", "")
    assert sae.size_bytes == 2 + len(shard())


def test_a_config_at_the_top_of_the_repository_does_not_hide_the_sae(
    inventory: Inventory,
) -> None:
    files = sae_repository_files() | {"config.json": b"{}"}
    save_repository(inventory.caches.project, SAE, files)
    sae = inventory.look()["sae"]
    assert sae.is_usable
    assert sae.folder is not None
    locator = Locator(inventory.caches, inventory.checksums)
    assert locator.locate(SAE, SAE_CONFIGS).folder == sae.folder
    assert sae.folder.name == HOOK


def test_several_saes_ask_for_one(inventory: Inventory) -> None:
    files = sae_repository_files() | sae_repository_files("other")
    save_repository(inventory.caches.project, SAE, files)
    assert "holds 2 folders" in inventory.look()["sae"].problem
    assert inventory.look(sae=f"{SAE}:other")["sae"].is_usable
    assert "no such folder" in inventory.look(sae=f"{SAE}:absent")["sae"].problem


def test_a_registered_sae_is_here_as_it_was_published_or_converted(inventory: Inventory) -> None:
    location = "sae-lens:gemma-scope-2b-pt-res-canonical/layer_12/width_16k/canonical"
    assert inventory.look(sae=location)["sae"].state == "missing"
    original = get_registered(location)
    path = f"{original.inside}/{original.needed}"
    save_repository(inventory.caches.project, original.repo_id, {path: b"arrays"})
    sae = inventory.look(sae=location)["sae"]
    assert (sae.state, sae.size_bytes, sae.is_usable) == ("local", 6, True)
    release, _, sae_id = location.removeprefix("sae-lens:").partition("/")
    folder = converted_folder(inventory.caches, release, sae_id)
    write_files(folder, {"cfg.json": b"{}", "sae_weights.safetensors": shard()})
    converted = inventory.look(sae=location)["sae"]
    assert (converted.state, converted.folder) == ("local", folder)
    as_it_is = "sae-lens:gpt2-small-attn-out-v5-128k/blocks.0.hook_attn_out"
    published = get_registered(as_it_is)
    files = sae_repository_files(published.inside)
    save_repository(inventory.caches.project, published.repo_id, files)
    assert inventory.look(sae=as_it_is)["sae"].is_usable
    unknown = inventory.look(sae="sae-lens:nope/x")["sae"]
    assert (unknown.state, unknown.is_usable) == ("missing", False)
    assert "sae-lens:nope/x" in unknown.problem


def test_folders_of_the_users_own(inventory: Inventory, tmp_path: Path) -> None:
    model = write_files(tmp_path / "mein Modell ü", model_files())
    sae = write_files(tmp_path / "sae", sae_repository_files())
    found = inventory.look(str(model), str(sae))
    assert [component.state for component in found.values()] == ["folder"] * 3
    assert found["model"].check == "unverified"
    (model / SHARDS[0]).unlink()
    part = inventory.look(str(model), str(sae))["model"]
    assert (part.state, part.missing) == ("partial", (SHARDS[0],))
    assert part.hint.startswith("Copy the files again")
    gone = inventory.look(str(tmp_path / "gone"), str(sae))["model"]
    assert (gone.state, gone.folder) == ("missing", None)


def test_an_index_that_names_a_file_outside_is_told(inventory: Inventory, tmp_path: Path) -> None:
    files = model_files() | {
        "model.safetensors.index.json": b'{"weight_map": {"a": "../../secret.safetensors"}}'
    }
    folder = write_files(tmp_path / "model", files)
    model = inventory.look(str(folder))["model"]
    assert "outside of its folder" in model.problem
    assert not model.is_usable


def test_the_fingerprint_of_a_folder_is_shown_once_it_is_known(
    inventory: Inventory, tmp_path: Path
) -> None:
    big = shard(n_numbers=400_000)
    files = model_files(1) | {"model.safetensors": big}
    folder = write_files(tmp_path / "model", files)
    assert inventory.look(str(folder))["model"].revision is None
    fingerprint = FingerprintCache(inventory.checksums).fingerprint(folder)
    assert inventory.look(str(folder))["model"].revision == fingerprint


def test_what_was_checked_stays_checked_until_a_file_changes(
    inventory: Inventory, tmp_path: Path
) -> None:
    save_source(inventory.caches.project)
    folder = inventory.look()["model"].folder
    assert folder is not None
    stamps = read_stamps(folder, model_files())
    inventory.checksums.mark_checked(repository_key(MODEL, COMMIT), True, stamps)
    assert [inventory.look()[name].check for name in ("model", "tokenizer", "sae")] == [
        "verified",
        "verified",
        "unverified",
    ]
    inventory.checksums.mark_checked(
        repository_key(MODEL, COMMIT), False, {SHARDS[0]: stamps[SHARDS[0]]}
    )
    model = inventory.look()["model"]
    assert (model.check, model.is_usable) == ("damaged", False)
    os.utime(folder / SHARDS[0], ns=(1, 1))
    assert inventory.look()["model"].check == "unverified"
    own = write_files(tmp_path / "own", model_files())
    inventory.checksums.mark_checked(folder_key(own), True, read_stamps(own, model_files()))
    assert inventory.look(str(own))["model"].check == "verified"


def test_revisions_are_told_apart(inventory: Inventory) -> None:
    save_repository(inventory.caches.project, MODEL, model_files(1), OTHER_COMMIT, "v2")
    assert "revision 'main'" in inventory.look()["model"].problem
    assert inventory.look(model_revision="v2")["model"].revision == OTHER_COMMIT


def test_files_that_may_not_be_read_are_told(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_source(inventory.caches.project)
    read_text = Path.read_text

    def refuse(path: Path, encoding: str | None = None) -> str:
        if path.name == "model.safetensors.index.json":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, encoding)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert "cannot be read" in inventory.look()["model"].problem


def test_looking_opens_no_connection_and_writes_nothing(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    save_source(inventory.caches.project)
    before = sorted(inventory.caches.project.rglob("*"))
    monkeypatch.setattr(socket, "socket", None)
    weights = source_weights(make_definition(), inventory.caches, inventory.checksums)
    assert weights.is_complete
    assert weights.free_bytes > 0
    assert sorted(inventory.caches.project.rglob("*")) == before


def test_importing_it_loads_no_model_library_and_not_the_hub_client() -> None:
    heavy = ("torch", "transformers", "sae_lens", "huggingface_hub", "yaml")
    program = (
        "import importlib, pkgutil, sys, engine.weights\n"
        "for module in pkgutil.iter_modules(engine.weights.__path__):\n"
        "    importlib.import_module(f'engine.weights.{module.name}')\n"
        f"    loaded = [name for name in {heavy!r} if name in sys.modules]\n"
        "    if loaded: sys.exit(f'{module.name} loads {loaded}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
