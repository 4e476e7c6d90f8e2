"""How many bytes a repository's folder takes on the disk, and how many its removal gives back.

Invariant: a file counts once, however many names and links lead to it. What has a name elsewhere is
not given back: hard links of an imported folder, and the content that the hub client keeps once
for several repositories in the cache's own folder `blobs`.

Source: huggingface_hub/utils/_shared_blobs.py.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SHARED_BLOBS = "blobs"


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes that removing a folder gives back, and bytes of files that stay for others."""

    freed_bytes: int
    shared_bytes: int


def repository_bytes(repository: Path) -> int:
    """Bytes of all files of a repository's folder, links followed."""
    sizes: dict[tuple[int, int], int] = {}
    for path in _iter_files(repository):
        with contextlib.suppress(OSError):
            info = os.stat(path)
            sizes[info.st_dev, info.st_ino] = info.st_size
    return sum(sizes.values())


def measure(folder: Path, cache: Path) -> DiskUse:
    """What removing a folder of a cache would give back."""
    sizes: dict[tuple[int, int], int] = {}
    n_links: dict[tuple[int, int], int] = {}
    n_names: dict[tuple[int, int], int] = {}
    stored: dict[str, int] = {}
    for path in _iter_files(folder):
        with contextlib.suppress(OSError):
            info = os.lstat(path)
            if stat.S_ISLNK(info.st_mode):
                target = os.path.realpath(path)
                if not Path(target).is_relative_to(os.path.realpath(folder)):
                    stored[target] = os.stat(path).st_size
                continue
            key = (info.st_dev, info.st_ino)
            sizes[key], n_links[key] = info.st_size, info.st_nlink
            n_names[key] = n_names.get(key, 0) + 1
    shared = sum(size for key, size in sizes.items() if n_links[key] > n_names[key])
    freed = sum(sizes.values()) - shared
    if stored:
        store = os.path.realpath(cache / _SHARED_BLOBS)
        others = set(_iter_stored(cache, folder))
        for target, size in stored.items():
            if target in others or not Path(target).is_relative_to(store):
                shared += size
            else:
                freed += size
    return DiskUse(freed, shared)


def _iter_stored(cache: Path, but: Path) -> Iterator[str]:
    """Where the blobs of all other repositories of a cache lead."""
    for blob in cache.glob("*--*/blobs/*"):
        if blob.is_symlink() and blob.parent.parent != but:
            yield os.path.realpath(blob)


def _iter_files(folder: Path) -> Iterator[str]:
    for root, _, names in os.walk(folder):
        for name in names:
            yield os.path.join(root, name)
