"""Where a model or SAE is found, in which order, and what is said of what cannot be used."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from engine.errors import WeightsMissingError
from engine.weights.caches import Caches, converted_folder, repo_folder
from engine.weights.checksums import ChecksumStore
from engine.weights.layout import missing_files
from engine.weights.locate import Located, Locator, parse_location
from engine.weights.snapshots import broken_link_hint
from tests.engine.weights.conftest import (
    COMMIT,
    HOOK,
    MODEL,
    OTHER_COMMIT,
    SAE,
    link_to_shared,
    model_files,
    sae_repository_files,
    save_repository,
    save_source,
    shard,
    write_files,
)


@pytest.fixture
def locator(caches: Caches, checksums: ChecksumStore) -> Locator:
    return Locator(caches, checksums)


def _refused(locator: Locator, location: str, says: str, needed: str = "config.json") -> str:
    """The hint of the refusal, which is one sentence without a line break."""
    with pytest.raises(WeightsMissingError, match=says) as caught:
        locator.locate(location, needed)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value.hint


def test_the_projects_cache_comes_before_the_global_one(caches: Caches, locator: Locator) -> None:
    save_repository(caches.shared, MODEL, model_files(1), OTHER_COMMIT)
    first = locator.locate(MODEL, "config.json")
    assert (first.place, first.commit, first.repo_id) == ("global", OTHER_COMMIT, MODEL)
    snapshot = save_repository(caches.project, MODEL, model_files(1))
    second = locator.locate(MODEL, "config.json")
    assert second == Located(snapshot, MODEL, COMMIT, "local", snapshot, MODEL)
    assert locator.revision(second) == COMMIT


def test_a_whole_copy_is_taken_where_the_first_one_is_not_whole(
    caches: Caches, locator: Locator
) -> None:
    snapshot = save_repository(caches.project, MODEL, model_files())
    (snapshot / "model-00002-of-00003.safetensors").unlink()
    save_repository(caches.shared, MODEL, model_files())
    assert locator.locate(MODEL, "config.json").place == "global"


def test_a_link_is_followed_and_called_one(caches: Caches, locator: Locator) -> None:
    save_repository(caches.shared, MODEL, model_files())
    link_to_shared(caches, MODEL)
    found = locator.locate(MODEL, "config.json")
    assert found.place == "linked"
    assert found.folder.is_relative_to(caches.project)


def test_a_broken_link_does_not_hide_what_the_global_cache_has(
    caches: Caches, locator: Locator
) -> None:
    link = repo_folder(caches.project, MODEL)
    link.parent.mkdir(parents=True)
    link.symlink_to("gone")
    hint = _refused(locator, MODEL, "leads nowhere")
    assert hint == broken_link_hint(MODEL)
    save_repository(caches.shared, MODEL, model_files())
    assert locator.locate(MODEL, "config.json").place == "global"


def test_a_folder_inside_of_a_repository_is_found_by_name_or_because_it_is_the_only_one(
    caches: Caches, locator: Locator
) -> None:
    files = sae_repository_files() | sae_repository_files("blocks.2.hook_resid_post")
    save_repository(caches.project, SAE, files)
    _refused(locator, SAE, "holds 2 folders", "cfg.json")
    found = locator.locate(f"{SAE}:{HOOK}", "cfg.json")
    assert (found.name, found.commit) == (f"{SAE}:{HOOK}", COMMIT)
    shutil.rmtree(found.root / "blocks.2.hook_resid_post")
    assert locator.locate(SAE, ("cfg.json", "config.json")) == found


@pytest.mark.parametrize("inside", ["..", "../other", "/etc", "a/../../b", "~", "a//b", "", "a\\b"])
def test_a_folder_outside_of_the_repository_is_refused(locator: Locator, inside: str) -> None:
    _refused(locator, f"{SAE}:{inside}", "is no folder inside")


def test_revisions_are_branches_tags_and_commits(caches: Caches, locator: Locator) -> None:
    save_repository(caches.project, MODEL, model_files(1))
    save_repository(caches.project, MODEL, model_files(3), OTHER_COMMIT, "refs/pr/1")
    for revision, commit in ((None, COMMIT), ("refs/pr/1", OTHER_COMMIT), (COMMIT, COMMIT)):
        assert locator.locate(MODEL, "config.json", revision).commit == commit
    for revision in ("v2", "../refs/main", "/etc/passwd", "f" * 40):
        with pytest.raises(WeightsMissingError):
            locator.locate(MODEL, "config.json", revision)
    with pytest.raises(WeightsMissingError, match=r"'v2' of 'org/model'.*; main, refs/pr/1 is"):
        locator.locate(MODEL, "config.json", "v2")


def test_a_reference_that_is_no_commit_leads_nowhere(caches: Caches, locator: Locator) -> None:
    save_repository(caches.project, MODEL, model_files(1))
    (repo_folder(caches.project, MODEL) / "refs" / "main").write_text("../../../../etc")
    _refused(locator, MODEL, "is not on this machine")


def test_files_whose_content_is_gone_are_named(caches: Caches, locator: Locator) -> None:
    snapshot = save_repository(caches.project, MODEL, model_files())
    Path(os.path.realpath(snapshot / "model-00003-of-00003.safetensors")).unlink()
    _refused(locator, MODEL, "lacks 1 of 3 files of weights: model-00003-of-00003.safetensors")
    assert missing_files(snapshot) == ("model-00003-of-00003.safetensors",)
    Path(os.path.realpath(snapshot / "tokenizer.json")).unlink()
    _refused(locator, MODEL, "lacks 2 of 4 files.*tokenizer.json")


def test_a_shard_that_is_cut_short_is_named(caches: Caches, locator: Locator) -> None:
    files = model_files()
    name = "model-00002-of-00003.safetensors"
    save_repository(caches.project, MODEL, files | {name: files[name][:-1]})
    _refused(locator, MODEL, f"{name} of 'org/model' is cut short")


@pytest.mark.parametrize("name", ["../../../secret.safetensors", "/etc/passwd", "a\\..\\b"])
def test_an_index_that_names_a_file_outside_is_refused(
    tmp_path: Path, locator: Locator, name: str
) -> None:
    index = json.dumps({"weight_map": {"a": name}}).encode()
    files = {"config.json": b"{}", "model.safetensors.index.json": index}
    folder = write_files(tmp_path / "model", files)
    with pytest.raises(WeightsMissingError, match="a file outside of its folder") as caught:
        locator.locate(str(folder), "config.json")
    assert "Do not use" in caught.value.hint


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"weight_map": {}}', b"\xff", b"[" * 99999])
def test_an_index_that_is_broken_is_refused(
    tmp_path: Path, locator: Locator, content: bytes
) -> None:
    files = {"config.json": b"{}", "model.safetensors.index.json": content}
    folder = write_files(tmp_path / "model", files)
    _refused(locator, str(folder), "model.safetensors.index.json")


def test_a_local_folder_is_used_as_it_is(tmp_path: Path, locator: Locator) -> None:
    folder = write_files(tmp_path / "mein Modell ü", model_files())
    found = locator.locate(str(folder), "config.json")
    assert (found.folder, found.name, found.place) == (folder, "mein Modell ü", "folder")
    assert found.commit is None
    assert locator.revision(found).startswith("sha256:")
    (tmp_path / "link").symlink_to(folder)
    assert locator.locate(str(tmp_path / "link"), "config.json").name == "mein Modell ü"


def test_a_folder_that_exists_is_meant_also_without_a_slash_in_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locator: Locator
) -> None:
    write_files(tmp_path / "org" / "model", model_files())
    monkeypatch.chdir(tmp_path)
    assert locator.locate(MODEL, "config.json").place == "folder"


def test_what_is_no_folder_is_told_apart(tmp_path: Path, locator: Locator) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "broken").symlink_to("gone")
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    _refused(locator, str(tmp_path / "absent"), "There is no folder")
    _refused(locator, str(tmp_path / "file"), "but a file")
    _refused(locator, str(tmp_path / "broken"), "leads nowhere")
    _refused(locator, str(tmp_path / "one"), "leads nowhere")
    _refused(locator, "./" + "x" * 5000, "cannot be read: File name too long")
    _refused(locator, "not a name", "neither a folder nor a repository")


def test_a_circle_of_links_inside_of_a_folder_is_not_followed(
    tmp_path: Path, locator: Locator
) -> None:
    folder = write_files(tmp_path / "sae", sae_repository_files())
    (folder / "round").symlink_to(folder)
    assert locator.locate(str(folder), "cfg.json").folder == folder / HOOK


def test_a_repository_that_is_a_file_or_circular_is_told(caches: Caches, locator: Locator) -> None:
    path = repo_folder(caches.project, MODEL)
    path.parent.mkdir(parents=True)
    path.write_text("")
    assert str(path) in _refused(locator, MODEL, "a file where the folder")
    path.unlink()
    path.symlink_to(path)
    _refused(locator, MODEL, "leads nowhere")


def test_permission_denied_is_told(
    caches: Caches, locator: Locator, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = save_repository(caches.project, MODEL, model_files())
    is_dir = Path.is_dir

    def refuse(path: Path) -> bool:
        if path == snapshot:
            raise PermissionError(13, "Permission denied", str(path))
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", refuse)
    assert "readable" in _refused(locator, MODEL, "cannot be read: Permission denied")


def test_what_is_absent_names_the_command_that_fetches_it(caches: Caches, locator: Locator) -> None:
    assert _refused(locator, MODEL, "is not on this machine").startswith("Fetch it with: ")
    with pytest.raises(WeightsMissingError) as caught:
        locator.locate(MODEL, "config.json", source="mine")
    assert caught.value.hint == "Fetch it with: .venv/bin/python scripts/weights.py download mine"
    (repo_folder(caches.project, MODEL) / "blobs").mkdir(parents=True)
    _refused(locator, MODEL, "is not on this machine")
    (repo_folder(caches.project, MODEL) / "blobs" / "abc.incomplete").write_bytes(b"begun")
    _refused(locator, MODEL, "No file of 'org/model' is here yet")


def test_an_sae_of_the_registry_is_found_once_it_is_converted(
    caches: Caches, locator: Locator
) -> None:
    location = "sae-lens:a-release/layer_1/width_16k"
    _refused(locator, location, "is not on this machine", "cfg.json")
    folder = converted_folder(caches, "a-release", "layer_1/width_16k")
    write_files(folder, {"cfg.json": b"{}", "sae_weights.safetensors": shard()})
    found = locator.locate(location, "cfg.json")
    assert (found.folder, found.name, found.commit) == (folder, location, None)
    with pytest.raises(WeightsMissingError, match="names no SAE"):
        parse_location("sae-lens:only-a-release")


def test_nothing_is_written_by_looking(caches: Caches, locator: Locator) -> None:
    save_source(caches.project)
    before = sorted(caches.project.rglob("*"))
    locator.locate(MODEL, "config.json")
    locator.locate(SAE, "cfg.json")
    assert sorted(caches.project.rglob("*")) == before
    assert not caches.shared.exists()
