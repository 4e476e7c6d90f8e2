"""The name that git gives to the content of a file, by which the hub states small files."""

from __future__ import annotations

import hashlib
from pathlib import Path


def git_blob_sha1(path: Path) -> str:
    """The SHA-1 of git's blob of a file, 40 hexadecimal digits.

    Raises:
        OSError: if it cannot be read.
    """
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
