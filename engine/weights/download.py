"""Brings the files of a plan into a cache, in the hub client's own layout, and checks each of them.

Invariant: a file that is finished stays, whatever happens afterwards, and is never fetched again;
a file whose checksum is wrong does not stay. A revision's name leads to a new commit only once all
of its files are there and right, so that a model that worked goes on working meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from engine.errors import ConnectionLostError, DownloadError, OfflineError, TransferCancelled
from engine.weights.caches import repo_folder
from engine.weights.checksums import ChecksumStore, read_stamp, repository_key
from engine.weights.fetcher import FetchJob
from engine.weights.fetching import fetch_round
from engine.weights.git_objects import git_blob_sha1
from engine.weights.hub import Hub
from engine.weights.hub_errors import no_space, offline, translate
from engine.weights.orphans import blob_lock, clear_orphans
from engine.weights.parts import DownloadPlan, FileFault, PlannedFile
from engine.weights.plan import free_bytes, has_size, snapshot_folder
from engine.weights.rate import Meter, OnProgress
from engine.weights.snapshots import broken_link_hint, find_commit

_LOCK_WAIT_S = 5.0
_MAX_PAUSE_S = 30.0


def download(
    plan: DownloadPlan,
    hub: Hub,
    checksums: ChecksumStore,
    on_progress: OnProgress,
    is_cancelled: Callable[[], bool],
    max_workers: int = 4,
) -> Path:
    """Fetches what is missing of a plan, verifies all of it, and returns the snapshot's folder.

    Args:
        on_progress: called a few times a second, from this thread; first for the step
            `downloading`, then for `verifying`.
        is_cancelled: asked about ten times a second.
        max_workers: files that are fetched at the same time.

    Raises:
        DownloadError: if the hub or the disk does not do its part, or a file is not what the hub
            says it is; its subclasses say which.
        RepositoryError: if the hub no longer gives the files.
        TransferCancelled: if `is_cancelled` said so. Finished files are kept in every case.
    """
    folder = snapshot_folder(plan.cache_dir, plan.repo_id, plan.commit)
    try:
        for file in plan.files:
            _remove_misfit(plan, folder, file, checksums)
        is_missing = any(not _is_linked(folder, file) for file in plan.files)
        if is_missing and not hub.is_offline:
            _prepare(plan, folder)
    except OSError as error:
        raise translate(error, plan.repo_id, plan.revision, plan.cache_dir) from error
    if is_missing:
        if hub.is_offline:
            raise offline(plan.repo_id)
        try:
            _fetch(plan, folder, hub, on_progress, is_cancelled, max_workers)
        finally:
            with contextlib.suppress(OSError):
                clear_orphans(plan.cache_dir, plan.repo_id)
    _verify(plan, folder, checksums, on_progress, is_cancelled)
    _name_commit(plan, replaces=True)
    return folder


def _is_linked(folder: Path, file: PlannedFile) -> bool:
    return has_size(folder / file.path, file.size_bytes)


def _prepare(plan: DownloadPlan, folder: Path) -> None:
    """Makes room, and removes what interrupted downloads left.

    Raises:
        NoSpaceError: if what is missing does not fit, before the first byte of it.
        OSError: if the cache cannot be used.
    """
    repository = repo_folder(plan.cache_dir, plan.repo_id)
    if repository.is_symlink() and not repository.is_dir():
        raise DownloadError(
            f"The link of {plan.repo_id!r} in the project's cache leads nowhere:"
            f" {os.readlink(repository)!r}.",
            broken_link_hint(plan.repo_id),
        )
    (repository / "blobs").mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=repository / "blobs", prefix="tmp_"):
        """The folder can be written."""
    clear_orphans(plan.cache_dir, plan.repo_id)
    needed = sum(
        file.size_bytes
        for file in plan.files
        if not _is_linked(folder, file) and not _has_blob(repository, file)
    )
    free = free_bytes(repository)
    if needed > free:
        raise no_space(plan.cache_dir, needed, free)
    _name_commit(plan, replaces=False)


def _has_blob(repository: Path, file: PlannedFile) -> bool:
    blob = file.sha256 or file.git_oid
    return blob is not None and has_size(repository / "blobs" / blob, file.size_bytes)


def _remove_misfit(
    plan: DownloadPlan, folder: Path, file: PlannedFile, checksums: ChecksumStore
) -> None:
    """Removes a file that the client would take for whole: of a wrong size, or found damaged."""
    blob = file.sha256 or file.git_oid
    content = repo_folder(plan.cache_dir, plan.repo_id) / "blobs" / blob if blob else None
    key = repository_key(plan.repo_id, plan.commit)
    is_damaged = checksums.check_of(key, folder, (file.path,)) == "damaged"
    for path in filter(None, (folder / file.path, content)):
        if not os.path.lexists(path):
            continue
        if is_damaged or not has_size(path, file.size_bytes):
            _remove(plan, path, blob)


def _remove(plan: DownloadPlan, path: Path, blob: str | None) -> None:
    """Removes a file, unless another process is just writing it anew."""
    with contextlib.ExitStack() as stack:
        if blob is not None:
            lock = blob_lock(plan.cache_dir, plan.repo_id, blob, _LOCK_WAIT_S)
            if not stack.enter_context(lock):
                return
        path.unlink(missing_ok=True)


def _fetch(
    plan: DownloadPlan,
    folder: Path,
    hub: Hub,
    on_progress: OnProgress,
    is_cancelled: Callable[[], bool],
    max_workers: int,
) -> None:
    """Rounds of fetching, until nothing is missing or a few in a row brought nothing."""
    sizes = {file.path: file.size_bytes for file in plan.files}
    meter = Meter("downloading", len(plan.files), plan.total_bytes, on_progress)
    n_fruitless, fruitful_at = 0, time.monotonic()
    # A hub that was never reached is told at once; one that is lost on the way is waited for.
    has_arrived = False
    while missing := [file.path for file in plan.files if not _is_linked(folder, file)]:
        n_files = len(plan.files) - len(missing)
        n_bytes = plan.total_bytes - sum(sizes[path] for path in missing)
        meter.set(n_files, n_bytes)
        reached = 0

        def on_round(
            arrived: int,
            finished: tuple[str, ...],
            current: str,
            n_files: int = n_files,
            n_bytes: int = n_bytes,
        ) -> None:
            nonlocal reached
            # A file that was only linked has brought no bytes, but is there.
            done = max(arrived, sum(sizes[path] for path in finished))
            reached = max(reached, done)
            meter.set(n_files + len(finished), n_bytes + done, current)

        job = FetchJob(
            plan.repo_id,
            plan.revision,
            plan.commit,
            os.path.abspath(plan.cache_dir),
            # the small ones first: with the index here, status can name the shards that are not
            tuple(sorted(missing, key=lambda path: path.endswith(".safetensors"))),
            hub.endpoint,
            hub.token,
            hub.timeout_s,
            max_workers,
        )
        try:
            fetch_round(job, on_round, is_cancelled)
            if [path for path in missing if not has_size(folder / path, sizes[path])] == missing:
                raise _shrunk(plan, missing)
        except (ConnectionLostError, OfflineError) as error:
            if isinstance(error, OfflineError) and not reached and not has_arrived:
                raise
            has_arrived = has_arrived or reached > 0
            is_fruitful = any(has_size(folder / path, sizes[path]) for path in missing)
            if is_fruitful:
                n_fruitless, fruitful_at = 0, time.monotonic()
            else:
                n_fruitless += 1
            fruitless_s = time.monotonic() - fruitful_at
            if n_fruitless >= hub.n_rounds or fruitless_s > 4 * hub.timeout_s + _MAX_PAUSE_S:
                raise
            clear_orphans(plan.cache_dir, plan.repo_id)
            _pause(min(hub.pause_s * 2 ** max(0, n_fruitless - 1), _MAX_PAUSE_S), is_cancelled)
    meter.set(len(plan.files), plan.total_bytes)
    meter.report()


def _shrunk(plan: DownloadPlan, missing: list[str]) -> DownloadError:
    return DownloadError(
        f"The hub sends other sizes for {plan.repo_id!r} than it lists: {missing[0]}.",
        "Try again later, or with another revision: --revision",
    )


def _pause(seconds: float, is_cancelled: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if is_cancelled():
            raise TransferCancelled
        time.sleep(min(left, 0.1))


def _verify(
    plan: DownloadPlan,
    folder: Path,
    checksums: ChecksumStore,
    on_progress: OnProgress,
    is_cancelled: Callable[[], bool],
) -> None:
    """Compares every file with the hub's checksum; removes and names those that differ.

    Raises:
        DownloadError: if any does.
    """
    meter = Meter("verifying", len(plan.files), plan.total_bytes, on_progress)
    meter.report()
    key = repository_key(plan.repo_id, plan.commit)
    sums: dict[str, tuple[int, str]] = {}
    faults: list[FileFault] = []
    for file in plan.files:
        path = folder / file.path
        try:
            stamp = read_stamp(path)
            sha256 = checksums.sha256_of(path, meter.add, is_cancelled)
            is_right = (
                sha256 == file.sha256
                if file.sha256 is not None
                else file.git_oid in (None, git_blob_sha1(path))
            )
        except OSError as error:
            raise translate(error, plan.repo_id, plan.revision, plan.cache_dir) from error
        meter.add(n_files=1, current=file.path)
        if is_right:
            sums[file.path] = (file.size_bytes, sha256)
            checksums.mark_checked(key, True, {file.path: stamp})
        else:
            faults.append(FileFault(file.path, "Its bytes are not those that the hub states."))
            _discard(plan, path, file.sha256 or file.git_oid)
    checksums.record(key, sums)
    meter.report()
    if faults:
        names = ", ".join(fault.path for fault in faults[:5])
        raise DownloadError(
            f"{len(faults)} of {len(plan.files)} files of {plan.repo_id!r} arrived damaged and were"
            f" removed: {names}.",
            "Run the same command again: it fetches only those.",
        )


def _discard(plan: DownloadPlan, path: Path, blob: str | None) -> None:
    content = repo_folder(plan.cache_dir, plan.repo_id) / "blobs" / (blob or path.resolve().name)
    _remove(plan, content, blob)
    path.unlink(missing_ok=True)


def _name_commit(plan: DownloadPlan, replaces: bool) -> None:
    """Lets the revision's name lead to the commit, in one step; a commit needs no name.

    A failure is none: whoever may not write here has nothing to change.
    """
    if plan.revision == plan.commit:
        return
    repository = repo_folder(plan.cache_dir, plan.repo_id)
    with contextlib.suppress(OSError):
        known = find_commit(repository, plan.revision)
        if known == plan.commit or (known is not None and not replaces):
            return
        ref = repository / "refs" / plan.revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="ascii", dir=ref.parent, prefix=".", suffix=".tmp", delete=False
        ) as file:
            file.write(plan.commit)
        os.replace(file.name, ref)
