"""A folder downloaded by hand becomes a cache entry that the real hub client finds."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path

import pytest

from engine.errors import NoSpaceError, TransferCancelled, WeightsMissingError
from engine.weights.adopt import AdoptProgress, adopt_folder
from engine.weights.caches import Caches, repo_folder
from engine.weights.checksums import ChecksumStore
from engine.weights.inventory import list_components
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
    shard,
    write_files,
)

SHARDS = [name for name in model_files() if name.startswith("model-")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_files(tmp_path / "von Hand geladen ü", model_files())


def _note(folder: Path, path: str, etag: str, commit: str = COMMIT, age_s: float = -10) -> None:
    """What `hf download --local-dir` notes about a file."""
    note = folder / ".cache" / "huggingface" / "download" / f"{path}.metadata"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(f"{commit}\n{etag}\n{time.time() - age_s}\n")


def _tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def _scan(cache: Path) -> tuple[int, list[str]]:
    """Bytes and complaints of the hub client's own look at a cache."""
    from huggingface_hub import scan_cache_dir

    info = scan_cache_dir(cache)
    return info.size_on_disk, [str(warning) for warning in info.warnings]


def test_the_hub_client_finds_it_and_nothing_was_copied_or_changed(
    folder: Path, caches: Caches, checksums: ChecksumStore
) -> None:
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    before = _tree(folder)
    located = adopt_folder(folder, MODEL, caches)
    assert _tree(folder) == before
    found = snapshot_download(MODEL, cache_dir=caches.project, local_files_only=True)
    assert Path(found) == located.folder
    for name, content in model_files().items():
        assert (located.folder / name).read_bytes() == content
        assert (located.folder / name).samefile(folder / name)
        assert try_to_load_from_cache(MODEL, name, cache_dir=caches.project) == str(
            located.folder / name
        )
    assert _scan(caches.project) == (sum(map(len, model_files().values())), [])
    model, tokenizer = list_components(make_definition(sae=None), caches, checksums)
    assert (model.state, model.is_usable, tokenizer.is_usable) == ("local", True, True)
    assert model.revision == located.commit


def test_folders_inside_are_kept(tmp_path: Path, caches: Caches) -> None:
    folder = write_files(tmp_path / "sae", sae_repository_files())
    located = adopt_folder(folder, SAE, caches)
    assert (located.folder / HOOK / "cfg.json").read_bytes() == sae_repository_files()[
        f"{HOOK}/cfg.json"
    ]
    assert _scan(caches.project)[1] == []


def test_the_same_content_has_the_same_commit_and_other_content_another(
    folder: Path, caches: Caches, tmp_path: Path
) -> None:
    first = adopt_folder(folder, MODEL, caches)
    again = adopt_folder(folder, MODEL, caches)
    assert again == first
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert adopt_folder(copy, "org/copy", caches).commit == first.commit
    (copy / "config.json").write_bytes(b'{"changed": true}')
    changed = adopt_folder(copy, "org/copy", caches)
    assert changed.commit != first.commit
    assert (changed.folder / "config.json").read_bytes() == b'{"changed": true}'
    assert _scan(caches.project)[1] == []


def test_commit_and_names_of_content_come_from_the_notes_of_the_download(
    folder: Path, caches: Caches
) -> None:
    for number, path in enumerate(model_files()):
        _note(folder, path, f"{number:064x}")
    located = adopt_folder(folder, MODEL, caches)
    assert located.commit == COMMIT
    blobs = repo_folder(caches.project, MODEL) / "blobs"
    assert sorted(path.name for path in blobs.iterdir()) == [f"{n:064x}" for n in range(10)]


def test_a_file_that_was_changed_after_the_download_is_not_that_commits(
    folder: Path, caches: Caches
) -> None:
    for number, path in enumerate(model_files()):
        _note(folder, path, f"{number:064x}", age_s=3600 if path == "config.json" else -10)
    located = adopt_folder(folder, MODEL, caches)
    assert located.commit != COMMIT
    assert Path(os.path.realpath(located.folder / "config.json")).name != f"{0:064x}"


