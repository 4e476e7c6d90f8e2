"""A folder that was downloaded by hand becomes an entry of the project's cache.

Invariant: the folder itself is never changed, and on one disk no byte is copied: the entry's files
are further names (hard links) of the same files. The entry appears as a whole: the snapshot is
built aside and renamed, and its revision is written last.

Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache (the cache's layout), and
huggingface_hub/_local_folder.py (what `hf download --local-dir` notes about each file).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.errors import WEIGHTS_COMMAND, NoSpaceError, WeightsMissingError
from engine.file_names import is_inside
from engine.weights.adoptable import AdoptableFile, derive_commit, find_commit_of_clone, list_files
from engine.weights.caches import Caches, repo_folder
from engine.weights.checksums import ChecksumStore
from engine.weights.locate import Located, check_local
from engine.weights.plan import free_bytes
from engine.weights.snapshots import DEFAULT_REVISION, read_link

_COMMIT = re.compile(r"[0-9a-f]{40}")
_BUILDING_PREFIX = ".adopting-"
_OTHER_DISK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES)


@dataclass(frozen=True, slots=True)
class AdoptProgress:
    """How far it is: `n_bytes` of the folder's `total_bytes` are in the cache or were hashed."""

    current: str
    n_bytes: int
    total_bytes: int


