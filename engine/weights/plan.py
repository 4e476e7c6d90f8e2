"""What a download would fetch, what of it is here already, and whether there is room.

Invariant: planning writes nothing and fetches nothing but the repository's listing and the index
of its weights; a plan names one commit, so that what is fetched cannot change underneath.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from engine.errors import WEIGHTS_COMMAND, RequestError
from engine.weights.caches import Caches, repo_folder
from engine.weights.hub import Hub, HubFile, Listing, list_files, read_small_file
from engine.weights.locate import parse_location
from engine.weights.orphans import orphan_bytes
from engine.weights.parts import Component, DownloadPlan, PlannedFile
from engine.weights.selection import select_files
from engine.weights.snapshots import DEFAULT_REVISION


def plan_download(
    location: str,
    revision: str | None,
    caches: Caches,
    hub: Hub,
    component: Component,
    is_cancelled: Callable[[], bool] | None = None,
) -> DownloadPlan:
    """Plans the download of a model (with its tokenizer), a tokenizer alone, or an SAE.

    It goes to the project's cache; where the global cache holds all of it, the plan is about that
    one and nothing is missing.

    Args:
        location: `org/name` or `org/name:folder/inside`.
        revision: branch, tag or commit; None is the main branch.

    Raises:
        RequestError: if the location is a folder of this machine, or the hub does not know it.
        UnsupportedError: if it has no safetensors, or names files that it must not.
        DownloadError: if the hub is not asked, not reached or not answering.
        TransferCancelled: if `is_cancelled` says so first.
    """
    place = parse_location(location)
    if place.repo_id is None:
        raise RequestError(
            f"{location[:120]!r} is no repository, so there is nothing to download.",
            f"Check the folder with: {WEIGHTS_COMMAND} status",
        )
    listing = list_files(hub, place.repo_id, revision, is_cancelled)

    def read_file(path: str) -> bytes:
        return _cached_content(caches, listing, path) or read_small_file(
            hub, listing, path, is_cancelled
        )

    paths = select_files(component, listing.repo_id, place.inside, listing.files, read_file)
    plan = _plan(caches.project, listing, paths, revision)
    if plan.missing_bytes and not caches.is_one:
        shared = _plan(caches.shared, listing, paths, revision)
        if not shared.missing_bytes:
            return shared
    return plan


def snapshot_folder(cache: Path, repo_id: str, commit: str) -> Path:
    """Where the files of a commit lie in a cache, existing or not."""
    return repo_folder(cache, repo_id) / "snapshots" / commit


def has_size(path: Path, size_bytes: int) -> bool:
    """Whether this is a file, or a link to one, of exactly this size."""
    try:
        return path.is_file() and path.stat().st_size == size_bytes
    except OSError:
        return False


def free_bytes(folder: Path) -> int:
    """Bytes that are free on the disk of a folder, which need not exist yet; 0 if not known."""
    for existing in (folder, *folder.parents):
        if os.path.isdir(existing):
            try:
                return shutil.disk_usage(existing).free
            except OSError:
                return 0
    return 0


def _plan(
    cache: Path, listing: Listing, paths: tuple[str, ...], revision: str | None
) -> DownloadPlan:
    files = tuple(
        PlannedFile(
            path,
            file.size_bytes,
            file.sha256,
            file.git_oid,
            _is_present(cache, listing, path, file),
        )
        for path, file in ((path, listing.files[path]) for path in paths)
    )
    return DownloadPlan(
        repo_id=listing.repo_id,
        revision=revision or DEFAULT_REVISION,
        commit=listing.commit,
        cache_dir=cache,
        files=files,
        free_bytes=free_bytes(repo_folder(cache, listing.repo_id)),
        orphan_bytes=orphan_bytes(cache, listing.repo_id),
    )


def _is_present(cache: Path, listing: Listing, path: str, file: HubFile) -> bool:
    """Whether nothing of a file has to be fetched: another commit may have brought its content."""
    repository = repo_folder(cache, listing.repo_id)
    if has_size(snapshot_folder(cache, listing.repo_id, listing.commit) / path, file.size_bytes):
        return True
    return file.blob is not None and has_size(repository / "blobs" / file.blob, file.size_bytes)


def _cached_content(caches: Caches, listing: Listing, path: str) -> bytes | None:
    for cache in (caches.project, caches.shared):
        file = snapshot_folder(cache, listing.repo_id, listing.commit) / path
        if has_size(file, listing.files[path].size_bytes):
            try:
                return file.read_bytes()
            except OSError:
                continue
    return None