@pytest.mark.parametrize("content", ["", "x\ny\nz\n", "../..\n../../x\n1e12\n", "\n\n\n", "\xff"])
def test_broken_notes_are_ignored(folder: Path, caches: Caches, content: str) -> None:
    without = adopt_folder(folder, "org/without", caches).commit
    for path in model_files():
        _note(folder, path, "x")
        note = folder / ".cache" / "huggingface" / "download" / f"{path}.metadata"
        note.write_text(content)
    assert adopt_folder(folder, MODEL, caches).commit == without


def test_a_git_clone_has_the_commit_that_it_checked_out(folder: Path, caches: Caches) -> None:
    refs = folder / ".git" / "refs" / "heads"
    refs.mkdir(parents=True)
    (folder / ".git" / "index").write_bytes(b"")
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / ".git" / "packed-refs").write_text(f"# pack-refs\n{OTHER_COMMIT} refs/heads/main\n")
    assert adopt_folder(folder, "org/packed", caches).commit == OTHER_COMMIT
    (refs / "main").write_text(f"{COMMIT}\n")
    located = adopt_folder(folder, MODEL, caches)
    assert located.commit == COMMIT
    assert not (located.folder / ".git").exists()
    later = time.time() + 100
    os.utime(folder / "config.json", (later, later))
    assert adopt_folder(folder, "org/changed", caches).commit not in (COMMIT, OTHER_COMMIT)


def test_a_revision_is_a_name_or_the_commit(folder: Path, caches: Caches) -> None:
    refs = repo_folder(caches.project, MODEL) / "refs"
    assert adopt_folder(folder, MODEL, caches, revision=COMMIT).commit == COMMIT
    assert (refs / "main").read_text() == COMMIT
    other = adopt_folder(folder, MODEL, caches, revision="refs/pr/7").commit
    assert (refs / "refs" / "pr" / "7").read_text() == other
    assert (refs / "main").read_text() == COMMIT
    adopt_folder(folder, MODEL, caches, revision=OTHER_COMMIT)
    assert (refs / "main").read_text() == COMMIT
    for path in model_files():
        _note(folder, path, "a" * 64)
    with pytest.raises(WeightsMissingError, match="is of the commit 012345678901, not abcdef"):
        adopt_folder(folder, MODEL, caches, revision=OTHER_COMMIT)
    with pytest.raises(WeightsMissingError, match="no name of a revision"):
        adopt_folder(folder, MODEL, caches, revision="../../main")


def test_an_entry_that_lacks_files_is_completed(folder: Path, caches: Caches) -> None:
    some = {path: data for path, data in model_files().items() if path not in SHARDS[1:]}
    save_repository(caches.project, MODEL, some)
    located = adopt_folder(folder, MODEL, caches, revision=COMMIT)
    assert all((located.folder / name).is_file() for name in SHARDS)
    assert _scan(caches.project)[1] == []


def test_what_is_not_weights_is_left_out(folder: Path, caches: Caches) -> None:
    extra = dict.fromkeys(
        (".git/config", ".cache/huggingface/.gitignore", "pytorch_model.bin", ".DS_Store"), b"x"
    )
    write_files(folder, extra | {"consolidated.safetensors": shard(), "original/x.pth": b"x"})
    located = adopt_folder(folder, MODEL, caches)
    names = {path.relative_to(located.folder).as_posix() for path in located.folder.rglob("*")}
    assert names == set(model_files())


def _pointer(folder: Path) -> None:
    (folder / SHARDS[0]).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


def _unfinished(folder: Path) -> None:
    _note(folder, "x", "y")
    (folder / ".cache" / "huggingface" / "download" / "abc.incomplete").write_text("")


def _dangling(folder: Path) -> None:
    (folder / "vocab.json").symlink_to("gone")


def _pickled(folder: Path) -> None:
    for name in SHARDS:
        (folder / name).rename(folder / f"{name}.bin")


