"""The layout of a Hugging Face cache: a repository's folder, its revisions, its snapshots.

Invariant: nothing here writes, opens a connection or imports the hub client; what a file of the
cache says is checked before it becomes part of a path.

Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.errors import WEIGHTS_COMMAND
from engine.file_names import is_inside
from engine.weights.caches import Caches, repo_folder
from engine.weights.parts import PartState

DEFAULT_REVISION = "main"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MAX_REF_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One revision of a repository in one cache.

    Attributes:
        place: `linked` if the project's cache holds a link to it, else whose cache it is in.
        folder: of its files. repository: the folder `models--org--name` that it is in.
        link_target: where the project cache's link leads; None if there is no link.
    """

    repo_id: str
    commit: str
    place: Literal["local", "linked", "global"]
    folder: Path
    repository: Path
    link_target: Path | None = None


@dataclass(frozen=True, slots=True)
class SnapshotFault:
    """Why a cache that knows a repository cannot give a snapshot of it.

    Attributes:
        problem: one sentence. hint: one sentence, or empty where downloading is what helps.
    """

    state: PartState
    problem: str
    hint: str = ""
    link_target: Path | None = None


def find_snapshots(
    caches: Caches, repo_id: str, revision: str | None
) -> tuple[list[Snapshot], list[SnapshotFault]]:
    """The snapshots of a revision in both caches, and what is wrong, the project's cache first.

    Args:
        revision: branch, tag or commit; None is the main branch.

    Raises:
        WeightsMissingError: if `repo_id` is no name of a repository.
    """
    snapshots: list[Snapshot] = []
    faults: list[SnapshotFault] = []
    places = [caches.project] if caches.is_one else [caches.project, caches.shared]
    for cache in places:
        found = _look_up(cache, repo_id, revision or DEFAULT_REVISION, cache is caches.project)
        if isinstance(found, Snapshot):
            snapshots.append(found)
        elif found is not None:
            faults.append(found)
    return snapshots, faults


def find_commit(repository: Path, revision: str) -> str | None:
    """The commit that a revision stands for in a repository's folder; None if it is not known.

    Raises:
        OSError: if the folder cannot be read.
    """
    if _COMMIT.fullmatch(revision):
        return revision
    if not is_inside(revision):
        return None
    try:
        with (repository / "refs" / revision).open("rb") as file:
            commit = file.read(_MAX_REF_BYTES).decode("ascii", "replace").strip()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    return commit if _COMMIT.fullmatch(commit) else None


def list_revisions(repository: Path) -> tuple[str, ...]:
    """The branches and tags that a repository's folder knows, sorted."""
    refs = repository / "refs"
    names = [
        Path(root, name).relative_to(refs).as_posix()
        for root, _, files in os.walk(refs)
        for name in files
    ]
    return tuple(sorted(names))


def broken_link_hint(repo_id: str) -> str:
    """What helps where the project's cache has a link for a repository that leads nowhere."""
    return (
        f"Mend it with: {WEIGHTS_COMMAND} link {repo_id}; if its target is gone for good,"
        f" remove it with: {WEIGHTS_COMMAND} clear {repo_id}"
    )


def read_link(path: Path) -> Path | None:
    """Where a link leads, one step, as an absolute path; None if it is no link."""
    try:
        target = os.readlink(path)
    except OSError:
        return None
    return Path(os.path.abspath(path.parent / target))


def _look_up(
    cache: Path, repo_id: str, revision: str, is_project: bool
) -> Snapshot | SnapshotFault | None:
    repository = repo_folder(cache, repo_id)
    link_target = read_link(repository) if is_project else None
    try:
        if not _is_listed(repository):
            return None
        if not repository.is_dir():
            return _no_folder(repository, repo_id, link_target, is_project)
        commit = find_commit(repository, revision)
        if commit is None:
            return _unknown_revision(repository, repo_id, revision, link_target)
        folder = repository / "snapshots" / commit
        if not folder.is_dir() or not any(folder.iterdir()):
            return SnapshotFault(
                "partial", f"No file of {repo_id!r} is here yet.", link_target=link_target
            )
    except OSError as error:
        return SnapshotFault(
            "missing",
            f"The folder of {repo_id!r} in the cache cannot be read: {error.strerror}.",
            f"Make {str(repository)!r} readable for this user.",
            link_target,
        )
    place: Literal["local", "linked", "global"] = "local" if is_project else "global"
    if link_target is not None:
        place = "linked"
    return Snapshot(repo_id, commit, place, folder, repository, link_target)


def _is_listed(path: Path) -> bool:
    """Whether there is anything by this name, a broken link too; OSError if that is not shown."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _no_folder(
    repository: Path, repo_id: str, link_target: Path | None, is_project: bool
) -> SnapshotFault:
    """The fault of an entry of the cache that is no folder: a file, or a link to no folder."""
    if repository.is_symlink():
        target = link_target or read_link(repository)
        whose = "project's" if is_project else "global"
        return SnapshotFault(
            "broken_link",
            f"The link of {repo_id!r} in the {whose} cache leads nowhere: {str(target)!r}.",
            broken_link_hint(repo_id) if is_project else f"Remove the link {str(repository)!r}.",
            link_target,
        )
    return SnapshotFault(
        "missing",
        f"The cache has a file where the folder of {repo_id!r} should be.",
        f"Move the file {str(repository)!r} away.",
    )


def _unknown_revision(
    repository: Path, repo_id: str, revision: str, link_target: Path | None
) -> SnapshotFault | None:
    snapshots = repository / "snapshots"
    if not snapshots.is_dir() or not any(snapshots.iterdir()):
        if link_target is None and not _has_bytes(repository / "blobs"):
            return None
        return SnapshotFault(
            "partial", f"No file of {repo_id!r} is here yet.", link_target=link_target
        )
    known = ", ".join(list_revisions(repository)[:5])
    held = known or ", ".join(sorted(path.name for path in snapshots.iterdir())[:2])
    return SnapshotFault(
        "missing",
        f"The revision {revision[:60]!r} of {repo_id!r} is not on this machine; {held} is.",
        link_target=link_target,
    )


def _has_bytes(blobs: Path) -> bool:
    return blobs.is_dir() and any(path.stat().st_size for path in blobs.iterdir())
