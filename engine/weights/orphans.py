"""What interrupted downloads have left in a cache: parts of files that nobody will finish.

Invariant: a part that another process is writing right now is neither counted nor removed. The hub
client holds a lock for each blob while it writes; whoever dies lets go of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.weights.caches import repo_folder

_LOCK_WAIT_S = 0.02


def orphan_bytes(cache: Path, repo_id: str) -> int:
    """The bytes that parts of files occupy; nothing is changed."""
    n_bytes = 0
    for part in _parts(cache, repo_id):
        with contextlib.suppress(OSError), _unclaimed(cache, repo_id, part) as is_orphan:
            n_bytes += part.stat().st_size if is_orphan else 0
    return n_bytes


def clear_orphans(cache: Path, repo_id: str) -> int:
    """Removes them; returns their bytes."""
    n_bytes = 0
    for part in _parts(cache, repo_id):
        with contextlib.suppress(OSError), _unclaimed(cache, repo_id, part) as is_orphan:
            if is_orphan:
                size = part.stat().st_size
                part.unlink()
                n_bytes += size
    return n_bytes


@contextmanager
def blob_lock(cache: Path, repo_id: str, blob: str, wait_s: float) -> Iterator[bool]:
    """Holds the hub client's own lock of a blob; False if another has it for longer than this."""
    # the client exports its names lazily, which type checkers do not see
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    path = cache / ".locks" / repo_folder(cache, repo_id).name / f"{blob}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(WeakFileLock(path, timeout=wait_s))
        except TimeoutError:
            yield False
            return
        yield True


@contextmanager
def _unclaimed(cache: Path, repo_id: str, part: Path) -> Iterator[bool]:
    blob = part.name.split(".")[0]
    if not (cache / ".locks" / repo_folder(cache, repo_id).name / f"{blob}.lock").exists():
        # Whoever writes has made the lock first.
        yield True
        return
    with blob_lock(cache, repo_id, blob, _LOCK_WAIT_S) as is_ours:
        yield is_ours


def _parts(cache: Path, repo_id: str) -> list[Path]:
    return sorted((repo_folder(cache, repo_id) / "blobs").glob("*.incomplete"))