def _emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (_pointer, "is a pointer of git-lfs"),
        (_unfinished, "was not finished"),
        (_dangling, "leads nowhere"),
        (_pickled, "only pickles such as model-00001"),
        (_emptied, "has no safetensors file"),
        (_file, "but a file"),
        (shutil.rmtree, "There is no folder"),
    ],
)
def test_what_is_not_whole_is_refused_and_leaves_no_trace(
    folder: Path, caches: Caches, break_it: object, says: str
) -> None:
    assert callable(break_it)
    break_it(folder)
    with pytest.raises(WeightsMissingError, match=says) as caught:
        adopt_folder(folder, MODEL, caches)
    assert caught.value.hint
    assert not caches.project.exists()


def test_a_folder_of_a_cache_and_a_linked_repository_are_refused(
    folder: Path, caches: Caches
) -> None:
    snapshot = save_repository(caches.shared, MODEL, model_files())
    with pytest.raises(WeightsMissingError, match="is in a cache already"):
        adopt_folder(snapshot, "org/other", caches)
    link_to_shared(caches, MODEL)
    before = _tree(caches.shared)
    with pytest.raises(WeightsMissingError, match="has a link under the name") as caught:
        adopt_folder(folder, MODEL, caches)
    assert f"clear {MODEL} --local" in caught.value.hint
    assert _tree(caches.shared) == before
    repo_folder(caches.project, "org/file").write_text("")
    with pytest.raises(WeightsMissingError, match="a file where the folder"):
        adopt_folder(folder, "org/file", caches)
    with pytest.raises(WeightsMissingError, match="neither a folder nor a repository"):
        adopt_folder(folder, "../x", caches)


def test_a_folder_whose_files_are_links_is_followed(
    folder: Path, caches: Caches, tmp_path: Path
) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in folder.iterdir():
        (linked / path.name).symlink_to(path)
    located = adopt_folder(linked, MODEL, caches)
    assert (located.folder / SHARDS[0]).samefile(folder / SHARDS[0])


def _no_links(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM])
def test_where_no_hard_link_can_be_made_files_are_copied_only_when_asked(
    folder: Path, caches: Caches, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    _no_links(monkeypatch, code)
    with pytest.raises(WeightsMissingError, match="no hard link can be made") as caught:
        adopt_folder(folder, MODEL, caches)
    assert "--copy" in caught.value.hint
    assert not (repo_folder(caches.project, MODEL) / "snapshots").exists()
    located = adopt_folder(folder, MODEL, caches, may_copy=True)
    assert not (located.folder / SHARDS[0]).samefile(folder / SHARDS[0])
    assert (located.folder / SHARDS[0]).read_bytes() == model_files()[SHARDS[0]]
    assert _scan(caches.project)[1] == []


def test_another_disk_is_known_before_anything_is_written(folder: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == folder.stat().st_dev:
        pytest.skip("this machine has no second file system at hand")
    cache = other / f"featurebook-{os.getpid()}"
    try:
        with pytest.raises(WeightsMissingError, match="on different disks"):
            adopt_folder(folder, MODEL, Caches(cache, cache / "hub"))
        assert not cache.exists()
        assert adopt_folder(folder, MODEL, Caches(cache, cache / "hub"), may_copy=True).commit
        assert _scan(cache)[1] == []
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def test_no_space_for_a_copy_is_told(
    folder: Path, caches: Caches, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_links(monkeypatch, errno.EXDEV)
    with monkeypatch.context() as patch:
        patch.setattr("engine.weights.adopt.free_bytes", lambda _: 10)
        with pytest.raises(NoSpaceError, match="and 10 are free"):
            adopt_folder(folder, MODEL, caches, may_copy=True)

    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", fill)
    with pytest.raises(NoSpaceError, match="became full"):
        adopt_folder(folder, MODEL, caches, may_copy=True)
    assert not list(caches.project.rglob("*.incomplete"))


def test_it_tells_how_far_it_is_and_can_be_cancelled(folder: Path, caches: Caches) -> None:
    seen: list[AdoptProgress] = []
    total = sum(map(len, model_files().values()))
    with pytest.raises(TransferCancelled):
        adopt_folder(folder, MODEL, caches, on_progress=seen.append, is_cancelled=lambda: True)
    assert not caches.project.exists()
    adopt_folder(folder, MODEL, caches, on_progress=seen.append)
    assert seen[-1] == AdoptProgress("", total, total)
    assert all(0 <= step.n_bytes <= total for step in seen)
