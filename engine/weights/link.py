"""Links from the project's cache to the repositories of the global one, so that none is held twice.

Invariant: a link is made, mended or removed, nothing else: nothing is copied, and what is a real
folder or a link of the user's own to another place is left as it is.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.errors import WeightsMissingError
from engine.weights.caches import REPO_PREFIX, Caches, repo_folder, repo_of_folder
from engine.weights.disk_use import repository_bytes
from engine.weights.snapshots import read_link

LinkAction = Literal["linked", "mended", "already", "kept", "absent", "empty", "unlinked"]


@dataclass(frozen=True, slots=True)
class LinkOutcome:
    """What was done about one repository.

    Attributes:
        action: `linked`, `mended` (the link led nowhere before), `unlinked`; or why nothing was:
            `already` (linked), `kept` (the project's cache has something else there), `absent`
            (the global cache does not have it), `empty` (no file of it has been finished).
        saved_bytes: that a copy would take; 0 where no link is.
        path: in the project's cache. target: where its link leads, if it is one.
    """

    repo_id: str
    action: LinkAction
    saved_bytes: int
    path: Path
    target: Path | None = None


def link_repositories(
    caches: Caches, repo_ids: Sequence[str] | None = None
) -> tuple[LinkOutcome, ...]:
    """Links repositories of the global cache into the project's.

    Args:
        repo_ids: which; None is all that the global cache has.

    Raises:
        WeightsMissingError: if both caches are one, or a link cannot be made.
    """
    _check_two(caches)
    wanted = _list_repositories(caches.shared) if repo_ids is None else tuple(repo_ids)
    try:
        return tuple(_link(caches, repo_id) for repo_id in wanted)
    except OSError as error:
        raise _cannot_change(caches.project, error) from error


def unlink_repositories(
    caches: Caches, repo_ids: Sequence[str] | None = None
) -> tuple[LinkOutcome, ...]:
    """Removes links of the project's cache that lead into the global one; what they lead to stays.

    Args:
        repo_ids: which; None is all.

    Raises:
        WeightsMissingError: if both caches are one, or a link cannot be removed.
    """
    _check_two(caches)
    if repo_ids is None:
        wanted = [
            repo_id
            for repo_id in _list_repositories(caches.project)
            if leads_into(repo_folder(caches.project, repo_id), caches.shared)
        ]
    else:
        wanted = list(repo_ids)
    try:
        return tuple(_unlink(caches, repo_id) for repo_id in wanted)
    except OSError as error:
        raise _cannot_change(caches.project, error) from error


def leads_into(link: Path, folder: Path) -> bool:
    """Whether a path is a link to something below a folder, there or not."""
    target = read_link(link)
    if target is None:
        return False
    above = Path(os.path.realpath(target.parent))
    return target.is_relative_to(folder) or above.is_relative_to(os.path.realpath(folder))


def _link(caches: Caches, repo_id: str) -> LinkOutcome:
    path, target = repo_folder(caches.project, repo_id), repo_folder(caches.shared, repo_id)
    old_target = read_link(path)
    if os.path.lexists(path) and old_target is None:
        return LinkOutcome(repo_id, "kept", 0, path)
    if not target.is_dir():
        return LinkOutcome(repo_id, "absent", 0, path, old_target)
    if old_target is not None and os.path.exists(path):
        is_same = os.path.samefile(path, target)
        saved = repository_bytes(target) if is_same else 0
        return LinkOutcome(repo_id, "already" if is_same else "kept", saved, path, old_target)
    if not _has_snapshot(target):
        return LinkOutcome(repo_id, "empty", 0, path, old_target)
    _replace_link(path, target)
    action: LinkAction = "linked" if old_target is None else "mended"
    return LinkOutcome(repo_id, action, repository_bytes(target), path, target)


def _unlink(caches: Caches, repo_id: str) -> LinkOutcome:
    path = repo_folder(caches.project, repo_id)
    target = read_link(path)
    if not os.path.lexists(path):
        return LinkOutcome(repo_id, "absent", 0, path)
    if not leads_into(path, caches.shared):
        return LinkOutcome(repo_id, "kept", 0, path, target)
    path.unlink()
    return LinkOutcome(repo_id, "unlinked", 0, path, target)


def _replace_link(path: Path, target: Path) -> None:
    """Puts a link in place in one step; a real folder that appeared meanwhile stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".linking-{secrets.token_hex(8)}")
    temporary.symlink_to(target, target_is_directory=True)
    try:
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _has_snapshot(repository: Path) -> bool:
    snapshots = repository / "snapshots"
    return snapshots.is_dir() and any(
        any(snapshot.iterdir()) for snapshot in snapshots.iterdir() if snapshot.is_dir()
    )


def _list_repositories(cache: Path) -> tuple[str, ...]:
    try:
        folders = sorted(cache.glob(f"{REPO_PREFIX}*"))
    except OSError:
        return ()
    return tuple(repo_id for folder in folders if (repo_id := repo_of_folder(folder)))


def _check_two(caches: Caches) -> None:
    if caches.is_one:
        raise WeightsMissingError(
            f"The project's cache is the global cache itself: {str(caches.shared)!r}.",
            "There is nothing to link; everything in it is found already.",
        )


def _cannot_change(cache: Path, error: OSError) -> WeightsMissingError:
    return WeightsMissingError(
        f"The cache {str(cache)!r} cannot be changed: {error.strerror}.",
        "Make it writable for this user, or set MODEL_CACHE_DIR to another folder.",
    )
