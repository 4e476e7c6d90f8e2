"""Folders and files that this user may not read or write: one sentence each, and nothing lost."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.errors import EngineError, WeightsMissingError
from engine.weights.adopt import adopt_folder
from engine.weights.caches import Caches, find_caches, repo_folder
from engine.weights.checksums import ChecksumStore
from engine.weights.clear import clear, plan_clear
from engine.weights.inventory import list_components
from engine.weights.link import link_repositories, unlink_repositories
from engine.weights.locate import Locator
from tests.engine.weights.conftest import (
    MODEL,
    make_definition,
    model_files,
    save_repository,
    write_files,
)

NOBODY = 65534


@pytest.fixture
def open_caches() -> Iterator[Caches]:
    """Caches with one model in the global one, in a folder that every user may enter."""
    root = Path(tempfile.mkdtemp(prefix="featurebook-permissions-"))
    root.chmod(0o755)
    caches = Caches(root / "project", root / "hub")
    caches.project.mkdir()
    save_repository(caches.shared, MODEL, model_files())
    yield caches
    for path in (caches.project, caches.shared, *caches.shared.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(root)


@contextmanager
def _as_someone_else() -> Iterator[None]:
    """Acts as a user without rights where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def _refusal(act: Callable[[], object]) -> str:
    with _as_someone_else(), pytest.raises(EngineError) as caught:
        act()
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value.message


def _problem(caches: Caches) -> str:
    """What status says of the model."""
    with _as_someone_else():
        model = list_components(make_definition(), caches, ChecksumStore(caches.records))[0]
    assert model.hint
    return model.problem


@pytest.mark.parametrize("where", ["cache", "repository", "snapshots", "blobs", "shard", "index"])
def test_what_may_not_be_read_is_not_taken_for_missing(open_caches: Caches, where: str) -> None:
    repository = repo_folder(open_caches.shared, MODEL)
    snapshot = next((repository / "snapshots").iterdir())
    places = {
        "cache": open_caches.shared,
        "repository": repository,
        "snapshots": repository / "snapshots",
        "blobs": repository / "blobs",
        "shard": Path(os.path.realpath(snapshot / "model-00001-of-00003.safetensors")),
        "index": Path(os.path.realpath(snapshot / "model.safetensors.index.json")),
    }
    places[where].chmod(0o000)
    locator = Locator(open_caches, ChecksumStore(open_caches.records))
    message = _refusal(lambda: locator.locate(MODEL, "config.json"))
    assert "cannot be read" in message
    assert "cannot be read" in _problem(open_caches)


def test_a_cache_below_a_folder_that_may_not_be_entered(open_caches: Caches) -> None:
    open_caches.project.chmod(0o000)
    message = _refusal(lambda: find_caches(open_caches.project / "deep" / "cache", None, None))
    assert "Permission denied" in message


def test_a_cache_that_may_not_be_written_keeps_what_it_has(
    open_caches: Caches, tmp_path: Path
) -> None:
    # imported before, as the other user may not read the client's files
    from huggingface_hub import DeleteCacheStrategy  # noqa: F401

    read_only = Caches(open_caches.shared, open_caches.project)
    open_caches.project.chmod(0o555)
    assert "cannot be changed" in _refusal(lambda: link_repositories(open_caches))
    plan = plan_clear(MODEL, "local", {}, read_only, ChecksumStore(read_only.records))
    assert "cannot be removed" in _refusal(lambda: clear(plan))
    assert len(list(repo_folder(open_caches.shared, MODEL).rglob("*.safetensors"))) == 3
    folder = write_files(open_caches.shared.parent / "by hand", model_files())
    message = _refusal(lambda: adopt_folder(folder, "org/other", open_caches))
    assert "could not be brought into the cache: Permission denied" in message
    assert list(open_caches.project.iterdir()) == []


def test_a_link_that_may_not_be_removed_stays(open_caches: Caches) -> None:
    link_repositories(open_caches)
    open_caches.project.chmod(0o555)
    assert "cannot be changed" in _refusal(lambda: unlink_repositories(open_caches))
    assert repo_folder(open_caches.project, MODEL).is_symlink()


def test_a_folder_of_the_users_own_that_may_not_be_read(open_caches: Caches) -> None:
    folder = write_files(open_caches.shared / "own", model_files())
    folder.chmod(0o000)
    locator = Locator(open_caches, ChecksumStore(open_caches.records))
    assert "Permission denied" in _refusal(lambda: locator.locate(str(folder), "config.json"))
    message = _refusal(lambda: adopt_folder(folder, "org/other", open_caches))
    assert "Permission denied" in message


def test_notes_that_may_not_be_written_are_done_without(open_caches: Caches) -> None:
    open_caches.project.chmod(0o555)
    checksums = ChecksumStore(open_caches.records)
    shard = next(repo_folder(open_caches.shared, MODEL).rglob("*.safetensors"))
    with _as_someone_else():
        assert len(checksums.sha256_of(shard)) == 64
        checksums.record("key", {"a": (1, "x")})
        assert checksums.find_record("key") is None


def test_the_error_is_the_one_that_pages_and_commands_expect(open_caches: Caches) -> None:
    open_caches.shared.chmod(0o000)
    locator = Locator(open_caches, ChecksumStore(open_caches.records))
    with _as_someone_else(), pytest.raises(WeightsMissingError):
        locator.locate(MODEL, "config.json")
