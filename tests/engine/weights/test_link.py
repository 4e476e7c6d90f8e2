"""Links from the project's cache into the global one: made, mended, removed, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import WeightsMissingError
from engine.weights.caches import Caches, repo_folder
from engine.weights.link import LinkOutcome, link_repositories, unlink_repositories
from tests.engine.weights.conftest import (
    MODEL,
    SAE,
    link_to_shared,
    model_files,
    sae_repository_files,
    save_repository,
    save_source,
)


def _actions(outcomes: tuple[LinkOutcome, ...]) -> dict[str, str]:
    return {outcome.repo_id: outcome.action for outcome in outcomes}


def _tree(folder: Path) -> list[tuple[str, int, int]]:
    """Every path with its inode and time of change."""
    paths = sorted(folder.rglob("*"))
    return [(str(path), path.lstat().st_ino, path.lstat().st_mtime_ns) for path in paths]


def test_everything_of_the_global_cache_is_linked_and_nothing_copied(caches: Caches) -> None:
    save_source(caches.shared)
    (caches.shared / "datasets--org--data").mkdir()
    (caches.shared / ".locks").mkdir()
    before = _tree(caches.shared)
    outcomes = link_repositories(caches)
    assert _actions(outcomes) == {MODEL: "linked", SAE: "linked"}
    assert sum(outcome.saved_bytes for outcome in outcomes) >= sum(
        len(data) for data in (*model_files().values(), *sae_repository_files().values())
    )
    assert sorted(path.name for path in caches.project.iterdir()) == [
        "models--org--model",
        "models--org--sae",
    ]
    assert all(path.is_symlink() for path in caches.project.iterdir())
    assert _tree(caches.shared) == before


def test_doing_it_again_changes_nothing(caches: Caches) -> None:
    save_source(caches.shared)
    first = link_repositories(caches)
    before = _tree(caches.project)
    second = link_repositories(caches)
    assert _actions(second) == {MODEL: "already", SAE: "already"}
    assert [outcome.saved_bytes for outcome in second] == [item.saved_bytes for item in first]
    assert _tree(caches.project) == before


@pytest.mark.parametrize("target", ["/nowhere/models--org--model", "models--org--model"])
def test_broken_and_circular_links_are_mended(caches: Caches, target: str) -> None:
    save_source(caches.shared)
    link = repo_folder(caches.project, MODEL)
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    assert _actions(link_repositories(caches, [MODEL])) == {MODEL: "mended"}
    assert (link / "refs" / "main").is_file()


def test_a_real_folder_or_another_link_is_never_replaced(caches: Caches, tmp_path: Path) -> None:
    save_source(caches.shared)
    save_repository(caches.project, MODEL, model_files(1))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    repo_folder(caches.project, SAE).symlink_to(elsewhere)
    before = _tree(caches.project)
    assert _actions(link_repositories(caches)) == {MODEL: "kept", SAE: "kept"}
    assert _actions(unlink_repositories(caches, [MODEL, SAE])) == {MODEL: "kept", SAE: "kept"}
    assert _tree(caches.project) == before


def test_a_file_in_the_way_is_left(caches: Caches) -> None:
    save_source(caches.shared)
    caches.project.mkdir(parents=True)
    repo_folder(caches.project, MODEL).write_text("mine")
    assert _actions(link_repositories(caches, [MODEL])) == {MODEL: "kept"}
    assert repo_folder(caches.project, MODEL).read_text() == "mine"


def test_what_the_global_cache_does_not_have_is_told(caches: Caches) -> None:
    (repo_folder(caches.shared, SAE) / "snapshots").mkdir(parents=True)
    outcomes = link_repositories(caches, [MODEL, SAE])
    assert _actions(outcomes) == {MODEL: "absent", SAE: "empty"}
    assert link_repositories(Caches(caches.project, caches.shared / "none")) == ()
    assert not caches.project.exists()


def test_unlinking_leaves_what_was_linked(caches: Caches) -> None:
    save_source(caches.shared)
    link_repositories(caches)
    before = _tree(caches.shared)
    assert _actions(unlink_repositories(caches)) == {MODEL: "unlinked", SAE: "unlinked"}
    assert list(caches.project.iterdir()) == []
    assert _tree(caches.shared) == before
    assert unlink_repositories(caches) == ()
    assert _actions(unlink_repositories(caches, [MODEL])) == {MODEL: "absent"}


def test_a_broken_link_into_the_global_cache_is_unlinked_too(caches: Caches) -> None:
    link = link_to_shared(caches, MODEL)
    assert _actions(unlink_repositories(caches)) == {MODEL: "unlinked"}
    assert not os.path.lexists(link)


def test_a_global_cache_that_is_itself_linked_works(caches: Caches, tmp_path: Path) -> None:
    save_source(tmp_path / "disk" / "hub")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "huggingface").symlink_to(tmp_path / "disk")
    linked = Caches(caches.project, tmp_path / ".cache" / "huggingface" / "hub")
    assert set(_actions(link_repositories(linked)).values()) == {"linked"}
    assert set(_actions(unlink_repositories(linked)).values()) == {"unlinked"}


def test_one_cache_has_nothing_to_link(caches: Caches) -> None:
    save_source(caches.shared)
    caches.project.parent.mkdir(parents=True)
    caches.project.symlink_to(caches.shared)
    for act in (link_repositories, unlink_repositories):
        with pytest.raises(WeightsMissingError, match="is the global cache itself"):
            act(caches)


def test_a_cache_that_may_not_be_written_is_told(
    caches: Caches, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_source(caches.shared)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(WeightsMissingError, match="cannot be changed: Permission denied") as caught:
        link_repositories(caches)
    assert "MODEL_CACHE_DIR" in caught.value.hint


def test_names_that_are_none_are_refused(caches: Caches) -> None:
    with pytest.raises(WeightsMissingError, match="neither a folder nor a repository"):
        link_repositories(caches, ["../../etc"])