def adopt_folder(
    folder: Path,
    repo_id: str,
    caches: Caches,
    revision: str | None = None,
    may_copy: bool = False,
    on_progress: Callable[[AdoptProgress], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> Located:
    """Makes a cache entry of a folder, and says where it is.

    The commit is the one that the folder's own notes name (of `hf download --local-dir`, or of a
    git clone), else `revision` if that is a commit, else one derived from the content.

    Args:
        revision: branch, tag or commit that the entry is found under; None is the main branch.
        may_copy: whether files are copied where hard links cannot be made, as on another disk.

    Raises:
        WeightsMissingError: if the folder is not whole, of the wrong kind or on another disk, or
            the cache has something else under that name.
        NoSpaceError: if copies do not fit.
        TransferCancelled: if `is_cancelled` says so; the cache is then as it was found before.
    """
    folder = Path(os.path.abspath(os.path.expanduser(folder)))
    check_local(folder)
    repository = repo_folder(caches.project, repo_id)
    _check_target(folder, repository, repo_id, caches)
    if revision is not None and not is_inside(revision):
        raise WeightsMissingError(
            f"{revision[:80]!r} is no name of a revision.", "Give a branch, a tag or a commit."
        )
    try:
        listed = list_files(
            folder, ChecksumStore(caches.records), _report_to(on_progress), is_cancelled
        )
        commit = _choose_commit(folder, listed, revision)
        if not may_copy:
            _check_disk(listed, caches.project)
        for file in listed:
            _add_blob(file, repository / "blobs", may_copy)
        _add_snapshot(listed, repository, commit)
        _add_refs(repository, commit, revision)
    except OSError as error:
        raise _failed(folder, repo_id, error) from error
    root = repository / "snapshots" / commit
    return Located(root, repo_id, commit, "local", root, repo_id)


def _report_to(
    on_progress: Callable[[AdoptProgress], None] | None,
) -> Callable[[str, int, int], None]:
    """The same callback with plain arguments; one that does nothing for None."""

    def report(current: str, n_bytes: int, total_bytes: int) -> None:
        if on_progress is not None:
            on_progress(AdoptProgress(current, n_bytes, total_bytes))

    return report


def _check_target(folder: Path, repository: Path, repo_id: str, caches: Caches) -> None:
    real = Path(os.path.realpath(folder))
    for cache in (caches.project, caches.shared):
        if real.is_relative_to(os.path.realpath(cache)):
            raise WeightsMissingError(
                f"The folder {folder.name!r} is in a cache already.",
                f"See what is there with: {WEIGHTS_COMMAND} status",
            )
    target = read_link(repository)
    if target is not None:
        raise WeightsMissingError(
            f"The project's cache has a link under the name {repo_id!r}, to {str(target)!r}.",
            f"Remove the link first: {WEIGHTS_COMMAND} clear {repo_id} --local",
        )
    if os.path.lexists(repository) and not repository.is_dir():
        raise WeightsMissingError(
            f"The cache has a file where the folder of {repo_id!r} should be.",
            f"Move the file {str(repository)!r} away.",
        )


def _choose_commit(folder: Path, files: list[AdoptableFile], revision: str | None) -> str:
    given = revision if revision and _COMMIT.fullmatch(revision) else None
    noted = {file.commit for file in files if file.commit}
    # a file that was edited since has no valid note, and then the folder is not that commit's
    is_of_one_commit = len(noted) == 1 and all(file.commit for file in files)
    found = noted.pop() if is_of_one_commit else find_commit_of_clone(folder, files)
    if given and found and given != found:
        raise WeightsMissingError(
            f"The folder {folder.name!r} is of the commit {found[:12]}, not {given[:12]}.",
            "Leave out --revision, or give the commit that was downloaded.",
        )
    return found or given or derive_commit(files)


def _check_disk(files: list[AdoptableFile], cache: Path) -> None:
    nearest = next(part for part in (cache, *cache.parents) if part.is_dir())
    device = nearest.stat().st_dev
    if any(file.source.stat().st_dev != device for file in files):
        raise _other_disk(sum(file.size_bytes for file in files))


def _add_blob(file: AdoptableFile, blobs: Path, may_copy: bool) -> None:
    blob = blobs / file.blob
    if blob.is_file() and blob.stat().st_size == file.size_bytes:
        return
    blobs.mkdir(parents=True, exist_ok=True)
    # under this ending an interrupted copy is known as such, and cleared by the next download
    temporary = blobs / f"{file.blob}.{secrets.token_hex(4)}.incomplete"
    try:
        try:
            os.link(file.source, temporary)
        except OSError as error:
            if error.errno not in _OTHER_DISK:
                raise
            if not may_copy:
                raise _other_disk(file.size_bytes) from error
            _copy(file, temporary)
        os.replace(temporary, blob)
    finally:
        # a rename onto another name of the same file leaves both
        temporary.unlink(missing_ok=True)


def _copy(file: AdoptableFile, target: Path) -> None:
    free = free_bytes(target.parent)
    if file.size_bytes > free:
        raise NoSpaceError(
            f"{file.path} has {file.size_bytes:,} bytes, and {free:,} are free.",
            "Free some space, or set MODEL_CACHE_DIR to a folder on a larger disk.",
            file.size_bytes,
            free,
        )
    shutil.copyfile(file.source, target)


def _add_snapshot(files: list[AdoptableFile], repository: Path, commit: str) -> None:
    snapshots = repository / "snapshots"
    snapshots.mkdir(parents=True, exist_ok=True)
    final = snapshots / commit
    # what is there already is completed in place; else it appears as a whole
    building = final if final.is_dir() else _new_folder(repository)
    try:
        for file in files:
            link = building / file.path
            link.parent.mkdir(parents=True, exist_ok=True)
            up = "../" * (2 + file.path.count("/"))
            with contextlib.suppress(FileNotFoundError):
                link.unlink()
            link.symlink_to(f"{up}blobs/{file.blob}")
        if building != final:
            os.rename(building, final)
    except OSError:
        if building != final:
            shutil.rmtree(building, ignore_errors=True)
        raise


def _new_folder(repository: Path) -> Path:
    """An empty folder beside the snapshots; what an interruption left of an earlier one goes."""
    for left in repository.glob(f"{_BUILDING_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = repository / f"{_BUILDING_PREFIX}{secrets.token_hex(8)}"
    folder.mkdir()
    return folder


def _add_refs(repository: Path, commit: str, revision: str | None) -> None:
    is_named = revision is not None and not _COMMIT.fullmatch(revision)
    names = [revision] if is_named and revision else [DEFAULT_REVISION]
    for name in names:
        ref = repository / "refs" / name
        if revision is not None and not is_named and ref.exists():
            # a commit that was asked for does not move the main branch
            continue
        ref.parent.mkdir(parents=True, exist_ok=True)
        temporary = ref.with_name(f".{ref.name}-{secrets.token_hex(4)}")
        temporary.write_text(commit, encoding="ascii")
        with contextlib.ExitStack() as stack:
            stack.callback(temporary.unlink, missing_ok=True)
            os.replace(temporary, ref)


def _other_disk(n_bytes: int) -> WeightsMissingError:
    return WeightsMissingError(
        "The folder and the project's cache are on different disks: no hard link can be made.",
        f"Give --copy to copy {n_bytes / 1e9:.1f} GB, or set MODEL_CACHE_DIR to a folder on that "
        "disk.",
    )


def _failed(folder: Path, repo_id: str, error: OSError) -> WeightsMissingError | NoSpaceError:
    if error.errno == errno.ENOSPC:
        return NoSpaceError(
            f"The disk became full while {repo_id!r} was copied into the cache.",
            "Free some space and run the command again; what was copied is kept.",
        )
    name = Path(error.filename).name if error.filename else folder.name
    return WeightsMissingError(
        f"{name!r} could not be brought into the cache: {error.strerror}.",
        "Make the folder readable and the cache writable for this user.",
    )
